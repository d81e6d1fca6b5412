import { createHash } from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { concat, u32be, utf8 } from "../../protocol/bytes.ts"
import { merkleRootOf, merkleTree, taggedHash } from "../../protocol/hash.ts"

const sha3 = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(
    createHash("sha3-256")
      .update(concat(...parts))
      .digest(),
  )
const leavesOf = (count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => utf8(`leaf ${i}`))

/** RFC 6962 §2.1, as it is written there. */
function rootByDefinition(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return sha3(Uint8Array.of(0), leaves[0]!)
  let k = 1
  while (2 * k < leaves.length) k *= 2
  return sha3(Uint8Array.of(1), rootByDefinition(leaves.slice(0, k)), rootByDefinition(leaves.slice(k)))
}

test("a tagged hash is SHA3-256 over length-prefixed parts", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array()), (parts) => {
      const framed = [utf8("valise/v1"), utf8("leaf"), ...parts].flatMap((part) => [u32be(part.length), part])
      expect(taggedHash("leaf", ...parts)).toEqual(sha3(...framed))
    }),
  )
  expect(taggedHash("leaf", "ä")).toEqual(taggedHash("leaf", Uint8Array.of(0xc3, 0xa4)))
})

describe("Merkle trees", () => {
  test("have the root of the definition, and a path for every leaf that leads to it", () => {
    for (let count = 1; count <= 40; count++) {
      const leaves = leavesOf(count)
      const { root, path } = merkleTree(leaves)
      expect(root).toEqual(rootByDefinition(leaves))
      for (const [i, leaf] of leaves.entries()) expect(merkleRootOf(leaf, i, count, path(i))).toEqual(root)
    }
  })

  test("no leaf has a path at another place, in another tree, or with a hash too many, too few, or too short", () => {
    for (let count = 1; count <= 12; count++) {
      const leaves = leavesOf(count)
      const { root, path } = merkleTree(leaves)
      const leads = (...claim: Parameters<typeof merkleRootOf>): boolean =>
        Buffer.compare(merkleRootOf(...claim) ?? new Uint8Array(), root) === 0
      for (const [i, leaf] of leaves.entries()) {
        const proof = path(i)
        for (let other = -1; other <= count; other++)
          if (other !== i) expect(leads(leaf, other, count, proof)).toBe(false)
        expect(leads(leaf, i, count, [...proof, root])).toBe(false)
        expect(leads(leaf, i + 0.5, count, proof)).toBe(false)
        if (proof.length === 0) continue
        expect(leads(leaf, i, count, proof.slice(1))).toBe(false)
        expect(leads(leaf, i, count, [proof[0]!.subarray(1), ...proof.slice(1)])).toBe(false)
        expect(leads(concat(proof[0]!, leaf), i, count, proof.slice(1))).toBe(false)
      }
    }
  })

  test("need a leaf, and prove only what they hold", () => {
    expect(() => merkleTree([])).toThrow(RangeError)
    expect(() => merkleTree(leavesOf(3)).path(3)).toThrow(RangeError)
  })
})
