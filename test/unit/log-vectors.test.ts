import { createHash, createPrivateKey, sign } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { concat, fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { verifyConsistency, verifyInclusion } from "../../pki/tree.ts"
import { logVectors } from "../../scripts/make-log-vectors.ts"

const file = readFileSync(join(import.meta.dirname, "../../protocol/vectors/log.json"), "utf8")
const vectors = logVectors()

describe("protocol/vectors/log.json", () => {
  test("is what the code makes today", () => {
    expect(`${JSON.stringify(vectors, null, 1)}\n`).toBe(file)
  })

  test("its proofs verify", () => {
    const root = (size: number) => fromHex(vectors.roots[size]!)
    for (const { index, size, proof } of vectors.inclusion)
      expect(verifyInclusion(fromHex(vectors.leaves[index]!), index, size, root(size), proof.map(fromHex))).toBe(true)
    for (const { from, to, proof } of vectors.consistency)
      expect(verifyConsistency(from, root(from), to, root(to), proof.map(fromHex))).toBe(true)
  })

  test("its key ids and signatures are those of OpenSSL, from the specifications' words", () => {
    for (const { name, type, publicKey, id } of vectors.keys) {
      const material = concat(Uint8Array.of(type === "ed25519" ? 1 : 4), fromHex(publicKey))
      expect(createHash("sha256").update(`${name}\n`).update(material).digest("hex").slice(0, 8)).toBe(id)
    }
    const pkcs8 = concat(fromHex("302e020100300506032b657004220420"), fromHex(vectors.keys[0]!.seed))
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" })
    const { text, signature, cosignedMessage, cosignature } = vectors.checkpoint
    expect(hex(sign(null, utf8(text), key))).toBe(signature)
    expect(hex(sign(null, utf8(cosignedMessage), key))).toBe(cosignature.slice(16))
    expect(Number.parseInt(cosignature.slice(0, 16), 16)).toBe(vectors.nowSeconds)
  })

  test("the older of the two witnesses dates the checkpoint", () => {
    expect(vectors.witnessed.cosignedAt).toBe(vectors.nowSeconds - 3600)
    expect(vectors.witnessed.policyInWords).toBe("cosigned by 2 of (a, b)")
  })
})
