/** Bit rot: one flipped byte costs at most the record it is in; nothing altered is ever delivered; nothing crashes. */
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { chosen } from "../../protocol/limits.ts"
import { openForReading } from "../../relay/store-sqlite-file.ts"
import { StoreReader } from "../../relay/store-sqlite-reader.ts"
import { StoreWriter } from "../../relay/store-sqlite-writer.ts"
import { openSqliteStore } from "../../relay/store-sqlite.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { seededRandom } from "./store-load.ts"

const mailboxes = [1, 2, 3].map((n) => new Uint8Array(16).fill(n) as MailboxId)
const device = new Uint8Array(32).fill(9) as DeviceId
const lengths = [10, 400, 1500, 4200, 5300, 9000]
const prekeys = Array.from({ length: 5 }, (_, i) => `a signed statement ${i} `.repeat(70))
const rotating = "a rotating statement ".repeat(70)
const quota = { envelopesMax: chosen.mailboxEnvelopesMax, bytesMax: chosen.mailboxBytesMax }
const random = seededRandom(44)

let folder: string
let path: string
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-damage-"))
  path = join(folder, "mailboxes.sqlite")
  const store = await openSqliteStore(folder)
  for (const mailbox of mailboxes)
    for (const length of lengths) await store.append(mailbox, randomBytes(32), 1000 + length, randomBytes(length))
  const oneTime = prekeys.map((statement) => new Uint8Array(Buffer.from(statement)))
  await store.putPrekeys(device, { reset: false, oneTime, rotating: new Uint8Array(Buffer.from(rotating)) })
  await store.close()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test("a flipped byte in an envelope: that one is quarantined, and all others are as before", async () => {
  const before = await envelopes()
  const whole = readFileSync(path)
  for (const [victim, field] of [
    [before[3]!, "bytes"],
    [before[10]!, "blind"],
  ] as const) {
    // Blinds are not given out: the blind stands in the record before checksum and bytes.
    const at = whole.indexOf(victim.bytes.subarray(0, 300)) - (field === "blind" ? 20 : -200)
    writeFileSync(path, flipped(whole, at))
    const store = await openSqliteStore(folder)
    expect(await envelopes(store)).toEqual(before.filter((each) => each !== victim))
    expect(await store.inspect()).toMatchObject({
      quarantined: { envelopes: [{ mailbox: victim.mailbox, sequence: victim.sequence }], prekeys: 0 },
      intact: true,
    })
    expect(await store.append(victim.mailbox, randomBytes(32), 5000, randomBytes(50))).toMatchObject({
      outcome: "stored",
    })
    // It leaves as all others do.
    await store.expire(100_000)
    expect((await store.inspect()).quarantined.envelopes).toEqual([])
    await store.close()
  }
})

test("a damaged envelope that is submitted again is stored again, and not taken for a retry", async () => {
  const store = await openSqliteStore(folder)
  const [blind, bytes] = [randomBytes(32), randomBytes(700)]
  await store.append(mailboxes[0]!, blind, 7, bytes)
  await store.close()
  const whole = readFileSync(path)
  const at = whole.indexOf(bytes) + 5
  writeFileSync(path, flipped(whole, at))
  const reopened = await openSqliteStore(folder)
  expect(await reopened.append(mailboxes[0]!, blind, 8, bytes)).toEqual({ outcome: "stored", minute: 8 })
  expect((await reopened.read(mailboxes[0]!, 0, 100)).at(-1)?.bytes).toEqual(new Uint8Array(bytes))
  await reopened.close()
})

test("a damaged prekey is not handed out", async () => {
  const whole = readFileSync(path)
  writeFileSync(path, flipped(whole, whole.indexOf(prekeys[0]!) + 77))
  const store = await openSqliteStore(folder)
  expect((await store.inspect()).quarantined.prekeys).toBe(1)
  for (const statement of [...prekeys.slice(1), rotating, rotating])
    expect(Buffer.from((await store.takePrekey(device))!).toString()).toBe(statement)
  await store.close()
})

test("a flipped byte anywhere: what is given out is right, and nothing is missing without being reported", async () => {
  const before = new Map((await envelopes()).map((each) => [nameOf(each), each]))
  const whole = readFileSync(path)
  const tally = (places: readonly number[]): Record<Outcome, number> => {
    const outcomes = { refused: 0, readOnly: 0, quarantined: 0, unharmed: 0 }
    for (const at of places) {
      const place = join(folder, `flip-${at}`)
      mkdirSync(place)
      writeFileSync(join(place, "mailboxes.sqlite"), flipped(whole, at))
      outcomes[check(place, before, `byte ${at}`)] += 1
      rmSync(place, { recursive: true })
    }
    return outcomes
  }
  const { refused, readOnly, quarantined } = tally(
    Array.from({ length: 300 }, () => Math.floor(random() * whole.length)),
  )
  expect(quarantined).toBeGreaterThan(75)
  expect(refused + readOnly).toBeLessThan(30)

  // Counters are few and small: each of their bytes.
  tally(placesOf("counter", whole))

  // The structure of the file is in the first bytes of its pages: more is lost there, and nothing worse happens.
  const pages = Array.from({ length: whole.length / 4096 }, (_, page) => 4096 * page)
  tally(pages.flatMap((page) => [page, page + 2, page + 3, page + 5, page + 9]))
}, 120_000)

test("an index that points to another record: that record is not given out under a wrong number", async () => {
  // The entry: mailbox, sequence 3, record 9, which thus becomes record 8.
  const entry = Buffer.from([...mailboxes[1]!, 3, 9])
  const whole = readFileSync(path)
  const at = whole.indexOf(entry)
  writeFileSync(path, flipped(whole, at + 17, 0))
  const db = openForReading(folder, { atRest: true })
  const read = new StoreReader(db).read(mailboxes[1]!, 0, 100)
  expect(read.map(({ sequence, bytes }) => [sequence, bytes.length])).toEqual(
    lengths.map((length, i) => [i + 1, length]).filter(([sequence]) => sequence !== 3),
  )
  db.close()
  // Opened for writing, the index is made anew.
  expect(await envelopes()).toHaveLength(mailboxes.length * lengths.length)
})

/** The last 120 bytes of the page that is this table's root: where a small table's rows are. */
function placesOf(table: string, whole: Buffer): number[] {
  const db = new DatabaseSync(path, { readOnly: true })
  const root = Number(db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?").get(table)?.rootpage)
  db.close()
  expect(whole.subarray(4096 * root - 120, 4096 * root).includes(Buffer.from(mailboxes[0]!))).toBe(true)
  return Array.from({ length: 120 }, (_, i) => 4096 * root - 1 - i)
}

/** In this thread and without the others, for the sake of speed. */
function check(place: string, before: Map<string, Found>, when: string): Outcome {
  let writer: StoreWriter
  try {
    writer = StoreWriter.open(place, { quota, headroomBytes: 0 })
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    expect(["ERR_STORE_UNAVAILABLE", "ERR_VERSION"], when).toContain(error.code)
    return "refused"
  }
  const db = openForReading(place)
  const reader = new StoreReader(db)
  const found = mailboxes.flatMap((mailbox) => readIfPossible(reader, mailbox))
  for (const each of found) expect(each, when).toEqual(before.get(nameOf(each)))
  const missing = before.size - found.length
  const contents = reader.contents()
  try {
    if (writer.trouble !== undefined) {
      const reply = writer.apply([{ kind: "takePrekey", device }])
      expect(reply, when).toHaveProperty("failed.code", "ERR_STORE_UNAVAILABLE")
      return "readOnly"
    }
    expect(contents.quarantined.envelopes.length, when).toBe(missing)
    checkWriting(writer, reader, when)
    return missing > 0 ? "quarantined" : "unharmed"
  } finally {
    db.close()
    writer.close()
  }
}

type Outcome = "refused" | "readOnly" | "quarantined" | "unharmed"

function checkWriting(writer: StoreWriter, reader: StoreReader, when: string): void {
  for (const mailbox of mailboxes) {
    const record = new Uint8Array(Buffer.concat([mailbox, randomBytes(32), randomBytes(60)]))
    expect(writer.apply([{ kind: "append", minute: 1, record }]), when).toEqual({ results: [{ minute: 1 }] })
    // A number above all that were given out, though the counter itself may be what has decayed.
    expect(reader.read(mailbox, 0, 100).at(-1)?.sequence, when).toBeGreaterThan(lengths.length)
  }
  const taken: string[] = []
  for (;;) {
    const reply = writer.apply([{ kind: "takePrekey", device }])
    const [prekey] = "results" in reply ? reply.results : []
    const statement = prekey instanceof Uint8Array ? Buffer.from(prekey).toString() : undefined
    if (statement === undefined || statement === rotating) break
    expect(prekeys, when).toContain(statement)
    expect(taken, when).not.toContain(statement)
    taken.push(statement)
  }
  expect(taken.length, when).toBeGreaterThanOrEqual(prekeys.length - 1)
}

interface Found {
  readonly mailbox: MailboxId
  readonly sequence: number
  readonly minute: number
  readonly bytes: Uint8Array
}

const nameOf = ({ mailbox, sequence }: Found): string => `${hex(mailbox)} ${sequence}`

function readIfPossible(reader: StoreReader, mailbox: MailboxId): Found[] {
  try {
    return reader.read(mailbox, 0, 100).map((envelope) => ({ mailbox, ...envelope }))
  } catch {
    return []
  }
}

/** All envelopes of the undamaged store, or of the damaged one that is open. */
async function envelopes(store?: MailboxStore): Promise<Found[]> {
  const from = store ?? (await openSqliteStore(folder))
  const found: Found[] = []
  for (const mailbox of mailboxes)
    for (const envelope of await from.read(mailbox, 0, 100)) found.push({ mailbox, ...envelope })
  if (store === undefined) await from.close()
  return found
}

function flipped(whole: Uint8Array, at: number, bit = at % 8): Uint8Array {
  const copy = new Uint8Array(whole)
  copy[at]! ^= 1 << bit
  return copy
}
