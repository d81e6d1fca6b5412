/**
 * Appends records to the newest segment file. Group commit: what is added while one batch is written and synced, off
 * this thread, forms the next. What a record means is not known here.
 */
import { randomBytes } from "node:crypto"
import { open } from "node:fs/promises"
import { newSegment, type Place, type Segment } from "./segment-index.ts"
import { headBytes, recordBytes, writeHead, type RecordKind } from "./segment-record.ts"
import { segmentName } from "./segment-scan.ts"
import { errorOf, troubleOf } from "./store-trouble.ts"

export interface NewRecord {
  readonly kind: RecordKind
  readonly mailbox: Uint8Array
  readonly sequence: number
  readonly minute: number
  /** In a row. */
  readonly body: readonly Uint8Array[]
}

/** Where a record will stand, and its body in memory: a view that nobody may change. */
export interface Added extends Place {
  readonly segment: Segment
  readonly body: Buffer
}

export class SegmentLog {
  /** Oldest first; the last one is written to. */
  readonly segments: Segment[]
  readonly #folder: string
  readonly #batches: Batch[] = []
  #chunk: Buffer = Buffer.alloc(0)
  #chunkUsed = 0
  #unsyncedBytes = 0
  #isWorking = false
  #error: unknown

  constructor(folder: string, segments: Segment[]) {
    this.#folder = folder
    this.segments = segments
  }

  get newest(): Segment {
    return this.segments.at(-1)!
  }

  get unsyncedBytes(): number {
    return this.#unsyncedBytes
  }

  /** Why nothing is written any more, if so. */
  get error(): unknown {
    return this.#error
  }

  /** Nothing waits to be written. */
  get isIdle(): boolean {
    return this.#batches.length === 0
  }

  /** Copies the record into the batch that forms. */
  add({ kind, mailbox, sequence, minute, body }: NewRecord): Added {
    const length = body.reduce((sum, part) => sum + part.length, 0)
    const bytes = recordBytes(length)
    const batch = this.#forming()
    const segment = batch.segment
    const at = segment.size
    const record = this.#space(batch, bytes)
    let to = headBytes
    for (const part of body) {
      record.set(part, to)
      to += part.length
    }
    record.fill(0, to)
    writeHead(record, segment.nonce, at, { kind, mailbox, sequence, minute, length })
    segment.size += bytes
    batch.bytes += bytes
    this.#unsyncedBytes += bytes
    return { segment, at, bytes, body: record.subarray(headBytes, headBytes + length) }
  }

  /**
   * Resolves when everything added before is on stable storage; in the order of the calls. Rejects with
   * `ERR_STORE_UNAVAILABLE` if that failed; then all later ones do, too.
   */
  commit(): Promise<void> {
    if (this.#error !== undefined) return Promise.reject(this.#error)
    const { waiting } = this.#forming()
    if (!this.#isWorking) {
      this.#isWorking = true
      // Together with all else that the sockets have to say in this turn.
      setImmediate(() => void this.#work())
    }
    return new Promise((resolve, reject) => waiting.push({ resolve, reject }))
  }

  /** What is added next begins a new file. */
  roll(): Segment {
    const number = (this.segments.at(-1)?.number ?? 0) + 1
    const segment = newSegment(segmentName(this.#folder, number, randomBytes(8).toString("hex")))
    this.segments.push(segment)
    return segment
  }

  /** From now on nothing is written any more. */
  fail(cause: unknown): unknown {
    this.#error ??= errorOf(troubleOf(cause))
    return this.#error
  }

  async #work(): Promise<void> {
    for (let batch = this.#batches.shift(); batch; batch = this.#batches.shift()) {
      try {
        if (this.#error !== undefined) throw this.#error
        if (batch.bytes > 0) await this.#write(batch)
        for (const { resolve } of batch.waiting) resolve()
      } catch (error) {
        this.fail(error)
        for (const { reject } of batch.waiting) reject(this.#error)
      }
      this.#unsyncedBytes -= batch.bytes
    }
    this.#isWorking = false
  }

  async #write({ segment, from, parts }: Batch): Promise<void> {
    const isNew = segment.handle === undefined
    segment.handle ??= await open(segment.path, "wx+", 0o600)
    try {
      let at = from
      for (const part of parts) {
        const { bytesWritten } = await segment.handle.write(part, 0, part.length, at)
        if (bytesWritten < part.length) throw new Error("the disk took only a part of a write")
        at += part.length
      }
      await segment.handle.datasync()
      if (isNew) await syncFolder(this.#folder)
    } catch (error) {
      // Memory may have what the disk has not, and no later sync would write it: it must not be found at the next start.
      // Should the disk refuse even that, what was refused to its sender may stand there then: at worst a duplicate.
      await segment.handle.truncate(from).catch(() => undefined)
      throw error
    }
  }

  #forming(): Batch {
    const last = this.#batches.at(-1)
    if (last && last.segment === this.newest && last.bytes < batchBytesMax) return last
    const batch: Batch = { segment: this.newest, from: this.newest.size, parts: [], bytes: 0, waiting: [] }
    this.#batches.push(batch)
    return batch
  }

  #space(batch: Batch, bytes: number): Buffer {
    if (this.#chunkUsed + bytes > this.#chunk.length) {
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(bytes, chunkBytes))
      this.#chunkUsed = 0
    }
    const begin = this.#chunkUsed
    this.#chunkUsed += bytes
    const last = batch.parts.at(-1)
    const isNext = last?.buffer === this.#chunk.buffer && last.byteOffset + last.length === begin
    if (isNext) batch.parts[batch.parts.length - 1] = this.#chunk.subarray(begin - last.length, this.#chunkUsed)
    else batch.parts.push(this.#chunk.subarray(begin, this.#chunkUsed))
    return this.#chunk.subarray(begin, this.#chunkUsed)
  }
}

interface Batch {
  readonly segment: Segment
  readonly from: number
  /** Their bytes stand in a row in the file. */
  readonly parts: Buffer[]
  bytes: number
  readonly waiting: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[]
}

/** A batch's sync stays well below a second on a slow disk. */
const batchBytesMax = 4 * 1024 * 1024
/** Memory is taken in pieces of this size, and given back when no batch and no reader needs one any more. */
const chunkBytes = 256 * 1024

/** The names in this folder are durable when this resolves. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
