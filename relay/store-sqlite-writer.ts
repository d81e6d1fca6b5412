/**
 * The one thread that writes: applies a batch of operations as one transaction, which is synced when `apply` returns.
 * What it holds in memory beside the file needs no undoing: a transaction that fails is the last, until the store is
 * opened anew.
 */
import { statfsSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { equal } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { blindBytes, mailboxBytes } from "./store.ts"
import type { Quota } from "./store.ts"
import { Counters } from "./store-sqlite-counters.ts"
import { dataVersion, openForWriting, shrink, walPath } from "./store-sqlite-file.ts"
import type { StoreFile } from "./store-sqlite-file.ts"
import { checkpoint, cutOffFailed, walFrames } from "./store-sqlite-log.ts"
import { deletionsPerStep } from "./store-sqlite-messages.ts"
import type { BatchReply, StoreTrouble, Write, WriteOf, WriteResult, Writes } from "./store-sqlite-messages.ts"
import { envelopeChecksum, envelopeColumns, prekeyDigest, readEnvelope, readPrekey } from "./store-sqlite-records.ts"
import { errorOf, troubleOf } from "./store-sqlite-trouble.ts"
import type { Row } from "./store-sqlite-records.ts"

export interface WriterOptions {
  readonly quota: Quota
  /** With less room than this on the disk nothing is added, so that there is always room to delete. */
  readonly headroomBytes: number
}

/** 16 MiB of write-ahead log: what is soon collected is never written twice, and catching up takes a blink. */
const framesPerCheckpoint = 4096

/** For so long a taken prekey could be offered again: its validity, and a day for the rounding of days. */
const takenDays = Math.ceil(fixed.rotatingPrekeySeconds / 86_400) + 1

export class StoreWriter {
  readonly #file: StoreFile
  readonly #options: WriterOptions
  readonly #statements
  readonly #counters: Counters
  #trouble: StoreTrouble | undefined
  #dataVersion: number | undefined
  #emptyAtFrames = framesPerCheckpoint
  /** What was deleted may still stand in the write-ahead log. */
  #truncationOwed = false
  #takenExpiredOn: number | undefined

  /** Throws as `openForWriting` does. A store that can only be read opens; then nothing is written. */
  static open(folder: string, options: WriterOptions): StoreWriter {
    const file = openForWriting(folder)
    try {
      return new StoreWriter(file, options)
    } catch (error) {
      file.close()
      throw errorOf(troubleOf(error))
    }
  }

  private constructor(file: StoreFile, options: WriterOptions) {
    this.#file = file
    this.#options = options
    this.#trouble = file.trouble
    this.#statements = prepare(file.db)
    this.#counters = new Counters(file.db, options.quota)
    try {
      this.#dataVersion = dataVersion(file.db)
      if (this.#trouble === undefined) this.#counters.load()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Why nothing is written any more, if so. */
  get trouble(): StoreTrouble | undefined {
    return this.#trouble
  }

  /** When this returns results, they are on stable storage. */
  apply(batch: readonly Write[]): BatchReply {
    if (this.#trouble !== undefined) return { failed: this.#trouble }
    let results: WriteResult[]
    try {
      const room = this.#hasRoom()
      this.#file.db.exec("BEGIN IMMEDIATE")
      this.#requireSoleWriter()
      results = batch.map((write) => this.#perform(write, room))
      this.#counters.save()
      this.#file.db.exec("COMMIT")
    } catch (error) {
      return { failed: this.#fail(error) }
    }
    if (this.#truncationOwed) this.#empty("TRUNCATE")
    return { results }
  }

  /** Empties the write-ahead log when it has grown long. To be called when the batch has been answered. */
  tidy(): void {
    if (this.#trouble !== undefined) return
    try {
      if ((walFrames(this.#file.db) ?? 0) >= this.#emptyAtFrames) this.#empty("RESTART")
    } catch (error) {
      this.#fail(error)
    }
  }

  close(): void {
    if (this.#trouble === undefined) this.#empty("TRUNCATE")
    this.#file.close()
  }

  #empty(mode: "RESTART" | "TRUNCATE"): void {
    try {
      const done = checkpoint(this.#file.db, mode)
      // If somebody reads: not tried again at every batch, which would wait for that reader each time.
      this.#emptyAtFrames = framesPerCheckpoint + (done ? 0 : (walFrames(this.#file.db) ?? 0))
      this.#truncationOwed = false
    } catch (error) {
      this.#fail(error)
    }
  }

  #perform(write: Write, room: boolean): WriteResult {
    if (write.kind === "append") return this.#append(write, room)
    if (write.kind === "putPrekeys") return room ? this.#putPrekeys(write) : "no-room"
    if (write.kind === "takePrekey") return this.#takePrekey(write)
    if (write.kind === "collect") return this.#collect(write)
    if (write.kind === "expire") return this.#expire(write)
    return this.#forget(write)
  }

  #append({ record, minute }: WriteOf<"append">, room: boolean): Writes["append"]["result"] {
    const mailbox = record.subarray(0, mailboxBytes)
    const blind = record.subarray(mailboxBytes, mailboxBytes + blindBytes)
    const bytes = record.subarray(mailboxBytes + blindBytes)
    const { sameBlind, addEnvelope } = this.#statements
    for (const row of sameBlind.all(mailbox, blind)) {
      const earlier = readEnvelope(row)
      if (earlier !== undefined && equal(earlier.bytes, bytes)) return { minute: earlier.minute }
    }
    if (!room) return "no-room"
    const sequence = this.#counters.add(mailbox, bytes.length)
    if (sequence === undefined) return "full"
    const checksum = envelopeChecksum({ mailbox, sequence, minute, blind, bytes })
    addEnvelope.run(mailbox, sequence, minute, blind, checksum, bytes)
    return { minute }
  }

  #collect({ mailbox, sequences }: WriteOf<"collect">): number {
    let deleted = 0
    for (const sequence of sequences) deleted += this.#delete(this.#statements.bySequence.all(mailbox, sequence))
    return deleted
  }

  #expire({ beforeMinute }: WriteOf<"expire">): number {
    this.#truncationOwed = true
    this.#expireTaken(Math.floor(beforeMinute / 1440))
    const deleted = this.#delete(this.#statements.before.all(beforeMinute, deletionsPerStep))
    if (deleted < deletionsPerStep) shrink(this.#file.db)
    return deleted
  }

  #forget({ mailbox, device }: WriteOf<"forget">): number {
    this.#truncationOwed = true
    const deleted = this.#delete(this.#statements.ofMailbox.all(mailbox, deletionsPerStep))
    if (deleted === deletionsPerStep) return deleted
    this.#dropPrekeys(device)
    this.#counters.forget(mailbox)
    return deleted
  }

  #putPrekeys({ device, reset, rotating, oneTime }: WriteOf<"putPrekeys">): number {
    const { isTaken, isOffered, addOneTime, setRotating, countOneTime, dropOldest } = this.#statements
    if (reset) this.#dropPrekeys(device)
    if (rotating !== undefined) setRotating.run(device, rotating, prekeyDigest("rotating", device, rotating))
    for (const statement of oneTime) {
      const digest = prekeyDigest("one-time", device, statement)
      if (isTaken.get(digest) !== undefined) continue // defence: 10 taken-comes-back
      if (isOffered.get(device, digest) !== undefined) continue // defence: 10 offered-twice
      addOneTime.run(device, statement, digest)
    }
    const surplus = Number(countOneTime.get(device)?.count) - fixed.oneTimePrekeys
    if (surplus > 0) dropOldest.run(device, surplus)
    return fixed.oneTimePrekeys + Math.min(0, surplus)
  }

  #takePrekey({ device }: WriteOf<"takePrekey">): Uint8Array | undefined {
    const { oldestOneTimes, dropOneTime, isTaken, addTaken, rotating } = this.#statements
    for (const row of oldestOneTimes.all(device)) {
      dropOneTime.run(Number(row.id)) // defence: 10 taken-is-gone
      const statement = readPrekey("one-time", row)
      if (statement === undefined) continue
      const digest = prekeyDigest("one-time", device, statement)
      if (isTaken.get(digest) !== undefined) continue
      addTaken.run(digest)
      return statement
    }
    const row = rotating.get(device)
    return row && readPrekey("rotating", row)
  }

  #dropPrekeys(device: Uint8Array): void {
    this.#statements.dropOneTimes.run(device)
    this.#statements.dropRotating.run(device)
  }

  /** Time is that of `expire`: the day of the first one after the taking counts as the day of the taking. */
  #expireTaken(day: number): void {
    if (day === this.#takenExpiredOn) return
    this.#takenExpiredOn = day
    this.#statements.dateTaken.run(day)
    this.#statements.dropTaken.run(day - takenDays)
  }

  /** @param rows with `id`, `mailbox` and `length` */
  #delete(rows: readonly Row[]): number {
    for (const { id, mailbox, length } of rows) {
      this.#statements.dropEnvelope.run(Number(id))
      if (mailbox instanceof Uint8Array && mailbox.length === mailboxBytes)
        this.#counters.remove(mailbox, Number(length))
    }
    return rows.length
  }

  /** Against whoever takes the lock file away: numbers and quotas in memory hold only if nobody else writes. */
  #requireSoleWriter(): void {
    if (dataVersion(this.#file.db) !== this.#dataVersion)
      throw new ValiseError("ERR_STORE_UNAVAILABLE", "another program has written to the mailbox store")
  }

  #hasRoom(): boolean {
    const { bavail, bsize } = statfsSync(this.#file.folder)
    return bavail * bsize >= this.#options.headroomBytes
  }

  #fail(error: unknown): StoreTrouble {
    this.#trouble = troubleOf(error)
    try {
      if (this.#file.db.isTransaction) this.#file.db.exec("ROLLBACK")
      cutOffFailed(this.#file.db, walPath(this.#file.folder))
    } catch {
      // The disk refuses even that. What was refused to its sender may then stand there after the next start: if the
      // sender has tried again meanwhile, as a duplicate, which the recipient drops.
    }
    return this.#trouble
  }
}

const prepare = (db: DatabaseSync) => ({
  // A few at most: whoever gives one blind to many envelopes does not get them all compared with each of the others.
  sameBlind: db.prepare(
    `SELECT ${envelopeColumns} FROM envelope
     WHERE mailbox = ? AND blind = ? ORDER BY id LIMIT 8`, // defence: 22 retry-repeats-blind => WHERE mailbox = ? AND ? IS NOT NULL ORDER BY id LIMIT 8`,
  ),
  addEnvelope: db.prepare(
    "INSERT INTO envelope (mailbox, sequence, minute, blind, checksum, bytes) VALUES (?, ?, ?, ?, ?, ?)",
  ),
  dropEnvelope: db.prepare("DELETE FROM envelope WHERE id = ?"),
  bySequence: db.prepare(
    "SELECT id, mailbox, length(bytes) AS length FROM envelope WHERE mailbox = ? AND sequence = ?",
  ),
  ofMailbox: db.prepare("SELECT id, mailbox, length(bytes) AS length FROM envelope WHERE mailbox = ? LIMIT ?"),
  before: db.prepare("SELECT id, mailbox, length(bytes) AS length FROM envelope WHERE minute < ? LIMIT ?"),
  isTaken: db.prepare("SELECT 1 FROM taken_prekey WHERE digest = ?"),
  addTaken: db.prepare("INSERT INTO taken_prekey (digest) VALUES (?)"),
  dateTaken: db.prepare("UPDATE taken_prekey SET day = ? WHERE day IS NULL"),
  dropTaken: db.prepare("DELETE FROM taken_prekey WHERE day < ?"),
  isOffered: db.prepare("SELECT 1 FROM one_time_prekey WHERE device = ? AND digest = ?"),
  addOneTime: db.prepare("INSERT INTO one_time_prekey (device, statement, digest) VALUES (?, ?, ?)"),
  countOneTime: db.prepare("SELECT count(*) AS count FROM one_time_prekey WHERE device = ?"),
  // More than one, because the oldest may have decayed.
  oldestOneTimes: db.prepare("SELECT * FROM one_time_prekey WHERE device = ? ORDER BY id LIMIT 8"),
  dropOneTime: db.prepare("DELETE FROM one_time_prekey WHERE id = ?"),
  dropOneTimes: db.prepare("DELETE FROM one_time_prekey WHERE device = ?"),
  dropOldest: db.prepare(
    "DELETE FROM one_time_prekey WHERE id IN (SELECT id FROM one_time_prekey WHERE device = ? ORDER BY id LIMIT ?)",
  ),
  setRotating: db.prepare("INSERT OR REPLACE INTO rotating_prekey (device, statement, digest) VALUES (?, ?, ?)"),
  rotating: db.prepare("SELECT * FROM rotating_prekey WHERE device = ?"),
  dropRotating: db.prepare("DELETE FROM rotating_prekey WHERE device = ?"),
})
