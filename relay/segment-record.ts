/**
 * A record of a segment file. All begin at a multiple of 16 and are padded to one.
 *
 *   0   4   check of the head   CRC-32 of bytes 4 to 47, begun with the file's nonce and the record's place in the file
 *   4   1   kind
 *   5   3   the blind's first bytes, by which a retry is looked for
 *   8   4   length of the body
 *   12  4   check of the body   CRC-32
 *   16 16   mailbox
 *   32  8   sequence
 *   40  8   minute
 *   48  …   body                envelope: blind (32) and the sealed bytes; collected: sequences, u64 each;
 *                               counters: mailbox (16) and next sequence (u64), in turn; gap: zeros, not checked
 *
 * Against decay, not against attack: whoever can write the file can write checks. The nonce is in the file's name; who
 * submits an envelope does not know it, and so cannot put a record of its own into an envelope's bytes, for the day when
 * a damaged head makes the reader search for the next one.
 */
import { crc32 } from "node:zlib"

export const headBytes = 48
export const alignment = 16

/** Four bits apart: one flipped bit does not make one of another. */
export const kinds = { envelope: 0x0f, collected: 0x33, counters: 0x55, gap: 0x69 } as const
export type RecordKind = keyof typeof kinds

export interface Head {
  readonly kind: RecordKind
  readonly blind: number
  readonly length: number
  readonly bodyCheck: number
  readonly mailbox: Uint8Array
  readonly sequence: number
  readonly minute: number
}

/** Of the whole record with its padding. */
export const recordBytes = (bodyLength: number): number => Math.ceil((headBytes + bodyLength) / alignment) * alignment

/** The check with which every head of this file begins. */
export const nonceCheck = (nonce: string): number => crc32(nonce)

/** Writes the head in front of a body that stands at `headBytes`. @param at the record's place in the file */
export function writeHead(record: Buffer, nonce: number, at: number, head: Omit<Head, "bodyCheck" | "blind">): void {
  record.fill(0, 4, 16)
  record[4] = kinds[head.kind]
  if (head.kind === "envelope") record.copy(record, 5, headBytes, headBytes + 3)
  record.writeUInt32BE(head.length, 8)
  if (head.kind !== "gap") record.writeUInt32BE(crc32(bodyOf(record, head)), 12)
  record.set(head.mailbox, 16)
  record.writeBigUInt64BE(BigInt(head.sequence), 32)
  record.writeBigUInt64BE(BigInt(head.minute), 40)
  record.writeUInt32BE(headCheck(record, nonce, at), 0)
}

/** `undefined` if this is not the head of a record at this place. */
export function readHead(bytes: Buffer, nonce: number, at: number): Head | undefined {
  if (bytes.length < headBytes || bytes.readUInt32BE(0) !== headCheck(bytes, nonce, at)) return undefined
  const kind = kindNames.get(bytes[4]!)
  return kind && headAsItStands(bytes, kind)
}

/** Of a damaged head: what its fields say, for the operator. */
export function guessHead(bytes: Buffer): Head {
  const apart = (kind: RecordKind): number => bitsSet(kinds[kind] ^ bytes[4]!)
  const [nearest] = (Object.keys(kinds) as RecordKind[]).toSorted((a, b) => apart(a) - apart(b))
  return headAsItStands(bytes, nearest!)
}

/** What a head says of a blind. */
export const blindOf = (blind: Uint8Array): number => (blind[0]! << 16) | (blind[1]! << 8) | blind[2]!

export const bodyOf = (record: Buffer, { length }: { readonly length: number }): Buffer =>
  record.subarray(headBytes, headBytes + length)

export const isBodySound = (record: Buffer, head: Head): boolean =>
  head.kind === "gap" || (record.length >= headBytes + head.length && crc32(bodyOf(record, head)) === head.bodyCheck)

function headAsItStands(bytes: Buffer, kind: RecordKind): Head {
  return {
    kind,
    blind: bytes.readUIntBE(5, 3),
    length: bytes.readUInt32BE(8),
    bodyCheck: bytes.readUInt32BE(12),
    mailbox: new Uint8Array(bytes.subarray(16, 32)),
    sequence: Number(bytes.readBigUInt64BE(32)),
    minute: Number(bytes.readBigUInt64BE(40)),
  }
}

const place = Buffer.alloc(8)
function headCheck(bytes: Buffer, nonce: number, at: number): number {
  place.writeBigUInt64BE(BigInt(at))
  return crc32(bytes.subarray(4, headBytes), crc32(place, nonce))
}

const kindNames = new Map(Object.entries(kinds).map(([name, byte]) => [byte as number, name as RecordKind]))

function bitsSet(byte: number): number {
  let count = 0
  for (let rest = byte; rest > 0; rest >>= 1) count += rest & 1
  return count
}
