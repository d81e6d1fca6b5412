/**
 * What lies where in the segment files, in memory: some 150 bytes for each envelope. It is made anew from the records
 * when the store is opened; nothing of it is saved but the counters.
 */
import type { FileHandle } from "node:fs/promises"
import type { Quota } from "./store.ts"
import { blindBytes, mailboxBytes } from "./store.ts"
import { bodyOf, type Head } from "./segment-record.ts"
import { scanSegment, type SegmentName } from "./segment-scan.ts"

export interface Segment extends SegmentName {
  handle: FileHandle | undefined
  /** Where the next record begins. */
  size: number
  /** Envelopes, and damage that may be one, of which nothing has been deleted; and their bytes. */
  live: number
  liveBytes: number
  /** Deleted, and still to be overwritten. */
  dirty: Place[]
  /** Records that say what is deleted: to be overwritten when all that has been. */
  notes: Place[]
  damaged: Damage[]
}

export interface Place {
  readonly at: number
  readonly bytes: number
}

/** A head that cannot be read, of a record of about this minute. */
export interface Damage extends Place {
  readonly minute: number
  readonly guess: Head
}

export interface Entry extends Place {
  readonly box: Box
  readonly sequence: number
  readonly minute: number
  readonly blind: number
  /** Of the sealed bytes. */
  readonly length: number
  segment: Segment
  at: number
  state: "pending" | "kept" | "deleted"
  /** Blind and sealed bytes, while they are in memory anyway. */
  body: Buffer | undefined
  /** Another of its box whose blind begins alike. */
  alike: Entry | undefined
}

export interface Box {
  readonly mailbox: Uint8Array
  next: number
  envelopes: number
  bytes: number
  /** By sequence; some of them deleted. */
  entries: Entry[]
  oldestMinute: number
  readonly byBlind: Map<number, Entry>
}

export const newSegment = (name: SegmentName): Segment => ({
  ...name,
  handle: undefined,
  size: 0,
  live: 0,
  liveBytes: 0,
  dirty: [],
  notes: [],
  damaged: [],
})

export class SegmentIndex {
  readonly boxes = new Map<string, Box>()
  /** Where the numbers of a mailbox begin that is new, or was forgotten. */
  floor = 1
  /** The newest record of counters. */
  counters: { readonly segment: Segment; readonly place: Place } | undefined
  /** A record is damaged that may have held counters. */
  countersInDoubt = false
  /** Envelopes that are kept and whose bodies are damaged, as far as bodies were read. */
  readonly decayed = new Set<Entry>()
  readonly #collected = new Set<string>()

  box(mailbox: Uint8Array): Box | undefined {
    return this.boxes.get(keyOf(mailbox))
  }

  makeBox(mailbox: Uint8Array): Box {
    const made = {
      mailbox: new Uint8Array(mailbox),
      next: this.floor,
      envelopes: 0,
      bytes: 0,
      entries: [],
      oldestMinute: Infinity,
      byBlind: new Map(),
    }
    this.boxes.set(keyOf(mailbox), made)
    return made
  }

  add(entry: Entry): void {
    const { box, segment } = entry
    box.entries.push(entry)
    box.envelopes += 1
    box.bytes += entry.length
    box.oldestMinute = Math.min(box.oldestMinute, entry.minute)
    entry.alike = box.byBlind.get(entry.blind)
    box.byBlind.set(entry.blind, entry)
    segment.live += 1
    segment.liveBytes += entry.bytes
  }

  delete(entry: Entry): void {
    const { box, segment } = entry
    if (entry.state === "deleted") return
    entry.state = "deleted"
    entry.body = undefined
    this.decayed.delete(entry)
    box.envelopes -= 1
    box.bytes -= entry.length
    unchain(box.byBlind, entry)
    segment.live -= 1
    segment.liveBytes -= entry.bytes
    segment.dirty.push({ at: entry.at, bytes: entry.bytes })
    if (box.entries.length > 2 * box.envelopes + 64)
      box.entries = box.entries.filter(({ state }) => state !== "deleted")
  }

  /** Returns how many. */
  expire(beforeMinute: number): number {
    let count = 0
    for (const box of this.boxes.values()) {
      if (box.oldestMinute >= beforeMinute) continue
      box.oldestMinute = Infinity
      for (const entry of box.entries) {
        if (entry.state === "deleted") continue
        if (entry.minute >= beforeMinute) box.oldestMinute = Math.min(box.oldestMinute, entry.minute)
        else {
          this.delete(entry)
          count += 1
        }
      }
    }
    return count
  }

  /** The mailbox may come back one day, and its numbers must not. */
  forget(mailbox: Uint8Array): void {
    const box = this.box(mailbox)
    if (!box) return
    this.floor = Math.max(this.floor, box.next)
    this.boxes.delete(keyOf(mailbox))
    for (const entry of box.entries) this.delete(entry)
  }

  /** An envelope stands in another place now. */
  move(entry: Entry, { segment, at, body }: { segment: Segment; at: number; body: Buffer }): void {
    entry.segment.live -= 1
    entry.segment.liveBytes -= entry.bytes
    entry.segment.dirty.push({ at: entry.at, bytes: entry.bytes })
    Object.assign(entry, { segment, at, body })
    segment.live += 1
    segment.liveBytes += entry.bytes
  }

  /** Where the newest record of counters ends in its file. */
  get countersEndAt(): number {
    return this.counters ? this.counters.place.at + this.counters.place.bytes : 0
  }

  hasRoom(box: Box | undefined, length: number, { envelopesMax, bytesMax }: Quota): boolean {
    return (box?.envelopes ?? 0) + 1 <= envelopesMax && (box?.bytes ?? 0) + length <= bytesMax
  }

  /** The body of a record of counters: all of them. */
  countersBody(): Buffer {
    const rows = [{ mailbox: new Uint8Array(mailboxBytes), next: this.floor }, ...this.boxes.values()]
    const body = Buffer.alloc(rows.length * counterBytes)
    rows.forEach(({ mailbox, next }, i) => {
      body.set(mailbox, i * counterBytes)
      body.writeBigUInt64BE(BigInt(next), i * counterBytes + mailboxBytes)
    })
    return body
  }

  /** To be called for each segment, oldest first, then `settle`. Returns where its last whole record ends. */
  load(segment: Segment, withBodies: boolean): number {
    let minute = 0
    for (const records = scanSegment(segment, withBodies); ;) {
      const { value, done } = records.next()
      if (done) return (segment.size = value)
      const { at, bytes, head, damaged, record } = value
      if (damaged === "head" || (damaged === "body" && head.kind !== "envelope")) {
        if (head.kind === "counters") this.countersInDoubt = true
        if (head.kind !== "envelope") segment.notes.push({ at, bytes })
        else {
          segment.damaged.push({ at, bytes, minute, guess: head })
          segment.live += 1
          segment.liveBytes += bytes
        }
        continue
      }
      if (head.kind === "envelope") {
        minute = head.minute
        this.#loadEnvelope(segment, { at, bytes }, head, damaged === "body")
      } else if (head.kind === "collected") {
        segment.notes.push({ at, bytes })
        const body = bodyOf(record!, head)
        for (let i = 0; i < body.length; i += 8) this.#collected.add(`${keyOf(head.mailbox)}${body.readBigUInt64BE(i)}`)
      } else if (head.kind === "counters") this.#loadCounters(segment, { at, bytes }, bodyOf(record!, head))
    }
  }

  /** What was collected goes, in whatever order the records stood; moved envelopes may stand twice. */
  settle(): void {
    for (const box of this.boxes.values()) {
      box.entries.sort((a, b) => a.sequence - b.sequence)
      let last: Entry | undefined
      for (const entry of box.entries) {
        if (this.#collected.has(`${keyOf(box.mailbox)}${entry.sequence}`) || entry.sequence === last?.sequence)
          this.delete(entry)
        else last = entry
      }
    }
    this.#collected.clear()
    if (!this.countersInDoubt) return
    // So far above all numbers in sight that they cannot have been there.
    let highest = this.floor
    for (const { next } of this.boxes.values()) highest = Math.max(highest, next)
    this.floor = highest + 2 ** 32
    for (const box of this.boxes.values()) box.next = this.floor
  }

  #loadEnvelope(segment: Segment, { at, bytes }: Place, head: Head, decayed: boolean): void {
    const { mailbox, sequence, minute, blind, length } = head
    const box = this.box(mailbox) ?? this.makeBox(mailbox)
    box.next = Math.max(box.next, sequence + 1)
    const kept = { state: "kept", body: undefined, alike: undefined } as const
    const entry: Entry = { ...kept, box, sequence, minute, blind, length: length - blindBytes, segment, at, bytes }
    this.add(entry)
    if (decayed) this.decayed.add(entry)
  }

  #loadCounters(segment: Segment, place: Place, body: Buffer): void {
    if (this.counters) this.counters.segment.notes.push(this.counters.place)
    this.counters = { segment, place }
    const saved = new Set<string>()
    for (let i = 0; i < body.length; i += counterBytes) {
      const mailbox = body.subarray(i, i + mailboxBytes)
      const next = Number(body.readBigUInt64BE(i + mailboxBytes))
      if (i === 0) {
        this.floor = next
        continue
      }
      const box = this.box(mailbox) ?? this.makeBox(mailbox)
      box.next = next
      saved.add(keyOf(mailbox))
    }
    for (const [key, box] of this.boxes) if (!saved.has(key) && box.envelopes === 0) this.boxes.delete(key)
  }
}

const counterBytes = mailboxBytes + 8

/** A `Map` needs text; this is the shortest way to it. */
const keyOf = (mailbox: Uint8Array): string =>
  Buffer.from(mailbox.buffer, mailbox.byteOffset, mailbox.length).toString("latin1")

/** Damage that may be an envelope leaves as envelopes do. */
export function expireDamage(segment: Segment, beforeMinute: number): void {
  const old = segment.damaged.filter(({ minute }) => minute < beforeMinute)
  if (old.length === 0) return
  segment.damaged = segment.damaged.filter(({ minute }) => minute >= beforeMinute)
  segment.dirty.push(...old)
  segment.live -= old.length
  for (const { bytes } of old) segment.liveBytes -= bytes
}

/** Index of the first entry whose sequence is above this one. */
export function firstAfter(entries: readonly Entry[], after: number): number {
  let [low, high] = [0, entries.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (entries[middle]!.sequence > after) high = middle
    else low = middle + 1
  }
  return low
}

function unchain(byBlind: Map<number, Entry>, entry: Entry): void {
  const first = byBlind.get(entry.blind)!
  if (first !== entry) {
    let before = first
    while (before.alike !== entry) before = before.alike!
    before.alike = entry.alike
  } else if (entry.alike) byBlind.set(entry.blind, entry.alike)
  else byBlind.delete(entry.blind)
  entry.alike = undefined
}
