import { existsSync, statSync, symlinkSync } from "node:fs"
import { join } from "node:path"
import { once } from "node:events"
import { expect, test } from "vitest"
import { tryAcquireLine } from "../../../client-sdk/vault/line.ts"
import { codeOf } from "../../support/errors.ts"
import { fileVault, startWorker, testFolder } from "../../support/vault.ts"

test("one holder at a time, also in one process and under another name of the vault; released, the next may", async () => {
  const { path, folder } = await fileVault()
  const line = tryAcquireLine(path)!
  expect(line).toBeDefined()
  expect(statSync(`${path}.line`).mode & 0o777).toBe(0o600)
  expect(statSync(`${path}.line`).size).toBe(0)
  expect(tryAcquireLine(path)).toBeUndefined()
  symlinkSync(path, join(folder, "alias"))
  expect(tryAcquireLine(join(folder, "alias"))).toBeUndefined()
  line.release()
  line.release()
  const next = tryAcquireLine(path)
  expect(next).toBeDefined()
  next!.release()
})

test("the line of a process that is killed is free at once", async () => {
  const { path } = await fileVault()
  const { child, ended, lines } = startWorker("hold-line", path)
  expect(await once(lines, "line")).toEqual(["held"])
  expect(tryAcquireLine(path)).toBeUndefined()
  child.kill("SIGKILL")
  await ended
  const line = tryAcquireLine(path)
  expect(line).toBeDefined()
  line!.release()
})

test("the line does not hinder work on the vault", async () => {
  const { path, vault } = await fileVault()
  const line = tryAcquireLine(path)!
  vault.transaction((tx) => tx.put("contacts", "k", { name: "x" }))
  expect(vault.read((tx) => tx.count("contacts"))).toBe(1)
  line.release()
})

test("where there is no vault there is no line", () => {
  const path = join(testFolder(), "missing.vault")
  expect(codeOf(() => tryAcquireLine(path))).toBe("ERR_VAULT")
  expect(existsSync(`${path}.line`)).toBe(false)
})
