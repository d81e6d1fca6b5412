import { expect, test } from "vitest"
import { nodeMachine } from "../../../system/node.ts"
import { openVaultFile } from "../../../client-sdk/vault/storage-sqlite.ts"
import { MemoryVaultFile, MemoryVaultStorage } from "../../../client-sdk/vault/storage-memory.ts"
import { fileVault, memoryVault, openVault, startWorker, testMachine } from "../../support/vault.ts"

test("two processes share a vault: both writes, no update lost, one journal, changes told to a third", async () => {
  const { path, vault } = await fileVault(nodeMachine)
  let heard = 0
  const changed = new Promise<void>((resolve) => vault.onChange(() => ++heard === 1 && resolve()))
  const workers = ["one", "two"].map((name) => startWorker("receive", path, name, "120"))
  await changed
  vault.transaction((tx) => tx.put("contacts", "third", { name: "writes, too" }))
  expect(await Promise.all(workers.map(({ ended }) => ended))).toEqual([0, 0])
  vault.read((tx) => {
    expect(tx.get("counters", "all")).toEqual({ n: 240 })
    expect(tx.count("archive")).toBe(240)
    expect(tx.count("replay")).toBe(240)
    for (const name of ["one", "two"])
      for (let n = 0; n < 120; n++) expect(tx.get("archive", `${name}/${n}`)?.n).toBe(n)
  })
  expect(vault.verifyJournal()).toMatchObject({ ok: true, head: { count: 241 } })
  vault.verify()
  await vault.close()
})

test("a new incarnation in one process is seen by the next transaction of another", async () => {
  const { path, vault } = await fileVault()
  const other = await openVault(openVaultFile(path))
  vault.transaction((tx) => tx.put("prekeys", "k", { seed: new Uint8Array(32) }))
  const started = vault.startNewIncarnation()
  expect(other.incarnation).toEqual(started)
  expect(other.read((tx) => tx.count("prekeys"))).toBe(0)
  other.transaction((tx) => tx.put("prekeys", "k2", { seed: new Uint8Array(32) }))
  expect(vault.read((tx) => tx.get("prekeys", "k2"))).toBeDefined()
})

test("two processes that open a restored backup at once agree on its incarnation", async () => {
  const { vault } = await memoryVault()
  const backup = new MemoryVaultFile()
  vault.backup(new MemoryVaultStorage(backup))
  const [meta, records] = [new Map(backup.meta), new Map(backup.records)]
  const first = await openVault(new MemoryVaultStorage(backup), testMachine("first"))

  // The second found no incarnation, and is about to start one, when the first commits its own.
  const file = new MemoryVaultFile()
  const storage = new MemoryVaultStorage(file)
  for (const [name, bytes] of meta) file.meta.set(name, bytes)
  for (const [place, record] of records) file.records.set(place, record)
  const transaction = storage.transaction.bind(storage)
  storage.transaction = (body) => {
    for (const [name, bytes] of backup.meta) file.meta.set(name, bytes)
    for (const [place, record] of backup.records) file.records.set(place, record)
    return transaction(body)
  }
  const second = await openVault(storage, testMachine("second"))
  expect(second.incarnation).toEqual(first.incarnation)
  second.verify()
})

test("scrubbing while another process reads is put off, not waited for endlessly", async () => {
  const { path, vault } = await fileVault()
  const reader = openVaultFile(path)
  vault.transaction((tx) => tx.put("prekeys", "k", { seed: new Uint8Array(32) }))
  vault.transaction((tx) => tx.delete("prekeys", "k"))
  reader.read((rows) => {
    rows.meta("head")
    expect(vault.scrub()).toBe(false)
  })
  expect(vault.scrub()).toBe(true)
  reader.close()
}, 60_000)
