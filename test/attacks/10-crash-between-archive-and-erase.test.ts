import { expect, test } from "vitest"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { fileVault, memoryVault, openVault, startWorker, type TestVault } from "../support/vault.ts"

const whatIsThere = (vault: TestVault) =>
  vault.read((tx) => [tx.count("archive"), tx.count("replay"), tx.count("prekeys")])

test("10 crash between archive and erase: a process killed there has done neither, and can do both again", async () => {
  const { path, vault } = await fileVault()
  vault.transaction((tx) => tx.put("prekeys", "k1", { seed: new Uint8Array(32) }))
  await vault.close()
  const { child, ended } = startWorker("die-halfway", path)
  await ended
  expect(child.signalCode).toBe("SIGKILL")
  const again = await openVault(openVaultFile(path))
  expect(whatIsThere(again)).toEqual([0, 0, 1])
  again.transaction((tx) => {
    tx.put("archive", "m1", { subject: "whole", n: 1 })
    tx.put("replay", "m1", { content: new Uint8Array(32) })
    tx.delete("prekeys", "k1")
  })
  expect(whatIsThere(again)).toEqual([1, 1, 0])
  again.verify()
  await again.close()
})

test("10 crash at the commit itself: all of it or nothing", async () => {
  for (const [fault, there] of [
    ["crash before", [0, 0, 1]],
    ["crash after", [1, 1, 0]],
  ] as const) {
    // prettier-ignore
    const { vault, storage, file } = await memoryVault()
    vault.transaction((tx) => tx.put("prekeys", "k1", { seed: new Uint8Array(32) }))
    storage.failNextCommit(fault)
    const opening = () =>
      vault.transaction((tx) => {
        tx.put("archive", "m1", { subject: "whole", n: 1 })
        tx.put("replay", "m1", { content: new Uint8Array(32) })
        tx.delete("prekeys", "k1")
      })
    expect(opening).toThrow()
    expect(whatIsThere(await openVault(new MemoryVaultStorage(file)))).toEqual(there)
  }
})
