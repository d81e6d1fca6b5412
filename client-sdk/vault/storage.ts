/**
 * What a vault asks of the place that keeps it. A storage sees sealed bytes only; it owes durability, atomicity and
 * isolation, not secrecy. The contract below is what `test/contract/vault-storage.ts` checks of every implementation.
 *
 * - **Atomic.** All changes of one `transaction` are there, or none: after a throw, a full disk, a crash, a power cut.
 * - **Durable.** When `transaction` returns, its changes survive power loss (they were fsynced).
 * - **Isolated.** Transactions on one vault, from all connections and processes, take place one after another. `read`
 *   sees one moment: nothing that others commit meanwhile. A writer waits for another writer, never for a reader.
 * - **Failing.** Errors are `ValiseError`s: `ERR_DISK` (no space, input/output error; nothing changed), `ERR_TIMEOUT`
 *   (another process holds the vault too long; try again), `ERR_VAULT` (not a vault, or damaged). What `body` throws
 *   is thrown on unchanged. After one failed operation the whole transaction fails, even if `body` caught the error.
 *   After an input/output error a storage refuses to write until it is opened anew, and goes on reading: what a failed
 *   fsync left behind is not known. Such a transaction is not seen by anybody; only if the machine stops before the
 *   next one that succeeds may it come back, whole.
 * - **Not reentrant.** A call of `transaction` or `read` inside `body` throws `ERR_USAGE`.
 */
export interface VaultStorage {
  /** Runs `body` with sole right to write, then commits. `body` is synchronous. */
  transaction<T>(body: (tx: StorageTx) => T): T
  /** Runs `body` on one snapshot. */
  read<T>(body: (tx: StorageReadTx) => T): T
  /** A number that differs from the one before if, and only if, another connection has committed in between. */
  foreignVersion(): number
  /**
   * Drops the copies that the storage's way of committing keeps of older states (a write-ahead log). Remnants inside the
   * main file are few, but not excluded. `false` if a reader elsewhere held part of it back: try again later.
   */
  scrub(): boolean
  /** As `scrub`, and rewrites the main file: afterwards the files hold the present records and nothing else. */
  compact(): boolean
  /** Idempotent. Every other call throws `ERR_USAGE` afterwards. */
  close(): void
}

export interface StorageReadTx {
  meta(name: MetaName): Uint8Array | undefined
  record(collection: Uint8Array, id: Uint8Array): StoredRecord | undefined
  entry(collection: Uint8Array, id: Uint8Array): StoredEntry | undefined
  count(collection: Uint8Array): number
  /** All entries, or one collection's, ascending by (collection, id), compared bytewise. Do not write meanwhile. */
  entries(collection?: Uint8Array): Iterable<StoredEntry>
}

export interface StorageTx extends StorageReadTx {
  setMeta(name: MetaName, value: Uint8Array): void
  /** Replaces the record of the same collection and id. */
  put(record: StoredRecord): void
  /** Nothing happens if there is none. */
  delete(collection: Uint8Array, id: Uint8Array): void
}

/** `header`: how to unlock, readable without a key. `head`: the sealed state of the whole. */
export type MetaName = "header" | "head"

/** A record without its value: all that listing and checking the whole vault need to touch. */
export interface StoredEntry {
  /** Keyed tag of the collection's name, 8 bytes. */
  readonly collection: Uint8Array
  /** Keyed tag of (collection, key), 16 bytes. */
  readonly id: Uint8Array
  /** Whether it belongs to the part that backups leave out. */
  readonly volatile: boolean
  /** Of the value; new at every write. 24 bytes. */
  readonly nonce: Uint8Array
  /** The key, sealed. */
  readonly name: Uint8Array
}

export interface StoredRecord extends StoredEntry {
  /** The value, sealed. */
  readonly value: Uint8Array
}

export const collectionTagBytes = 8
export const recordIdBytes = 16
