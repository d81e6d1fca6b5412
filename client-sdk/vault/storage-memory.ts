/** A vault's storage in memory, for simulations and tests: a `MemoryVaultFile` is the disk, each storage one process on it. */
import { hex } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import type { MetaName, StorageReadTx, StorageTx, StoredEntry, StoredRecord, VaultStorage } from "./storage.ts"

/** What is on the disk. Survives every storage opened on it. */
export class MemoryVaultFile {
  readonly meta = new Map<MetaName, Uint8Array>()
  /** By collection and id, in hexadecimal. */
  readonly records = new Map<string, StoredRecord>()
  commits = 0
}

/** What the next commit does instead of its work. */
export type CommitFault = "refuse" | "crash before" | "crash after"

export class MemoryVaultStorage implements VaultStorage {
  readonly #file: MemoryVaultFile
  #running = false
  #closed = false
  #ownCommits = 0
  #fault: CommitFault | undefined

  constructor(file: MemoryVaultFile = new MemoryVaultFile()) {
    this.#file = file
  }

  /** `refuse`: a full disk. `crash before`, `crash after`: the process dies just before, or just after, it is durable. */
  failNextCommit(fault: CommitFault): void {
    this.#fault = fault
  }

  /** The process dies: what is not committed is lost, every further call throws. Open another storage on the file. */
  crash(): void {
    this.#closed = true
  }

  transaction<T>(body: (tx: StorageTx) => T): T {
    return this.#alone(() => {
      const rows = new MemoryRows(this.#file, () => this.#requireOpen())
      try {
        const result = body(rows)
        this.#commit(() => rows.keep())
        return result
      } finally {
        rows.undo()
      }
    })
  }

  read<T>(body: (tx: StorageReadTx) => T): T {
    return this.#alone(() => body(new MemoryRows(this.#file, () => this.#requireOpen())))
  }

  foreignVersion(): number {
    this.#requireOpen()
    return this.#file.commits - this.#ownCommits
  }

  scrub(): boolean {
    return this.#alone(() => true)
  }

  compact(): boolean {
    return this.scrub()
  }

  close(): void {
    this.#closed = true
  }

  #commit(keep: () => void): void {
    const fault = this.#fault
    this.#fault = undefined
    if (fault === "refuse") throw new ValiseError("ERR_DISK", "the disk is full or failing; nothing was changed")
    if (fault === "crash before") this.crash()
    this.#requireOpen()
    keep()
    this.#file.commits++
    this.#ownCommits++
    if (fault === "crash after") this.crash()
    this.#requireOpen()
  }

  #alone<T>(call: () => T): T {
    this.#requireOpen()
    if (this.#running) throw new ValiseError("ERR_USAGE", "a transaction inside another")
    this.#running = true
    try {
      return call()
    } finally {
      this.#running = false
    }
  }

  #requireOpen(): void {
    if (this.#closed) throw new ValiseError("ERR_USAGE", "the vault is closed")
  }
}

/** Writes at once, and remembers how to take it back. */
class MemoryRows implements StorageTx {
  readonly #file: MemoryVaultFile
  readonly #requireOpen: () => void
  #before: (() => void)[] = []

  constructor(file: MemoryVaultFile, requireOpen: () => void) {
    this.#file = file
    this.#requireOpen = requireOpen
  }

  keep(): void {
    this.#before = []
  }

  undo(): void {
    for (const takeBack of this.#before.toReversed()) takeBack()
    this.keep()
  }

  meta(name: MetaName): Uint8Array | undefined {
    this.#requireOpen()
    return this.#file.meta.get(name)
  }

  record(collection: Uint8Array, id: Uint8Array): StoredRecord | undefined {
    this.#requireOpen()
    return this.#file.records.get(placeOf(collection, id))
  }

  entry(collection: Uint8Array, id: Uint8Array): StoredEntry | undefined {
    return this.record(collection, id)
  }

  count(collection: Uint8Array): number {
    return [...this.entries(collection)].length
  }

  entries(collection: Uint8Array = new Uint8Array()): Iterable<StoredEntry> {
    this.#requireOpen()
    const within = hex(collection)
    const places = [...this.#file.records.keys()].filter((place) => place.startsWith(within)).toSorted()
    return places.map((place) => this.#file.records.get(place)!)
  }

  setMeta(name: MetaName, value: Uint8Array): void {
    this.#set(this.#file.meta, name, value)
  }

  put(record: StoredRecord): void {
    this.#set(this.#file.records, placeOf(record.collection, record.id), record)
  }

  delete(collection: Uint8Array, id: Uint8Array): void {
    this.#set(this.#file.records, placeOf(collection, id), undefined)
  }

  #set<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
    this.#requireOpen()
    const old = map.get(key)
    this.#before.push(() => assign(map, key, old))
    assign(map, key, value)
  }
}

function assign<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key)
  else map.set(key, value)
}

const placeOf = (collection: Uint8Array, id: Uint8Array): string => hex(collection) + hex(id)
