/** Byte strings: the few operations that every wire structure needs. */

export const utf8 = (text: string): Uint8Array => encoder.encode(text)

/** Strict UTF-8: throws `TypeError` on malformed input, keeps a leading BOM as it is. */
export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes)

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Not constant time: for public values only. Secrets are compared by `constantTimeEqual` in primitives. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false
  return true
}

/** Bytewise lexicographic order, as deterministic CBOR and the sorted lists of the protocol use it. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function hex(bytes: Uint8Array): string {
  let out = ""
  for (const byte of bytes) out += hexOfByte[byte]
  return out
}

/** Accepts an even number of lower or upper case digits; throws `TypeError` on anything else. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new TypeError("not hexadecimal")
  const out = new Uint8Array(text.length / 2)
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16)
  return out
}

export function base64(bytes: Uint8Array): string {
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary)
}

/** Canonical standard base64 with padding only; throws `TypeError` on anything else. */
export function fromBase64(text: string): Uint8Array {
  let binary: string
  try {
    binary = atob(text)
  } catch {
    throw new TypeError("not base64")
  }
  const out = Uint8Array.from(binary, (c) => c.charCodeAt(0))
  if (base64(out) !== text) throw new TypeError("not canonical base64")
  return out
}

export function u16be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 255)
}

export function u32be(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
}

export function u64be(value: number): Uint8Array {
  if (!Number.isInteger(value) || value < 0) throw new RangeError("a whole number from 0 is needed")
  const high = Math.floor(value / 2 ** 32)
  return Uint8Array.of(
    high >>> 24,
    (high >>> 16) & 255,
    (high >>> 8) & 255,
    high & 255,
    (value >>> 24) & 255,
    (value >>> 16) & 255,
    (value >>> 8) & 255,
    value & 255,
  )
}

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
const hexOfByte = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"))
