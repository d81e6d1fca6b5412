/** Bit rot in a segment file: one flipped byte costs at most the record it is in, and is reported. */
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { MailboxId } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { keptEnvelopes } from "../../relay/segment-inspect.ts"
import { headBytes, nonceCheck, recordBytes, writeHead } from "../../relay/segment-record.ts"
import { openOver } from "../../relay/store-segment.ts"
import type { MailboxStore } from "../../relay/store.ts"
import type { PrekeyShelf } from "../../relay/prekey-shelf.ts"
import { shelfHere } from "../support/shelf-here.ts"
import { seededRandom } from "./store-load.ts"

const mailboxes = [1, 2, 3].map((n) => new Uint8Array(16).fill(n) as MailboxId)
const lengths = [10, 400, 1500, 4200, 5300, 9000]
const random = seededRandom(45)
/** On one shelf of prekeys, elsewhere: its damage is another test's. */
const open = (place: string, onDecayed = () => {}): Promise<MailboxStore> =>
  openOver(place, { ...shelf, close: async () => {} }, { headroomBytes: 0, onDecayed })

let shelf: PrekeyShelf
let folder: string
let name: string
let whole: Buffer
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-damage-"))
  shelf = shelfHere(join(folder, "shelf"))
  folder = join(folder, "store")
  mkdirSync(folder)
  const store = await open(folder)
  for (const length of lengths)
    for (const mailbox of mailboxes) await store.append(mailbox, randomBytes(32), 1000 + length, randomBytes(length))
  await store.close()
  name = readdirSync(folder)[0]!
  whole = readFileSync(join(folder, name))
})
afterEach(async () => {
  await shelf.close()
  rmSync(dirname(folder), { recursive: true, force: true })
})

test("a flipped byte anywhere: what is given out is right, and nothing is missing without being reported", async () => {
  const before = new Map((await everything(folder)).map((each) => [each.name, each]))
  expect(before.size).toBe(18)
  // Every byte of the last record, and many others; of a head's, test/unit/segments.test.ts.
  const places = [
    ...Array.from({ length: 144 }, (_, i) => whole.length - 1 - i),
    ...Array.from({ length: 120 }, () => Math.floor(random() * whole.length)),
  ]
  let missing = 0
  for (const at of places) {
    const place = join(folder, `flip-${at}`)
    mkdirSync(place, { recursive: true })
    const copy = Buffer.from(whole)
    copy[at]! ^= 1 << (at % 8)
    writeFileSync(join(place, name), copy)
    const reported = keptEnvelopes(place).decayed.length
    const store = await open(place)
    const found = await envelopes(store)
    for (const each of found) expect(each, `byte ${at}`).toEqual(before.get(each.name))
    expect(before.size - found.length, `byte ${at}`).toBe(reported)
    missing += reported
    for (const mailbox of mailboxes) {
      expect(await store.append(mailbox, randomBytes(32), 9e6, randomBytes(60))).toMatchObject({ outcome: "stored" })
      // A number above all that were given out, though the counters may be what has decayed.
      expect((await store.read(mailbox, 0, 100)).at(-1)?.sequence, `byte ${at}`).toBeGreaterThan(lengths.length)
    }
    await store.expire(8e6)
    expect(keptEnvelopes(place), `byte ${at}`).toMatchObject({ decayed: [], envelopes: { length: 3 } })
    await store.close()
    rmSync(place, { recursive: true })
  }
  expect(missing).toBeGreaterThan(60)
}, 120_000)

test("what decays while the store is open is said once of each, not given out, and keeps nothing back", async () => {
  let said = 0
  const store = await open(folder, () => (said += 1))
  const before = await store.read(mailboxes[0]!, 0, 100)
  const copy = Buffer.from(whole)
  for (const { bytes } of before.slice(1, 3)) copy[copy.indexOf(bytes) + 2]! ^= 1
  writeFileSync(join(folder, name), copy)
  expect(await store.read(mailboxes[0]!, 0, 100)).toEqual(before.filter((_, i) => i !== 1 && i !== 2))
  expect(await store.read(mailboxes[0]!, 0, 2)).toEqual([before[0], before[3]])
  expect(said).toBe(2)
  await store.close()
})

test("a damaged envelope that is submitted again is stored again, and not taken for a retry", async () => {
  const store = await open(folder)
  const [blind, bytes] = [randomBytes(32), randomBytes(700)]
  await store.append(mailboxes[0]!, blind, 7, bytes)
  await store.close()
  const file = readFileSync(join(folder, name))
  file[file.indexOf(bytes) + 5]! ^= 1
  writeFileSync(join(folder, name), file)
  const reopened = await open(folder)
  expect(await reopened.append(mailboxes[0]!, blind, 8, bytes)).toEqual({ outcome: "stored", minute: 8 })
  expect((await reopened.read(mailboxes[0]!, 0, 100)).at(-1)?.bytes).toEqual(new Uint8Array(bytes))
  await reopened.close()
})

test("a record that a submitter puts into an envelope is not taken for one, even when the envelope's head decays", async () => {
  const store = await open(folder)
  // All that a submitter could know: the form, and by luck the place; not the file's nonce.
  const at = whole.length + headBytes + 32 + 16
  const bytes = randomBytes(800)
  const forged = bytes.subarray(16, 16 + recordBytes(100))
  writeHead(forged, nonceCheck("0000000000000000"), at, {
    kind: "envelope",
    mailbox: mailboxes[1]!,
    sequence: 77,
    minute: 1,
    length: 100,
  })
  await store.append(mailboxes[0]!, randomBytes(32), 7, bytes)
  await store.append(mailboxes[0]!, randomBytes(32), 7, randomBytes(10))
  await store.close()
  const file = readFileSync(join(folder, name))
  file[whole.length + 1]! ^= 1
  writeFileSync(join(folder, name), file)
  const reopened = await open(folder)
  expect((await reopened.read(mailboxes[1]!, 0, 100)).map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6])
  await reopened.close()
})

interface Found {
  readonly name: string
  readonly minute: number
  readonly bytes: Uint8Array
}

async function everything(place: string): Promise<Found[]> {
  const store = await open(place)
  const found = await envelopes(store)
  await store.close()
  return found
}

async function envelopes(store: MailboxStore): Promise<Found[]> {
  const found: Found[] = []
  for (const mailbox of mailboxes)
    for (const { sequence, minute, bytes } of await store.read(mailbox, 0, 100))
      found.push({ name: `${hex(mailbox)} ${sequence}`, minute, bytes: new Uint8Array(bytes) })
  return found
}
