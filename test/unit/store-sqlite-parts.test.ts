/** The SQLite store's writer, reader and records without their threads: the contract once more, then decay and trouble. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { fixed } from "../../protocol/limits.ts"
import { openForReading, storePath, walPath } from "../../relay/store-sqlite-file.ts"
import { StoreReader } from "../../relay/store-sqlite-reader.ts"
import type { StoreContents } from "../../relay/store.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"
import { openHere, type StoreHere } from "../support/store-here.ts"

mailboxStoreContract("SQLite in one thread", async (folder, quota) => openHere(folder, quota).store)

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const other = new Uint8Array(16).fill(2) as MailboxId
const device = new Uint8Array(32).fill(3) as DeviceId
const newBlind = (): Uint8Array => new Uint8Array(randomBytes(32))
const statements = [1, 2, 3].map((n) => Uint8Array.of(n))
const rotating = Uint8Array.of(9)

let folder: string
let here: StoreHere
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-store-"))
  here = openHere(folder)
  for (const to of [mailbox, other])
    for (const n of [1, 2, 3]) await here.store.append(to, newBlind(), 10 * n, Uint8Array.of(n, n))
  await here.store.putPrekeys(device, { reset: false, oneTime: statements, rotating })
})
afterEach(async () => {
  await here.store.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Changes the file behind the store's back, while it is closed. */
async function decay(...changes: string[]): Promise<void> {
  await here.store.close()
  elsewhere(...changes)
}
function elsewhere(...changes: string[]): void {
  const db = new DatabaseSync(storePath(folder))
  for (const change of changes) db.exec(change)
  db.close()
}
/** Before a writer has seen it. */
function contentsNow(): StoreContents {
  const db = openForReading(folder)
  const contents = new StoreReader(db).contents()
  db.close()
  return contents
}
const sequencesOf = async (of: MailboxId): Promise<number[]> =>
  (await here.store.read(of, 0, 100)).map(({ sequence }) => sequence)

const wrongNumbers = ["NULL", "-1", "1.5", "'two'", "x'02'", "77", String(2 ** 48 + 1), String(2n ** 62n)]

describe("an envelope with one column decayed is quarantined, and no other is", () => {
  const changes = [
    ...["NULL", "x'0101'", `x'${"07".repeat(16)}'`, "'text'"].map((value) => `mailbox = ${value}`),
    ...wrongNumbers.flatMap((value) => [`sequence = ${value}`, `minute = ${value}`, `checksum = ${value}`]),
    ...["NULL", "x'07'", `x'${"07".repeat(32)}'`].map((value) => `blind = ${value}`),
    ...["NULL", "'text'", "x'0203'", "x''"].map((value) => `bytes = ${value}`),
  ]
  test.each(changes)("%s", async (change) => {
    await decay(`UPDATE envelope SET ${change} WHERE mailbox = x'${"01".repeat(16)}' AND sequence = 2`)
    here = openHere(folder)
    expect(await sequencesOf(mailbox)).toEqual([1, 3])
    expect(await here.store.read(mailbox, 0, 1)).toHaveLength(1)
    expect((await here.store.read(mailbox, 1, 1)).map(({ sequence }) => sequence)).toEqual([3])
    expect(await sequencesOf(other)).toEqual([1, 2, 3])
    const { envelopes, quarantined, intact } = await here.store.inspect()
    expect(envelopes).toHaveLength(5)
    expect(quarantined.envelopes).toHaveLength(1)
    expect(intact).toBe(true)
    if (change.startsWith("bytes")) expect(quarantined.envelopes).toEqual([{ mailbox, sequence: 2 }])
    if (change === "mailbox = NULL") expect(quarantined.envelopes[0]!.mailbox).toEqual(new Uint8Array(0))
    // It leaves as others do, where it still says when it came.
    await here.store.expire(2 ** 48)
    expect((await here.store.inspect()).envelopes).toEqual([])
  })
})

describe("a prekey with one column decayed is not given out", () => {
  const changes = [
    "device = NULL",
    "device = x'03'",
    "statement = x'08'",
    "statement = 'a'",
    "digest = NULL",
    "digest = x'00'",
  ]
  test.each(changes)("%s", async (change) => {
    await decay(`UPDATE one_time_prekey SET ${change} WHERE id = 1`, `UPDATE rotating_prekey SET ${change}`)
    here = openHere(folder)
    expect(await here.store.inspect()).toMatchObject({
      prekeys: [{ device, oneTime: 2, rotating: false }],
      quarantined: { prekeys: 2 },
    })
    const taken = [1, 2, 3].map(() => here.store.takePrekey(device))
    expect(await Promise.all(taken)).toEqual([statements[1], statements[2], undefined])
  })

  test("many decayed in a row: the rotating one stands in, and the next call goes on behind them", async () => {
    const oneTime = Array.from({ length: 6 }, (_, i) => Uint8Array.of(50 + i))
    await here.store.putPrekeys(device, { reset: false, oneTime })
    await decay("UPDATE one_time_prekey SET digest = x'00' WHERE id <= 8")
    here = openHere(folder)
    expect(await here.store.takePrekey(device)).toEqual(rotating)
    expect(await here.store.takePrekey(device)).toEqual(oneTime[5])
  })
})

describe("a counter with one column decayed: its mailbox goes on far above all numbers in sight", () => {
  const changes = [
    ...["NULL", `x'${"07".repeat(16)}'`, "x'01'"].map((value) => `mailbox = ${value}`),
    ...wrongNumbers.flatMap((value) => [`next = ${value}`, `checksum = ${value}`]),
  ]
  test.each(changes)("%s", async (change) => {
    await decay(`UPDATE counter SET ${change} WHERE mailbox = x'${"01".repeat(16)}'`)
    expect(contentsNow().counters).toEqual([{ mailbox: other, next: 4 }])
    here = openHere(folder)
    await here.store.append(mailbox, newBlind(), 40, Uint8Array.of(4))
    await here.store.append(other, newBlind(), 40, Uint8Array.of(4))
    const leapt = (await sequencesOf(mailbox)).at(-1)!
    expect(leapt).toBeGreaterThanOrEqual(2 ** 32)
    expect(await sequencesOf(other)).toEqual([1, 2, 3, 4])
    await here.store.close()
    here = openHere(folder)
    await here.store.append(mailbox, newBlind(), 50, Uint8Array.of(5))
    expect((await sequencesOf(mailbox)).at(-1)).toBe(leapt + 1)
    expect((await here.store.inspect()).counters).toHaveLength(2)
  })

  test("the floor's: also a mailbox that never was begins there", async () => {
    await here.store.forget(other, device)
    await decay("DELETE FROM counter WHERE mailbox = x''")
    here = openHere(folder)
    await here.store.append(other, newBlind(), 40, Uint8Array.of(4))
    expect((await sequencesOf(other))[0]).toBeGreaterThanOrEqual(2 ** 32 + 3)
    await here.store.append(mailbox, newBlind(), 40, Uint8Array.of(4))
    expect((await sequencesOf(mailbox)).at(-1)).toBe(4)
  })
})

describe("the writer", () => {
  const append = (n: number) => ({
    kind: "append" as const,
    minute: 1,
    record: new Uint8Array([...mailbox, ...newBlind(), n]),
  })

  test("stops for good when somebody else has written, and keeps nothing of the batch that found out", async () => {
    elsewhere("DELETE FROM counter")
    const refused = {
      failed: { code: "ERR_STORE_UNAVAILABLE", message: "another program has written to the mailbox store" },
    }
    expect(here.writer.trouble).toBeUndefined()
    expect(here.writer.apply([append(4)])).toEqual(refused)
    expect(here.writer.trouble).toEqual(refused.failed)
    expect(here.writer.apply([append(5)])).toEqual(refused)
    here.writer.tidy()
    expect(await sequencesOf(mailbox)).toEqual([1, 2, 3])
  })

  test("keeps nothing of a batch of which one write fails", async () => {
    const broken = { kind: "putPrekeys", device, reset: true, oneTime: [null] } as never
    expect(here.writer.apply([append(4), broken])).toHaveProperty("failed.code", "ERR_STORE_UNAVAILABLE")
    expect(await sequencesOf(mailbox)).toEqual([1, 2, 3])
    expect(await here.store.countPrekeys(device)).toBe(3)
    await here.store.close()
    here = openHere(folder)
    expect(here.writer.apply([append(4)])).toEqual({ results: [{ minute: 1 }] })
    expect(await sequencesOf(mailbox)).toEqual([1, 2, 3, 4])
  })

  test("adds nothing where there is too little room, and goes on deleting", async () => {
    await here.store.close()
    here = openHere(folder, undefined, 2 ** 60)
    const put = { kind: "putPrekeys" as const, device, reset: false, rotating: undefined, oneTime: [] }
    expect(here.writer.apply([append(4), put, { kind: "collect", mailbox, sequences: [1] }])).toEqual({
      results: ["no-room", "no-room", 1],
    })
  })

  test("empties its log at once after a deletion that must leave nothing, and else when it has grown long", async () => {
    const length = () => statSync(walPath(folder)).size
    expect(length()).toBeGreaterThan(0)
    await here.store.expire(0)
    expect(length()).toBe(0)
    await here.store.append(mailbox, newBlind(), 1, Uint8Array.of(1))
    expect(length()).toBeGreaterThan(0)
    await here.store.forget(other, device)
    expect(length()).toBe(0)
    const big = new Uint8Array(1_000_000)
    for (let n = 0; n < 40; n++) await here.store.append(mailbox, newBlind(), 1, big)
    expect(length()).toBeGreaterThan(4096 * 4096)
    expect(length()).toBeLessThan(1.2 * 4096 * 4096)
  })

  test("compares a retry with the first eight of its blind", async () => {
    const blind = newBlind()
    for (let n = 0; n < 9; n++) await here.store.append(mailbox, blind, 100 + n, Uint8Array.of(n))
    const again = (n: number) => here.store.append(mailbox, blind, 200, Uint8Array.of(n))
    expect(await again(7)).toEqual({ outcome: "stored", minute: 107 })
    expect(await again(8)).toEqual({ outcome: "stored", minute: 200 })
  })

  test("drops the memory of a taken prekey on the day after the longest validity", async () => {
    const [day, days] = [1440, fixed.rotatingPrekeySeconds / 86_400]
    const remembered = async () => (await here.store.inspect()).takenPrekeys
    await here.store.takePrekey(device)
    await here.store.expire(1000 * day + 17)
    await here.store.expire((1001 + days) * day + 1439)
    expect(await remembered()).toBe(1)
    await here.store.expire((1002 + days) * day)
    expect(await remembered()).toBe(0)
  })
})
