/** What is left in the file of records that were erased: nothing that any key in the file opens. */
import { spawnSync } from "node:child_process"
import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { openVaultFile } from "../../../client-sdk/vault/storage-sqlite.ts"
import type { StoredRecord } from "../../../client-sdk/vault/storage.ts"
import { fileVault, testFolder, testMachine } from "../../support/vault.ts"

/** The file's bytes, read by another process: closing it here would give up SQLite's locks. */
function bytesOf(path: string): Buffer {
  const copy = join(testFolder(), "copy")
  spawnSync("cp", [path, copy])
  return readFileSync(copy)
}

/** Many messages with their prekeys, so that the tree is rebuilt again and again; every version of every record. */
async function busyVault() {
  const { path, vault } = await fileVault(testMachine("erasing"))
  const watcher = openVaultFile(path)
  const past = new Map<string, StoredRecord>()
  const heads = new Set<string>()
  const watch = () =>
    watcher.read((rows) => {
      heads.add(Buffer.from(rows.meta("head")!).toString("hex"))
      for (const entry of rows.entries())
        past.set(Buffer.from(entry.nonce).toString("hex"), rows.record(entry.collection, entry.id)!)
    })
  for (let n = 0; n < 150; n++) {
    vault.transaction((tx) => {
      for (let k = 0; k < 4; k++) {
        tx.put("prekeys", `${n}/${k}`, { seed: new Uint8Array(32 + ((n * 53 + k) % 900)).fill(n) })
        tx.put("archive", `${n}/${k}`, { subject: "x", n, body: new Uint8Array((n * 389 + k * 61) % 5000) })
      }
    })
    watch()
    vault.transaction((tx) => {
      for (let k = 0; k < 4; k++) if (n > 20) tx.delete("prekeys", `${n - 1 - ((n * 7 + k) % 20)}/${k}`)
      if (n > 40) tx.delete("archive", `${n - 40}/1`)
    })
    watch()
  }
  return { path, vault, watcher, past, heads, watch }
}

const pieces = ({ nonce, value }: StoredRecord) =>
  [nonce, value.subarray(0, 24), value.subarray(-24)].map((piece) => Buffer.from(piece))

test("after scrub: no log, none of the old keys, and none of the volatile part's old records under a key that is left", async () => {
  const { path, vault, watcher, past, heads } = await busyVault()
  expect(statSync(`${path}-wal`).size).toBeGreaterThan(0)
  expect(vault.scrub()).toBe(true)
  expect(statSync(`${path}-wal`).size).toBe(0)
  const file = bytesOf(path)
  // The key of the volatile part stood in each head until now. Remnants of records without it are noise.
  for (const head of heads) for (const at of [0, 50, 150]) expect(file.includes(Buffer.from(head, "hex").subarray(at, at + 24))).toBe(false) // prettier-ignore
  const live = watcher.read(
    (rows) => new Set(Array.from(rows.entries(), ({ nonce }) => Buffer.from(nonce).toString("hex"))),
  )
  const volatile = [...past].filter(([, record]) => record.volatile)
  expect(volatile.length).toBeGreaterThan(500)
  for (const [nonce] of volatile) expect(live.has(nonce)).toBe(false)
  expect(vault.read((tx) => tx.count("prekeys"))).toBeGreaterThan(50)
  watcher.close()
}, 60_000)

test("after compact: not one byte of any record that was ever deleted or replaced", async () => {
  const { path, vault, watcher, past, watch } = await busyVault()
  const before = statSync(path).size
  vault.transaction((tx) => {
    for (let n = 0; n < 100; n++) for (let k = 0; k < 4; k++) tx.delete("archive", `${n}/${k}`)
  })
  expect(vault.compact()).toBe(true)
  watch()
  const live = watcher.read(
    (rows) => new Set(Array.from(rows.entries(), ({ nonce }) => Buffer.from(nonce).toString("hex"))),
  )
  const file = bytesOf(path)
  const gone = [...past].filter(([nonce]) => !live.has(nonce))
  expect(gone.length).toBeGreaterThan(900)
  for (const [, record] of gone) for (const piece of pieces(record)) expect(file.includes(piece)).toBe(false)
  expect(file.length).toBeLessThan(before)
  vault.verify()
  watcher.close()
}, 60_000)
