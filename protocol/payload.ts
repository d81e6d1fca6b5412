/** The payload: what an envelope holds, in deterministic CBOR, before padding and sealing (SPEC, "Payload"). */
import { z } from "zod"
import { shapes } from "./address.ts"
import { decodeCbor, encodeCbor } from "./cbor.ts"
import { packedLeafShape, type PackedLeaf } from "./leaves.ts"
import { fixed } from "./limits.ts"
import { signedShape, type Signed } from "./statement.ts"

export interface Payload {
  readonly header: Signed
  /** The releasing officer's signature over the same header bytes. */
  readonly release?: Uint8Array | undefined
  /** The signed note of the log checkpoint that the header names. */
  readonly checkpoint: Uint8Array
  /** The recipient's own entry, its place among the entries, and its path to the header's `recipientsRoot`. */
  readonly entry: Uint8Array
  readonly index: number
  readonly path: readonly Uint8Array[]
  /** 32 bytes, from which the leaves' salts are derived. */
  readonly contentKey: Uint8Array
  readonly leaves: readonly PackedLeaf[]
}

export const contentKeyBytes = 32

export const encodePayload = (payload: Payload): Uint8Array => encodeCbor(payload)

/** Throws `ERR_MALFORMED`. Content grows by leaves, the header by fields; the payload itself does not grow. */
export const decodePayload = (bytes: Uint8Array): Payload => decodeCbor(payloadShape, bytes)

const payloadShape: z.ZodType<Payload> = z.strictObject({
  header: signedShape,
  release: shapes.signature.optional(),
  checkpoint: shapes.bytes,
  entry: shapes.bytes,
  index: z
    .number()
    .int()
    .min(0)
    .max(fixed.recipientsMax - 1),
  path: z.array(shapes.hash).max(Math.ceil(Math.log2(fixed.recipientsMax))),
  contentKey: z.custom<Uint8Array>((x) => x instanceof Uint8Array && x.length === contentKeyBytes),
  leaves: z.array(packedLeafShape).max(fixed.leavesMax),
})
