/** Reads the store through a connection of its own, beside the writer: in its own thread, or in another process. */
import type { DatabaseSync } from "node:sqlite"
import { equal, hex } from "../protocol/bytes.ts"
import type { DeviceId, MailboxId } from "../protocol/address.ts"
import { countMax, mailboxBytes } from "./store.ts"
import type { StoreContents, StoredEnvelope } from "./store.ts"
import { isStructureSound } from "./store-sqlite-file.ts"
import {
  clipped,
  counterColumns,
  envelopeColumns,
  readCounter,
  readEnvelope,
  readPrekey,
} from "./store-sqlite-records.ts"
import { corrupt, sqliteCodeOf } from "./store-sqlite-trouble.ts"
import type { EnvelopeRecord, Row } from "./store-sqlite-records.ts"

export class StoreReader {
  readonly #db: DatabaseSync
  readonly #sequencesAfter
  readonly #envelope
  readonly #countPrekeys

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#sequencesAfter = db.prepare(
      `SELECT id, sequence FROM envelope INDEXED BY envelope_by_sequence
       WHERE mailbox = ? AND sequence > ? AND sequence <= ${countMax} ORDER BY sequence LIMIT ?`,
    )
    this.#envelope = db.prepare(`SELECT ${envelopeColumns} FROM envelope WHERE id = ?`)
    this.#countPrekeys = db.prepare("SELECT count(*) AS count FROM one_time_prekey WHERE device = ?")
  }

  read(mailbox: Uint8Array, after: number, max: number): StoredEnvelope[] {
    const found: StoredEnvelope[] = []
    let last = after
    while (found.length < max) {
      const wanted = max - found.length
      const keys = this.#sequencesAfter.all(mailbox, last, wanted)
      for (const { id, sequence } of keys) {
        last = Number(sequence)
        const record = this.#recordAt(Number(id))
        // Checked against what was asked for, not only against itself: the index may be what has decayed.
        if (record === undefined || record.sequence !== sequence || !equal(record.mailbox, mailbox)) continue
        found.push({ sequence: record.sequence, minute: record.minute, bytes: record.bytes })
      }
      if (keys.length < wanted) break
    }
    return found
  }

  countPrekeys(device: Uint8Array): number {
    return Number(this.#countPrekeys.get(device)?.count)
  }

  /** Reads and checks every record, as they are at one moment; on a large store that takes a while. */
  contents(): StoreContents {
    this.#db.exec("BEGIN")
    try {
      return this.#contents()
    } finally {
      // Nothing was changed; and a COMMIT would fail once more over what was found damaged.
      this.#db.exec("ROLLBACK")
    }
  }

  #contents(): StoreContents {
    const intact = isStructureSound(this.#db)
    const envelopes: StoreContents["envelopes"][number][] = []
    const decayed: StoreContents["quarantined"]["envelopes"][number][] = []
    for (const { id, mailbox, sequence } of this.#rows(allKeys)) {
      const record = this.#recordAt(Number(id))
      if (record) {
        const { minute, bytes } = record
        envelopes.push({ mailbox: record.mailbox as MailboxId, sequence: record.sequence, minute, bytes: bytes.length })
      } else decayed.push({ mailbox: asBytes(mailbox) as MailboxId, sequence: Number(sequence) })
    }
    const { prekeys, decayedPrekeys } = this.#prekeys()
    const counters: StoreContents["counters"][number][] = []
    for (const row of this.#rows(allCounters)) {
      const counter = readCounter(row)
      if (counter?.mailbox.length === mailboxBytes) counters.push({ ...counter, mailbox: counter.mailbox as MailboxId })
    }
    const takenPrekeys = [...this.#rows("SELECT 1 FROM taken_prekey")].length
    const quarantined = { envelopes: decayed, prekeys: decayedPrekeys }
    return { envelopes, prekeys, counters, takenPrekeys, quarantined, intact }
  }

  #prekeys(): { prekeys: StoreContents["prekeys"]; decayedPrekeys: number } {
    const devices = new Map<string, { device: DeviceId; oneTime: number; rotating: boolean }>()
    let decayedPrekeys = 0
    for (const table of ["one-time", "rotating"] as const) {
      for (const row of this.#rows(`SELECT * FROM ${table === "one-time" ? "one_time_prekey" : "rotating_prekey"}`)) {
        if (readPrekey(table, row) === undefined) {
          decayedPrekeys += 1
          continue
        }
        const device = asBytes(row.device) as DeviceId
        const held = devices.get(hex(device)) ?? { device, oneTime: 0, rotating: false }
        if (table === "one-time") held.oneTime += 1
        else held.rotating = true
        devices.set(hex(device), held)
      }
    }
    return { prekeys: [...devices.values()], decayedPrekeys }
  }

  /** As many rows as can be read. That some could not is what `intact` says. */
  *#rows(query: string): Generator<Row> {
    try {
      yield* this.#db.prepare(query).iterate()
    } catch (error) {
      if (isStructureSound(this.#db)) throw error
    }
  }

  #recordAt(id: number): EnvelopeRecord | undefined {
    try {
      const row = this.#envelope.get(id)
      return row && readEnvelope(row)
    } catch (error) {
      // A record that SQLite cannot take apart.
      if (sqliteCodeOf(error) === corrupt) return undefined
      throw error
    }
  }
}

const allKeys = `SELECT id, mailbox, ${clipped("sequence")} FROM envelope NOT INDEXED`
const allCounters = `SELECT ${counterColumns} FROM counter`

const asBytes = (value: unknown): Uint8Array => (value instanceof Uint8Array ? value : new Uint8Array(0))
