/**
 * Makes deleted bytes go: overwrites them with zeros where something near them is kept, removes files in which nothing
 * is, and moves what little is left in an almost empty one. Whatever the moment of a crash, an envelope that is kept
 * stands whole in one file at least, and one that was collected has its note until it is overwritten.
 */
import { unlink } from "node:fs/promises"
import { mailboxBytes } from "./store.ts"
import type { Entry, Place, Segment, SegmentIndex } from "./segment-index.ts"
import { syncFolder, type SegmentLog } from "./segment-log.ts"
import { headBytes, writeHead } from "./segment-record.ts"

export interface CleanParts {
  readonly folder: string
  readonly log: SegmentLog
  readonly index: SegmentIndex
  /** The body of an envelope, from memory or disk; `undefined` if it has decayed. */
  readonly bodyOf: (entry: Entry) => Promise<Buffer | undefined>
}

/** Saves the counters into the newest file. Durable when resolved; the last ones then count no more. */
export async function saveCounters({ log, index }: CleanParts): Promise<void> {
  const body = [index.countersBody()]
  const before = index.counters
  const { segment, at, bytes } = log.add({ kind: "counters", mailbox: nobody, sequence: 0, minute: 0, body })
  index.counters = { segment, place: { at, bytes } }
  await log.commit()
  before?.segment.notes.push(before.place)
}

/** When this resolves, no byte of what had been deleted before stands in any file. */
export async function clean(parts: CleanParts): Promise<void> {
  const { folder, log } = parts
  // So that a long file, too, can be removed once it is empty.
  if (log.newest.size > rollFrom) log.roll()
  const notes = new Map(log.segments.map((segment) => [segment, segment.notes.splice(0)]))
  await saveCounters(parts)
  await moveOut(parts)
  const emptied = log.segments.filter((segment) => segment.live === 0 && segment !== log.newest)
  for (const segment of log.segments) if (!emptied.includes(segment)) await overwrite(segment, segment.dirty.splice(0))
  if (emptied.length > 0) await removeAll(folder, log, emptied)
  // Only now: until here they said what must not come back.
  for (const [segment, places] of notes) if (!emptied.includes(segment)) await overwrite(segment, places)
}

/**
 * Removes files in which nothing is kept, as long as no older one waits for `clean`: a note in the younger may be about
 * something in the older. For a busy relay, between two runs of `clean`.
 */
export async function removeEmptied({ folder, log }: CleanParts): Promise<void> {
  const emptied: Segment[] = []
  for (const segment of log.segments.slice(0, -1)) {
    if (segment.live === 0) emptied.push(segment)
    else if (segment.dirty.length > 0) break
  }
  if (emptied.length > 0) await removeAll(folder, log, emptied)
}

async function removeAll(folder: string, log: SegmentLog, emptied: readonly Segment[]): Promise<void> {
  for (const segment of emptied) {
    log.segments.splice(log.segments.indexOf(segment), 1)
    await segment.handle?.close()
    await unlink(segment.path)
  }
  await syncFolder(folder)
}

/** Less than a quarter of the file is kept: that moves to the newest one, with its numbers. */
async function moveOut({ log, index, bodyOf }: CleanParts): Promise<void> {
  const sparse = new Set(
    log.segments.filter(
      ({ live, liveBytes, size, damaged }) =>
        live > 0 && damaged.length === 0 && size > rollFrom && liveBytes < size / 4,
    ),
  )
  sparse.delete(log.newest)
  if (sparse.size === 0) return
  const moved: Entry[] = []
  for (const box of index.boxes.values())
    for (const entry of box.entries.filter(({ segment, state }) => state === "kept" && sparse.has(segment))) {
      const body = await bodyOf(entry)
      if (!body || entry.state !== "kept") continue
      const { sequence, minute } = entry
      const added = log.add({ kind: "envelope", mailbox: box.mailbox, sequence, minute, body: [body] })
      // Read from memory until it is there.
      index.move(entry, added)
      moved.push(entry)
      if (log.unsyncedBytes > unsyncedBytesMax) await log.commit()
    }
  await log.commit()
  for (const entry of moved) entry.body = undefined
}

/** Each stretch becomes one gap. */
async function overwrite(segment: Segment, places: readonly Place[]): Promise<void> {
  if (places.length === 0) return
  const handle = segment.handle!
  const stretches: { at: number; bytes: number }[] = []
  for (const { at, bytes } of places.toSorted((a, b) => a.at - b.at)) {
    const last = stretches.at(-1)
    if (last && last.at + last.bytes === at && last.bytes + bytes <= stretchBytesMax) last.bytes += bytes
    else stretches.push({ at, bytes })
  }
  for (const { at, bytes } of stretches) {
    const gap = Buffer.alloc(bytes)
    writeHead(gap, segment.nonce, at, {
      kind: "gap",
      mailbox: nobody,
      sequence: 0,
      minute: 0,
      length: bytes - headBytes,
    })
    await handle.write(gap, 0, bytes, at)
  }
  await handle.datasync()
}

const nobody = new Uint8Array(mailboxBytes)
/** A file shorter than this is not worth removing or moving. */
const rollFrom = 1024 * 1024
const unsyncedBytesMax = 4 * 1024 * 1024
const stretchBytesMax = 1024 * 1024
