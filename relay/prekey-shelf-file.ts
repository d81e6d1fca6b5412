/**
 * The file of the prekey shelf: opened only in a folder that is taken, settled after a crash, and judged.
 *
 * Its tables carry no constraints on purpose: SQLite's structural check would count a flipped bit in one record as damage
 * to the whole file, where a checksum per record confines it to that record.
 */
import { closeSync, existsSync, fsyncSync, openSync, readSync, writeSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { pathToFileURL } from "node:url"
import { ValiseError } from "../protocol/errors.ts"
import { makePrivateFile, takeFolder } from "./store-folder.ts"
import { errorOf, troubleOf, type StoreTrouble } from "./store-trouble.ts"

export const shelfPath = (folder: string): string => join(folder, "mailboxes.prekeys")
export const walPath = (folder: string): string => `${shelfPath(folder)}-wal`

/** "vals"; and the version that this code reads and writes. */
const applicationId = 0x76616c73
const schemaVersion = 1

const schema = `
  CREATE TABLE one_time_prekey (id INTEGER PRIMARY KEY, device BLOB, statement BLOB, digest BLOB);
  CREATE INDEX one_time_prekey_by_device ON one_time_prekey (device);
  CREATE TABLE rotating_prekey (device BLOB PRIMARY KEY, statement BLOB, digest BLOB);
  CREATE TABLE taken_prekey (digest BLOB PRIMARY KEY, day INTEGER);
  PRAGMA application_id = ${applicationId};
  PRAGMA user_version = ${schemaVersion};
`

export interface ShelfFile {
  readonly db: DatabaseSync
  /** Why nothing can be written though everything readable can be read; undefined in a healthy file. */
  readonly trouble: StoreTrouble | undefined
  close(): void
}

/**
 * Takes the folder and opens the file for writing, creating what is missing. Throws `ERR_STORE_UNAVAILABLE` if another
 * relay has the folder or the file is not a shelf of ours, `ERR_VERSION` if a newer program wrote it.
 */
export function openForWriting(folder: string): ShelfFile {
  const release = takeFolder(folder)
  let db: DatabaseSync | undefined
  const close = (): void => {
    try {
      db?.close()
    } finally {
      release()
    }
  }
  try {
    makePrivateFile(shelfPath(folder))
    // Somebody who inspects may be in the way of the first checkpoint, which must not be skipped.
    db = new DatabaseSync(shelfPath(folder), { timeout: 30_000 })
    db.exec("PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON")
    const isUnused = pragma(db, "application_id") === 0 && !db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get()
    if (!isUnused) refuseForeign(db)
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    if (isUnused) db.exec(`BEGIN IMMEDIATE; ${schema} COMMIT`)
    const trouble = settle(db, folder)
    // From here on nobody else writes; a reader is waited for so long and no longer.
    db.exec("PRAGMA busy_timeout = 50")
    return { db, trouble, close }
  } catch (error) {
    close()
    throw error instanceof ValiseError ? error : errorOf(troubleOf(error))
  }
}

/**
 * Opens for reading beside a writer, in this process or another, or after a crash. `atRest`: no writer and no
 * write-ahead log, so nothing is created beside the file. Same errors, and `ERR_NOT_FOUND`.
 */
export function openForReading(folder: string, { atRest = false } = {}): DatabaseSync {
  const path = shelfPath(folder)
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

/** False if a reader was in the way; then part of the work is done, and no harm. Throws if the disk failed. */
export function emptyLog(db: DatabaseSync): boolean {
  return db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy === 0
}

/** Changes when another connection has written. */
export const dataVersion = (db: DatabaseSync): number => pragma(db, "data_version")

export const isStructureSound = (db: DatabaseSync): boolean => answersOk(db, "PRAGMA quick_check(1)")

function refuseForeign(db: DatabaseSync): void {
  if (pragma(db, "application_id") !== applicationId)
    throw new ValiseError("ERR_STORE_UNAVAILABLE", "the file is not a mailbox store's, or its beginning is damaged")
  const version = pragma(db, "user_version")
  if (version === schemaVersion) return
  throw new ValiseError("ERR_VERSION", `the mailbox store has version ${version}, this relay knows ${schemaVersion}`, {
    hint: "start the newer release that wrote it",
  })
}

const pragma = (db: DatabaseSync, name: string): number => Number(db.prepare(`PRAGMA ${name}`).get()?.[name])

/** Brings what a crash left onto the disk, all of it, before anything is built on it; then judges it. */
function settle(db: DatabaseSync, folder: string): StoreTrouble | undefined {
  try {
    rewriteLog(walPath(folder))
    if (!emptyLog(db))
      return { code: "ERR_STORE_UNAVAILABLE", message: "another program holds the mailbox store for reading" }
    if (answersOk(db, "PRAGMA integrity_check(1)")) return undefined
    // Sound trees whose indexes disagree with the records: a flipped key. Indexes hold nothing that the records do not.
    if (isStructureSound(db)) db.exec("REINDEX")
    if (answersOk(db, "PRAGMA integrity_check(1)")) return undefined
    return {
      code: "ERR_STORE_UNAVAILABLE",
      message: "the mailbox store's file is damaged",
      hint: "let the devices fetch what is readable, then start the relay on a new folder",
    }
  } catch (error) {
    return troubleOf(error)
  }
}

/**
 * Before anything is built on a log that another process has left: writes the same bytes once more. What can be read in
 * it may include a transaction whose sync failed: Linux takes such pages for written, and no later sync writes them.
 */
function rewriteLog(path: string): void {
  if (!existsSync(path)) return
  const log = openSync(path, "r+")
  try {
    const chunk = new Uint8Array(1024 * 1024)
    for (let at = 0; ;) {
      const length = readSync(log, chunk, 0, chunk.length, at)
      if (length === 0) break
      for (let done = 0; done < length;) done += writeSync(log, chunk, done, length - done, at + done)
      at += length
    }
    fsyncSync(log)
  } finally {
    closeSync(log)
  }
}

function answersOk(db: DatabaseSync, check: string): boolean {
  try {
    return Object.values(db.prepare(check).get() ?? {})[0] === "ok"
  } catch {
    return false
  }
}
