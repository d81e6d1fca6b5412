/** A disk that is full, and one that fails. Needs root for the tmpfs and strace for the errors; CI must have both. */
import { spawnSync } from "node:child_process"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { codeOf } from "../support/errors.ts"
import { createVault, fileVault, openVault, testFolder, workerFile, type TestVault } from "../support/vault.ts"

const inCi = process.env["CI"] === "true"
const canMount = process.platform === "linux" && process.getuid?.() === 0
const canInject = spawnSync("strace", ["-V"]).status === 0

test.skipIf(!canMount && !inCi)(
  "a full disk: ERR_DISK, nothing changed, still readable, and on with it when there is space",
  async () => {
    // prettier-ignore
    const { folder, path } = smallDisk("700k")
    writeFileSync(join(folder, "ballast"), new Uint8Array(150_000))
    const vault = await createVault(openVaultFile(path, "create"))
    const written = writeUntilFull(vault)
    expect(written).toBeGreaterThan(5)
    expect(codeOf(() => write(vault, written))).toBe("ERR_DISK")
    expectWritten(vault, written)

    rmSync(join(folder, "ballast"))
    write(vault, written)
    expectWritten(vault, written + 1)
    await vault.close()
    const again = await openVault(openVaultFile(path))
    expectWritten(again, written + 1)
    again.verify()
    await again.close()
  },
)

test.skipIf(!canMount && !inCi)(
  "a full disk in the middle of a transaction fails all of it, whatever its body catches",
  async () => {
    // prettier-ignore
    const { path } = smallDisk("700k")
    const vault = await createVault(openVaultFile(path, "create"))
    let refusals = 0
    const stubborn = () =>
      vault.transaction((tx) => {
        // More than SQLite's page cache: it must write before the commit, and rolls back by itself when it cannot.
        for (let n = 0; n < 20; n++)
          if (
            codeOf(() => tx.put("archive", `m${n}`, { subject: "x", n, body: new Uint8Array(500_000) })) === "ERR_DISK"
          )
            refusals++
        if (codeOf(() => tx.put("contacts", "small", { name: "x" })) === "ERR_DISK") refusals++
      })
    expect(codeOf(stubborn)).toBe("ERR_DISK")
    expect(refusals).toBeGreaterThan(1)
    expect(vault.read((tx) => [tx.count("archive"), tx.count("contacts")])).toEqual([0, 0])
    vault.transaction((tx) => tx.put("contacts", "small", { name: "x" }))
    vault.verify()
    await vault.close()
  },
)

test.skipIf(!canMount && !inCi)("a disk that fills up while a vault is made: ERR_DISK, and no vault", async () => {
  for (const size of ["8k", "16k", "32k", "40k"]) {
    const { path } = smallDisk(size)
    const making = async () => {
      const storage = openVaultFile(path, "create")
      try {
        await createVault(storage)
      } finally {
        storage.close()
      }
    }
    await expect(making(), size).rejects.toMatchObject({ code: "ERR_DISK" })
    const opening = async () => {
      const storage = openVaultFile(path)
      try {
        await openVault(storage)
      } finally {
        storage.close()
      }
    }
    await expect(opening(), size).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_(VAULT|DISK)$/) as string })
  }
})

test.skipIf(!canInject && !inCi)(
  "a failed fsync: ERR_DISK from then on, still readable; nothing that returned is lost",
  async () => {
    // prettier-ignore
    for (const failAt of [3, 4, 9, 20]) {
    const { path, vault } = await fileVault()
    await vault.close()
    const lines = traced(path, "receive-or-fail", ["-e", `inject=fsync,fdatasync:error=EIO:when=${failAt}`], 30)
    const said = lines.filter((line) => /^\d+$/.test(line)).map(Number)
    expect(lines.slice(said.length)).toEqual(["ERR_DISK", "ERR_DISK", "ERR_DISK", `readable ${said.length}`])
    expect(said.length).toBeLessThan(30)
    const again = await openVault(openVaultFile(path))
    const found = again.read((tx) => tx.get("counters", "worker")?.n ?? -1) + 1
    // The one that failed may come back, whole: the machine could not know.
    expect([said.length, said.length + 1]).toContain(found)
    expect(again.read((tx) => tx.count("archive"))).toBe(found)
    again.verify()
    await again.close()
  }
  },
  60_000,
)

test.skipIf(!canInject && !inCi)(
  "each transaction is synced before it returns",
  async () => {
    const { path, vault } = await fileVault()
    await vault.close()
    const calls = spawnSync(
      "strace",
      ["-f", "-y", "-e", "trace=fsync,fdatasync,write", process.execPath, workerFile, "receive", path, "worker", "20"],
      { encoding: "utf8" },
    ).stderr.split("\n")
    let synced = false
    let said = 0
    for (const call of calls) {
      if (/(fsync|fdatasync)\(\d+<[^>]*-wal>/.test(call)) synced = true
      if (!/write\(1<[^>]*>, "\d+\\n"/.test(call)) continue
      expect(synced, `transaction ${said}`).toBe(true)
      synced = false
      said++
    }
    expect(said).toBe(20)
  },
  60_000,
)

function smallDisk(size: string): { folder: string; path: string } {
  const folder = join(testFolder(), "disk")
  mkdirSync(folder)
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder], { encoding: "utf8" })
  expect(mounted.stderr).toBe("")
  onTestFinished(() => void spawnSync("umount", ["-l", folder]))
  return { folder, path: join(folder, "test.vault") }
}

function traced(path: string, work: string, inject: readonly string[], times: number): string[] {
  const args = ["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", ...inject]
  const run = spawnSync("strace", [...args, process.execPath, workerFile, work, path, "worker", String(times)], {
    encoding: "utf8",
  })
  return run.stdout.trim().split("\n")
}

function write(vault: TestVault, n: number): void {
  vault.transaction((tx) => {
    tx.put("archive", `m${n}`, { subject: "x", n, body: new Uint8Array(10_000).fill(n) })
    tx.put("counters", "c", { n })
  })
}

function writeUntilFull(vault: TestVault): number {
  let n = 0
  while (codeOf(() => write(vault, n)) === "none") n++
  return n
}

function expectWritten(vault: TestVault, count: number): void {
  vault.read((tx) => {
    expect(tx.count("archive")).toBe(count)
    expect(tx.get("counters", "c")).toEqual({ n: count - 1 })
    for (const [, { n, body }] of tx.list("archive")) expect(body).toEqual(new Uint8Array(10_000).fill(n))
  })
}
