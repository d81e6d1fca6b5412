/**
 * The journal: an append-only chain of records (SPEC "Vault: journal"). Each record names the hash of the one before it;
 * the vault's sealed head keeps number and hash of the last. What somebody without the vault's key takes out, puts
 * elsewhere, cuts off or changes is found. Somebody with the key can write another chain: only a head that was noted
 * outside the vault shows that.
 */
import { z } from "zod"
import { shapes, type Hash } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor, type CborValue } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { taggedHash } from "../../protocol/hash.ts"

export interface JournalRecord<Event extends string = string> {
  /** Counts from 0 without gaps. */
  readonly i: number
  /** Seconds since 1970 by the writer's clock; not promised to rise. */
  readonly at: number
  readonly event: Event
  readonly details: JournalDetails
  /** Hash of record i − 1; 32 zeros before the first. */
  readonly previous: Hash
}

/** Codes, ids and counts that belong to the event. */
export type JournalDetails = { readonly [name: string]: CborValue }

/** How many records there are, and the hash of the last. */
export interface JournalHead {
  readonly count: number
  readonly hash: Hash
}

export type JournalCheck =
  | { readonly ok: true; readonly head: JournalHead }
  | { readonly ok: false; readonly at: number; readonly reason: JournalFault }

export type JournalFault = "missing" | "altered" | "order" | "chain" | "truncated"

export const emptyJournal: JournalHead = { count: 0, hash: new Uint8Array(32) as Hash }

export const journalHeadShape: z.ZodType<JournalHead> = z.strictObject({ count: shapes.counter, hash: shapes.hash })

/** The bytes of the next record, and the head after it. */
export function nextJournalRecord(
  head: JournalHead,
  atSeconds: number,
  event: string,
  details: JournalDetails,
): { readonly bytes: Uint8Array; readonly head: JournalHead } {
  const record: JournalRecord = { i: head.count, at: atSeconds, event, details, previous: head.hash }
  const bytes = encodeCbor(record)
  return { bytes, head: { count: head.count + 1, hash: journalHash(head.hash, bytes) } }
}

/** Throws `ERR_MALFORMED`. */
export const decodeJournalRecord = (bytes: Uint8Array): JournalRecord => decodeCbor(recordShape, bytes)

/**
 * Walks the chain from its beginning. `recordAt(i)` gives the bytes of record i, or undefined if there is none;
 * what it throws as `ERR_VAULT_TAMPERED` counts as altered.
 */
export function checkJournal(head: JournalHead, recordAt: (i: number) => Uint8Array | undefined): JournalCheck {
  let previous = emptyJournal.hash
  for (let i = 0; i < head.count; i++) {
    const record = readRecord(i, recordAt)
    if (typeof record === "string") return { ok: false, at: i, reason: record }
    if (record.i !== i) return { ok: false, at: i, reason: "order" }
    if (!equal(record.previous, previous)) return { ok: false, at: i, reason: "chain" }
    previous = record.hash
  }
  if (!equal(previous, head.hash)) return { ok: false, at: head.count, reason: "truncated" }
  return { ok: true, head }
}

function readRecord(
  i: number,
  recordAt: (i: number) => Uint8Array | undefined,
): (JournalRecord & { readonly hash: Hash }) | JournalFault {
  try {
    const bytes = recordAt(i)
    if (!bytes) return "missing"
    const record = decodeJournalRecord(bytes)
    return { ...record, hash: journalHash(record.previous, bytes) }
  } catch (cause) {
    if (cause instanceof ValiseError && (cause.code === "ERR_VAULT_TAMPERED" || cause.code === "ERR_MALFORMED"))
      return "altered"
    throw cause
  }
}

const journalHash = (previous: Hash, bytes: Uint8Array): Hash => taggedHash("journal", previous, bytes) as Hash

const cborValue: z.ZodType<CborValue> = z.lazy(() =>
  z.union([
    z.string(),
    z.number().int(),
    z.boolean(),
    z.null(),
    shapes.bytes,
    z.array(cborValue),
    z.record(z.string(), cborValue),
  ]),
)

const recordShape: z.ZodType<JournalRecord> = z.strictObject({
  i: shapes.counter,
  at: shapes.seconds,
  event: z.string(),
  details: z.record(z.string(), cborValue),
  previous: shapes.hash,
})
