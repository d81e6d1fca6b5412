/** The signed header, and the entries of its recipients to which it commits (SPEC, "Header", "Entries"). */
import { z } from "zod"
import {
  shapes,
  type DeviceId,
  type Hash,
  type Incarnation,
  type MessageId,
  type Mode,
  type OfficerId,
  type PocAddress,
  type PrekeyId,
} from "./address.ts"
import { equal } from "./bytes.ts"
import { decodeCbor, encodeCbor } from "./cbor.ts"
import { merkleRootOf, taggedHash } from "./hash.ts"
import { fixed } from "./limits.ts"
import { prekeyKinds, type PrekeyKind } from "./prekey.ts"
import { decodeGrowing, growing } from "./statement.ts"

/** What the sending device, and the officer who released the message, sign. It is transferable, so it says little. */
export interface Header {
  readonly v: 1
  readonly suite: 1
  readonly mode: Mode
  readonly messageId: MessageId
  readonly sender: { readonly poc: PocAddress; readonly device: DeviceId; readonly officer?: OfficerId | undefined }
  readonly recipientsRoot: Hash
  readonly recipientsCount: number
  /** Seconds, by the sender's clock. */
  readonly created: number
  /** Seconds; at most 14 days after `created`. */
  readonly expires: number
  /** Of the log checkpoint that the payload carries: `checkpointHash` of its note. */
  readonly checkpoint: Hash
  readonly crit?: readonly string[] | undefined
}

export const encodeHeader = (header: Header): Uint8Array => encodeCbor(header)

/** Throws `ERR_MALFORMED` or `ERR_VERSION`. */
export const decodeHeader = (bytes: Uint8Array): Header => decodeGrowing(headerShape, bytes)

export const headerHash = (headerBytes: Uint8Array): Hash => taggedHash("header", headerBytes) as Hash

/** @param note the checkpoint's signed note, as its bytes. */
export const checkpointHash = (note: Uint8Array): Hash => taggedHash("statement", note) as Hash

/** One recipient device: for whom, under which prekey and by which encapsulation the sender sealed. */
export interface Entry {
  readonly poc: PocAddress
  readonly device: DeviceId
  readonly prekeyId: PrekeyId
  readonly kind: PrekeyKind
  /** Counts the messages of this sender device to this recipient device; a gap shows what was dropped. */
  readonly pairSequence: PairSequence
  readonly enc: Hash
}

export interface PairSequence {
  readonly incarnation: Incarnation
  readonly n: number
}

export const encodeEntry = (entry: Entry): Uint8Array => encodeCbor(entry)

/** Throws `ERR_MALFORMED`. */
export const decodeEntry = (bytes: Uint8Array): Entry => decodeCbor(entryShape, bytes)

export const encapsulationHash = (encapsulation: Uint8Array): Hash => taggedHash("enc", encapsulation) as Hash

/** Whether the header commits to this entry at this place. */
export function headerNames(header: Header, entry: Uint8Array, index: number, path: readonly Uint8Array[]): boolean {
  const root = merkleRootOf(entry, index, header.recipientsCount, path)
  return root !== undefined && equal(root, header.recipientsRoot)
}

const headerShape = growing({
  v: z.literal(1),
  suite: z.literal(1),
  mode: shapes.mode,
  messageId: shapes.messageId,
  sender: z.strictObject({ poc: shapes.poc, device: shapes.device, officer: shapes.officer.optional() }),
  recipientsRoot: shapes.hash,
  recipientsCount: z.number().int().min(1).max(fixed.recipientsMax),
  created: shapes.seconds,
  expires: shapes.seconds,
  checkpoint: shapes.hash,
})

const entryShape: z.ZodType<Entry> = z.strictObject({
  poc: shapes.poc,
  device: shapes.device,
  prekeyId: shapes.prekeyId,
  kind: z.enum(prekeyKinds),
  pairSequence: z.strictObject({ incarnation: shapes.incarnation, n: shapes.counter }),
  enc: shapes.hash,
})
