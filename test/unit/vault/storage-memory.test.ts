import { describe, expect, test } from "vitest"
import { MemoryVaultFile, MemoryVaultStorage } from "../../../client-sdk/vault/storage-memory.ts"
import { id, recordOf, tag, vaultStorageContract } from "../../contract/vault-storage.ts"
import { codeOf } from "../../support/errors.ts"

vaultStorageContract("memory", () => {
  const file = new MemoryVaultFile()
  return { open: () => new MemoryVaultStorage(file) }
})

describe("faults in memory", () => {
  const filled = () => {
    const file = new MemoryVaultFile()
    const storage = new MemoryVaultStorage(file)
    storage.transaction((tx) => tx.put(recordOf(1, 1)))
    const after = () => new MemoryVaultStorage(file).read((tx) => tx.count(tag(1)))
    return { storage, after }
  }
  const putSecond = (storage: MemoryVaultStorage) => storage.transaction((tx) => tx.put(recordOf(1, 2)))

  test("a full disk refuses one commit and changes nothing", () => {
    const { storage, after } = filled()
    storage.failNextCommit("refuse")
    expect(codeOf(() => putSecond(storage))).toBe("ERR_DISK")
    expect(after()).toBe(1)
    putSecond(storage)
    expect(after()).toBe(2)
  })

  test("a crash before the commit loses it, one after it does not; both kill the connection", () => {
    for (const [fault, count] of [
      ["crash before", 1],
      ["crash after", 2],
    ] as const) {
      // prettier-ignore
      const { storage, after } = filled()
      storage.failNextCommit(fault)
      expect(codeOf(() => putSecond(storage))).toBe("ERR_USAGE")
      expect(after()).toBe(count)
      expect(codeOf(() => putSecond(storage))).toBe("ERR_USAGE")
    }
  })

  test("a crash in the middle of a transaction loses all of it", () => {
    const { storage, after } = filled()
    const crashing = () =>
      storage.transaction((tx) => {
        tx.delete(tag(1), id(1))
        tx.put(recordOf(1, 2))
        storage.crash()
        tx.put(recordOf(1, 3))
      })
    expect(codeOf(crashing)).toBe("ERR_USAGE")
    expect(after()).toBe(1)
  })
})
