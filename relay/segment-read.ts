/** Envelopes' bodies: from memory for a while, then from disk, checked whenever they are read. */
import { readSync } from "node:fs"
import { equal } from "../protocol/bytes.ts"
import type { Entry } from "./segment-index.ts"
import { bodyOf, isBodySound, readHead } from "./segment-record.ts"
import { errorOf, troubleOf } from "./store-trouble.ts"

/**
 * `undefined` if it has decayed, is where the disk cannot be read, or is deleted meanwhile. Throws
 * `ERR_STORE_UNAVAILABLE` if it cannot be read for another reason.
 */
export async function readBody(entry: Entry): Promise<Buffer | undefined> {
  if (entry.body) return entry.body
  const { segment, at } = entry
  const record = Buffer.allocUnsafeSlow(entry.bytes)
  try {
    await segment.handle!.read(record, 0, record.length, at)
  } catch (error) {
    if (entry.state === "deleted") return undefined
    // It was moved, and its old file removed.
    if (entry.segment !== segment) return readBody(entry)
    // A sector that has gone bad must not keep back what stands behind it in its mailbox.
    if (error instanceof Error && "code" in error && error.code === "EIO") return undefined
    throw errorOf(troubleOf(error))
  }
  return bodyIn(record, { ...entry, segment, at })
}

/** The newest envelopes stay in memory for a while: most are delivered at once. */
export class Recent {
  #entries: Entry[] = []
  #from = 0
  #bytes = 0

  add(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += entry.bytes
    while (this.#bytes > recentBytesMax) {
      const oldest = this.#entries[this.#from++]!
      this.#bytes -= oldest.bytes
      oldest.body = undefined
    }
    if (this.#from < 4096) return
    this.#entries = this.#entries.slice(this.#from)
    this.#from = 0
  }
}

/** For the rare comparison with what may be the same: within the call, so that answers keep the order of the calls. */
export function readNow(entry: Entry): Buffer | undefined {
  const record = Buffer.allocUnsafeSlow(entry.bytes)
  try {
    readSync(entry.segment.handle!.fd, record, 0, record.length, entry.at)
  } catch {
    return undefined
  }
  return bodyIn(record, entry)
}

/** Checked against what was asked for, not only against itself. */
function bodyIn(record: Buffer, { segment, at, sequence, box }: Entry): Buffer | undefined {
  const head = readHead(record, segment.nonce, at)
  if (head?.kind !== "envelope" || head.sequence !== sequence || !equal(head.mailbox, box.mailbox)) return undefined
  return isBodySound(record, head) ? bodyOf(record, head) : undefined
}

const recentBytesMax = 8 * 1024 * 1024
