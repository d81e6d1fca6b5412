/**
 * The line: of all processes that share a vault, one talks to the relay (docs/vault-sharing.md). It is a lock that
 * the operating system gives back when the process ends, however it ends.
 */
import { realpathSync } from "node:fs"
import { ValiseError } from "../../protocol/errors.ts"
import { openSqliteFile, sqliteError } from "./sqlite-file.ts"

export interface Line {
  /** Gives the line to whoever asks next. Idempotent. */
  release(): void
}

/**
 * The line of the vault at this path, or `undefined` while another holds it (in this process, too). The lock is an
 * exclusive SQLite transaction on the side file `<vault>.line`, which stays empty. Throws `ERR_VAULT` if there is no
 * vault, `ERR_DISK`.
 */
export function tryAcquireLine(vaultPath: string): Line | undefined {
  const db = openSqliteFile(`${realPath(vaultPath)}.line`, true, 0)
  try {
    // Nothing is ever written, so there is nothing to undo: no journal file beside it.
    db.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
  } catch (cause) {
    db.close()
    const error = sqliteError(cause)
    if (error instanceof ValiseError && error.code === "ERR_TIMEOUT") return undefined
    throw error
  }
  return {
    release: () => {
      if (db.isOpen) db.close()
    },
  }
}

/** Two names of one vault have one line. */
function realPath(vaultPath: string): string {
  try {
    return realpathSync(vaultPath)
  } catch (cause) {
    throw new ValiseError("ERR_VAULT", "there is no such file", { cause, hint: vaultPath })
  }
}
