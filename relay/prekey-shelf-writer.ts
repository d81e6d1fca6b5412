/**
 * What the shelf's thread does: applies a batch of changes as one transaction, which is synced when `apply` returns. A
 * transaction that fails is the last, until the shelf is opened anew.
 */
import type { DatabaseSync } from "node:sqlite"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { dataVersion, emptyLog, openForWriting, type ShelfFile } from "./prekey-shelf-file.ts"
import { prekeyDigest, readPrekey } from "./prekey-shelf-record.ts"
import { errorOf, troubleOf, type StoreTrouble } from "./store-trouble.ts"

/** What each change takes, and what it results in. */
export interface ShelfChanges {
  put: {
    args: { device: Uint8Array; reset: boolean; rotating: Uint8Array | undefined; oneTime: readonly Uint8Array[] }
    result: number
  }
  take: { args: { device: Uint8Array }; result: Uint8Array | undefined }
  forget: { args: { device: Uint8Array }; result: undefined }
  expire: { args: { beforeMinute: number }; result: undefined }
}

export type ShelfChangeKind = keyof ShelfChanges
type ChangeOf<K extends ShelfChangeKind> = { readonly kind: K } & Readonly<ShelfChanges[K]["args"]>
export type ShelfChange = { [K in ShelfChangeKind]: ChangeOf<K> }[ShelfChangeKind]
export type ShelfResult = ShelfChanges[ShelfChangeKind]["result"]

/** For so long a taken prekey could be offered again: its validity, and a day for the rounding of days. */
const takenDays = Math.ceil(fixed.rotatingPrekeySeconds / 86_400) + 1

export class ShelfWriter {
  readonly #file: ShelfFile
  readonly #statements
  #trouble: StoreTrouble | undefined
  #dataVersion: number | undefined
  /** What was deleted may still stand in the write-ahead log. */
  #emptyingOwed = false
  #takenExpiredOn: number | undefined

  /** Throws as `openForWriting` does. A shelf that can only be read opens; then nothing is written. */
  constructor(folder: string) {
    this.#file = openForWriting(folder)
    try {
      this.#trouble = this.#file.trouble
      this.#statements = prepare(this.#file.db)
      this.#dataVersion = dataVersion(this.#file.db)
    } catch (error) {
      this.#file.close()
      throw errorOf(troubleOf(error))
    }
  }

  /** Why nothing is written any more, if so. */
  get trouble(): StoreTrouble | undefined {
    return this.#trouble
  }

  count(device: Uint8Array): number {
    return Number(this.#statements.countOneTime.get(device)?.count)
  }

  /** When this returns, the changes are on stable storage. Throws `ERR_STORE_UNAVAILABLE` if not; so do all later ones. */
  apply(changes: readonly ShelfChange[]): ShelfResult[] {
    if (this.#trouble) throw errorOf(this.#trouble)
    const { db } = this.#file
    let results: ShelfResult[]
    try {
      db.exec("BEGIN IMMEDIATE")
      this.#requireSoleWriter()
      results = changes.map((change) => this.#apply(change))
      db.exec("COMMIT")
    } catch (error) {
      throw this.#fail(error)
    }
    if (this.#emptyingOwed) this.#emptyLog()
    return results
  }

  close(): void {
    if (!this.#trouble) this.#emptyLog()
    this.#file.close()
  }

  #apply(change: ShelfChange): ShelfResult {
    if (change.kind === "put") return this.#put(change)
    if (change.kind === "take") return this.#take(change)
    return change.kind === "forget" ? this.#forget(change) : this.#expire(change)
  }

  #put({ device, reset, rotating, oneTime }: ChangeOf<"put">): number {
    const { isTaken, isOffered, addOneTime, setRotating, dropOldest } = this.#statements
    if (reset) this.#drop(device)
    if (rotating !== undefined) setRotating.run(device, rotating, prekeyDigest("rotating", device, rotating))
    for (const statement of oneTime) {
      const digest = prekeyDigest("one-time", device, statement)
      if (isTaken.get(digest) !== undefined) continue // defence: 10 taken-comes-back
      if (isOffered.get(device, digest) !== undefined) continue // defence: 10 offered-twice
      addOneTime.run(device, statement, digest)
    }
    const surplus = this.count(device) - fixed.oneTimePrekeys
    if (surplus > 0) dropOldest.run(device, surplus)
    return fixed.oneTimePrekeys + Math.min(0, surplus)
  }

  #take({ device }: ChangeOf<"take">): Uint8Array | undefined {
    const { oldestOneTimes, dropOneTime, isTaken, addTaken, rotating } = this.#statements
    for (const row of oldestOneTimes.all(device)) {
      dropOneTime.run(row.id!) // defence: 10 taken-is-gone
      const prekey = readPrekey("one-time", row)
      if (!prekey) continue
      const digest = prekeyDigest("one-time", device, prekey.statement)
      if (isTaken.get(digest) !== undefined) continue
      addTaken.run(digest)
      return prekey.statement
    }
    const row = rotating.get(device)
    return row && readPrekey("rotating", row)?.statement
  }

  #forget({ device }: ChangeOf<"forget">): undefined {
    this.#emptyingOwed = true
    this.#drop(device)
  }

  /** Time is that of `expire`: the day of the first one after the taking counts as the day of the taking. */
  #expire({ beforeMinute }: ChangeOf<"expire">): undefined {
    this.#emptyingOwed = true
    const day = Math.floor(beforeMinute / 1440)
    if (day === this.#takenExpiredOn) return
    this.#takenExpiredOn = day
    this.#statements.dateTaken.run(day)
    this.#statements.dropTaken.run(day - takenDays)
  }

  #drop(device: Uint8Array): void {
    this.#statements.dropOneTimes.run(device)
    this.#statements.dropRotating.run(device)
  }

  #emptyLog(): void {
    try {
      // Later, if somebody reads.
      this.#emptyingOwed = !emptyLog(this.#file.db)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Against whoever takes the lock away: two relays on one folder would give out the same sequence numbers. */
  #requireSoleWriter(): void {
    if (dataVersion(this.#file.db) !== this.#dataVersion)
      throw new ValiseError("ERR_STORE_UNAVAILABLE", "another program has written to the mailbox store")
  }

  /**
   * What failed may be there after the next start: a prekey that was refused to its device, or none where one was taken
   * for somebody who never got it. Both are harmless.
   */
  #fail(error: unknown): unknown {
    this.#trouble = troubleOf(error)
    try {
      if (this.#file.db.isTransaction) this.#file.db.exec("ROLLBACK")
    } catch {
      // Nothing more is written in any case.
    }
    return error
  }
}

const prepare = (db: DatabaseSync) => {
  // More than one, because the oldest may have decayed.
  const oldestOneTimes = db.prepare("SELECT * FROM one_time_prekey WHERE device = ? ORDER BY id LIMIT 8")
  // Their numbers, too, may have decayed, to ones that JavaScript cannot hold otherwise.
  oldestOneTimes.setReadBigInts(true)
  return {
    oldestOneTimes,
    isTaken: db.prepare("SELECT 1 FROM taken_prekey WHERE digest = ?"),
    addTaken: db.prepare("INSERT INTO taken_prekey (digest) VALUES (?)"),
    dateTaken: db.prepare("UPDATE taken_prekey SET day = ? WHERE day IS NULL"),
    dropTaken: db.prepare("DELETE FROM taken_prekey WHERE day < ?"),
    isOffered: db.prepare("SELECT 1 FROM one_time_prekey WHERE device = ? AND digest = ?"),
    addOneTime: db.prepare("INSERT INTO one_time_prekey (device, statement, digest) VALUES (?, ?, ?)"),
    countOneTime: db.prepare("SELECT count(*) AS count FROM one_time_prekey WHERE device = ?"),
    dropOneTime: db.prepare("DELETE FROM one_time_prekey WHERE id = ?"),
    dropOneTimes: db.prepare("DELETE FROM one_time_prekey WHERE device = ?"),
    dropOldest: db.prepare(
      "DELETE FROM one_time_prekey WHERE id IN (SELECT id FROM one_time_prekey WHERE device = ? ORDER BY id LIMIT ?)",
    ),
    setRotating: db.prepare("INSERT OR REPLACE INTO rotating_prekey (device, statement, digest) VALUES (?, ?, ?)"),
    rotating: db.prepare("SELECT * FROM rotating_prekey WHERE device = ?"),
    dropRotating: db.prepare("DELETE FROM rotating_prekey WHERE device = ?"),
  }
}
