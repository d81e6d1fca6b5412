/**
 * The store's folder: who may open it, what lies in it, and how damage is noticed.
 *
 * Tables carry no constraints on purpose: SQLite's structural check would count a flipped bit in one record as damage
 * to the whole file, where a checksum per record confines it to that record.
 */
import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { ValiseError } from "../protocol/errors.ts"
import { firstSequence, floorMailbox } from "./store-sqlite-counters.ts"
import type { StoreTrouble } from "./store-sqlite-messages.ts"
import { checkpoint, rewriteLog } from "./store-sqlite-log.ts"
import { counterChecksum } from "./store-sqlite-records.ts"
import { busy, errorOf, sqliteCodeOf, troubleOf } from "./store-sqlite-trouble.ts"

export const storePath = (folder: string): string => join(folder, "mailboxes.sqlite")
export const walPath = (folder: string): string => `${storePath(folder)}-wal`
const lockPath = (folder: string): string => join(folder, "mailboxes.lock")

/** "vals"; and the version that this code reads and writes. */
const applicationId = 0x76616c73
const schemaVersion = 1

const schema = `
  CREATE TABLE envelope (
    id INTEGER PRIMARY KEY, mailbox BLOB, sequence INTEGER, minute INTEGER, blind BLOB, checksum INTEGER, bytes BLOB);
  CREATE INDEX envelope_by_sequence ON envelope (mailbox, sequence);
  CREATE INDEX envelope_by_blind ON envelope (mailbox, blind);
  CREATE INDEX envelope_by_minute ON envelope (minute);
  CREATE TABLE counter (mailbox BLOB PRIMARY KEY, next INTEGER, checksum INTEGER);
  CREATE TABLE one_time_prekey (id INTEGER PRIMARY KEY, device BLOB, statement BLOB, digest BLOB);
  CREATE INDEX one_time_prekey_by_device ON one_time_prekey (device);
  CREATE TABLE rotating_prekey (device BLOB PRIMARY KEY, statement BLOB, digest BLOB);
  CREATE TABLE taken_prekey (digest BLOB PRIMARY KEY, day INTEGER);
  INSERT INTO counter VALUES (x'', ${firstSequence}, ${counterChecksum({ mailbox: floorMailbox, next: firstSequence })});
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`

export interface StoreFile {
  readonly folder: string
  readonly db: DatabaseSync
  /** Why nothing can be accepted though everything readable can be read; undefined in a healthy store. */
  readonly trouble: StoreTrouble | undefined
  close(): void
}

/**
 * Opens for writing, creating what is missing. Throws `ERR_STORE_UNAVAILABLE` if another process has it open or it is
 * not a store of ours, `ERR_VERSION` if a newer program wrote it.
 */
export function openForWriting(folder: string): StoreFile {
  const changedFolders = makePrivateFolder(folder)
  const lock = takeLock(folder)
  let db: DatabaseSync | undefined
  try {
    makePrivateFile(storePath(folder))
    changedFolders.forEach(syncFolder)
    // Somebody who inspects may be in the way of the first checkpoint, which must not be skipped.
    db = new DatabaseSync(storePath(folder), { timeout: 30_000 })
    db.exec("PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON")
    if (isUnused(db)) db.exec("PRAGMA auto_vacuum = INCREMENTAL")
    else refuseForeign(db)
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0")
    if (isUnused(db)) db.exec(`BEGIN IMMEDIATE; ${schema} COMMIT`)
    const trouble = settle(db, folder)
    // From here on nobody else writes; a reader is waited for so long and no longer.
    db.exec("PRAGMA busy_timeout = 50")
    return { folder, db, trouble, close: () => closeBoth(db, lock) }
  } catch (error) {
    closeBoth(db, lock)
    throw error instanceof ValiseError ? error : errorOf(troubleOf(error))
  }
}

/**
 * Opens for reading beside a writer, in this process or another, or after a crash. `atRest`: no writer and no
 * write-ahead log, so nothing is created beside the file. Same errors, and `ERR_NOT_FOUND`.
 */
export function openForReading(folder: string, { atRest = false } = {}): DatabaseSync {
  const path = storePath(folder)
  if (!existsSync(path)) throw new ValiseError("ERR_NOT_FOUND", "there is no mailbox store in this folder")
  const url = pathToFileURL(path)
  if (atRest) url.searchParams.set("immutable", "1")
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(url, { readOnly: true, timeout: 5000 })
    db.exec("PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON")
    refuseForeign(db)
    return db
  } catch (error) {
    db?.close()
    throw error instanceof ValiseError ? error : errorOf(troubleOf(error))
  }
}

/** Gives room back to the disk if more than a quarter of the file is free; in small steps, since it moves pages. */
export function shrink(db: DatabaseSync): void {
  const surplus = pragma(db, "freelist_count") - Math.ceil(pragma(db, "page_count") / 4)
  if (surplus > 0) db.exec(`PRAGMA incremental_vacuum(${Math.min(surplus, 2048)})`)
}

/** Changes when another connection has written. */
export const dataVersion = (db: DatabaseSync): number => pragma(db, "data_version")

export function isStructureSound(db: DatabaseSync): boolean {
  return checkAnswersOk(db, "PRAGMA quick_check(1)")
}

/** Returns the folders that must be synced before a file in this one is durable by name. */
function makePrivateFolder(folder: string): string[] {
  try {
    const topmostMade = mkdirSync(folder, { recursive: true, mode: 0o700 })
    chmodSync(folder, 0o700)
    const changed = [resolve(folder)]
    if (topmostMade !== undefined)
      while (changed.at(-1) !== dirname(resolve(topmostMade))) changed.push(dirname(changed.at(-1)!))
    return changed
  } catch (cause) {
    throw new ValiseError("ERR_STORE_UNAVAILABLE", "the folder of the mailbox store cannot be made private", { cause })
  }
}

/**
 * Creates with mode 0600; SQLite gives -wal and -shm the same. An existing file is never opened here: closing any
 * descriptor of it would drop the locks that SQLite holds on it in this process.
 */
function makePrivateFile(path: string): void {
  if (!existsSync(path)) closeSync(openSync(path, "wx", 0o600))
  chmodSync(path, 0o600)
}

function syncFolder(path: string): void {
  const descriptor = openSync(path, "r")
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** A lock of its own file, because the store's own is shared with readers. It ends with the process, however that ends. */
function takeLock(folder: string): DatabaseSync {
  let lock: DatabaseSync | undefined
  try {
    makePrivateFile(lockPath(folder))
    lock = new DatabaseSync(lockPath(folder), { timeout: 0 })
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
    return lock
  } catch (cause) {
    lock?.close()
    if (sqliteCodeOf(cause) !== busy) throw errorOf(troubleOf(cause))
    throw new ValiseError("ERR_STORE_UNAVAILABLE", "another relay has this mailbox store open", {
      cause,
      hint: "one relay per store; `valise relay inspect` reads beside it",
    })
  }
}

function isUnused(db: DatabaseSync): boolean {
  return pragma(db, "application_id") === 0 && db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined
}

function refuseForeign(db: DatabaseSync): void {
  if (pragma(db, "application_id") !== applicationId)
    throw new ValiseError("ERR_STORE_UNAVAILABLE", "the file is not a mailbox store, or its beginning is damaged")
  const version = pragma(db, "user_version")
  if (version !== schemaVersion)
    throw new ValiseError(
      "ERR_VERSION",
      `the mailbox store has version ${version}, this relay knows ${schemaVersion}`,
      {
        hint: "start the newer release that wrote it",
      },
    )
}

const pragma = (db: DatabaseSync, name: string): number => Number(db.prepare(`PRAGMA ${name}`).get()?.[name])

/** Brings what a crash left onto the disk, all of it, before anything is built on it; then judges it. */
function settle(db: DatabaseSync, folder: string): StoreTrouble | undefined {
  try {
    rewriteLog(walPath(folder))
    if (!checkpoint(db, "TRUNCATE"))
      return { code: "ERR_STORE_UNAVAILABLE", message: "another program holds the mailbox store for reading" }
    if (checkAnswersOk(db, "PRAGMA integrity_check(1)")) return undefined
    // Sound trees whose indexes disagree with the records: a flipped key. Indexes hold nothing that the records do not.
    if (isStructureSound(db)) db.exec("REINDEX")
    if (checkAnswersOk(db, "PRAGMA integrity_check(1)")) return undefined
    return {
      code: "ERR_STORE_UNAVAILABLE",
      message: "the mailbox store's file is damaged: it is served for reading only",
      hint: "let the devices fetch what is readable, then start the relay on a new folder",
    }
  } catch (error) {
    return troubleOf(error)
  }
}

function checkAnswersOk(db: DatabaseSync, check: string): boolean {
  try {
    return Object.values(db.prepare(check).get() ?? {})[0] === "ok"
  } catch {
    return false
  }
}

function closeBoth(db: DatabaseSync | undefined, lock: DatabaseSync): void {
  try {
    db?.close()
  } finally {
    lock.close()
  }
}
