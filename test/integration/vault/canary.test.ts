/** Nothing that is put into a vault can be read in its files, whatever is done with them (docs/vault.md). */
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { hex, utf8 } from "../../../protocol/bytes.ts"
import { nodeMachine } from "../../../system/node.ts"
import { tryAcquireLine } from "../../../client-sdk/vault/line.ts"
import { backupToFile, openVaultFile } from "../../../client-sdk/vault/storage-sqlite.ts"
import { about, fileVault, keySecret, testFolder, testSchema } from "../../support/vault.ts"

const canaries = {
  value: "canary-in-a-value",
  bytes: "canary-in-bytes-of-a-value",
  key: "canary-in-a-key",
  erased: "canary-erased",
  prekey: "canary-prekey-seed",
  journal: "canary-in-the-journal",
  address: about.poc,
  origin: about.realm.origin,
}
const names = [...Object.keys(testSchema.collections), ...testSchema.events, "vault.journal", "exercise"]

/** What of the above, or of the key, stands in any file of the folder. The files are copied by another process first. */
function found(folder: string): string[] {
  const copies = testFolder()
  spawnSync("cp", ["-a", `${folder}/.`, copies])
  const files = readdirSync(copies).map((name) => [name, readFileSync(join(copies, name))] as const)
  expect(files.some(([, bytes]) => bytes.length > 4096)).toBe(true)
  const secret = keySecret()
  const key = secret.kind === "key-file" ? [secret.key] : []
  const needles = [...Object.values(canaries), ...names].flatMap((text) => [text, hex(utf8(text)), text.toUpperCase()])
  return files.flatMap(([name, bytes]) =>
    [...needles.map((text) => Buffer.from(text)), ...key].flatMap((needle) =>
      bytes.includes(Buffer.from(needle)) ? [`${String(needle)} in ${name}`] : [],
    ),
  )
}

test("no value, key, name, address or event in the vault's file, its log, its line or its backup; nor after deletes", async () => {
  const { folder, path, vault } = await fileVault(nodeMachine)
  const line = tryAcquireLine(path)!
  for (let n = 0; n < 30; n++)
    vault.transaction((tx) => {
      tx.put("archive", `${canaries.key}/${n}`, { subject: canaries.value.repeat(20), n, body: utf8(canaries.bytes) })
      tx.put("contacts", `${canaries.erased}/${n}`, { name: canaries.erased })
      tx.put("prekeys", canaries.key, { seed: utf8(canaries.prekey) })
      tx.appendJournal({ event: "received", details: { note: canaries.journal } })
    })
  expect(readdirSync(folder).toSorted()).toEqual(["test.vault", "test.vault-shm", "test.vault-wal", "test.vault.line"])
  expect(found(folder)).toEqual([])
  vault.transaction((tx) => {
    for (let n = 0; n < 30; n++) tx.delete("contacts", `${canaries.erased}/${n}`)
    tx.delete("prekeys", canaries.key)
    tx.appendJournal({ event: "erased" })
  })
  expect(found(folder)).toEqual([])
  vault.scrub()
  expect(found(folder)).toEqual([])
  vault.compact()
  backupToFile(vault, join(folder, "copy.vault"))
  expect(found(folder)).toEqual([])
  await vault.close()
  expect(readdirSync(folder).toSorted()).toEqual(["copy.vault", "test.vault", "test.vault.line"])
  expect(found(folder)).toEqual([])
  line.release()
})

test("what a thief sees: how many records, how large, which of them volatile, and which belong together", async () => {
  const { path, vault } = await fileVault(nodeMachine)
  vault.transaction((tx) => {
    tx.put("contacts", "a", { name: "x".repeat(100) })
    tx.put("contacts", "b", { name: "x" })
    tx.put("counters", "c", { n: 1 })
  })
  await vault.close()
  const thief = openVaultFile(path)
  const seen = thief.read((rows) => [...rows.entries()])
  expect(seen).toHaveLength(4) // the journal's first record is one
  expect(new Set(seen.map(({ collection }) => hex(collection))).size).toBe(3)
  expect(seen.filter(({ volatile }) => volatile)).toHaveLength(1)
  thief.close()
})

test("the same content in two vaults, or twice in one, looks different", async () => {
  const [one, two] = [await fileVault(nodeMachine), await fileVault(nodeMachine)]
  for (const { vault } of [one, two]) {
    vault.transaction((tx) => tx.put("contacts", "a", { name: "same" }))
    vault.transaction((tx) => tx.put("contacts", "b", { name: "same" }))
    await vault.close()
  }
  const parts = [one, two].flatMap(({ path }) => {
    const storage = openVaultFile(path)
    const parts = storage.read(
      (rows) =>
      Array.from(rows.entries(), ({ collection, id, nonce, name }) => [id, nonce, name, rows.record(collection, id)!.value]), // prettier-ignore
    )
    storage.close()
    return parts.flat().map(hex)
  })
  expect(new Set(parts).size).toBe(parts.length)
})
