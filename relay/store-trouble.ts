/** What went wrong with the store, in words that hold nothing of its content; and its way from thread to thread. */
import { ValiseError, type ErrorCode } from "../protocol/errors.ts"

/** An error on its way between threads. */
export interface StoreTrouble {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  /** Of SQLite or the system; for whoever looks after the machine. */
  readonly detail?: string
}

export function troubleOf(error: unknown): StoreTrouble {
  if (error instanceof ValiseError)
    return { code: error.code, message: error.message, ...(error.hint === undefined ? {} : { hint: error.hint }) }
  const sqlite = sqliteCodeOf(error)
  const meaning = sqlite === undefined ? undefined : meanings.get(sqlite)
  return {
    code: "ERR_STORE_UNAVAILABLE",
    message: meaning ?? "the mailbox store could not be used",
    detail: error instanceof Error ? error.message : String(error),
    hint: "nothing accepted is lost; look at the disk, then start the relay anew",
  }
}

export function errorOf({ code, message, hint, detail }: StoreTrouble): ValiseError {
  return new ValiseError(code, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(detail === undefined ? {} : { cause: new Error(detail) }),
  })
}

/** SQLite's primary result code. */
export function sqliteCodeOf(error: unknown): number | undefined {
  return error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : undefined
}

export const busy = 5
const meanings = new Map([
  [busy, "another program is writing to the mailbox store"],
  [10, "the disk failed a read, a write or a sync of the mailbox store"],
  [11, "the mailbox store's file is damaged"],
  [13, "the disk of the mailbox store is full"],
  [14, "the mailbox store's file cannot be opened"],
  [26, "the file is not a mailbox store's, or its beginning is damaged"],
])
