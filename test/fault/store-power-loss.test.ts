/** P1: an acceptance survives power loss, whatever the disk made of the writes that were not synced. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { chosen } from "../../protocol/limits.ts"
import { openOver } from "../../relay/store-segment.ts"
import { openForReading } from "../../relay/store-sqlite-file.ts"
import type { Write } from "../../relay/store-sqlite-messages.ts"
import { keptEnvelopes } from "../../relay/segment-inspect.ts"
import type { StoredEnvelope } from "../../relay/store.ts"
import { StoreReader } from "../../relay/store-sqlite-reader.ts"
import { StoreWriter } from "../../relay/store-sqlite-writer.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { needStrace, straced } from "./machine.ts"
import { filesAfterPowerLoss, parseTrace, traceOptions } from "./power-loss.ts"
import type { DiskEvent, Fate } from "./power-loss.ts"
import { contentOf, deviceOf, mailboxOf, nameOf, seededRandom } from "./store-load.ts"
import type { StoreName } from "./stores.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-power-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const random = seededRandom(1)
const fates: Record<string, () => Fate> = {
  "all of the rest is lost": () => "lost",
  "all of the rest is kept": () => "kept",
  "some of the rest is kept, some torn": () => (["lost", "kept", "torn"] as const)[Math.floor(random() * 3)]!,
}

const child = join(import.meta.dirname, "store-fault-child.ts")

test.for([
  ["SQLite", 250],
  ["segments", 150],
] as const)(
  "%s: power loss after any event of the store's life: what was accepted is there, what was taken is gone",
  { timeout: 120_000 },
  async ([name, checks], context) => {
    needStrace(context)
    const events = parse(name, await trace(name, "run"))
    expect(events.filter(({ kind }) => kind === "sync").length).toBeGreaterThan(25)
    const ready = events.findIndex((event) => event.kind === "said" && event.line === "ready")
    // After everything that was said or synced, and after every seventh of the writes between.
    const after = ({ kind }: DiskEvent, i: number) => kind === "said" || kind === "sync" || i % 7 === 0
    expect(await checkAll(name, events, ready, after)).toBeGreaterThan(checks)
  },
)

// The commit whose sync fails is one of the first; which one depends on how many syncs an opening takes.
test.for([
  ...[16, 18].map((n) => ["SQLite", "fsync", n] as const),
  ...[1, 3, 8].map((n) => ["segments", "fdatasync", n] as const),
])(
  "%s: power loss after %s %i failed, a kill and a restart: what memory has and the disk has not carries nothing",
  { timeout: 120_000 },
  async ([name, call, n], context) => {
    needStrace(context)
    const first = await trace(name, "first", ["-e", `inject=${call}:error=EIO:signal=SIGKILL:when=${n}`])
    const events = parse(name, first + (await trace(name, "second")))
    const readyAgain = events.findLastIndex((event) => event.kind === "said" && event.line === "ready")
    expect(await checkAll(name, events, readyAgain, ({ kind }) => kind === "said")).toBeGreaterThan(50)
  },
)

/** One life of the child, as strace saw it. */
async function trace(name: StoreName, run: string, inject: string[] = []): Promise<string> {
  const log = join(folder, `trace-${run}`)
  await straced(["-o", log, ...traceOptions, ...inject], child, [name, join(folder, "store"), run])
  return readFileSync(log, "utf8")
}

/** Of the segment store, the segments: its SQLite files are the SQLite store's, which has its own turn. */
const parse = (name: StoreName, text: string): DiskEvent[] =>
  parseTrace(text, name === "SQLite" ? "mailboxes.sqlite" : "mailboxes.0")

/** Power loss after each of these events in turn, each time with the three fates. Returns how often. */
async function checkAll(
  name: StoreName,
  events: readonly DiskEvent[],
  from: number,
  after: (event: DiskEvent, i: number) => boolean,
): Promise<number> {
  let checked = 0
  for (let until = from + 1; until <= events.length; until++) {
    if (!after(events[until - 1]!, until)) continue
    const said = events.slice(0, until).flatMap((event) => (event.kind === "said" ? [event.line.split(" ")] : []))
    for (const [fate, fateOf] of Object.entries(fates)) {
      const place = join(folder, `${until}`)
      mkdirSync(place)
      for (const [name, bytes] of filesAfterPowerLoss(events, until, fateOf))
        if (!name.endsWith("-shm")) writeFileSync(join(place, name), bytes)
      const check = name === "SQLite" ? checkSqlite : checkSegments
      await check(place, said, `${fate} after event ${until}`)
      rmSync(place, { recursive: true })
      checked += 1
    }
  }
  return checked
}

/** With prekeys in memory, for the sake of speed. */
async function checkSegments(place: string, said: readonly (readonly string[])[], when: string): Promise<void> {
  const store = await openOver(place, new MemoryDisk().open(), { headroomBytes: 0 })
  checkEnvelopes(await store.read(mailboxOf(0), 0, 1000), said, when)
  expect(await store.append(mailboxOf(0), new Uint8Array(32), 1, new Uint8Array(9)), when).toMatchObject({
    outcome: "stored",
  })
  expect((await store.read(mailboxOf(0), 0, 1000)).at(-1)?.bytes.length, when).toBe(9)
  await store.close()
  const { decayed } = keptEnvelopes(place)
  expect(decayed, when).toEqual([])
}

/** In this thread and without the others, for the sake of speed. */
async function checkSqlite(place: string, said: readonly (readonly string[])[], when: string): Promise<void> {
  const quota = { envelopesMax: chosen.mailboxEnvelopesMax, bytesMax: chosen.mailboxBytesMax }
  const writer = StoreWriter.open(place, { quota, headroomBytes: 0 })
  const db = openForReading(place)
  const reader = new StoreReader(db)
  const wordsOf = (what: string) => said.filter(([first]) => first === what).map(([, word]) => word!)

  checkEnvelopes(reader.read(mailboxOf(0), 0, 1000), said, when)
  const taken = wordsOf("taken").filter((word) => word !== "none")
  const left: string[] = []
  for (let prekey = take(); prekey; prekey = take()) left.push(prekey)
  for (const prekey of left) expect(taken, when).not.toContain(prekey)
  const lost = wordsOf("published").filter((prekey) => !taken.includes(prekey) && !left.includes(prekey))
  expect(lost.length, when).toBeLessThan(2)
  expect(reader.contents(), when).toMatchObject({ intact: true, quarantined: { envelopes: [], prekeys: 0 } })
  db.close()
  writer.close()

  function take(): string | undefined {
    const write: Write = { kind: "takePrekey", device: deviceOf(0) }
    const reply = writer.apply([write])
    if ("failed" in reply) throw new Error(`${when}: ${reply.failed.message}: ${reply.failed.detail}`)
    const [prekey] = reply.results
    return prekey instanceof Uint8Array ? Buffer.from(prekey).toString() : undefined
  }
}

function checkEnvelopes(held: readonly StoredEnvelope[], said: readonly (readonly string[])[], when: string): void {
  const wordsOf = (what: string) => said.filter(([first]) => first === what).map(([, word]) => word!)
  for (const { bytes } of held) expect(Buffer.from(contentOf(nameOf(bytes))).equals(bytes), when).toBe(true)
  const names = held.map(({ bytes }) => nameOf(bytes))
  expect(new Set(names).size, when).toBe(names.length)
  const accepted = new Set(wordsOf("accepted"))
  expect(
    names.filter((name) => accepted.has(name)),
    when,
  ).toEqual([...accepted])
  // One more may be there: stored, and not yet said.
  const refused = new Set(wordsOf("refused"))
  expect(names.filter((name) => !accepted.has(name) && !refused.has(name)).length, when).toBeLessThan(2)
}
