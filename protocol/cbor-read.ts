/**
 * Reads deterministic CBOR in one pass. Whatever `encodeCbor` would not have written is refused where it stands, so nobody
 * need encode the value again to find out.
 */
import { fromUtf8 } from "./bytes.ts"

/**
 * The one value that these bytes are. Throws `TypeError` on anything that is not in the one form.
 * @param levels arrays and maps around one item, at most
 */
export function readCbor(bytes: Uint8Array, levels: number): unknown {
  const reading = new Reading(bytes)
  const value = reading.value(levels)
  reading.requireEnd()
  return value
}

class Reading {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  value(levels: number): unknown {
    const first = this.#byte()
    const info = first & 0x1f
    switch (first >> 5) {
      case 0:
        return this.#argument(info)
      case 1:
        return negative(this.#argument(info))
      case 2:
        return this.#take(this.#argument(info)).slice()
      case 3:
        return text(this.#take(this.#argument(info)))
      case 4:
        return this.#array(this.#argument(info), levels)
      case 5:
        return this.#map(this.#argument(info), levels)
      default:
        return simple(first)
    }
  }

  requireEnd(): void {
    if (this.#at !== this.#bytes.length) throw new TypeError("bytes after the end")
  }

  #array(count: number, levels: number): unknown[] {
    requireLevel(count, levels)
    const items: unknown[] = []
    for (let i = 0; i < count; i++) items.push(this.value(levels - 1))
    return items
  }

  #map(count: number, levels: number): Record<string, unknown> {
    requireLevel(count, levels)
    const items: Record<string, unknown> = {}
    let previous: number | undefined
    for (let i = 0; i < count; i++) {
      const start = this.#at
      const key = this.value(0)
      if (typeof key !== "string" || key === "__proto__") throw new TypeError("a key is no name")
      if (previous !== undefined && !this.#isAscending(previous, start))
        throw new TypeError("keys are out of order, or one comes twice")
      previous = start
      items[key] = this.value(levels - 1)
    }
    return items
  }

  /** Whether the key at `a` comes before the one at `b`, which ends here: of two, neither is the beginning of the other. */
  #isAscending(a: number, b: number): boolean {
    for (let i = 0; b + i < this.#at; i++) {
      const difference = this.#bytes[a + i]! - this.#bytes[b + i]!
      if (difference !== 0) return difference < 0
    }
    return false
  }

  /** What follows the first byte, in the shortest form that holds it. */
  #argument(info: number): number {
    if (info < 24) return info
    if (info > 27) throw new TypeError("of indefinite length")
    const size = 1 << (info - 24)
    let value = 0
    for (let i = 0; i < size; i++) value = value * 256 + this.#byte()
    if (value < leastOfSize[info - 24]! || !Number.isSafeInteger(value)) throw new TypeError("not the shortest form")
    return value
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++]
    if (byte === undefined) throw new TypeError("cut off")
    return byte
  }

  #take(length: number): Uint8Array {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new TypeError("cut off")
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }
}

/** The least number that needs 1, 2, 4 or 8 bytes of its own. */
const leastOfSize = [24, 2 ** 8, 2 ** 16, 2 ** 32]

/** Most texts are a field's name. For those the decoder's call costs more than its work. */
function text(bytes: Uint8Array): string {
  if (bytes.length > 24) return fromUtf8(bytes)
  let ascii = ""
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i]! > 127) return fromUtf8(bytes)
    ascii += String.fromCharCode(bytes[i]!)
  }
  return ascii
}

function negative(argument: number): number {
  const value = -1 - argument
  if (!Number.isSafeInteger(value)) throw new TypeError("too large a number")
  return value
}

function requireLevel(count: number, levels: number): void {
  if (count > 0 && levels === 0) throw new TypeError("nested too deeply")
}

/** No tags, no floating point, no `undefined`. */
function simple(first: number): boolean | null {
  if (first === 0xf4) return false
  if (first === 0xf5) return true
  if (first === 0xf6) return null
  throw new TypeError("not one of our values")
}
