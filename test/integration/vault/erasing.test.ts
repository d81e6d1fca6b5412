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
  for (let n = 0; n < 90; n++) {
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

test("after scrub no key that opens what was erased; after compact not one byte of it", async () => {
  const { path, vault, watcher, past, heads, watch } = await busyVault()
  const live = () =>
    watcher.read((rows) => new Set(Array.from(rows.entries(), ({ nonce }) => Buffer.from(nonce).toString("hex"))))

  expect(statSync(`${path}-wal`).size).toBeGreaterThan(0)
  expect(vault.scrub()).toBe(true)
  expect(statSync(`${path}-wal`).size).toBe(0)
  const scrubbed = bytesOf(path)
  // The key of the volatile part stood in each head until now. Remnants of records without it are noise.
  const places = [0, 50, 150]
  for (const head of heads)
    for (const at of places) expect(scrubbed.includes(Buffer.from(head, "hex").subarray(at, at + 24))).toBe(false)
  const volatile = [...past].filter(([, record]) => record.volatile)
  expect(volatile.length).toBeGreaterThan(300)
  const present = live()
  for (const [nonce] of volatile) expect(present.has(nonce)).toBe(false)
  expect(vault.read((tx) => tx.count("prekeys"))).toBeGreaterThan(20)

  vault.transaction((tx) => {
    for (let n = 0; n < 60; n++) for (let k = 0; k < 4; k++) tx.delete("archive", `${n}/${k}`)
  })
  expect(vault.compact()).toBe(true)
  watch()
  const left = live()
  const compacted = bytesOf(path)
  const gone = [...past].filter(([nonce]) => !left.has(nonce))
  expect(gone.length).toBeGreaterThan(500)
  for (const [, record] of gone) for (const piece of pieces(record)) expect(compacted.includes(piece)).toBe(false)
  expect(compacted.length).toBeLessThan(scrubbed.length)
  vault.verify()
  watcher.close()
}, 60_000)
