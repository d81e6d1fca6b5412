/** Vaults for tests: a small schema, a machine under the test's control, storages in memory and on disk. */
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { onTestFinished } from "vitest"
import { sha3 } from "../../protocol/primitives.ts"
import { u64be, utf8 } from "../../protocol/bytes.ts"
import { MemoryVaultFile, MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import type { VaultStorage } from "../../client-sdk/vault/storage.ts"
import { Vault, type VaultMachine } from "../../client-sdk/vault/vault.ts"
import { about, keySecret, testSchema, type TestVault } from "./vault-schema.ts"

export * from "./vault-schema.ts"

/** Time stands still but for `advance`; randomness is drawn from the seed. */
export function testMachine(seed = "seed"): VaultMachine & { advance(ms: number): void } {
  let now = 1_800_000_000_000
  let drawn = 0
  let timers: { due: number; call: () => void }[] = []
  return {
    advance: (ms) => {
      now += ms
      const due = timers.filter((timer) => timer.due <= now)
      timers = timers.filter((timer) => timer.due > now)
      for (const { call } of due) call()
    },
    clock: {
      now: () => now,
      monotonic: () => now,
      after: (delayMs, call) => {
        const timer = { due: now + delayMs, call }
        timers.push(timer)
        return () => void (timers = timers.filter((other) => other !== timer))
      },
    },
    random: {
      bytes: (length) => {
        const blocks = Array.from({ length: Math.ceil(length / 32) }, () => [...sha3(utf8(seed), u64be(drawn++))])
        return new Uint8Array(blocks.flat().slice(0, length))
      },
    },
  }
}

export const createVault = (storage: VaultStorage, machine: VaultMachine = testMachine()): Promise<TestVault> =>
  Vault.create(storage, keySecret(), machine, testSchema, about)

export const openVault = (storage: VaultStorage, machine: VaultMachine = testMachine("other")): Promise<TestVault> =>
  Vault.open(storage, keySecret(), machine, testSchema)

/** A vault in memory, and the way to open it again. */
export async function memoryVault() {
  const file = new MemoryVaultFile()
  const storage = new MemoryVaultStorage(file)
  const machine = testMachine()
  const vault = await createVault(storage, machine)
  return { file, storage, machine, vault, reopen: () => openVault(new MemoryVaultStorage(file)) }
}

/** A vault on disk; the folder goes with the test. */
export async function fileVault(machine: VaultMachine = testMachine()) {
  const folder = testFolder()
  const path = join(folder, "test.vault")
  const vault = await createVault(openVaultFile(path, "create"), machine)
  return { folder, path, vault, reopen: () => openVault(openVaultFile(path)) }
}

/** Starts `vault-worker.ts`; `lines` are those of its standard output. */
export function startWorker(...args: readonly string[]) {
  const child = spawn(process.execPath, [workerFile, ...args], { stdio: ["ignore", "pipe", "inherit"] })
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
  return { child, ended, lines: createInterface(child.stdout) }
}

export const workerFile = join(import.meta.dirname, "vault-worker.ts")

export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "valise-vault-"))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
