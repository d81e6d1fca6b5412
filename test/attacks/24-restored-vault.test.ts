import { DatabaseSync } from "node:sqlite"
import { expect, test } from "vitest"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { MemoryVaultStorage, MemoryVaultFile } from "../../client-sdk/vault/storage-memory.ts"
import { fileVault, memoryVault, openVault, testMachine, type TestVault } from "../support/vault.ts"

/** A vault that has received a message and holds a prekey, a replay entry and a counter. */
async function usedVault() {
  const used = await memoryVault()
  used.vault.transaction((tx) => {
    tx.put("archive", "m1", { subject: "kept", n: 1 })
    tx.put("prekeys", "k1", { seed: new Uint8Array(32).fill(7) })
    tx.put("replay", "m1", { content: new Uint8Array(32) })
    tx.put("counters", "to sg", { n: 41 })
  })
  return used
}

function backupOf(vault: TestVault): MemoryVaultFile {
  const file = new MemoryVaultFile()
  vault.backup(new MemoryVaultStorage(file))
  return file
}

const volatileIn = (vault: TestVault) =>
  vault.read((tx) => [tx.count("prekeys"), tx.count("replay"), tx.count("counters")])

test("24 restored vault: a backup holds no prekey secret, replay store, counter or incarnation", async () => {
  const { vault } = await usedVault()
  const file = backupOf(vault)
  expect([...file.records.values()].filter(({ volatile }) => volatile)).toEqual([])
  const restored = await openVault(new MemoryVaultStorage(file))
  expect(volatileIn(restored)).toEqual([0, 0, 0])
  expect(restored.read((tx) => tx.get("archive", "m1"))).toEqual({ subject: "kept", n: 1 })
})

test("24 restored vault: it starts a new incarnation when it is opened, says so in its journal, and keeps it", async () => {
  const { vault } = await usedVault()
  const file = backupOf(vault)
  const restored = await openVault(new MemoryVaultStorage(file))
  expect(restored.incarnation).toHaveLength(16)
  expect(restored.incarnation).not.toEqual(vault.incarnation)
  const [last] = restored.read((tx) => [...tx.journal({ reverse: true, limit: 1 })])
  expect(last).toMatchObject({
    event: "vault.incarnation",
    details: { reason: "restored", incarnation: restored.incarnation },
  })
  const again = await openVault(new MemoryVaultStorage(file))
  expect(again.incarnation).toEqual(restored.incarnation)
  const second = await openVault(new MemoryVaultStorage(backupOf(vault)), testMachine("a second restoring"))
  expect(second.incarnation).not.toEqual(restored.incarnation)
})

test("24 restored vault: the roll-back alarm erases prekeys, replay store and counters, and nothing else", async () => {
  const { vault, reopen } = await usedVault()
  const before = vault.incarnation
  const started = vault.startNewIncarnation()
  expect(started).not.toEqual(before)
  expect(vault.incarnation).toEqual(started)
  expect(volatileIn(vault)).toEqual([0, 0, 0])
  const again = await reopen()
  expect(volatileIn(again)).toEqual([0, 0, 0])
  expect(again.incarnation).toEqual(started)
  expect(again.read((tx) => tx.count("archive"))).toBe(1)
})

test("24 restored vault: a single record of an older state, put back by somebody without the key, is found", async () => {
  const { path, vault } = await fileVault()
  vault.transaction((tx) => tx.put("counters", "to sg", { n: 1 }))
  await vault.close()
  const rows = () => {
    const db = new DatabaseSync(path)
    return { db, all: db.prepare("SELECT * FROM records WHERE volatile = 1").all() }
  }
  const older = rows()
  older.db.close()
  expect(older.all).toHaveLength(1)
  const next = await openVault(openVaultFile(path))
  next.transaction((tx) => tx.put("counters", "to sg", { n: 2 }))
  await next.close()

  const now = rows()
  const { nonce, name, value } = older.all[0]!
  now.db.prepare("UPDATE records SET nonce = ?, name = ?, value = ? WHERE volatile = 1").run(nonce!, name!, value!)
  now.db.close()
  const storage = openVaultFile(path)
  await expect(openVault(storage)).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
  storage.close()
})

test("24 restored vault: the volatile part cannot be cut out to force a new incarnation", async () => {
  const { file } = await usedVault()
  for (const [place, record] of file.records) if (record.volatile) file.records.delete(place)
  await expect(openVault(new MemoryVaultStorage(file))).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
})
