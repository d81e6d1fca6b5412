/** The shelf's writer, reader and records without their thread: decay and trouble. The contract is the store's. */
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { fixed } from "../../protocol/limits.ts"
import { openForReading, shelfPath, walPath } from "../../relay/prekey-shelf-file.ts"
import { shelfContents } from "../../relay/prekey-shelf-reader.ts"
import { ShelfWriter } from "../../relay/prekey-shelf-writer.ts"

const device = new Uint8Array(32).fill(3)
const statements = [1, 2, 3].map((n) => Uint8Array.of(n))
const rotating = Uint8Array.of(9)
const put = (oneTime: readonly Uint8Array[] = []) =>
  ({ kind: "put", device, reset: false, rotating: undefined, oneTime }) as const

let folder: string
let writer: ShelfWriter
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-shelf-"))
  writer = new ShelfWriter(folder)
  writer.apply([{ kind: "put", device, reset: false, rotating, oneTime: statements }])
})
afterEach(() => {
  writer.close()
  rmSync(folder, { recursive: true, force: true })
})

function elsewhere(...changes: string[]): void {
  const db = new DatabaseSync(shelfPath(folder), { timeout: 5000 })
  for (const change of changes) db.exec(change)
  db.close()
}
/** Changes the file behind the shelf's back, while it is closed. */
function decay(...changes: string[]): void {
  writer.close()
  elsewhere(...changes)
  writer = new ShelfWriter(folder)
}
function contents() {
  const db = openForReading(folder)
  const found = shelfContents(db)
  db.close()
  return found
}
const take = (): unknown => writer.apply([{ kind: "take", device }])[0]

describe("a prekey with one column decayed is not given out", () => {
  const changes = [
    "device = NULL",
    "device = x'03'",
    "statement = x'08'",
    "statement = 'a'",
    "digest = NULL",
    "digest = x'00'",
  ]
  test.each(changes)("%s", (change) => {
    decay(`UPDATE one_time_prekey SET ${change} WHERE id = 1`, `UPDATE rotating_prekey SET ${change}`)
    expect(contents()).toEqual({
      prekeys: [{ device, oneTime: 2, rotating: false }],
      decayed: 2,
      takenPrekeys: 0,
      intact: true,
    })
    expect([take(), take(), take()]).toEqual([statements[1], statements[2], undefined])
  })

  test("many decayed in a row: the rotating one stands in, and the next call goes on behind them", () => {
    const oneTime = Array.from({ length: 6 }, (_, i) => Uint8Array.of(50 + i))
    writer.apply([put(oneTime)])
    decay("UPDATE one_time_prekey SET digest = x'00' WHERE id <= 8")
    expect([take(), take()]).toEqual([rotating, oneTime[5]])
  })

  test("a number that no program can count to stops nothing", () => {
    decay(`UPDATE one_time_prekey SET id = ${2n ** 62n} WHERE id = 3`)
    expect([take(), take(), take(), take()]).toEqual([...statements, rotating])
  })
})

test("a batch is one transaction: nothing is kept of one in which a change fails, and none comes after it", () => {
  const broken = { ...put(), oneTime: [null] } as never
  expect(() => writer.apply([put([Uint8Array.of(4)]), broken])).toThrow()
  expect(writer.count(device)).toBe(3)
  expect(() => writer.apply([put()])).toThrow(expect.objectContaining({ code: "ERR_STORE_UNAVAILABLE" }))
  expect(writer.trouble).toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  writer.close()
  writer = new ShelfWriter(folder)
  expect(writer.apply([put([Uint8Array.of(4)])])).toEqual([4])
})

test("somebody else who writes, lock or no lock, ends the writing here; reading goes on", () => {
  elsewhere("DELETE FROM rotating_prekey")
  const refused = { code: "ERR_STORE_UNAVAILABLE", message: "another program has written to the mailbox store" }
  expect(take).toThrow(expect.objectContaining(refused))
  expect(take).toThrow(expect.objectContaining(refused))
  expect(writer.count(device)).toBe(3)
})

describe("the write-ahead log", () => {
  const length = () => statSync(walPath(folder)).size

  test("is emptied after a deletion that must leave nothing, and from time to time", () => {
    expect(length()).toBeGreaterThan(0)
    writer.apply([{ kind: "expire", beforeMinute: 0 }])
    expect(length()).toBe(0)
    writer.apply([put([Uint8Array.of(4)])])
    expect(length()).toBeGreaterThan(0)
    writer.apply([{ kind: "forget", device }])
    expect(length()).toBe(0)
    const big = [new Uint8Array(1_000_000)]
    for (let n = 0; n < 20; n++) writer.apply([{ ...put(big), reset: true }])
    expect(length()).toBeLessThan(8_000_000)
  })

  test("somebody who reads for long holds up nothing; it is emptied when they are done", () => {
    const reader = new DatabaseSync(shelfPath(folder), { readOnly: true })
    reader.exec("BEGIN; SELECT count(*) FROM one_time_prekey")
    writer.apply([put([Uint8Array.of(4)]), { kind: "expire", beforeMinute: 1 }])
    expect(length()).toBeGreaterThan(0)
    expect(reader.prepare("SELECT count(*) AS n FROM one_time_prekey").get()?.n).toBe(3)
    reader.exec("ROLLBACK")
    reader.close()
    writer.apply([put()])
    expect(length()).toBe(0)
  })
})

test("the memory of a taken prekey goes on the day after the longest validity", () => {
  const [day, days] = [1440, fixed.rotatingPrekeySeconds / 86_400]
  const expire = (beforeMinute: number) => writer.apply([{ kind: "expire", beforeMinute }])
  take()
  expire(1000 * day + 17)
  expire((1001 + days) * day + 1439)
  expect(contents().takenPrekeys).toBe(1)
  expire((1002 + days) * day)
  expect(contents().takenPrekeys).toBe(0)
})
