/** P1 and row 10: an acceptance, and that a prekey was taken, survive power loss, whatever became of unsynced writes. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { storeContents } from "../../relay/store-inspect.ts"
import type { MailboxStore, StoredEnvelope } from "../../relay/store.ts"
import { openStoreHere } from "../support/shelf-here.ts"
import { needStrace, straced } from "./machine.ts"
import { filesAfterPowerLoss, parseTrace, traceOptions } from "./power-loss.ts"
import type { DiskEvent, Fate } from "./power-loss.ts"
import { contentOf, deviceOf, mailboxOf, nameOf, seededRandom } from "./store-load.ts"

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
const title = "power loss after any event of the store's life: what was accepted is there, what was taken is gone"

test(title, { timeout: 120_000 }, async (context) => {
  needStrace(context)
  const events = parse(await trace("run"))
  expect(events.filter(({ kind }) => kind === "sync").length).toBeGreaterThan(50)
  const ready = events.findIndex((event) => event.kind === "said" && event.line === "ready")
  // After everything that was said or synced, and after every seventh of the writes between.
  const after = ({ kind }: DiskEvent, i: number) => kind === "said" || kind === "sync" || i % 7 === 0
  expect(await checkAll(events, ready, after)).toBeGreaterThan(250)
})

// The commit whose sync fails is one of the first: of the prekeys', whose opening takes 13, a putting and a taking.
test.for([...[15, 16].map((n) => ["fsync", n] as const), ...[1, 3].map((n) => ["fdatasync", n] as const)])(
  "power loss after %s %i failed, a kill and a restart: what memory has and the disk has not carries nothing",
  { timeout: 120_000 },
  async ([call, n], context) => {
    needStrace(context)
    const first = await trace("first", ["-e", `inject=${call}:error=EIO:signal=SIGKILL:when=${n}`])
    expect(first.includes("killed by SIGKILL")).toBe(true)
    const events = parse(first + (await trace("second")))
    const readyAgain = events.findLastIndex((event) => event.kind === "said" && event.line === "ready")
    // After every event of the second opening, which settles what it finds, and then after all that was said.
    const after = ({ kind }: DiskEvent, i: number) => kind === "said" || i < readyAgain
    expect(await checkAll(events, parse(first).length, after)).toBeGreaterThan(80)
  },
)

/** One life of the child, as strace saw it. */
async function trace(run: string, inject: string[] = []): Promise<string> {
  const log = join(folder, `trace-${run}`)
  await straced(["-o", log, ...traceOptions, ...inject], child, [join(folder, "store"), run])
  return readFileSync(log, "utf8")
}

const parse = (text: string): DiskEvent[] => parseTrace(text, "mailboxes.")

/** Power loss after each of these events in turn, each time with the three fates. Returns how often. */
async function checkAll(
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
      await check(place, said, `${fate} after event ${until}`)
      rmSync(place, { recursive: true })
      checked += 1
    }
  }
  return checked
}

async function check(place: string, said: readonly (readonly string[])[], when: string): Promise<void> {
  const store = await openStoreHere(place)
  checkEnvelopes(await store.read(mailboxOf(0), 0, 1000), said, when)
  await checkPrekeys(store, said, when)
  expect(await store.append(mailboxOf(0), new Uint8Array(32), 1, new Uint8Array(9)), when).toMatchObject({
    outcome: "stored",
  })
  expect((await store.read(mailboxOf(0), 0, 1000)).at(-1)?.bytes.length, when).toBe(9)
  await store.close()
  expect(storeContents(place), when).toMatchObject({ intact: true, quarantined: { envelopes: [], prekeys: 0 } })
}

function checkEnvelopes(held: readonly StoredEnvelope[], said: readonly (readonly string[])[], when: string): void {
  for (const { bytes } of held) expect(Buffer.from(contentOf(nameOf(bytes))).equals(bytes), when).toBe(true)
  const names = held.map(({ bytes }) => nameOf(bytes))
  expect(new Set(names).size, when).toBe(names.length)
  const accepted = new Set(wordsOf(said, "accepted"))
  expect(
    names.filter((name) => accepted.has(name)),
    when,
  ).toEqual([...accepted])
  // One more may be there: stored, and not yet said.
  const refused = new Set(wordsOf(said, "refused"))
  expect(names.filter((name) => !accepted.has(name) && !refused.has(name)).length, when).toBeLessThan(2)
}

async function checkPrekeys(store: MailboxStore, said: readonly (readonly string[])[], when: string): Promise<void> {
  const taken = wordsOf(said, "taken").filter((word) => word !== "none")
  const left: string[] = []
  for (let prekey = await store.takePrekey(deviceOf(0)); prekey; prekey = await store.takePrekey(deviceOf(0)))
    left.push(Buffer.from(prekey).toString())
  for (const prekey of left) expect(taken, when).not.toContain(prekey)
  const lost = wordsOf(said, "published").filter((prekey) => !taken.includes(prekey) && !left.includes(prekey))
  // In each life one may have been on its way out.
  expect(lost.length, when).toBeLessThanOrEqual(said.filter(([first]) => first === "ready").length)
}

const wordsOf = (said: readonly (readonly string[])[], what: string): string[] =>
  said.filter(([first]) => first === what).map(([, word]) => word!)
