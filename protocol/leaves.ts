/** Content leaves: salted, hashed and compressed each on its own, so that each can be disclosed alone (SPEC, "Leaves"). */
import { z } from "zod"
import { shapes, type Hash } from "./address.ts"
import { ValiseError } from "./errors.ts"
import { taggedHash } from "./hash.ts"
import { fixed } from "./limits.ts"

/** One part of a message's content. `value` is the exact bytes that its hash covers. */
export interface Leaf {
  /** Unique in its message: 1 to 64 of `[A-Za-z0-9]`, beginning with a lower case letter. */
  readonly name: string
  readonly value: Uint8Array
}

/** Deflate without a header (RFC 1951), one stream per call. */
export interface Deflate {
  deflate(bytes: Uint8Array): Uint8Array
  /** `undefined` if the stream is malformed, has trailing bytes, or inflates to more than `lengthMax`. */
  inflate(bytes: Uint8Array, lengthMax: number): Uint8Array | undefined
}

/** @param contentKey 32 random bytes per message; who holds a leaf's salt cannot derive those of the others. */
export const saltOf = (contentKey: Uint8Array, name: string): Uint8Array => taggedHash("salt", contentKey, name)

export const leafHash = (salt: Uint8Array, name: string, value: Uint8Array): Hash =>
  taggedHash("leaf", salt, name, value) as Hash

/** The hash of every leaf, in the leaves' order. */
export const leafHashesOf = (contentKey: Uint8Array, leaves: readonly Leaf[]): Hash[] =>
  leaves.map(({ name, value }) => leafHash(saltOf(contentKey, name), name, value))

/** C: what names a message's content; salted throughout, so it tells nothing of it. */
export const contentHash = (headerHash: Hash, leafHashes: readonly Hash[]): Hash =>
  taggedHash("content", headerHash, ...leafHashes) as Hash

/** A leaf as the payload carries it. */
export interface PackedLeaf {
  readonly name: string
  readonly deflated: boolean
  readonly value: Uint8Array
}

export const packedLeafShape: z.ZodType<PackedLeaf> = z.strictObject({
  name: z.string(),
  deflated: z.boolean(),
  value: shapes.bytes,
})

/**
 * Each leaf in a stream of its own: text that another State chose would tell, by its length, about a secret with which
 * it shared a stream. Throws `ERR_CONTENT` or `ERR_TOO_LARGE`.
 */
export function packLeaves(leaves: readonly Leaf[], deflate: Deflate): PackedLeaf[] {
  if (!namesFit(leaves))
    throw new ValiseError("ERR_CONTENT", "the names of the leaves do not fit", {
      hint: `1 to ${fixed.leavesMax} leaves with unique names of 1 to ${fixed.leafNameBytesMax} letters and digits, beginning with a lower case letter`,
    })
  if (leaves.reduce((sum, leaf) => sum + leaf.value.length, 0) > fixed.contentBytesMax)
    throw new ValiseError("ERR_TOO_LARGE", `the content exceeds ${fixed.contentBytesMax} bytes`, {
      hint: "send the largest part as an attachment",
    })
  return leaves.map(({ name, value }) => {
    if (rawLeaves.has(name)) return { name, deflated: false, value } // defence: 33 raw-leaves
    const stream = deflate.deflate(value) // defence: 33 own-stream => const stream = deflate.deflate(Uint8Array.from(leaves.flatMap((leaf) => [...leaf.value])))
    return stream.length < value.length ? { name, deflated: true, value: stream } : { name, deflated: false, value }
  })
}

/** `undefined` unless `packLeaves` could have made these: names, limits, one whole stream per deflated leaf. */
export function unpackLeaves(packed: readonly PackedLeaf[], deflate: Deflate): Leaf[] | undefined {
  if (!namesFit(packed)) return undefined // defence: 18 leaf-names
  const leaves: Leaf[] = []
  let left: number = fixed.contentBytesMax
  for (const { name, deflated, value } of packed) {
    const plain = deflated ? inflated(name, value, deflate, left) : value
    if (plain === undefined) return undefined
    if (plain.length > left) return undefined // defence: 18 content-limit
    left -= plain.length
    leaves.push({ name, value: plain })
  }
  return leaves
}

/** Leaves that are never deflated: what they hold is compressed already, or sits beside what others chose. */
export const rawLeaves: ReadonlySet<string> = new Set(["attachments", "receipt"])

function inflated(name: string, stream: Uint8Array, deflate: Deflate, lengthMax: number): Uint8Array | undefined {
  if (rawLeaves.has(name)) return undefined // defence: 33 raw-leaves-opened
  const plain = deflate.inflate(stream, lengthMax) // defence: 18 inflation-bomb => const plain = deflate.inflate(stream, 2 ** 30)
  return plain !== undefined && plain.length > stream.length ? plain : undefined
}

function namesFit(leaves: readonly { readonly name: string }[]): boolean {
  if (leaves.length < 1 || leaves.length > fixed.leavesMax) return false
  const names = new Set(leaves.map((leaf) => leaf.name))
  return names.size === leaves.length && leaves.every((leaf) => namePattern.test(leaf.name))
}

const namePattern = new RegExp(`^[a-z][A-Za-z0-9]{0,${fixed.leafNameBytesMax - 1}}$`)
