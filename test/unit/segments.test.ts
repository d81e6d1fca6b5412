/** Segment files without a relay: what a crash and decay leave, what cleaning leaves, and how retries are found. */
import { randomBytes } from "node:crypto"
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { keptEnvelopes } from "../../relay/segment-inspect.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { openStoreHere } from "../support/shelf-here.ts"

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const other = new Uint8Array(16).fill(2) as MailboxId
const device = new Uint8Array(32).fill(3) as DeviceId

let folder: string
let store: MailboxStore
let decayed: number
const open = async (): Promise<void> => {
  store = await openStoreHere(folder, { onDecayed: () => (decayed += 1) })
}
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-segments-"))
  decayed = 0
  await open()
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const files = (): string[] =>
  readdirSync(folder)
    .filter((name) => /^mailboxes\.\d/.test(name))
    .map((name) => join(folder, name))
const newest = (): string => files().at(-1)!
const append = (to: MailboxId, minute: number, bytes: Uint8Array, blind: Uint8Array = randomBytes(32)) =>
  store.append(to, blind, minute, bytes)
const sequences = async (of: MailboxId): Promise<number[]> =>
  (await store.read(of, 0, 1000)).map(({ sequence }) => sequence)
const changed = (path: string, at: number, bit = 1): void => {
  const bytes = readFileSync(path)
  bytes[at]! ^= bit
  writeFileSync(path, bytes)
}
/** As a crash leaves the folder: without what closing writes. */
async function crash(damage: () => void = () => {}): Promise<void> {
  const lengths = files().map((path) => [path, readFileSync(path)] as const)
  await store.close()
  for (const [path, bytes] of lengths) writeFileSync(path, bytes)
  damage()
  await open()
}

describe("after a crash", () => {
  test.each([1, 15, 16, 47, 48, 60, 900])(
    "a record torn after %i bytes is cut off, and what follows is kept",
    async (bytes) => {
      await append(mailbox, 1, randomBytes(10))
      const before = statSync(newest()).size
      await append(mailbox, 2, randomBytes(1000))
      await crash(() => writeFileSync(newest(), readFileSync(newest()).subarray(0, before + bytes)))
      expect(await sequences(mailbox)).toEqual([1])
      expect(statSync(newest()).size).toBe(before)
      const [next] = [await append(mailbox, 3, randomBytes(10)), await store.close(), await open()]
      expect(next).toEqual({ outcome: "stored", minute: 3 })
      expect((await store.read(mailbox, 0, 9)).map(({ minute }) => minute)).toEqual([1, 3])
      expect(keptEnvelopes(folder).decayed).toEqual([])
    },
  )

  test("a torn tail may have held counters: numbers go on far above, of old mailboxes and of new ones", async () => {
    await append(mailbox, 1, randomBytes(10))
    await crash(() => appendFileSync(newest(), randomBytes(64)))
    await append(mailbox, 1, randomBytes(10))
    await append(other, 1, randomBytes(10))
    const [[, second], [first]] = [await sequences(mailbox), await sequences(other)]
    expect(second).toBeGreaterThan(2 ** 32)
    expect(first).toBeGreaterThan(2 ** 32)
  })

  test("an orderly end leaves no doubt: numbers go on by one", async () => {
    await append(mailbox, 1, randomBytes(10))
    await store.close()
    await open()
    await append(mailbox, 1, randomBytes(10))
    expect(await sequences(mailbox)).toEqual([1, 2])
    await crash()
    await append(mailbox, 1, randomBytes(10))
    expect(await sequences(mailbox)).toEqual([1, 2, 3])
  })

  test("closing twice in a row without a change in between writes nothing", async () => {
    await append(mailbox, 1, randomBytes(10))
    await store.close()
    const before = readFileSync(newest())
    await open()
    await store.close()
    expect(readFileSync(newest())).toEqual(before)
    await open()
  })

  test("what was collected stays collected, though it was never overwritten", async () => {
    for (const n of [1, 2, 3, 4]) await append(mailbox, n, randomBytes(100))
    await append(other, 1, randomBytes(100))
    await store.collect(mailbox, [1, 3])
    await crash()
    expect(await sequences(mailbox)).toEqual([2, 4])
    expect(await sequences(other)).toEqual([1])
    await append(mailbox, 5, randomBytes(100))
    expect(await sequences(mailbox)).toEqual([2, 4, 5])
  })
})

describe("decay", () => {
  /** Three records in a row, and where each begins. */
  async function three(): Promise<number[]> {
    const places: number[] = []
    for (const n of [1, 2, 3]) {
      places.push(n === 1 ? 0 : statSync(newest()).size)
      await append(mailbox, 10 * n, randomBytes(100))
    }
    return places
  }

  test("of any field of a head: that envelope is lost and reported, the others are there, and it expires", async () => {
    const [, at] = await three()
    await store.close()
    const whole = readFileSync(newest())
    // Two bytes of each: check, kind, blind, length, check of the body, mailbox, sequence, minute.
    for (const i of [0, 3, 4, 5, 7, 8, 11, 12, 15, 16, 31, 32, 39, 40, 47]) {
      writeFileSync(newest(), whole)
      changed(newest(), at! + i, 1 << (i % 8))
      expect(keptEnvelopes(folder), `byte ${i}`).toMatchObject({ envelopes: { length: 2 }, decayed: { length: 1 } })
      await open()
      expect(await sequences(mailbox), `byte ${i}`).toEqual([1, 3])
      await append(mailbox, 30, randomBytes(10))
      expect((await sequences(mailbox)).at(-1), `byte ${i}`).toBeGreaterThan(3)
      expect(await store.expire(20)).toBe(1)
      expect(keptEnvelopes(folder).decayed, `byte ${i}`).toEqual([])
      await store.close()
    }
    writeFileSync(newest(), whole)
    await open()
  })

  test.each([48, 79, 80, 179])("of byte %i, in a body: likewise, and it says which", async (byte) => {
    const [, at] = await three()
    await store.close()
    changed(newest(), at! + byte)
    expect(keptEnvelopes(folder).decayed).toEqual([{ mailbox, sequence: 2 }])
    await open()
    expect(await sequences(mailbox)).toEqual([1, 3])
    // Found at the opening, when the relay inspects.
    expect(decayed).toBe(0)
    expect(await store.expire(20)).toBe(1)
    expect(await store.expire(21)).toBe(1)
    expect(keptEnvelopes(folder)).toMatchObject({ envelopes: { length: 1 }, decayed: [] })
  })

  test("of padding harms nothing", async () => {
    const [, at] = await three()
    await store.close()
    changed(newest(), at! + 48 + 32 + 100 + 5)
    await open()
    expect(await sequences(mailbox)).toEqual([1, 2, 3])
  })

  test("of the counters: numbers go on far above", async () => {
    await three()
    await store.close()
    await open()
    await append(mailbox, 1, randomBytes(5))
    await store.close()
    const whole = readFileSync(newest())
    const at = whole.lastIndexOf(Buffer.from(mailbox))
    changed(newest(), at + 3)
    await open()
    await append(mailbox, 1, randomBytes(5))
    expect((await sequences(mailbox)).at(-1)).toBeGreaterThan(2 ** 32)
  })

  test("while the store is open is said once of each, and keeps nothing back", async () => {
    const [first, second] = await three()
    await store.close()
    await open()
    changed(newest(), first! + 100)
    changed(newest(), second! + 20)
    expect(await sequences(mailbox)).toEqual([3])
    expect((await store.read(mailbox, 0, 1)).map(({ sequence }) => sequence)).toEqual([3])
    expect(decayed).toBe(2)
    expect(await store.expire(21)).toBe(2)
  })
})

describe("the index", () => {
  test("of a mailbox most of which was collected has the rest, in order", async () => {
    for (let n = 0; n < 200; n++) await append(mailbox, n, new Uint8Array([n]))
    const all = await sequences(mailbox)
    await store.collect(
      mailbox,
      all.filter((n) => n % 10 !== 0),
    )
    const rest = all.filter((n) => n % 10 === 0)
    expect(await sequences(mailbox)).toEqual(rest)
    await append(mailbox, 300, randomBytes(9))
    expect(await sequences(mailbox)).toEqual([...rest, 201])
    expect(await store.expire(150)).toBe(15)
    expect(await sequences(mailbox)).toEqual([160, 170, 180, 190, 200, 201])
  })

  test("after a restart reads in order what cleaning has moved behind the younger", async () => {
    await append(other, 9, randomBytes(10))
    for (const n of [1, 2]) await append(mailbox, n, randomBytes(700_000))
    await store.expire(0)
    await append(mailbox, 9, randomBytes(900_000))
    await append(other, 9, randomBytes(10))
    await store.expire(3)
    await store.close()
    await open()
    expect(await sequences(other)).toEqual([1, 2])
    expect(await sequences(mailbox)).toEqual([3])
  })

  test("lets each damage go when its neighbour would, and not before", async () => {
    const places: number[] = []
    for (const n of [10, 20, 30, 40, 50]) {
      places.push(n === 10 ? 0 : statSync(newest()).size)
      await append(mailbox, n, randomBytes(100))
    }
    await store.close()
    for (const i of [1, 3]) changed(newest(), places[i]! + 20)
    await open()
    const damages = async (beforeMinute: number) => {
      await store.expire(beforeMinute)
      return keptEnvelopes(folder).decayed.length
    }
    // Each has the minute of the record before it.
    expect([await damages(10), await damages(11), await damages(30), await damages(31)]).toEqual([2, 1, 1, 0])
    expect(await sequences(mailbox)).toEqual([5])
  })

  test("forgets the counters of a forgotten mailbox also when the file has older ones", async () => {
    await append(mailbox, 1, randomBytes(10))
    await store.expire(0)
    await append(mailbox, 1, randomBytes(10))
    await store.close()
    await open()
    await store.forget(mailbox, device)
    await store.close()
    expect(keptEnvelopes(folder).counters).toEqual([])
    await open()
  })
})

describe("a retry", () => {
  test("is found among envelopes whose blinds begin alike, whichever of them went first", async () => {
    const blindOf = (n: number) => new Uint8Array(32).fill(7).fill(n, 3)
    for (const n of [1, 2, 3, 4]) await append(mailbox, n, new Uint8Array([n]), blindOf(n))
    const again = (n: number) => append(mailbox, 9, new Uint8Array([n]), blindOf(n))
    for (const n of [1, 2, 3, 4]) expect(await again(n)).toEqual({ outcome: "stored", minute: n })
    await store.collect(mailbox, [2])
    for (const n of [1, 3, 4]) expect(await again(n)).toEqual({ outcome: "stored", minute: n })
    await store.collect(mailbox, [4])
    for (const n of [1, 3]) expect(await again(n)).toEqual({ outcome: "stored", minute: n })
    await store.collect(mailbox, [1, 3])
    expect(await again(1)).toEqual({ outcome: "stored", minute: 9 })
    expect(await sequences(mailbox)).toEqual([5])
  })

  test("is compared with eight of its blind and length at most", async () => {
    const blind = randomBytes(32)
    for (let n = 0; n < 9; n++) await append(mailbox, 100 + n, new Uint8Array([n]), blind)
    for (let n = 0; n < 20; n++) await append(mailbox, 200, new Uint8Array(2).fill(n), blind)
    const again = (n: number) => append(mailbox, 300, new Uint8Array([n]), blind)
    expect(await again(1)).toEqual({ outcome: "stored", minute: 101 })
    expect(await again(0)).toEqual({ outcome: "stored", minute: 300 })
  })

  test("is found on the disk, and not where that has decayed", async () => {
    const [blind, bytes] = [randomBytes(32), randomBytes(100)]
    await append(mailbox, 1, bytes, blind)
    await append(mailbox, 2, randomBytes(100))
    await store.close()
    await open()
    expect(await append(mailbox, 3, bytes, blind)).toEqual({ outcome: "stored", minute: 1 })
    changed(newest(), 100)
    expect(await append(mailbox, 4, bytes, blind)).toEqual({ outcome: "stored", minute: 4 })
  })
})

describe("cleaning", () => {
  const big = 700_000

  test("overwrites what is deleted and keeps the rest where it is", async () => {
    const [gone, kept] = [randomBytes(300), randomBytes(300)]
    await append(mailbox, 1, gone)
    await append(other, 5, kept)
    await append(mailbox, 1, gone)
    await store.collect(mailbox, [1])
    await store.expire(3)
    const file = readFileSync(newest())
    expect([file.includes(gone), file.includes(kept)]).toEqual([false, true])
    expect(files()).toHaveLength(1)
    await crash()
    expect(await sequences(mailbox)).toEqual([])
    expect(await store.read(other, 0, 9)).toEqual([{ sequence: 1, minute: 5, bytes: new Uint8Array(kept) }])
    await append(mailbox, 6, gone)
    expect(await sequences(mailbox)).toEqual([3])
  })

  test("removes a long file in which nothing is kept, and moves what little is left of another", async () => {
    for (const n of [1, 2, 3, 4]) await append(mailbox, n, randomBytes(big))
    const kept = randomBytes(big)
    await append(other, 9, kept)
    const [first] = files()
    await store.expire(5)
    expect(files()).not.toContain(first)
    expect(await store.read(other, 0, 9)).toEqual([{ sequence: 1, minute: 9, bytes: new Uint8Array(kept) }])
    await crash()
    expect(await store.read(other, 0, 9)).toEqual([{ sequence: 1, minute: 9, bytes: new Uint8Array(kept) }])
    await store.expire(10)
    expect(await sequences(other)).toEqual([])
    expect(files().some((path) => readFileSync(path).includes(kept))).toBe(false)
  })

  test("moves nothing out of a file of which more than a quarter is kept, or that holds damage", async () => {
    for (const n of [1, 2, 3]) await append(mailbox, n, randomBytes(big))
    const [first] = files()
    await store.expire(3)
    expect(files()).toContain(first)
    expect(statSync(first!).size).toBeGreaterThan(3 * big)
    expect(await sequences(mailbox)).toEqual([3])
  })

  test("an envelope that stands twice after a crash in the middle of moving is one", async () => {
    for (const n of [1, 2, 3, 4]) await append(mailbox, n, randomBytes(big))
    await append(other, 9, randomBytes(big))
    const [path, whole] = [newest(), readFileSync(newest())]
    await store.expire(5)
    await crash(() => writeFileSync(path, whole))
    expect(await sequences(other)).toEqual([1])
    expect((await store.inspect()).envelopes).toHaveLength(5)
    await store.expire(10)
    expect(keptEnvelopes(folder)).toMatchObject({ envelopes: [], decayed: [] })
  })

  test("a forgotten mailbox begins above all its numbers, also after a crash", async () => {
    for (const n of [1, 2, 3]) await append(mailbox, n, randomBytes(10))
    await store.forget(mailbox, device)
    await crash()
    expect(keptEnvelopes(folder)).toMatchObject({ envelopes: [], counters: [] })
    await append(mailbox, 1, randomBytes(10))
    expect(await sequences(mailbox)).toEqual([4])
  })
})
