import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { fromHex, hex } from "../../protocol/bytes.ts"
import { sha256 } from "../../pki/sha256.ts"
import { MerkleLog, proofHashesMax, verifyConsistency, verifyInclusion } from "../../pki/tree.ts"

// The test tree of Certificate Transparency's reference implementation.
const ctLeaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
const ctRoots = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

const treeOf = (leaves: readonly Uint8Array[]): MerkleLog => {
  const tree = new MerkleLog()
  for (const leaf of leaves) tree.append(leaf)
  return tree
}
const leavesOf = (count: number) => Array.from({ length: count }, (_, i) => Uint8Array.of(i, i >> 8, 7))

/** RFC 6962 §2.1, word for word. */
function reference(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 0) return sha256()
  if (leaves.length === 1) return sha256(Uint8Array.of(0), leaves[0]!)
  let split = 1
  while (split * 2 < leaves.length) split *= 2
  return sha256(Uint8Array.of(1), reference(leaves.slice(0, split)), reference(leaves.slice(split)))
}

describe("roots", () => {
  test("Certificate Transparency's test tree has its published roots at every size", () => {
    const tree = treeOf(ctLeaves.map(fromHex))
    expect(ctRoots.map((_, size) => hex(tree.rootAt(size)))).toEqual(ctRoots)
  })

  test("any tree's roots are those of the definition", () => {
    const leaves = leavesOf(131)
    const tree = treeOf(leaves)
    for (let size = 0; size <= leaves.length; size++)
      expect(tree.rootAt(size)).toEqual(reference(leaves.slice(0, size)))
  })

  test("what is not there cannot be asked for", () => {
    const tree = treeOf(leavesOf(5))
    for (const call of [
      () => tree.rootAt(6),
      () => tree.rootAt(-1),
      () => tree.rootAt(1.5),
      () => tree.inclusionProof(5, 5),
      () => tree.inclusionProof(-1, 5),
      () => tree.inclusionProof(0, 6),
      () => tree.consistencyProof(4, 3),
      () => tree.consistencyProof(1, 6),
      () => tree.consistencyProof(-1, 3),
      () => tree.consistencyProof(1.5, 3),
      () => tree.consistencyProof(NaN, 3),
    ])
      expect(call).toThrow(RangeError)
  })
})

describe("proofs", () => {
  test("published inclusion and consistency proofs of the test tree", () => {
    const tree = treeOf(ctLeaves.map(fromHex))
    expect(tree.inclusionProof(5, 8).map(hex)).toEqual([
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ])
    expect(tree.consistencyProof(6, 8).map(hex)).toEqual([
      "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ])
    expect(tree.consistencyProof(2, 5).map(hex)).toEqual([
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ])
  })

  test("every leaf of every tree up to 130 leaves, and every pair of trees", () => {
    const leaves = leavesOf(130)
    const tree = treeOf(leaves)
    for (let to = 0; to <= 130; to++) {
      const root = tree.rootAt(to)
      for (let index = 0; index < to; index++)
        if (!verifyInclusion(leaves[index]!, index, to, root, tree.inclusionProof(index, to)))
          expect.fail(`inclusion of ${index} in ${to}`)
      for (let from = 0; from <= to; from++)
        if (!verifyConsistency(from, tree.rootAt(from), to, root, tree.consistencyProof(from, to)))
          expect.fail(`consistency of ${from} and ${to}`)
    }
  })

  test("no changed proof verifies: each element flipped, dropped, doubled, swapped, added; each number off by one or more", () => {
    const leaves = leavesOf(24)
    const tree = treeOf(leaves)
    const stranger = sha256(Uint8Array.of(9))
    let refusals = 0
    const refuse = (accepted: boolean, what: string) => (accepted ? expect.fail(what) : refusals++)
    for (let to = 1; to <= 24; to++) {
      const root = tree.rootAt(to)
      for (let index = 0; index < to; index++) {
        const proof = tree.inclusionProof(index, to)
        const leaf = leaves[index]!
        const check = (i: number, size: number, p: readonly Uint8Array[], r = root, l: Uint8Array = leaf) =>
          refuse(verifyInclusion(l, i, size, r, p), `inclusion ${index} of ${to} as ${i} of ${size}`)
        for (const bad of mutations(proof, stranger)) check(index, to, bad)
        for (const i of [index - 1, index + 1, index ^ 2, index + 0.5, -1, to, NaN, 2 ** 53]) check(i, to, proof)
        check(index, to, proof, stranger)
        check(index, to, proof, tree.rootAt(to - 1))
        check(index, to, proof, root, stranger)
        check(index, to, proof, new Uint8Array())
      }
      for (let from = 1; from < to; from++) {
        const proof = tree.consistencyProof(from, to)
        const older = tree.rootAt(from)
        const check = (a: number, b: number, p: readonly Uint8Array[], ra = older, rb = root) =>
          refuse(verifyConsistency(a, ra, b, rb, p), `consistency ${from}, ${to} as ${a}, ${b}`)
        for (const bad of mutations(proof, stranger)) check(from, to, bad)
        for (const a of [from - 1, from + 1, -1, from + 0.5, NaN, 0, to]) check(a, to, proof)
        check(from, to, proof, stranger)
        check(from, to, proof, older, stranger)
        check(from, to, proof, root, older)
        check(to, from, proof, root, older)
        check(from, from, [], older, root)
        check(0, to, [], older)
        check(0, to, proof, tree.rootAt(0))
      }
    }
    expect(refusals).toBeGreaterThan(482)
  })

  test("a proof longer than the limit is refused before it is looked at", () => {
    const long = Array.from({ length: proofHashesMax + 1 }, () => new Uint8Array(32))
    Object.defineProperty(long, 0, { get: () => expect.fail("it was looked at") })
    expect(verifyInclusion(new Uint8Array(), 2, 2 ** 52, new Uint8Array(32), long)).toBe(false)
    expect(verifyConsistency(3, new Uint8Array(32), 2 ** 52, new Uint8Array(32), long)).toBe(false)
  })

  test("only hashes are siblings, even if a root was made from something else", () => {
    const leaf = Uint8Array.of(1)
    const sibling = new Uint8Array(33)
    const left = sha256(Uint8Array.of(0), leaf)
    const root = sha256(Uint8Array.of(1), left, sibling)
    expect(verifyInclusion(leaf, 0, 2, root, [sibling])).toBe(false)
    expect(verifyConsistency(1, left, 2, root, [sibling])).toBe(false)
  })

  test("equal trees need no proof and accept none", () => {
    const root = treeOf(leavesOf(5)).rootAt(5)
    expect(verifyConsistency(5, root, 5, root, [])).toBe(true)
    expect(verifyConsistency(5, root, 5, root, [root])).toBe(false)
  })

  test("two trees that differ in one leaf are never consistent beyond it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.nat(69), fc.nat(40), (size, differs, growth) => {
        fc.pre(differs < size)
        const honest = treeOf(leavesOf(size))
        const forked = treeOf(leavesOf(size + growth).map((leaf, i) => (i === differs ? Uint8Array.of(255) : leaf)))
        const proof = forked.consistencyProof(size, size + growth)
        expect(verifyConsistency(size, honest.rootAt(size), size + growth, forked.rootAt(size + growth), proof)).toBe(
          false,
        )
      }),
    )
  })
})

function* mutations(proof: readonly Uint8Array[], stranger: Uint8Array): Generator<readonly Uint8Array[]> {
  yield [...proof, stranger]
  yield [stranger, ...proof]
  yield [...proof, new Uint8Array()]
  for (const [i, hash] of proof.entries()) {
    for (const byte of [0, 15, 31]) yield proof.with(i, hash.with(byte, hash[byte]! ^ 1))
    yield proof.with(i, hash.subarray(0, 31))
    yield proof.with(i, Uint8Array.of(...hash, 0))
    yield proof.toSpliced(i, 1)
    yield proof.toSpliced(i, 0, hash)
    if (i > 0) yield proof.with(i, proof[i - 1]!).with(i - 1, hash)
  }
}
