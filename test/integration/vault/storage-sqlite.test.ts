import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { describe, expect, test } from "vitest"
import { backupToFile, openVaultFile } from "../../../client-sdk/vault/storage-sqlite.ts"
import { recordOf, tag, vaultStorageContract } from "../../contract/vault-storage.ts"
import { codeOf } from "../../support/errors.ts"
import { createVault, fileVault, openVault, testFolder } from "../../support/vault.ts"

vaultStorageContract("sqlite", () => {
  const path = join(testFolder(), "test.vault")
  return { open: () => openVaultFile(path, "create") }
})

describe("the file", () => {
  test("and all that SQLite puts beside it can be read by their owner only", async () => {
    const mask = process.umask(0)
    try {
      const { path, vault } = await fileVault()
      vault.transaction((tx) => tx.put("contacts", "k", { name: "x" }))
      for (const name of ["", "-wal", "-shm"]) expect(statSync(path + name).mode & 0o777, name).toBe(0o600)
      await vault.close()
      expect(existsSync(`${path}-wal`)).toBe(false)
    } finally {
      process.umask(mask)
    }
  })

  test("is closed to others again when it is opened", async () => {
    const { path, vault } = await fileVault()
    await vault.close()
    chmodSync(path, 0o644)
    openVaultFile(path).close()
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test("does not keep what was deleted", () => {
    const path = join(testFolder(), "test.vault")
    const storage = openVaultFile(path, "create")
    storage.transaction((tx) => tx.put(recordOf(1, 200)))
    storage.transaction((tx) => tx.delete(tag(1), recordOf(1, 200).id))
    storage.scrub()
    storage.close()
    expect(readFileSync(path).includes(Buffer.from(recordOf(1, 200).value.subarray(0, 16)))).toBe(false)
  })

  test("that is missing, a folder, empty, text, or another database is refused with a hint, and left as it is", () => {
    const folder = testFolder()
    const at = (name: string) => join(folder, name)
    mkdirSync(at("folder"))
    writeFileSync(at("empty"), "")
    writeFileSync(at("text"), "no database, but long enough to have a header".repeat(100))
    const other = new DatabaseSync(at("other"))
    other.exec("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    other.close()
    const before = readFileSync(at("other"))
    for (const name of ["missing", "folder", "empty", "text", "other"])
      expect(
        codeOf(() => openVaultFile(at(name))),
        name,
      ).toBe("ERR_VAULT")
    for (const name of ["folder", "text", "other"])
      expect(
        codeOf(() => openVaultFile(at(name), "create")),
        name,
      ).toBe("ERR_VAULT")
    expect(existsSync(at("missing"))).toBe(false)
    expect(readFileSync(at("other"))).toEqual(before)
  })

  test("of a newer layout, or with a trigger in it, is refused", async () => {
    for (const change of [
      "PRAGMA user_version = 2",
      "PRAGMA application_id = 1",
      "CREATE TRIGGER t BEFORE DELETE ON records BEGIN SELECT RAISE(IGNORE); END",
      "CREATE INDEX i ON records (volatile)",
      "PRAGMA journal_mode = DELETE",
    ]) {
      const { path, vault } = await fileVault()
      await vault.close()
      const db = new DatabaseSync(path)
      db.exec(change)
      db.close()
      expect(
        codeOf(() => openVaultFile(path)),
        change,
      ).toBe("ERR_VAULT")
    }
  })

  test("can be made by many processes' openings at once, and holds one vault", async () => {
    const path = join(testFolder(), "test.vault")
    const storages = Array.from({ length: 5 }, () => openVaultFile(path, "create"))
    const made = await Promise.allSettled(storages.map((storage) => createVault(storage)))
    expect(made.filter(({ status }) => status === "fulfilled")).toHaveLength(1)
    for (const each of made) if (each.status === "rejected") expect(each.reason).toMatchObject({ code: "ERR_USAGE" })
    for (const storage of storages) storage.close()
    await (await openVault(openVaultFile(path))).close()
  })
})

describe("a record taken out or put back in the file", () => {
  test.each([
    ["taken out", "ERR_VAULT_TAMPERED", "DELETE FROM records WHERE volatile = 1"],
    ["emptied", "ERR_VAULT_TAMPERED", "UPDATE records SET value = x''"],
    ["renamed", "ERR_VAULT_TAMPERED", "UPDATE records SET id = randomblob(16)"],
    ["of a wrong length", "ERR_VAULT", "UPDATE records SET nonce = x'00'"],
    ["flagged as neither", "ERR_VAULT", "UPDATE records SET volatile = 2"],
  ])("%s: %s", async (_, code, sql) => {
    const { path, vault } = await fileVault()
    vault.transaction((tx) => tx.put("counters", "c", { n: 1 }))
    await vault.close()
    const db = new DatabaseSync(path)
    db.exec(sql)
    db.close()
    const storage = openVaultFile(path)
    await expect(openVault(storage).then((vault) => vault.verify())).rejects.toMatchObject({ code })
    storage.close()
  })
})

describe("a backup file", () => {
  test("opens with the same secret; an existing file is never touched", async () => {
    const { folder, path, vault } = await fileVault()
    vault.transaction((tx) => tx.put("contacts", "k", { name: "x" }))
    const copy = join(folder, "copy.vault")
    backupToFile(vault, copy)
    expect(existsSync(`${copy}-wal`)).toBe(false)
    expect(statSync(copy).mode & 0o777).toBe(0o600)
    const restored = await openVault(openVaultFile(copy))
    expect(restored.read((tx) => tx.get("contacts", "k"))).toEqual({ name: "x" })
    await restored.close()
    const before = readFileSync(copy)
    expect(codeOf(() => backupToFile(vault, copy))).toBe("ERR_USAGE")
    expect(codeOf(() => backupToFile(vault, path))).toBe("ERR_USAGE")
    expect(readFileSync(copy)).toEqual(before)
  })

  test("of a damaged vault is not made", async () => {
    const { folder, path, vault } = await fileVault()
    vault.transaction((tx) => tx.put("contacts", "k", { name: "x" }))
    const db = new DatabaseSync(path)
    db.exec("UPDATE records SET value = randomblob(length(value))")
    db.close()
    const copy = join(folder, "copy.vault")
    expect(codeOf(() => backupToFile(vault, copy))).toBe("ERR_VAULT_TAMPERED")
    expect(existsSync(copy)).toBe(false)
  })
})
