/** A vault whose file was damaged, in any place: it says so or is unharmed, but never shows anything that was not put in. */
import { copyFileSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { spawnSync } from "node:child_process"
import { join } from "node:path"
import { expect, test } from "vitest"
import { ValiseError } from "../../../protocol/errors.ts"
import { openVaultFile } from "../../../client-sdk/vault/storage-sqlite.ts"
import { fileVault, openVault, testFolder } from "../../support/vault.ts"

const messages = 24
const pageBytes = 4096

/** Everything in the vault, or the code of the error that opening or reading met. Any other outcome fails the test. */
async function everythingIn(path: string): Promise<string> {
  let storage
  try {
    storage = openVaultFile(path)
    const vault = await openVault(storage)
    vault.verify()
    return vault.read((tx) =>
      JSON.stringify([
        [...tx.list("archive")],
        [...tx.list("counters")],
        Array.from({ length: messages }, (_, n) => tx.get("archive", `m${n}`)?.n),
        Array.from(tx.journal(), ({ i }) => i),
      ]),
    )
  } catch (error) {
    // What to do about it is said, too.
    if (error instanceof ValiseError && /^ERR_VAULT(_TAMPERED)?$/.test(error.code) && error.hint) return error.code
    throw error
  } finally {
    storage?.close()
    for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true })
  }
}

async function filled() {
  const { path, vault } = await fileVault()
  for (let n = 0; n < messages; n++)
    vault.transaction((tx) => {
      tx.put("archive", `m${n}`, { subject: `subject ${n}`, n, body: new Uint8Array(n % 5 === 0 ? 5000 : 50).fill(n) })
      tx.put("counters", "c", { n })
      tx.appendJournal({ event: "received" })
    })
  vault.transaction((tx) => tx.delete("archive", "m3"))
  return { path, vault }
}

test("one flipped bit, all over the file", async () => {
  const { path, vault } = await filled()
  await vault.close()
  const whole = await everythingIn(path)
  expect(whole).toContain("subject 7")
  const bytes = readFileSync(path)
  const outcomes = new Map<string, number>()
  const damaged = join(testFolder(), "damaged.vault")
  for (let at = 0; at < bytes.length; at += at < 2 * pageBytes ? 11 : 131) {
    const flipped = Buffer.from(bytes)
    flipped[at]! ^= 1 << ((at * 7) % 8)
    writeFileSync(damaged, flipped)
    const outcome = await everythingIn(damaged)
    if (!outcome.startsWith("ERR_")) expect(outcome, `byte ${at}`).toBe(whole)
    const kind = outcome === whole ? "unharmed" : outcome
    outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1)
  }
  expect([...outcomes.keys()].toSorted()).toEqual(["ERR_VAULT", "ERR_VAULT_TAMPERED", "unharmed"])
}, 120_000)

test("cut off anywhere, or with a page of zeros or of another page", async () => {
  const { path, vault } = await filled()
  await vault.close()
  const whole = await everythingIn(path)
  const bytes = readFileSync(path)
  const damaged = join(testFolder(), "damaged.vault")
  const pages = bytes.length / pageBytes
  for (let page = 0; page < pages; page++)
    for (const change of ["cut", "cut inside", "zeros", "another"] as const) {
      let next = Buffer.from(bytes)
      if (change === "cut") next = next.subarray(0, page * pageBytes)
      else if (change === "cut inside") next = next.subarray(0, page * pageBytes + 1000)
      else if (change === "zeros") next.fill(0, page * pageBytes, (page + 1) * pageBytes)
      else
        bytes.copy(
          next,
          page * pageBytes,
          ((page + 1) % pages) * pageBytes,
          ((page + 1) % pages) * pageBytes + pageBytes,
        )
      writeFileSync(damaged, next)
      const outcome = await everythingIn(damaged)
      if (!outcome.startsWith("ERR_")) expect(outcome, `page ${page} ${change}`).toBe(whole)
    }
}, 120_000)

test("a damaged write-ahead log loses transactions from its end only, whole ones", async () => {
  const { path, vault } = await filled()
  // Copied by another process: closing a file that SQLite has open would give up this process's locks on it.
  const folder = testFolder()
  const kept = join(folder, "kept.vault")
  spawnSync("cp", [path, kept])
  spawnSync("cp", [`${path}-wal`, `${kept}-wal`])
  await vault.close()
  const log = readFileSync(`${kept}-wal`)
  expect(log.length).toBeGreaterThan(50 * pageBytes)
  const damaged = join(folder, "damaged.vault")
  const seen = new Set<number>()
  for (let at = 0; at < log.length; at += 2503) {
    copyFileSync(kept, damaged)
    const flipped = Buffer.from(log)
    flipped[at]! ^= 0x20
    writeFileSync(`${damaged}-wal`, flipped)
    const outcome = await everythingIn(damaged)
    if (outcome.startsWith("ERR_")) continue
    const [archive, counters, byKey, journal] = JSON.parse(outcome) as [unknown[], [string, { n: number }][], number[], number[]] // prettier-ignore
    const n = counters[0]?.[1].n ?? -1
    seen.add(n)
    expect(journal).toHaveLength(n + 2)
    expect(byKey.filter((key) => key !== null && key > n)).toEqual([])
    expect(archive.length === n + 1 || (n === messages - 1 && archive.length === n), `byte ${at}`).toBe(true)
  }
  expect(seen.size).toBeGreaterThan(3)
}, 120_000)
