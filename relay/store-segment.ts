/**
 * The mailbox store on append-only segment files: an envelope is written once, in a row with all that arrive with it,
 * and is gone when its file is removed. Prekeys, which are few, lie on a shelf beside it, which holds the folder's lock.
 */
import { statfsSync } from "node:fs"
import type { DeviceId, MailboxId } from "../protocol/address.ts"
import { equal } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { chosen } from "../protocol/limits.ts"
import { clean, removeEmptied, saveCounters, type CleanParts } from "./segment-clean.ts"
import { expireDamage, firstAfter, type Box, type Entry } from "./segment-index.ts"
import { openSegments } from "./segment-open.ts"
import { openPrekeyShelf, type PrekeyShelf } from "./prekey-shelf.ts"
import { readBody, readNow, Recent } from "./segment-read.ts"
import { blindOf } from "./segment-record.ts"
import { storeContentsElsewhere } from "./store-inspect.ts"
import { blindBytes, mailboxBytes, requireCount, requireLength } from "./store.ts"
import type { Appended, MailboxStore, Quota, Sequence, StoreContents, StoredEnvelope } from "./store.ts"

export interface SegmentStoreOptions {
  readonly quota?: Quota
  /** With less room than this on the disk nothing is added. The default leaves room for two files. */
  readonly headroomBytes?: number
  /** Told of each envelope that is found to have decayed when it is to be delivered; once of each. */
  readonly onDecayed?: () => void
}

/**
 * Opens or creates the store in this folder, which becomes readable to this user alone. Rejects with
 * `ERR_STORE_UNAVAILABLE` if another relay has it open or it is not a store, `ERR_VERSION` if a newer release wrote it.
 * A store that can be read but not written (full disk, damaged prekeys) opens; then every append says why.
 */
export async function openSegmentStore(folder: string, options: SegmentStoreOptions = {}): Promise<MailboxStore> {
  const prekeys = await openPrekeyShelf(folder)
  try {
    return await openOver(folder, prekeys, options)
  } catch (error) {
    await prekeys.close()
    throw error
  }
}

/** @param prekeys closed with the store */
export async function openOver(
  folder: string,
  prekeys: PrekeyShelf,
  { quota = defaultQuota, headroomBytes = 2 * segmentBytesMax, onDecayed = () => undefined }: SegmentStoreOptions,
): Promise<MailboxStore> {
  const { index, log } = await openSegments(folder)
  if (prekeys.trouble) log.fail(prekeys.trouble)
  return new SegmentStore({ folder, index, log, prekeys, quota, headroomBytes, onDecayed })
}

interface Parts extends Omit<CleanParts, "bodyOf">, Required<SegmentStoreOptions> {
  readonly prekeys: PrekeyShelf
}

class SegmentStore implements MailboxStore {
  readonly #parts: Parts & CleanParts
  readonly #recent = new Recent()
  /** One at a time. */
  #maintenance: Promise<unknown> = Promise.resolve()
  #closed: Promise<void> | undefined
  #isRoomy = true
  #underWay = 0
  #nothingUnderWay: () => void = () => undefined

  constructor(parts: Parts) {
    this.#parts = { ...parts, bodyOf: (entry) => this.#bodyOf(entry) }
  }

  append(mailbox: MailboxId, blind: Uint8Array, minute: number, bytes: Uint8Array): Promise<Appended> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      requireLength(blind, blindBytes)
      requireCount(minute)
      const { index, log, quota } = this.#parts
      const box = index.box(mailbox)
      const earlier = box && this.#earlier(box, blind, bytes)
      const isFull = !earlier && !index.hasRoom(box, bytes.length, quota)
      if (earlier || isFull) {
        await log.commit()
        return earlier ? { outcome: "stored", minute: earlier.minute } : { outcome: "full" }
      }
      const entry = this.#add(box ?? index.makeBox(mailbox), blind, minute, bytes)
      try {
        await log.commit()
      } catch (error) {
        index.delete(entry)
        throw error
      }
      if (entry.state === "pending") {
        entry.state = "kept"
        this.#recent.add(entry)
      }
      return { outcome: "stored", minute }
    })
  }

  read(mailbox: MailboxId, after: Sequence, max: number): Promise<readonly StoredEnvelope[]> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      requireCount(after)
      requireCount(max)
      const found: StoredEnvelope[] = []
      for (let last = after; found.length < max;) {
        const entries = this.#keptAfter(mailbox, last, Math.min(max - found.length, readTogether))
        if (entries.length === 0) break
        const bodies = await Promise.all(entries.map((entry) => this.#bodyOf(entry)))
        entries.forEach(({ sequence, minute, length }, i) => {
          last = sequence
          const body = bodies[i]
          if (body)
            found.push({ sequence, minute, bytes: new Uint8Array(body.buffer, body.byteOffset + blindBytes, length) })
        })
      }
      return found
    })
  }

  collect(mailbox: MailboxId, sequences: readonly Sequence[]): Promise<void> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      const { index, log } = this.#parts
      const box = index.box(mailbox)
      if (log.error !== undefined) throw log.error
      const entries = [...new Set(sequences)].flatMap((sequence) => (box && this.#kept(box, sequence)) ?? [])
      if (entries.length > 0) {
        const body = Buffer.alloc(8 * entries.length)
        entries.forEach(({ sequence }, i) => body.writeBigUInt64BE(BigInt(sequence), 8 * i))
        const note = log.add({ kind: "collected", mailbox, sequence: 0, minute: 0, body: [body] })
        note.segment.notes.push({ at: note.at, bytes: note.bytes })
        for (const entry of entries) index.delete(entry)
      }
      await log.commit()
    })
  }

  expire(beforeMinute: number): Promise<number> {
    return this.#run(async () => {
      requireCount(beforeMinute)
      const { index, log, prekeys } = this.#parts
      if (log.error !== undefined) throw log.error
      const deleted = index.expire(beforeMinute)
      for (const segment of log.segments) expireDamage(segment, beforeMinute)
      await this.#guarded(() => prekeys.expire(beforeMinute))
      const isClean = log.segments.every(({ dirty, notes }) => dirty.length === 0 && notes.length === 0)
      if (!isClean) await this.#maintain(() => clean(this.#parts))
      await log.commit()
      return deleted
    })
  }

  putPrekeys(device: DeviceId, statements: Parameters<MailboxStore["putPrekeys"]>[1]): Promise<number> {
    return this.#run(async () => {
      if (!this.#hasRoom()) throw noRoom()
      if (this.#parts.prekeys.isBehind) throw behind()
      return this.#guarded(() => this.#parts.prekeys.putPrekeys(device, statements))
    })
  }

  takePrekey(device: DeviceId): Promise<Uint8Array | undefined> {
    return this.#run(async () => {
      if (this.#parts.prekeys.isBehind) throw behind()
      return this.#guarded(() => this.#parts.prekeys.takePrekey(device))
    })
  }

  countPrekeys(device: DeviceId): Promise<number> {
    return this.#run(() => this.#parts.prekeys.countPrekeys(device))
  }

  forget(mailbox: MailboxId, device: DeviceId): Promise<void> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      if (this.#parts.log.error !== undefined) throw this.#parts.log.error
      this.#parts.index.forget(mailbox)
      await this.#guarded(() => this.#parts.prekeys.forget(device))
      await this.#maintain(() => clean(this.#parts))
    })
  }

  inspect(): Promise<StoreContents> {
    return this.#run(() => storeContentsElsewhere(this.#parts.folder))
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async #finish(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#nothingUnderWay = resolve))
    const { log, index, prekeys } = this.#parts
    // The last record says that nothing behind it was lost.
    const isClosed = log.newest.size === 0 || index.countersEndAt === log.newest.size
    if (log.error === undefined && !isClosed)
      await this.#maintain(() => saveCounters(this.#parts)).catch(() => undefined)
    await this.#maintenance
    for (const { handle } of log.segments) await handle?.close()
    await prekeys.close()
  }

  /** Begins the operation within this call, so that operations keep the order of the calls. */
  async #run<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new ValiseError("ERR_STORE_UNAVAILABLE", "the mailbox store is closed")
    this.#underWay += 1
    try {
      return await operation()
    } finally {
      this.#underWay -= 1
      if (this.#underWay === 0) this.#nothingUnderWay()
    }
  }

  /** The disk is one: when it has failed either part, nothing more is written to the other. */
  async #guarded<T>(operation: () => Promise<T>): Promise<T> {
    const { log } = this.#parts
    if (log.error !== undefined) throw log.error
    try {
      return await operation()
    } catch (error) {
      if (error instanceof ValiseError && error.code !== "ERR_STORE_UNAVAILABLE") throw error
      throw log.fail(error)
    }
  }

  #maintain(work: () => Promise<void>): Promise<void> {
    const done = this.#maintenance.then(() => this.#guarded(work))
    this.#maintenance = done.catch(() => undefined)
    return done
  }

  #add(box: Box, blind: Uint8Array, minute: number, bytes: Uint8Array): Entry {
    const { index, log } = this.#parts
    if (log.error !== undefined) throw log.error
    if (!this.#hasRoom()) throw noRoom()
    if (log.unsyncedBytes + bytes.length > unsyncedBytesMax) throw behind()
    if (log.newest.size >= segmentBytesMax) this.#roll()
    const sequence = box.next++
    const added = log.add({ kind: "envelope", mailbox: box.mailbox, sequence, minute, body: [blind, bytes] })
    const entry: Entry = {
      ...added,
      box,
      sequence,
      minute,
      blind: blindOf(blind),
      length: bytes.length,
      state: "pending",
      alike: undefined,
    }
    index.add(entry)
    return entry
  }

  /** On a busy relay most files are empty when they are full: they go at once, the counters having been saved. */
  #roll(): void {
    this.#parts.log.roll()
    const done = this.#maintain(async () => {
      await saveCounters(this.#parts)
      await removeEmptied(this.#parts)
    })
    done.catch(() => undefined)
  }

  /** A retry: the same blind and the same bytes, of what is kept or about to be. */
  #earlier(box: Box, blind: Uint8Array, bytes: Uint8Array): Entry | undefined {
    let compared = 0
    for (let entry = box.byBlind.get(blindOf(blind)); entry && compared < comparedMax; entry = entry.alike) {
      if (entry.length !== bytes.length) continue
      compared += 1
      const body = entry.body ?? readNow(entry)
      if (!body || !body.subarray(blindBytes).equals(bytes)) continue
      if (!equal(body.subarray(0, blindBytes), blind)) continue // defence: 22 retry-repeats-blind
      return entry
    }
    return undefined
  }

  async #bodyOf(entry: Entry): Promise<Buffer | undefined> {
    const { index, onDecayed } = this.#parts
    const body = await readBody(entry)
    if (!body && entry.state === "kept" && !index.decayed.has(entry)) {
      index.decayed.add(entry)
      onDecayed()
    }
    return body
  }

  #keptAfter(mailbox: Uint8Array, after: Sequence, max: number): Entry[] {
    const entries = this.#parts.index.box(mailbox)?.entries ?? []
    const found: Entry[] = []
    for (let i = firstAfter(entries, after); i < entries.length && found.length < max; i++) {
      if (entries[i]!.state === "pending") break
      if (entries[i]!.state === "kept") found.push(entries[i]!)
    }
    return found
  }

  #kept(box: Box, sequence: number): Entry | undefined {
    const entry = box.entries[firstAfter(box.entries, sequence - 1)]
    return entry?.sequence === sequence && entry.state === "kept" ? entry : undefined
  }

  #hasRoom(): boolean {
    const { folder, headroomBytes, log } = this.#parts
    // Once for each batch: asking costs as much as adding.
    if (!log.isIdle) return this.#isRoomy
    try {
      const { bavail, bsize } = statfsSync(folder)
      return (this.#isRoomy = bavail * bsize >= headroomBytes)
    } catch (error) {
      throw log.fail(error)
    }
  }
}

const noRoom = (): ValiseError =>
  new ValiseError("ERR_STORE_UNAVAILABLE", "the disk of the mailbox store is almost full", {
    hint: "make room on it; what waits can be fetched meanwhile",
  })

const behind = (): ValiseError => new ValiseError("ERR_STORE_UNAVAILABLE", "the mailbox store is behind with writing")

const defaultQuota: Quota = { envelopesMax: chosen.mailboxEnvelopesMax, bytesMax: chosen.mailboxBytesMax }
/** Some 12,000 envelopes: rewritten once when the store is opened, and a blink to remove. */
const segmentBytesMax = 64 * 1024 * 1024
/** What waits for the disk, in memory. Beyond it the disk is too slow for what is asked, and waiting would not help. */
const unsyncedBytesMax = 64 * 1024 * 1024
const readTogether = 64
/** Whoever gives one blind to many envelopes does not get them all compared with each of the others. */
const comparedMax = 8
