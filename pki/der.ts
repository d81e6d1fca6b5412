/**
 * DER as certificates need it (X.690): reading that refuses whatever is not the one encoding, and writing. Own code,
 * because the libraries read BER: they take long forms and trailing bytes that this profile refuses.
 */
import { concat, fromUtf8, utf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"

export const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
  /** `[n]`, constructed. */
  explicit: (n: number): number => 0xa0 + n,
  /** `[n]`, primitive. */
  implicit: (n: number): number => 0x80 + n,
} as const

export interface Element {
  readonly tag: number
  readonly content: Uint8Array
  /** Tag, length and content, as received. */
  readonly bytes: Uint8Array
}

/** All elements in a row; throws `ERR_MALFORMED` unless they fill the bytes exactly. */
export function readElements(bytes: Uint8Array): readonly Element[] {
  const elements: Element[] = []
  for (let at = 0; at < bytes.length;) {
    const element = readElement(bytes, at)
    elements.push(element)
    at += element.bytes.length
  }
  return elements
}

/** The content of the one element with this tag that these bytes are. Throws `ERR_MALFORMED`. */
export function contentOf(expected: number, bytes: Uint8Array): Uint8Array {
  const [element, ...rest] = readElements(bytes)
  if (!element || rest.length > 0 || element.tag !== expected) return refuse()
  return element.content
}

/** A bit string of whole bytes. Throws `ERR_MALFORMED`. */
export function bitsOf(element: Element): Uint8Array {
  if (element.tag !== tag.bitString || element.content[0] !== 0) return refuse()
  return element.content.subarray(1)
}

/** A positive integer's bytes, in the shortest form. Throws `ERR_MALFORMED`. */
export function positiveIntegerOf(element: Element): Uint8Array {
  const [first, second] = element.content
  const isPositive = first !== undefined && first < 0x80 && (first > 0 || (second !== undefined && second >= 0x80))
  return element.tag === tag.integer && isPositive ? element.content : refuse()
}

/** UTF8String or PrintableString. Throws `ERR_MALFORMED`. */
export function textOf(element: Element): string {
  if (element.tag !== tag.utf8String && element.tag !== tag.printableString) return refuse()
  try {
    return fromUtf8(element.content)
  } catch {
    return refuse()
  }
}

/**
 * Seconds since 1970, from UTCTime until 2049 and GeneralizedTime after it, both to the second and in UTC
 * (RFC 5280 §4.1.2.5). Throws `ERR_MALFORMED`.
 */
export function timeOf(element: Element): number {
  const text = String.fromCharCode(...element.content)
  const short = element.tag === tag.utcTime && /^\d{12}Z$/.test(text)
  const long = element.tag === tag.generalizedTime && /^\d{14}Z$/.test(text)
  if (!short && !long) return refuse()
  const full = short ? `${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}` : text
  const year = Number(full.slice(0, 4))
  const [month, day, hour, minute, second] = [4, 6, 8, 10, 12].map((at) => Number(full.slice(at, at + 2))) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const start = Date.UTC(year, month - 1, 1)
  const daysInMonth = (Date.UTC(year, month, 1) - start) / 86_400_000
  if (year < 1970 || (long && year < 2050) || month < 1 || month > 12 || day < 1 || day > daysInMonth) return refuse()
  if (hour > 23 || minute > 59 || second > 59) return refuse()
  return start / 1000 + ((day - 1) * 24 + hour) * 3600 + minute * 60 + second
}

/** Tag, shortest length, and the parts in a row as content. */
export function der(elementTag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concat(...parts)
  return concat(Uint8Array.of(elementTag), encodedLength(content.length), content)
}

export const derText = (elementTag: number, text: string): Uint8Array => der(elementTag, utf8(text))

/** An object identifier in dotted form; arcs may be of any size (2.25 arcs have 128 bits). */
export function derOid(dotted: string): Uint8Array {
  const [first, second, ...rest] = dotted.split(".").map(BigInt)
  const arcs = [first! * 40n + second!, ...rest]
  return der(tag.oid, ...arcs.map(base128))
}

function base128(arc: bigint): Uint8Array {
  const digits = [Number(arc & 127n)]
  for (let left = arc >> 7n; left > 0n; left >>= 7n) digits.unshift(Number(left & 127n) | 128)
  return Uint8Array.from(digits)
}

function readElement(bytes: Uint8Array, at: number): Element {
  const elementTag = bytes[at]!
  if ((elementTag & 0x1f) === 0x1f) return refuse() // no certificate of this profile has a tag above 30
  const { length, headerBytes } = readLength(bytes, at + 1)
  const from = at + 1 + headerBytes
  if (from + length > bytes.length) return refuse()
  return { tag: elementTag, content: bytes.subarray(from, from + length), bytes: bytes.subarray(at, from + length) }
}

/** Definite and shortest; up to 65,535, which no log entry exceeds. */
function readLength(bytes: Uint8Array, at: number): { readonly length: number; readonly headerBytes: number } {
  const first = bytes[at]
  if (first === undefined) return refuse()
  if (first < 0x80) return { length: first, headerBytes: 1 }
  const [high = 0, low] = first === 0x81 ? [0, bytes[at + 1]] : [bytes[at + 1], bytes[at + 2]]
  if (first > 0x82 || first === 0x80 || low === undefined) return refuse()
  const length = high * 256 + low
  if (length < (first === 0x81 ? 0x80 : 0x100)) return refuse()
  return { length, headerBytes: first - 0x7f }
}

function encodedLength(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length)
  return length < 0x100 ? Uint8Array.of(0x81, length) : Uint8Array.of(0x82, length >> 8, length & 255)
}

function refuse(): never {
  throw new ValiseError("ERR_MALFORMED", "not DER of the certificate profile")
}
