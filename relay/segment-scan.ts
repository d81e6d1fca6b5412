/** Reads the segment files of a folder, whole or by their heads alone, and finds the next record behind damage. */
import { closeSync, fstatSync, openSync, readdirSync, readSync } from "node:fs"
import { join } from "node:path"
import { alignment, guessHead, headBytes, isBodySound, nonceCheck, readHead, recordBytes } from "./segment-record.ts"
import type { Head } from "./segment-record.ts"

export interface SegmentName {
  readonly number: number
  readonly path: string
  /** `nonceCheck` of the nonce in its name. */
  readonly nonce: number
}

export const segmentName = (folder: string, number: number, nonce: string): SegmentName => ({
  number,
  path: join(folder, `mailboxes.${String(number).padStart(8, "0")}.${nonce}`),
  nonce: nonceCheck(nonce),
})

/** Those of this folder, oldest first. */
export function segmentsIn(folder: string): SegmentName[] {
  return readdirSync(folder)
    .flatMap((name) => {
      const [, number, nonce] = /^mailboxes\.(\d{8})\.([0-9a-f]{16})$/.exec(name) ?? []
      return nonce === undefined ? [] : [segmentName(folder, Number(number), nonce)]
    })
    .toSorted((a, b) => a.number - b.number)
}

/** A record, or what stands where one was: `damaged` is which part of it, and then `head` is a guess. */
export interface Scanned {
  readonly at: number
  readonly bytes: number
  readonly head: Head
  readonly damaged: "head" | "body" | undefined
  /** With its head; only if bodies are read. */
  readonly record: Buffer | undefined
}

/**
 * Every record in its order, and what is damaged. Bodies are read and checked if asked for; of `collected` and
 * `counters` always. What stands behind the last whole record is not yielded: the generator returns where that ends.
 */
export function* scanSegment({ path, nonce }: SegmentName, withBodies: boolean): Generator<Scanned, number> {
  const file = new Window(path)
  try {
    let at = 0
    // Yielded only when a whole record follows: at the very end it is what a crash has torn.
    let damage: Scanned | undefined
    while (at + headBytes <= file.size) {
      const head = readHead(file.read(at, headBytes), nonce, at)
      const bytes = head ? recordBytes(head.length) : 0
      if (!head || at + bytes > file.size) {
        const next = nextHead(file, nonce, at + alignment)
        if (next === undefined) break
        if (damage) yield damage
        damage = { at, bytes: next - at, head: guessHead(file.read(at, headBytes)), damaged: "head", record: undefined }
        at = next
        continue
      }
      const reads = withBodies || head.kind === "collected" || head.kind === "counters"
      const record = reads ? Buffer.from(file.read(at, bytes)) : undefined
      const damaged = record && !isBodySound(record, head) ? "body" : undefined
      if (damage) yield damage
      damage = damaged && { at, bytes, head, damaged, record }
      if (!damaged) yield { at, bytes, head, damaged, record }
      at += bytes
    }
    return damage ? damage.at : at
  } finally {
    file.close()
  }
}

function nextHead(file: Window, nonce: number, from: number): number | undefined {
  for (let at = from; at + headBytes <= file.size; at += alignment) {
    const head = readHead(file.read(at, headBytes, searchBytes), nonce, at)
    if (head && at + recordBytes(head.length) <= file.size) return at
  }
  return undefined
}

const searchBytes = 1024 * 1024

/** A file of which a piece is in memory. */
class Window {
  readonly size: number
  readonly #file: number
  #from = 0
  #bytes: Buffer = Buffer.alloc(0)

  constructor(path: string) {
    this.#file = openSync(path, "r")
    this.size = fstatSync(this.#file).size
  }

  /** @param ahead so many bytes are read at once */
  read(at: number, length: number, ahead = length): Buffer {
    if (at < this.#from || at + length > this.#from + this.#bytes.length) {
      const bytes = Buffer.alloc(Math.max(length, Math.min(ahead, this.size - at)))
      this.#bytes = bytes.subarray(0, readSync(this.#file, bytes, 0, bytes.length, at))
      this.#from = at
    }
    return this.#bytes.subarray(at - this.#from, at - this.#from + length)
  }

  close(): void {
    closeSync(this.#file)
  }
}
