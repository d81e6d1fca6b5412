/**
 * The records of the store's tables, each with the checksum that says whether it is still what was written. A row that
 * fails it reads as `undefined`. Against decay, not against attack: whoever can write the file can write checksums.
 */
import { hash } from "node:crypto"
import type { SQLOutputValue } from "node:sqlite"
import { crc32 } from "node:zlib"
import { concat, equal, u64be, utf8 } from "../protocol/bytes.ts"
import { blindBytes, countMax, deviceBytes, mailboxBytes } from "./store.ts"

export type Row = Record<string, SQLOutputValue>

export interface EnvelopeRecord {
  readonly mailbox: Uint8Array
  readonly sequence: number
  readonly minute: number
  readonly blind: Uint8Array
  readonly bytes: Uint8Array
}

/** CRC-32 over all fields. Nothing longer, and no cryptographic hash: the relay keeps no digest of an envelope. */
export function envelopeChecksum({ mailbox, sequence, minute, blind, bytes }: EnvelopeRecord): number {
  return crc32(bytes, crc32(blind, crc32(u64be(minute), crc32(u64be(sequence), crc32(mailbox)))))
}

/** @param row columns as `envelopeColumns` selects them */
export function readEnvelope({ mailbox, sequence, minute, blind, bytes, checksum }: Row): EnvelopeRecord | undefined {
  if (!isBytes(mailbox, mailboxBytes) || !isBytes(blind, blindBytes) || !(bytes instanceof Uint8Array)) return undefined
  if (!isCount(sequence) || !isCount(minute)) return undefined
  const record = { mailbox, sequence, minute, blind, bytes }
  return envelopeChecksum(record) === checksum ? record : undefined
}

/** The next sequence number of a mailbox. */
export interface CounterRecord {
  readonly mailbox: Uint8Array
  readonly next: number
}

export const counterChecksum = ({ mailbox, next }: CounterRecord): number => crc32(u64be(next), crc32(mailbox))

/** @param row columns as `counterColumns` selects them */
export function readCounter({ mailbox, next, checksum }: Row): CounterRecord | undefined {
  if (!(mailbox instanceof Uint8Array) || !isCount(next)) return undefined
  return counterChecksum({ mailbox, next }) === checksum ? { mailbox, next } : undefined
}

export type PrekeyTable = "one-time" | "rotating"

/** Names a prekey's statement and is its checksum. The statement is public, so a hash of it tells nothing new. */
export const prekeyDigest = (table: PrekeyTable, device: Uint8Array, statement: Uint8Array): Uint8Array =>
  new Uint8Array(hash("sha256", concat(utf8(table), device, statement), "buffer"))

/** @param row columns `device`, `statement` and `digest` of a prekey table */
export function readPrekey(table: PrekeyTable, { device, statement, digest }: Row): Uint8Array | undefined {
  if (!isBytes(device, deviceBytes) || !(statement instanceof Uint8Array) || !(digest instanceof Uint8Array))
    return undefined
  return equal(prekeyDigest(table, device, statement), digest) ? statement : undefined
}

/** A column of whole numbers, as a number that JavaScript can hold whatever a decayed record says. */
export const clipped = (column: string): string => `min(max(ifnull(${column}, 0), 0), ${countMax}) AS ${column}`

export const envelopeColumns = `mailbox, ${clipped("sequence")}, ${clipped("minute")}, blind, ${clipped("checksum")}, bytes`
export const counterColumns = `mailbox, ${clipped("next")}, ${clipped("checksum")}`

function isBytes(value: SQLOutputValue | undefined, length: number): value is Uint8Array<ArrayBuffer> {
  return value instanceof Uint8Array && value.length === length
}

function isCount(value: SQLOutputValue | undefined): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= countMax
}
