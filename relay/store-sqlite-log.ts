/**
 * SQLite's write-ahead log, and what a failed sync does to it. After such a failure Linux takes the pages for written
 * though they are not: they can be read, also by the next process, and no later sync writes them.
 */
import { closeSync, existsSync, fsyncSync, openSync, readSync, truncateSync, writeSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"

/** False if a reader was in the way; then part of the work is done, and no harm. Throws if the disk failed. */
export function checkpoint(db: DatabaseSync, mode: "RESTART" | "TRUNCATE"): boolean {
  return db.prepare(`PRAGMA wal_checkpoint(${mode})`).get()?.busy === 0
}

/** How many frames of the write-ahead log count; what lies behind them in the file does not. Undefined if unknown. */
export function walFrames(db: DatabaseSync): number | undefined {
  const row = db.prepare("PRAGMA wal_checkpoint(NOOP)").get()
  return row?.busy === 0 && typeof row.log === "number" && row.log >= 0 ? row.log : undefined
}

/** The log's length up to and with this many frames (SQLite file format, "The Write-Ahead Log"). */
const walBytes = (frames: number): number => (frames === 0 ? 0 : 32 + frames * (24 + 4096))

/**
 * After a failed commit. Its transaction may stand complete behind the end of the log, where the next start would take
 * it for accepted; to cut it off needs neither room on the disk nor a sync.
 */
export function cutOffFailed(db: DatabaseSync, path: string): void {
  const frames = walFrames(db)
  if (frames !== undefined) truncateSync(path, walBytes(frames))
}

/**
 * Before anything is built on a log that another process has left: writes the same bytes once more, so that what can be
 * read in it is on the disk. (What can be read may include a transaction whose sync failed.)
 */
export function rewriteLog(path: string): void {
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
