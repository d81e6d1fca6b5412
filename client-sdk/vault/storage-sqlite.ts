/** A vault in one SQLite file (docs/vault.md says what each setting is for). */
import { existsSync, rmSync } from "node:fs"
import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite"
import { ValiseError } from "../../protocol/errors.ts"
import { xaeadNonceBytes } from "../../protocol/primitives.ts"
import { busyMs, damaged, isInputOutputError, openSqliteFile, sqliteError } from "./sqlite-file.ts"
import { collectionTagBytes, recordIdBytes } from "./storage.ts"
import type { MetaName, StorageReadTx, StorageTx, StoredEntry, StoredRecord, VaultStorage } from "./storage.ts"

/**
 * Opens, or with `"create"` makes if need be, the file at `path`, 0600. Throws `ERR_VAULT` (no such file, not a vault's,
 * damaged), `ERR_DISK`, `ERR_TIMEOUT`.
 */
export function openVaultFile(path: string, how: "open" | "create" = "open"): VaultStorage {
  return new SqliteVaultStorage(openSqliteFile(path, how === "create", busyMs), how === "create")
}

/** Writes a backup to a new file. Throws as `Vault.backup` does; on a failure no file is left. */
export function backupToFile(vault: { backup(target: VaultStorage): void }, path: string): void {
  if (existsSync(path)) throw new ValiseError("ERR_USAGE", "there is a file of that name already", { hint: path })
  const target = openVaultFile(path, "create")
  try {
    vault.backup(target)
    target.close()
  } catch (cause) {
    target.close()
    rmSync(path, { force: true })
    throw cause
  }
}

const scrubBusyMs = 100

/** "VALI", and the layout's version. */
const applicationId = 0x56414c49
const layoutVersion = 1

const settings = `
  PRAGMA trusted_schema = OFF;
  PRAGMA cell_size_check = ON;
  PRAGMA synchronous = FULL;
  PRAGMA temp_store = MEMORY;
  PRAGMA secure_delete = ON`

/**
 * One tree holds each record with its key: what the vault's fingerprint was checked over is what lookups walk. Larger
 * values spill to overflow pages, so that walking the tree reads at most about 1 KB of each record.
 */
const layout = [
  "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
  "CREATE TABLE records (collection BLOB NOT NULL, id BLOB NOT NULL, volatile INTEGER NOT NULL, nonce BLOB NOT NULL, name BLOB NOT NULL, value BLOB NOT NULL, PRIMARY KEY (collection, id)) STRICT, WITHOUT ROWID",
]

class SqliteVaultStorage implements VaultStorage {
  readonly #db: DatabaseSync
  readonly #rows: SqliteRows
  #running = false
  #closed = false
  /** Of the transaction that runs: SQLite may have rolled it back by itself, so nothing more may be written in it. */
  #failure: unknown
  /** Since an input/output error. */
  #readOnly: unknown

  constructor(db: DatabaseSync, create: boolean) {
    this.#db = db
    try {
      db.exec(settings)
      if (create) makeLayout(db)
      checkLayout(db)
      this.#rows = new SqliteRows(db, (call) => this.#guarded(call))
    } catch (cause) {
      db.close()
      throw sqliteError(cause)
    }
  }

  transaction<T>(body: (tx: StorageTx) => T): T {
    if (this.#readOnly) throw this.#readOnly
    try {
      return this.#run("BEGIN IMMEDIATE", body)
    } catch (error) {
      if (isInputOutputError(error)) this.#readOnly = error
      throw error
    }
  }

  read<T>(body: (tx: StorageReadTx) => T): T {
    return this.#run("BEGIN", body)
  }

  foreignVersion(): number {
    return this.#alone(() => this.#guarded(() => pragma(this.#db, "data_version")))
  }

  scrub(): boolean {
    return this.#alone(() =>
      this.#guarded(() => {
        // A reader elsewhere is not waited for as a writer is: this call can come again.
        this.#db.exec(`PRAGMA busy_timeout = ${scrubBusyMs}`)
        try {
          return pragma(this.#db, "wal_checkpoint(TRUNCATE)") === 0
        } finally {
          this.#db.exec(`PRAGMA busy_timeout = ${busyMs}`)
        }
      }),
    )
  }

  compact(): boolean {
    this.#alone(() => this.#guarded(() => this.#db.exec("VACUUM")))
    return this.scrub()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#db.close()
  }

  #run<T>(begin: string, body: (rows: SqliteRows) => T): T {
    return this.#alone(() => {
      this.#running = true
      try {
        this.#guarded(() => this.#db.exec(begin)) // defence: 10 one-transaction => this.#db.exec = () => undefined
        const result = body(this.#rows)
        this.#guarded(() => this.#db.exec("COMMIT"))
        return result
      } catch (cause) {
        this.#rollBack()
        throw cause
      } finally {
        this.#running = false
      }
    })
  }

  #alone<T>(call: () => T): T {
    if (this.#closed) throw new ValiseError("ERR_USAGE", "the vault is closed")
    if (this.#running) throw new ValiseError("ERR_USAGE", "a transaction inside another")
    try {
      return call()
    } finally {
      this.#failure = undefined
    }
  }

  /** SQLite may have done it already; if it cannot, the next BEGIN fails. */
  #rollBack(): void {
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK")
    } catch {
      // the error that led here is the one to tell
    }
  }

  #guarded<T>(call: () => T): T {
    if (this.#failure) throw this.#failure
    try {
      return call()
    } catch (cause) {
      this.#failure = sqliteError(cause)
      throw this.#failure
    }
  }
}

/** The statements. Each goes through `guarded`. */
class SqliteRows implements StorageTx {
  readonly #guarded: <T>(call: () => T) => T
  readonly #meta: StatementSync
  readonly #setMeta: StatementSync
  readonly #record: StatementSync
  readonly #entry: StatementSync
  readonly #count: StatementSync
  readonly #all: StatementSync
  readonly #some: StatementSync
  readonly #put: StatementSync
  readonly #delete: StatementSync

  constructor(db: DatabaseSync, guarded: <T>(call: () => T) => T) {
    const entry = "SELECT collection, id, volatile, nonce, name"
    const order = "ORDER BY collection, id"
    this.#guarded = guarded
    this.#meta = db.prepare("SELECT value FROM meta WHERE name = ?")
    this.#setMeta = db.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)")
    this.#record = db.prepare(`${entry}, value FROM records WHERE collection = ? AND id = ?`)
    this.#entry = db.prepare(`${entry} FROM records WHERE collection = ? AND id = ?`)
    this.#count = db.prepare("SELECT count(*) AS n FROM records WHERE collection = ?")
    this.#all = db.prepare(`${entry} FROM records ${order}`)
    this.#some = db.prepare(`${entry} FROM records WHERE collection = ? ${order}`)
    this.#put = db.prepare("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)")
    this.#delete = db.prepare("DELETE FROM records WHERE collection = ? AND id = ?")
  }

  meta(name: MetaName): Uint8Array | undefined {
    return this.#guarded(() => {
      const row = this.#meta.get(name)
      return row && blob(row["value"])
    })
  }

  record(collection: Uint8Array, id: Uint8Array): StoredRecord | undefined {
    return this.#guarded(() => {
      const row = this.#record.get(collection, id)
      return row && { ...entryOf(row), value: blob(row["value"]) }
    })
  }

  entry(collection: Uint8Array, id: Uint8Array): StoredEntry | undefined {
    return this.#guarded(() => {
      const row = this.#entry.get(collection, id)
      return row && entryOf(row)
    })
  }

  count(collection: Uint8Array): number {
    return this.#guarded(() => Number(this.#count.get(collection)?.["n"]))
  }

  *entries(collection?: Uint8Array): Iterable<StoredEntry> {
    const rows = this.#guarded(() => (collection ? this.#some.iterate(collection) : this.#all.iterate()))
    try {
      for (;;) {
        const next = this.#guarded(() => rows.next())
        if (next.done) return
        yield this.#guarded(() => entryOf(next.value))
      }
    } finally {
      rows.return?.()
    }
  }

  setMeta(name: MetaName, value: Uint8Array): void {
    this.#guarded(() => this.#setMeta.run(name, value))
  }

  put({ collection, id, volatile, nonce, name, value }: StoredRecord): void {
    this.#guarded(() => this.#put.run(collection, id, volatile ? 1 : 0, nonce, name, value))
  }

  delete(collection: Uint8Array, id: Uint8Array): void {
    this.#guarded(() => this.#delete.run(collection, id))
  }
}

type Row = Record<string, SQLOutputValue>

function entryOf(row: Row): StoredEntry {
  if (row["volatile"] !== 0 && row["volatile"] !== 1) throw damaged()
  return {
    collection: blob(row["collection"], collectionTagBytes),
    id: blob(row["id"], recordIdBytes),
    volatile: row["volatile"] === 1,
    nonce: blob(row["nonce"], xaeadNonceBytes),
    name: blob(row["name"]),
  }
}

/** A damaged file can hold any type and length in any column. */
function blob(value: SQLOutputValue | undefined, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length)) throw damaged()
  return value
}

function makeLayout(db: DatabaseSync): void {
  if (pragma(db, "application_id") !== 0 || !isEmpty(db)) return
  db.exec("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE")
  if (isEmpty(db))
    db.exec([...layout, `PRAGMA application_id = ${applicationId}`, `PRAGMA user_version = ${layoutVersion}`].join(";"))
  db.exec("COMMIT")
}

function checkLayout(db: DatabaseSync): void {
  const { journal_mode: mode } = db.prepare("PRAGMA journal_mode").get() as { journal_mode?: unknown }
  if (pragma(db, "application_id") !== applicationId || mode !== "wal") throw damaged()
  if (pragma(db, "user_version") !== layoutVersion)
    throw new ValiseError("ERR_VAULT", "the vault has another layout", { hint: "it was made by a newer version" })
  // Nothing but this, so no trigger, view or index that somebody added.
  const found = db.prepare("SELECT sql FROM sqlite_schema ORDER BY name").all()
  if (found.length !== layout.length || found.some((row, i) => row["sql"] !== layout[i])) throw damaged()
}

const isEmpty = (db: DatabaseSync): boolean => db.prepare("SELECT count(*) AS n FROM sqlite_schema").get()?.["n"] === 0

/** The number that the pragma answers. */
function pragma(db: DatabaseSync, text: string): number {
  const value = Object.values(db.prepare(`PRAGMA ${text}`).get() ?? {})[0]
  if (typeof value !== "number") throw damaged()
  return value
}
