/** SQLite files that only their owner can read, and what SQLite's errors mean. Used by the storage and the line. */
import { chmodSync, closeSync, openSync, statSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { ValiseError } from "../../protocol/errors.ts"

/** A second writer waits so long for the first, whose transactions take milliseconds. */
export const busyMs = 5000

/**
 * Opens, or with `create` makes, the file, 0600. Throws `ERR_VAULT` if it is not there, not a file or not readable.
 *
 * The file itself is never opened and closed again by this process while SQLite has it: closing any descriptor of a file
 * gives up all of the process's POSIX locks on it.
 */
export function openSqliteFile(path: string, create: boolean, timeout: number): DatabaseSync {
  try {
    if (create) makePrivate(path)
    if (!statSync(path).isFile()) throw new ValiseError("ERR_VAULT", "not a file", { hint: path })
    if (process.platform !== "win32") chmodSync(path, 0o600)
    return new DatabaseSync(path, { timeout, enableForeignKeyConstraints: false, allowExtension: false })
  } catch (cause) {
    if (cause instanceof ValiseError) throw cause
    if ((cause as NodeJS.ErrnoException).code === "ENOENT")
      throw new ValiseError("ERR_VAULT", "there is no such file", { cause, hint: path })
    throw sqliteError(cause)
  }
}

/** The `ValiseError` for whatever `node:sqlite` or the file system threw; other errors pass unchanged. */
export function sqliteError(cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof ValiseError) return cause
  const { code } = cause as { code?: string }
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EIO" || code === "EROFS") return disk(cause)
  if (code === "ERR_OUT_OF_RANGE") return damaged(cause)
  if (code !== "ERR_SQLITE_ERROR") return code?.startsWith("E") ? damaged(cause) : cause
  switch (primaryCode(cause)) {
    case sqlite.busy:
    case sqlite.locked:
      return new ValiseError("ERR_TIMEOUT", "another process holds the vault", { cause, hint: "try again" })
    case sqlite.full:
    case sqlite.ioError:
    case sqlite.noMemory:
      return disk(cause)
    default:
      return damaged(cause)
  }
}

export const damaged = (cause?: unknown): ValiseError =>
  new ValiseError("ERR_VAULT", "not a vault, or a damaged one", { cause, hint: "restore the vault from a backup" })

/** Whether the error is one after which nobody knows what reached the disk. */
export function isInputOutputError(error: unknown): boolean {
  return error instanceof ValiseError && error.code === "ERR_DISK" && primaryCode(error.cause) === sqlite.ioError
}

const primaryCode = (cause: unknown): number => ((cause as { errcode?: number } | undefined)?.errcode ?? 0) & 0xff

/** Primary result codes, https://sqlite.org/rescode.html */
const sqlite = { busy: 5, locked: 6, noMemory: 7, ioError: 10, full: 13 } as const

const disk = (cause: unknown) =>
  new ValiseError("ERR_DISK", "the disk is full or failing; nothing was changed", {
    cause,
    hint: "free some space and try again",
  })

function makePrivate(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause
  }
}
