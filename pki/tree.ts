/** The log's Merkle tree (RFC 6962 §2.1, SHA-256): appending, roots, proofs, and the verification of proofs (SPEC, "Transparency log"). */
import { equal } from "../protocol/bytes.ts"
import { sha256 } from "./sha256.ts"

/** As C2SP tlog-witness has it; a tree of 2^53 leaves needs no more than 54. */
export const proofHashesMax = 63

/** A tree that only grows. Keeps every complete subtree's hash (64 bytes per leaf), so that any old size can be asked for. */
export class MerkleLog {
  /** `levels[l][i]` is the hash of the complete subtree over leaves `i · 2^l … (i + 1) · 2^l`. */
  readonly #levels: Uint8Array[][] = [[]]

  get size(): number {
    return this.#levels[0]!.length
  }

  /** Adds a leaf (its bytes, not its hash) and returns its index. */
  append(leaf: Uint8Array): number {
    const index = this.size
    let hash = leafHash(leaf)
    for (let level = 0, at = index; ; level++, at = (at - 1) / 2) {
      const hashes = (this.#levels[level] ??= [])
      hashes.push(hash)
      if (at % 2 === 0) return index
      hash = nodeHash(hashes[at - 1]!, hash)
    }
  }

  /** The root over the first `size` leaves. Throws `RangeError` if there are not so many. */
  rootAt(size: number): Uint8Array {
    this.#requireSize(size)
    return size === 0 ? sha256() : this.#hashOf(0, size)
  }

  /** Proves that leaf `index` is in the tree of the first `size` leaves. */
  inclusionProof(index: number, size: number): readonly Uint8Array[] {
    this.#requireSize(size)
    if (!Number.isSafeInteger(index) || index < 0 || index >= size) throw new RangeError("no such leaf")
    const proof: Uint8Array[] = []
    let [start, end] = [0, size]
    while (end - start > 1) {
      const middle = start + leftSize(end - start)
      if (index < middle) {
        proof.push(this.#hashOf(middle, end))
        end = middle
      } else {
        proof.push(this.#hashOf(start, middle))
        start = middle
      }
    }
    return proof.toReversed()
  }

  /** Proves that the tree of `to` leaves begins with the tree of `from` leaves. */
  consistencyProof(from: number, to: number): readonly Uint8Array[] {
    this.#requireSize(to)
    if (!Number.isSafeInteger(from) || from < 0 || from > to) throw new RangeError("the older tree is the larger one")
    if (from === 0 || from === to) return []
    const proof: Uint8Array[] = []
    let [start, end] = [0, to]
    while (end !== from) {
      const middle = start + leftSize(end - start)
      if (from <= middle) {
        proof.push(this.#hashOf(middle, end))
        end = middle
      } else {
        proof.push(this.#hashOf(start, middle))
        start = middle
      }
    }
    if (start > 0) proof.push(this.#hashOf(start, end))
    return proof.toReversed()
  }

  /** Row `level` of the tree as C2SP tiles hold it: the hashes of all complete subtrees of 2^level leaves. */
  completeSubtrees(level: number): readonly Uint8Array[] {
    return this.#levels[level] ?? []
  }

  /** MTH(D[start:end]), for the ranges that RFC 6962 splits a tree into. */
  #hashOf(start: number, end: number): Uint8Array {
    const width = end - start
    if ((width & (width - 1)) === 0) return this.#levels[31 - Math.clz32(width)]![start / width]!
    const middle = start + leftSize(width)
    return nodeHash(this.#hashOf(start, middle), this.#hashOf(middle, end))
  }

  #requireSize(size: number): void {
    if (!Number.isSafeInteger(size) || size < 0 || size > this.size) throw new RangeError("no such tree")
  }
}

/** Whether `leaf` (its bytes) is at `index` of the tree with this size and root. Never throws. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  root: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!areSizes(index, size) || index >= size || !isProof(proof)) return false
  let hash = leafHash(leaf)
  let used = 0
  for (let at = index, last = size - 1; last > 0; at = Math.floor(at / 2), last = Math.floor(last / 2)) {
    if (at % 2 === 0 && at === last) continue // a lone node at the right edge moves up as it is
    const sibling = proof[used++]
    if (!sibling) return false
    hash = at % 2 === 1 ? nodeHash(sibling, hash) : nodeHash(hash, sibling)
  }
  return used === proof.length && equal(hash, root)
}

/** Whether the tree (`to`, `toRoot`) begins with the tree (`from`, `fromRoot`). Never throws. */
export function verifyConsistency(
  from: number,
  fromRoot: Uint8Array,
  to: number,
  toRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!areSizes(from, to) || from > to || !isProof(proof)) return false
  if (from === to) return proof.length === 0 && equal(fromRoot, toRoot)
  if (from === 0) return proof.length === 0 && equal(fromRoot, sha256())
  // RFC 9162 §2.1.4.2: the node that ends the older tree, then upwards, rebuilding both roots from one path.
  let [at, last] = [from - 1, to - 1]
  for (; at % 2 === 1; at = (at - 1) / 2) last = Math.floor(last / 2)
  let used = 0
  const first = at === 0 ? fromRoot : proof[used++]
  if (!first) return false
  let [older, newer] = [first, first]
  for (; last > 0; at = Math.floor(at / 2), last = Math.floor(last / 2)) {
    if (at % 2 === 0 && at === last) continue
    const sibling = proof[used++]
    if (!sibling) return false
    if (at % 2 === 1) older = nodeHash(sibling, older)
    newer = at % 2 === 1 ? nodeHash(sibling, newer) : nodeHash(newer, sibling)
  }
  return used === proof.length && equal(older, fromRoot) && equal(newer, toRoot)
}

const leafHash = (leaf: Uint8Array): Uint8Array => sha256(leafPrefix, leaf)
const nodeHash = (left: Uint8Array, right: Uint8Array): Uint8Array => sha256(nodePrefix, left, right)
const leafPrefix = Uint8Array.of(0)
const nodePrefix = Uint8Array.of(1)

/** The largest power of two below `width`: where RFC 6962 splits a tree. A tree in memory has fewer than 2^32 leaves. */
const leftSize = (width: number): number => 2 ** (31 - Math.clz32(width - 1))

const areSizes = (...sizes: readonly number[]): boolean =>
  sizes.every((size) => Number.isSafeInteger(size) && size >= 0)

const isProof = (proof: readonly Uint8Array[]): boolean =>
  proof.length <= proofHashesMax && proof.every((hash) => hash.length === 32)
