/**
 * The one thread that writes: applies a batch of operations as one transaction, synced when `apply` returns.
 *
 * Quotas and counters are held in memory beside the file. They need no undoing, because a transaction that fails is
 * the last: afterwards nothing is written until the store is opened anew.
 */
import { statfsSync, truncateSync } from "node:fs"
import { hex } from "../protocol/bytes.ts"
import { fixed } from "../protocol/limits.ts"
import type { Quota } from "./store.ts"
import {
  blindBytes,
  checkpoint,
  counterChecksum,
  envelopeChecksum,
  mailboxBytes,
  prekeyDigest,
  troubleOf,
  walBytes,
  walFrames,
  walPath,
} from "./store-sqlite-file.ts"
import type { StoreFile } from "./store-sqlite-file.ts"
import { deletionsPerStep } from "./store-sqlite-messages.ts"
import type { BatchReply, StoreTrouble, Write, WriteOf, WriteResult } from "./store-sqlite-messages.ts"

export interface WriterOptions {
  readonly quota: Quota
  /** With less room than this on the disk nothing is added, so that there is always room to delete. */
  readonly headroomBytes: number
}

/** 16 MiB of write-ahead log: what is collected soon never costs a second write, and catching up takes a blink. */
const framesPerCheckpoint = 4096

export class StoreWriter {
  readonly #file: StoreFile
  readonly #options: WriterOptions
  readonly #statements: Statements
  readonly #boxes = new Map<string, Box>()
  readonly #changed = new Set<Box>()
  #floor = 1
  #takenExpiredOn: number | undefined
  #trouble: StoreTrouble | undefined
  #checkpointAtFrames = framesPerCheckpoint
  #truncationOwed = false

  constructor(file: StoreFile, options: WriterOptions) {
    this.#file = file
    this.#options = options
    this.#trouble = file.trouble
    this.#statements = prepare(file.db)
    if (this.#trouble === undefined) this.#load()
  }

  /** When this returns results, they are on stable storage. */
  apply(batch: readonly Write[]): BatchReply {
    if (this.#trouble !== undefined) return { failed: this.#trouble }
    try {
      const room = this.#hasRoom()
      this.#file.db.exec("BEGIN IMMEDIATE")
      const results = batch.map((write) => this.#perform(write, room))
      this.#saveCounters()
      this.#file.db.exec("COMMIT")
      return { results }
    } catch (error) {
      return { failed: this.#fail(error) }
    }
  }

  /** Moves what has piled up in the write-ahead log into the main file. Called after the batch has been answered. */
  tidy(): void {
    if (this.#trouble !== undefined) return
    try {
      const frames = walFrames(this.#file.db)
      if (!this.#truncationOwed && frames < this.#checkpointAtFrames) return
      const done = checkpoint(this.#file.db, this.#truncationOwed ? "TRUNCATE" : "RESTART")
      // Somebody reads: not tried again at every batch, which would wait for that reader each time.
      this.#checkpointAtFrames = done ? framesPerCheckpoint : frames + framesPerCheckpoint
      if (done) this.#truncationOwed = false
    } catch (error) {
      this.#fail(error)
    }
  }

  close(): void {
    this.#truncationOwed = true
    this.tidy()
    this.#file.close()
  }

  #perform(write: Write, room: boolean): WriteResult {
    switch (write.kind) {
      case "append":
        return room ? this.#append(write) : "no-room"
      case "collect":
        return this.#collect(write)
      case "expire":
        return this.#expire(write)
      case "forget":
        return this.#forget(write)
      case "putPrekeys":
        return room ? this.#putPrekeys(write) : "no-room"
      case "takePrekey":
        return this.#takePrekey(write)
    }
  }

  #append({ record, minute }: WriteOf<"append">): WriteResult {
    const mailbox = record.subarray(0, mailboxBytes)
    const blind = record.subarray(mailboxBytes, mailboxBytes + blindBytes)
    const bytes = record.subarray(mailboxBytes + blindBytes)
    const earlier = this.#statements.sameSubmission.get(mailbox, blind, bytes)
    if (earlier !== undefined && isEnvelopeIntact(earlier)) return { minute: earlier.minute }
    const box = this.#box(mailbox)
    const { envelopesMax, bytesMax } = this.#options.quota
    if (box.envelopes + 1 > envelopesMax || box.bytes + bytes.length > bytesMax) return "full"
    const sequence = box.next++
    box.envelopes += 1
    box.bytes += bytes.length
    this.#changed.add(box)
    const checksum = envelopeChecksum(mailbox, sequence, minute, blind, bytes)
    this.#statements.addEnvelope.run(mailbox, sequence, minute, blind, bytes, checksum)
    return { minute }
  }

  #collect({ mailbox, sequences }: WriteOf<"collect">): undefined {
    for (const sequence of sequences) this.#delete(this.#statements.bySequence.all(mailbox, sequence))
  }

  #expire({ beforeMinute }: WriteOf<"expire">): number {
    const deleted = this.#delete(this.#statements.before.all(beforeMinute, deletionsPerStep))
    this.#expireTaken(Math.floor(beforeMinute / 1440))
    this.#truncationOwed = true
    return deleted
  }

  /** A prekey's statement is valid for so many days and cannot be offered again after them. Time is `expire`'s own. */
  #expireTaken(day: number): void {
    if (day === this.#takenExpiredOn) return
    this.#takenExpiredOn = day
    this.#statements.dateTaken.run(day)
    this.#statements.dropTaken.run(day - takenDays)
  }

  #forget({ mailbox, device }: WriteOf<"forget">): number {
    const deleted = this.#delete(this.#statements.ofMailbox.all(mailbox, deletionsPerStep))
    if (deleted === deletionsPerStep) return deleted
    this.#dropPrekeys(device)
    const box = this.#boxes.get(hex(mailbox))
    if (box !== undefined) {
      // The mailbox may come back: whichever starts anew starts above all that are forgotten.
      this.#floor = Math.max(this.#floor, box.next)
      this.#boxes.delete(hex(mailbox))
      this.#changed.delete(box)
      this.#statements.dropCounter.run(mailbox)
      this.#saveFloor()
    }
    this.#truncationOwed = true
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
    const held = Number(countOneTime.get(device)!.count)
    const surplus = Math.max(0, held - fixed.oneTimePrekeys)
    if (surplus > 0) dropOldest.run(device, surplus)
    return held - surplus
  }

  #takePrekey({ device }: WriteOf<"takePrekey">): Uint8Array | undefined {
    const { oldestOneTime, dropOneTime, addTaken, rotating } = this.#statements
    for (let row = oldestOneTime.get(device); row !== undefined; row = oldestOneTime.get(device)) {
      dropOneTime.run(row.id!) // defence: 10 taken-is-gone
      if (!isPrekeyIntact("one-time", row)) continue
      addTaken.run(row.digest)
      return row.statement
    }
    const row = rotating.get(device)
    return row !== undefined && isPrekeyIntact("rotating", row) ? row.statement : undefined
  }

  #dropPrekeys(device: Uint8Array): void {
    this.#statements.dropAllOneTime.run(device)
    this.#statements.dropRotating.run(device)
  }

  /** Deletes these rows `{ id, mailbox, length }`; returns how many. */
  #delete(rows: readonly Row[]): number {
    for (const row of rows) {
      this.#statements.dropEnvelope.run(row.id!)
      const box = row.mailbox instanceof Uint8Array ? this.#boxes.get(hex(row.mailbox)) : undefined
      if (box === undefined) continue
      box.envelopes -= 1
      box.bytes -= Number(row.length)
    }
    return rows.length
  }

  #box(mailbox: Uint8Array): Box {
    const key = hex(mailbox)
    let box = this.#boxes.get(key)
    if (box === undefined) {
      box = { mailbox: mailbox.slice(), next: this.#floor, envelopes: 0, bytes: 0 }
      this.#boxes.set(key, box)
    }
    return box
  }

  #saveCounters(): void {
    for (const { mailbox, next } of this.#changed)
      this.#statements.saveCounter.run(mailbox, next, counterChecksum(mailbox, next))
    this.#changed.clear()
  }

  /** The counter of the mailbox with no number is the floor: where mailboxes without a counter begin. */
  #saveFloor(): void {
    this.#statements.saveCounter.run(nowhere, this.#floor, counterChecksum(nowhere, this.#floor))
  }

  #load(): void {
    let floor: number | undefined
    let highest = 0
    const damaged: Row[] = []
    for (const row of this.#statements.counters.iterate()) {
      const { mailbox, next } = row
      highest = Math.max(highest, Math.min(Number(next), sequenceMax))
      if (!isCounterIntact(row)) damaged.push(row)
      else if (row.mailbox.length === nowhere.length) floor = row.next
      else this.#boxes.set(hex(row.mailbox), { mailbox: row.mailbox, next: row.next, envelopes: 0, bytes: 0 })
    }
    const uncounted: Box[] = []
    for (const { mailbox, sequence, length } of this.#statements.sizes.iterate()) {
      if (!(mailbox instanceof Uint8Array) || mailbox.length !== mailboxBytes) continue
      highest = Math.max(highest, Math.min(Number(sequence), sequenceMax))
      if (!this.#boxes.has(hex(mailbox))) uncounted.push(this.#box(mailbox))
      const box = this.#box(mailbox)
      box.envelopes += 1
      box.bytes += Number(length)
    }
    if (floor !== undefined) this.#floor = floor
    if (floor === undefined || damaged.length > 0 || uncounted.length > 0) this.#leap(highest, damaged, uncounted)
  }

  /** A counter has decayed: numbers go on so far above all others that none of its own can have been up there. */
  #leap(highest: number, damaged: readonly Row[], uncounted: readonly Box[]): void {
    this.#floor = highest + 2 ** 32
    this.#file.db.exec("BEGIN IMMEDIATE")
    for (const row of damaged) this.#statements.dropCounterRow.run(row.id!)
    this.#saveFloor()
    for (const box of uncounted) {
      box.next = this.#floor
      this.#changed.add(box)
    }
    this.#saveCounters()
    this.#file.db.exec("COMMIT")
  }

  #hasRoom(): boolean {
    const { bavail, bsize } = statfsSync(this.#file.folder)
    return bavail * bsize >= this.#options.headroomBytes
  }

  #fail(error: unknown): StoreTrouble {
    this.#trouble = troubleOf(error)
    try {
      if (this.#file.db.isTransaction) this.#file.db.exec("ROLLBACK")
      // A transaction whose sync failed stands complete behind the log's end, and the next start would take it for
      // accepted. Cutting it off needs no room on the disk and no sync.
      truncateSync(walPath(this.#file.folder), walBytes(walFrames(this.#file.db)))
    } catch {
      // A disk that refuses this too: what was refused may then come back at the next start, as a duplicate of its retry.
    }
    return this.#trouble
  }
}

type Row = Record<string, SQLOutputValue>

interface EnvelopeRow {
  readonly mailbox: Uint8Array
}

/** A mailbox as the writer remembers it. */
interface Box {
  readonly mailbox: Uint8Array
  next: number
  envelopes: number
  bytes: number
}

const nowhere = new Uint8Array(0)
