/** The store's folder: readable to the relay's user alone, and in use by one relay at a time. */
import { chmodSync, closeSync, existsSync, fsyncSync, mkdirSync, openSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { ValiseError } from "../protocol/errors.ts"
import { busy, errorOf, sqliteCodeOf, troubleOf } from "./store-trouble.ts"

/**
 * Makes what is missing of the folder, and takes it until the result is called or the process ends, however that ends.
 * Throws `ERR_STORE_UNAVAILABLE` if another relay has it.
 */
export function takeFolder(folder: string): () => void {
  makePrivateFolder(folder)
  let lock: DatabaseSync | undefined
  try {
    makePrivateFile(join(folder, "mailboxes.lock"))
    lock = new DatabaseSync(join(folder, "mailboxes.lock"), { timeout: 0 })
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
  } catch (cause) {
    lock?.close()
    if (sqliteCodeOf(cause) !== busy) throw errorOf(troubleOf(cause))
    throw new ValiseError("ERR_STORE_UNAVAILABLE", "another relay has this mailbox store open", {
      cause,
      hint: "one relay per store; `valise relay inspect` reads beside it",
    })
  }
  const held = lock
  return () => held.close()
}

/**
 * Creates with mode 0600 and durably by name; SQLite gives -wal and -shm the same. An existing file is never opened
 * here: closing any descriptor of it would drop the locks that SQLite holds on it in this process.
 */
export function makePrivateFile(path: string): void {
  if (!existsSync(path)) {
    closeSync(openSync(path, "wx", 0o600))
    syncFolder(dirname(path))
  }
  chmodSync(path, 0o600)
}

function makePrivateFolder(folder: string): void {
  try {
    const topmostMade = mkdirSync(folder, { recursive: true, mode: 0o700 })
    chmodSync(folder, 0o700)
    if (topmostMade === undefined) return
    for (let made = resolve(folder); made !== dirname(resolve(topmostMade)); made = dirname(made))
      syncFolder(dirname(made))
  } catch (cause) {
    throw new ValiseError("ERR_STORE_UNAVAILABLE", "the folder of the mailbox store cannot be made private", { cause })
  }
}

function syncFolder(path: string): void {
  const descriptor = openSync(path, "r")
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
