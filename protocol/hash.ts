/** Hashing with domain separation: `TH(label, x₁, …)` of SPEC, "Encodings", and Merkle trees of RFC 6962 shape over SHA3-256. */
import { concat, u32be, utf8 } from "./bytes.ts"
import { sha3 } from "./primitives.ts"

/** Length-prefixed: `u32be(length) ‖ x`. */
export const lengthPrefixed = (x: Uint8Array): Uint8Array => concat(u32be(x.length), x)

/** `SHA3-256(LP("valise/v1") ‖ LP(label) ‖ LP(x₁) ‖ …)`; text arguments are UTF-8. */
export function taggedHash(label: HashLabel, ...parts: readonly (Uint8Array | string)[]): Uint8Array {
  return sha3(prefixOf(label), ...parts.flatMap((x) => withLength(typeof x === "string" ? utf8(x) : x)))
}

/** The closed list of hash labels (SPEC, "Encodings"). */
export const hashLabels = [
  "accepted",
  "content",
  "device",
  "down",
  "enc",
  "evidence",
  "header",
  "info",
  "journal",
  "leaf",
  "log-entry",
  "mailbox",
  "officer",
  "prekey",
  "retry",
  "salt",
  "statement",
  "up",
  "words",
] as const
export type HashLabel = (typeof hashLabels)[number]

/** A tree's root and, for every leaf, the path that proves it (RFC 6962 §2.1 with SHA3-256). */
export interface MerkleTree {
  readonly root: Uint8Array
  readonly path: (index: number) => readonly Uint8Array[]
}

export function merkleTree(leaves: readonly Uint8Array[]): MerkleTree {
  if (leaves.length === 0) throw new RangeError("a tree needs a leaf")
  const levels: Uint8Array[][] = [leaves.map(merkleLeaf)]
  while (levels.at(-1)!.length > 1) {
    const below = levels.at(-1)!
    const above: Uint8Array[] = []
    for (let i = 0; i < below.length; i += 2) {
      const right = below[i + 1]
      above.push(right ? merkleNode(below[i]!, right) : below[i]!)
    }
    levels.push(above)
  }
  return {
    root: levels.at(-1)![0]!,
    path: (index) => {
      if (!(index in leaves)) throw new RangeError("no such leaf")
      const path: Uint8Array[] = []
      for (const level of levels) {
        const sibling = level[index ^ 1]
        if (sibling) path.push(sibling)
        index >>= 1
      }
      return path
    },
  }
}

/** The root that this leaf, at this place of a tree of this size, and this path lead to; `undefined` if the path cannot fit. */
export function merkleRootOf(
  leaf: Uint8Array,
  index: number,
  size: number,
  path: readonly Uint8Array[],
): Uint8Array | undefined {
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return undefined
  let node = merkleLeaf(leaf)
  let used = 0
  for (let at = index, width = size; width > 1; at = Math.floor(at / 2), width = Math.ceil(width / 2)) {
    if (at % 2 === 0 && at === width - 1) continue
    const sibling = path[used++]
    if (sibling?.length !== 32) return undefined
    node = at % 2 === 1 ? merkleNode(sibling, node) : merkleNode(node, sibling)
  }
  return used === path.length ? node : undefined
}

const withLength = (x: Uint8Array): readonly [Uint8Array, Uint8Array] => [u32be(x.length), x]

/** Hashed many times for every message, so it is made once. */
function prefixOf(label: HashLabel): Uint8Array {
  const known = prefixes.get(label)
  if (known) return known
  const prefix = concat(domain, lengthPrefixed(utf8(label)))
  prefixes.set(label, prefix)
  return prefix
}

const prefixes = new Map<HashLabel, Uint8Array>()
const domain = lengthPrefixed(utf8("valise/v1"))
const leafMark = Uint8Array.of(0)
const nodeMark = Uint8Array.of(1)
const merkleLeaf = (leaf: Uint8Array): Uint8Array => sha3(leafMark, leaf)
const merkleNode = (left: Uint8Array, right: Uint8Array): Uint8Array => sha3(nodeMark, left, right)
