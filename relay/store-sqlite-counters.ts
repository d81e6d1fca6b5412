/**
 * Sequence numbers and quotas: what each mailbox gives out next and how much it holds. Kept in memory; the next numbers
 * are saved with the transaction that gave them out, what is held is counted when the store is opened.
 */
import type { DatabaseSync } from "node:sqlite"
import { hex } from "../protocol/bytes.ts"
import { mailboxBytes } from "./store.ts"
import type { Quota } from "./store.ts"
import { clipped, counterChecksum, counterColumns, readCounter } from "./store-sqlite-records.ts"

export class Counters {
  readonly #db: DatabaseSync
  readonly #quota: Quota
  readonly #boxes = new Map<string, Box>()
  readonly #changed = new Set<Box>()
  /** Where a mailbox without a counter begins: above every number of those that were forgotten. */
  #floor = firstSequence
  readonly #save
  readonly #drop

  constructor(db: DatabaseSync, quota: Quota) {
    this.#db = db
    this.#quota = quota
    this.#save = db.prepare("INSERT OR REPLACE INTO counter (mailbox, next, checksum) VALUES (?, ?, ?)")
    this.#drop = db.prepare("DELETE FROM counter WHERE mailbox = ?")
  }

  /** To be called once, before anything else. */
  load(): void {
    const decayed: number[] = []
    let floor: number | undefined
    let highest = 0
    for (const row of this.#db.prepare(countersQuery).iterate()) {
      highest = highestOf(highest, row.next)
      const counter = readCounter(row)
      if (counter === undefined) decayed.push(Number(row.id))
      else if (counter.mailbox.length === floorMailbox.length) floor = counter.next
      else this.#boxes.set(hex(counter.mailbox), { ...counter, envelopes: 0, bytes: 0 })
    }
    const uncounted = new Set<Box>()
    for (const { mailbox, sequence, length } of this.#db.prepare(heldQuery).iterate()) {
      highest = highestOf(highest, sequence)
      if (!(mailbox instanceof Uint8Array) || mailbox.length !== mailboxBytes) continue
      const known = this.#boxes.has(hex(mailbox))
      const box = this.#box(mailbox)
      if (!known) uncounted.add(box)
      box.envelopes += 1
      box.bytes += Number(length)
    }
    this.#floor = floor ?? firstSequence
    if (floor === undefined || decayed.length > 0 || uncounted.size > 0) this.#leap(highest, decayed, uncounted)
  }

  /** The number for one more envelope of this length, or `undefined` if the mailbox is full. */
  add(mailbox: Uint8Array, length: number): number | undefined {
    const box = this.#box(mailbox)
    if (box.envelopes + 1 > this.#quota.envelopesMax || box.bytes + length > this.#quota.bytesMax) return undefined
    box.envelopes += 1
    box.bytes += length
    this.#changed.add(box)
    return box.next++
  }

  remove(mailbox: Uint8Array, length: number): void {
    const box = this.#box(mailbox)
    box.envelopes -= 1
    box.bytes -= length
  }

  /** The mailbox may come back one day, and its numbers must not. */
  forget(mailbox: Uint8Array): void {
    const box = this.#boxes.get(hex(mailbox))
    if (box === undefined) return
    this.#floor = Math.max(this.#floor, box.next)
    this.#saveNow({ mailbox: floorMailbox, next: this.#floor })
    this.#drop.run(mailbox)
    this.#boxes.delete(hex(mailbox))
    this.#changed.delete(box)
  }

  /** To be called before each commit. */
  save(): void {
    for (const box of this.#changed) this.#saveNow(box)
    this.#changed.clear()
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

  #saveNow({ mailbox, next }: { mailbox: Uint8Array; next: number }): void {
    this.#save.run(mailbox, next, counterChecksum({ mailbox, next }))
  }

  /** A counter has decayed: its mailbox goes on so far above all numbers in sight that it cannot have been there. */
  #leap(highest: number, decayed: readonly number[], uncounted: ReadonlySet<Box>): void {
    this.#db.exec("BEGIN IMMEDIATE")
    for (const id of decayed) this.#db.prepare("DELETE FROM counter WHERE rowid = ?").run(id)
    this.#floor = highest + 2 ** 32
    this.#saveNow({ mailbox: floorMailbox, next: this.#floor })
    for (const box of uncounted) this.#saveNow(Object.assign(box, { next: this.#floor }))
    this.#db.exec("COMMIT")
  }
}

export const firstSequence = 1

/** The floor lies in the counter of the mailbox whose number is empty; without it the store would count as decayed. */
export const floorMailbox = new Uint8Array(0)

interface Box {
  readonly mailbox: Uint8Array
  next: number
  envelopes: number
  bytes: number
}

/** No mailbox gets as far as 2^47: such a number has decayed, and what came after it could not be told from decay. */
const highestOf = (highest: number, number: unknown): number =>
  Number(number) < 2 ** 47 ? Math.max(highest, Number(number)) : highest

const countersQuery = `SELECT rowid AS id, ${counterColumns} FROM counter`
const heldQuery = `SELECT mailbox, ${clipped("sequence")}, ifnull(length(bytes), 0) AS length FROM envelope`
