/** The part of a segment store that is SQLite: prekeys, and the lock on the folder. */
import { existsSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { openSqliteStore } from "./store-sqlite.ts"
import type { MailboxStore } from "./store.ts"

/** SQLite cannot even read without room for its index: on a full disk a small file gives up its own. */
export async function openPrekeys(folder: string): Promise<MailboxStore> {
  const reserve = join(folder, "mailboxes.reserve")
  const open = () => openSqliteStore(folder, { headroomBytes: 0 })
  const prekeys = await open().catch((error: unknown) => {
    if (!existsSync(reserve)) throw error
    rmSync(reserve)
    return open()
  })
  try {
    if (!existsSync(reserve)) writeFileSync(reserve, new Uint8Array(reserveBytes), { mode: 0o600 })
  } catch {
    // There is no room for it: made at the next opening.
    rmSync(reserve, { force: true })
  }
  return prekeys
}

const reserveBytes = 128 * 1024
