/**
 * The head: the sealed state of the whole vault, replaced by every transaction that changes something. Its fingerprint
 * covers every record, so that a record taken out, put back in an older version or moved is found when the vault is
 * opened. Only the whole vault can be put back unseen: against that stand incarnation and counters (SPEC "A vault that
 * goes back in time").
 */
import { z } from "zod"
import { shapes, type Incarnation } from "../../protocol/address.ts"
import { compare, concat, equal } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../protocol/cbor.ts"
import { journalHeadShape, type JournalHead } from "./journal.ts"
import type { VaultAbout } from "./schema.ts"
import type { StorageReadTx, StorageTx, StoredEntry } from "./storage.ts"
import { tampered, type VaultKeys } from "./vault-keys.ts"

export interface Head {
  readonly v: 1
  readonly about: VaultAbout
  /** Transactions so far. */
  readonly transactions: number
  /** XOR of the elements of all records. */
  readonly fingerprint: Uint8Array
  readonly journal: JournalHead
  /** Missing in a backup. */
  readonly volatile?: VolatileHead | undefined
}

export interface VolatileHead {
  readonly incarnation: Incarnation
  /**
   * Seals the volatile records. It lies here alone and is replaced by `Vault.scrub`: to erase many records beyond
   * recovery, it is enough that this one old head is gone.
   */
  readonly key: Uint8Array
  /** Whether records sealed under this key were erased or replaced, so that remnants may lie about. */
  readonly remnants: boolean
}

export interface SealedHead {
  readonly sealed: Uint8Array
  readonly head: Head
}

export const emptyFingerprint: Uint8Array = new Uint8Array(32)

/** Throws `ERR_VAULT_TAMPERED`. */
export function readHead(rows: StorageReadTx, keys: VaultKeys): Head {
  const sealed = rows.meta("head")
  if (!sealed) throw tampered("the vault's head is missing")
  return decodeCbor(headShape, keys.openHead(sealed))
}

/** The bytes that it has written. */
export function writeHead(rows: StorageTx, keys: VaultKeys, head: Head): Uint8Array {
  const sealed = keys.sealHead(encodeCbor(head))
  rows.setMeta("head", sealed)
  return sealed
}

/** Adds the entry's element, or takes it away: the same act. */
export function toggled(fingerprint: Uint8Array, keys: VaultKeys, entry: StoredEntry): Uint8Array {
  return keys.element(entry).map((byte, i) => byte ^ fingerprint[i]!)
}

/**
 * Throws `ERR_VAULT_TAMPERED` unless the records are those of the head, in order. Order counts: a lookup in a tree
 * whose entries are out of order can miss one that is there.
 */
export function checkFingerprint(rows: StorageReadTx, keys: VaultKeys, head: Head): void {
  let fingerprint = emptyFingerprint
  let previous: Uint8Array | undefined
  for (const entry of rows.entries()) {
    const place = concat(entry.collection, entry.id)
    if (previous && compare(previous, place) >= 0) throw tampered("the vault's records are out of order")
    previous = place
    fingerprint = toggled(fingerprint, keys, entry)
  }
  if (!equal(fingerprint, head.fingerprint)) throw tampered("records of the vault are missing, altered or put back")
}

const bytes32: z.ZodType<Uint8Array> = shapes.hash

const headShape: z.ZodType<Head> = z.strictObject({
  v: z.literal(1),
  about: z.strictObject({
    poc: shapes.poc,
    realm: z.strictObject({ origin: z.string().max(255), mode: shapes.mode }),
  }),
  transactions: shapes.counter,
  fingerprint: bytes32,
  journal: journalHeadShape,
  volatile: z.strictObject({ incarnation: shapes.incarnation, key: bytes32, remnants: z.boolean() }).optional(),
})
