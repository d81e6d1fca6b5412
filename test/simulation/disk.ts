/** A vault's disk: what is committed is synced and stays; a process may die just before or just after any commit. */
import type { StorageReadTx, StorageTx, VaultStorage } from "../../client-sdk/vault/storage.ts"
import { MemoryVaultFile, MemoryVaultStorage, type CommitFault } from "../../client-sdk/vault/storage-memory.ts"

export class CrashingStorage implements VaultStorage {
  /** Commits that changed something, by this process. */
  changes = 0
  readonly #inner: MemoryVaultStorage
  readonly #onCrash: () => void
  #fault: { readonly kind: CommitFault; readonly at: number } | undefined

  /** @param onCrash the process dies here and now */
  constructor(file: MemoryVaultFile, onCrash: () => void) {
    this.#inner = new MemoryVaultStorage(file)
    this.#onCrash = onCrash
  }

  /** The so-manieth commit from now on that changes something meets this fault. */
  failCommit(kind: CommitFault, after: number): void {
    this.#fault = { kind, at: this.changes + after }
  }

  behave(): void {
    this.#fault = undefined
  }

  crash(): void {
    this.#inner.crash()
  }

  transaction<T>(body: (tx: StorageTx) => T): T {
    let fault: CommitFault | undefined
    try {
      return this.#inner.transaction((rows) => {
        const tx = watched(rows)
        const result = body(tx)
        if (tx.hasChanged) fault = this.#faultNow()
        if (fault) this.#inner.failNextCommit(fault)
        return result
      })
    } finally {
      if (fault === "crash before" || fault === "crash after") this.#onCrash()
    }
  }

  read<T>(body: (tx: StorageReadTx) => T): T {
    return this.#inner.read(body)
  }

  foreignVersion(): number {
    return this.#inner.foreignVersion()
  }

  scrub(): boolean {
    return this.#inner.scrub()
  }

  compact(): boolean {
    return this.#inner.compact()
  }

  close(): void {
    this.#inner.close()
  }

  #faultNow(): CommitFault | undefined {
    this.changes++
    if (this.changes !== this.#fault?.at) return undefined
    const { kind } = this.#fault
    this.#fault = undefined
    return kind
  }
}

/** Every change of a vault replaces its head. */
function watched(rows: StorageTx): StorageTx & { readonly hasChanged: boolean } {
  let hasChanged = false
  return {
    meta: (name) => rows.meta(name),
    record: (collection, id) => rows.record(collection, id),
    entry: (collection, id) => rows.entry(collection, id),
    count: (collection) => rows.count(collection),
    entries: (collection) => rows.entries(collection),
    put: (record) => rows.put(record),
    delete: (collection, id) => rows.delete(collection, id),
    setMeta: (name, value) => {
      hasChanged = true
      rows.setMeta(name, value)
    },
    get hasChanged() {
      return hasChanged
    },
  }
}

export function copyOf(file: MemoryVaultFile): MemoryVaultFile {
  const copy = new MemoryVaultFile()
  for (const [name, value] of file.meta) copy.meta.set(name, value)
  for (const [place, record] of file.records) copy.records.set(place, record)
  return copy
}
