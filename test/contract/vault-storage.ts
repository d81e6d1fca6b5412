/** What every `VaultStorage` owes (client-sdk/vault/storage.ts). Called by the test of each implementation. */
import { describe, expect, test } from "vitest"
import type { StoredRecord, VaultStorage } from "../../client-sdk/vault/storage.ts"
import { codeOf } from "../support/errors.ts"

export interface StorageUnderTest {
  /** Another connection to the same vault. */
  readonly open: () => VaultStorage
}

/** @param fresh an empty storage's place; cleaned up by whoever makes it. */
export function vaultStorageContract(name: string, fresh: () => StorageUnderTest): void {
  describe(`${name} keeps the contract of a vault's storage`, () => {
    test("starts empty", () => {
      const storage = fresh().open()
      storage.read((tx) => {
        expect(tx.meta("header")).toBeUndefined()
        expect(tx.meta("head")).toBeUndefined()
        expect([...tx.entries()]).toEqual([])
        expect(tx.count(tag(1))).toBe(0)
      })
      storage.close()
    })

    test("gives back what was put, in this transaction, after it, and after closing", () => {
      const { open } = fresh()
      const storage = open()
      const record = recordOf(1, 2)
      storage.transaction((tx) => {
        tx.setMeta("header", bytes(3, 300))
        tx.put(record)
        expect(tx.record(tag(1), id(2))).toEqual(record)
        expect(tx.meta("header")).toEqual(bytes(3, 300))
      })
      expect(storage.read((tx) => tx.record(tag(1), id(2)))).toEqual(record)
      storage.close()
      const again = open()
      expect(again.read((tx) => tx.record(tag(1), id(2)))).toEqual(record)
      expect(again.read((tx) => tx.entry(tag(1), id(2)))).toMatchObject(entryOf(record))
      expect(again.read((tx) => tx.record(tag(2), id(2)))).toBeUndefined()
      expect(again.read((tx) => tx.meta("header"))).toEqual(bytes(3, 300))
      again.close()
    })

    test("replaces and deletes", () => {
      const storage = fresh().open()
      storage.transaction((tx) => {
        tx.put(recordOf(1, 2))
        tx.setMeta("head", bytes(1, 10))
      })
      const other = { ...recordOf(1, 2), nonce: bytes(9, 24), value: bytes(9, 70_000), volatile: true }
      storage.transaction((tx) => {
        tx.put(other)
        tx.setMeta("head", bytes(2, 20))
      })
      expect(storage.read((tx) => tx.record(tag(1), id(2)))).toEqual(other)
      expect(storage.read((tx) => tx.meta("head"))).toEqual(bytes(2, 20))
      storage.transaction((tx) => {
        tx.delete(tag(1), id(2))
        tx.delete(tag(1), id(99))
      })
      expect(storage.read((tx) => tx.entry(tag(1), id(2)))).toBeUndefined()
      storage.close()
    })

    test("lists entries ascending by collection and id, all or of one collection", () => {
      const storage = fresh().open()
      storage.transaction((tx) => {
        for (const [c, i] of [[2, 200], [1, 255], [1, 3], [200, 1], [1, 128]] as const) tx.put(recordOf(c, i)) // prettier-ignore
      })
      const places = (collection?: Uint8Array) =>
        storage.read((tx) => Array.from(tx.entries(collection), (e) => [e.collection[0], e.id[0]]))
      expect(places()).toEqual([[1, 3], [1, 128], [1, 255], [2, 200], [200, 1]]) // prettier-ignore
      expect(places(tag(1))).toEqual([[1, 3], [1, 128], [1, 255]]) // prettier-ignore
      expect(storage.read((tx) => tx.count(tag(1)))).toBe(3)
      storage.read((tx) => {
        for (const entry of tx.entries()) if (entry.id[0] === 128) break
      })
      storage.transaction((tx) => tx.delete(tag(1), id(3)))
      expect(places(tag(3))).toEqual([])
      storage.close()
    })

    test("undoes everything that a throwing body did, and throws its error on", () => {
      const storage = fresh().open()
      storage.transaction((tx) => {
        tx.put(recordOf(1, 1))
        tx.setMeta("head", bytes(1, 8))
      })
      const failure = new Error("no")
      expect(() =>
        storage.transaction((tx) => {
          tx.put({ ...recordOf(1, 1), value: bytes(5, 5) })
          tx.put(recordOf(1, 2))
          tx.setMeta("head", bytes(2, 8))
          tx.delete(tag(1), id(1))
          throw failure
        }),
      ).toThrow(failure)
      storage.read((tx) => {
        expect(tx.record(tag(1), id(1))).toEqual(recordOf(1, 1))
        expect(tx.record(tag(1), id(2))).toBeUndefined()
        expect(tx.meta("head")).toEqual(bytes(1, 8))
      })
      storage.close()
    })

    test("refuses a transaction inside another, and goes on with the outer one", () => {
      const storage = fresh().open()
      storage.transaction((tx) => {
        expect(codeOf(() => storage.transaction(() => 0))).toBe("ERR_USAGE")
        expect(codeOf(() => storage.read(() => 0))).toBe("ERR_USAGE")
        expect(codeOf(() => storage.scrub())).toBe("ERR_USAGE")
        tx.put(recordOf(1, 1))
      })
      expect(storage.read((tx) => tx.count(tag(1)))).toBe(1)
      expect(codeOf(() => storage.read(() => storage.transaction(() => 0)))).toBe("ERR_USAGE")
      storage.close()
    })

    test("shows a connection the commits of others, and their number changes only then", () => {
      const { open } = fresh()
      const [one, two] = [open(), open()]
      const before = two.foreignVersion()
      one.transaction((tx) => tx.put(recordOf(1, 1)))
      expect(two.foreignVersion()).not.toBe(before)
      const after = two.foreignVersion()
      expect(two.foreignVersion()).toBe(after)
      expect(two.read((tx) => tx.count(tag(1)))).toBe(1)
      two.transaction((tx) => tx.put(recordOf(1, 2)))
      expect(two.foreignVersion()).toBe(after)
      expect(one.read((tx) => tx.count(tag(1)))).toBe(2)
      one.close()
      two.close()
    })

    test("scrubs and compacts without losing anything", () => {
      const storage = fresh().open()
      storage.transaction((tx) => {
        for (let i = 0; i < 50; i++) tx.put(recordOf(1, i))
        for (let i = 0; i < 25; i++) tx.delete(tag(1), id(i))
      })
      expect(storage.scrub()).toBe(true)
      expect(storage.compact()).toBe(true)
      expect(storage.read((tx) => tx.record(tag(1), id(30)))).toEqual(recordOf(1, 30))
      expect(storage.read((tx) => tx.count(tag(1)))).toBe(25)
      storage.close()
    })

    test("after close, close is harmless and everything else throws", () => {
      const storage = fresh().open()
      storage.close()
      storage.close()
      expect(codeOf(() => storage.read(() => 0))).toBe("ERR_USAGE")
      expect(codeOf(() => storage.transaction(() => 0))).toBe("ERR_USAGE")
      expect(codeOf(() => storage.foreignVersion())).toBe("ERR_USAGE")
      expect(codeOf(() => storage.scrub())).toBe("ERR_USAGE")
    })
  })
}

export const recordOf = (collection: number, key: number): StoredRecord => ({
  collection: tag(collection),
  id: id(key),
  volatile: key % 2 === 1,
  nonce: bytes(key, 24),
  name: bytes(key, 40),
  value: bytes(key, 100 + 40 * key),
})

const entryOf = ({ collection, id, volatile, nonce, name }: StoredRecord) => ({ collection, id, volatile, nonce, name })
export const tag = (n: number): Uint8Array => bytes(n, 8)
export const id = (n: number): Uint8Array => bytes(n, 16)
const bytes = (n: number, length: number): Uint8Array => new Uint8Array(length).fill(n)
