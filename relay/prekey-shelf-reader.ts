/** What lies on the prekey shelf, for the operator's inspection: read beside the writer, in another thread or process. */
import type { DatabaseSync, SQLOutputValue } from "node:sqlite"
import type { DeviceId } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { isStructureSound } from "./prekey-shelf-file.ts"
import { prekeyTables, readPrekey } from "./prekey-shelf-record.ts"
import type { StoreContents } from "./store.ts"

export interface ShelfContents extends Pick<StoreContents, "prekeys" | "takenPrekeys" | "intact"> {
  readonly decayed: number
}

/** Reads and checks every record, as they are at one moment; on a large shelf that takes a while. */
export function shelfContents(db: DatabaseSync): ShelfContents {
  db.exec("BEGIN")
  try {
    const takenPrekeys = [...readable(db, "SELECT 1 FROM taken_prekey")].length
    return { ...prekeysIn(db), takenPrekeys, intact: isStructureSound(db) }
  } finally {
    // Nothing was changed; and a COMMIT would fail once more over what was found damaged.
    db.exec("ROLLBACK")
  }
}

function prekeysIn(db: DatabaseSync): Pick<ShelfContents, "prekeys" | "decayed"> {
  const devices = new Map<string, { device: DeviceId; oneTime: number; rotating: boolean }>()
  let decayed = 0
  for (const kind of ["one-time", "rotating"] as const) {
    for (const row of readable(db, `SELECT device, statement, digest FROM ${prekeyTables[kind]}`)) {
      const prekey = readPrekey(kind, row)
      if (!prekey) {
        decayed += 1
        continue
      }
      const device = prekey.device as DeviceId
      const held = devices.get(hex(device)) ?? { device, oneTime: 0, rotating: false }
      if (kind === "one-time") held.oneTime += 1
      else held.rotating = true
      devices.set(hex(device), held)
    }
  }
  return { prekeys: [...devices.values()], decayed }
}

/** As many rows as can be read. That some could not is what `intact` says. */
function* readable(db: DatabaseSync, query: string): Generator<Record<string, SQLOutputValue>> {
  try {
    yield* db.prepare(query).iterate()
  } catch (error) {
    if (isStructureSound(db)) throw error
  }
}
