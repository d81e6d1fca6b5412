import fc from "fast-check"
import * as oracle from "hpke"
import { describe, expect, test } from "vitest"
import { fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { setupRecipient, setupSender } from "../../protocol/hpke.ts"
import { KemKey, shake256 } from "../../protocol/primitives.ts"
import { publicVectors, vectorsMissing } from "../support/public-vectors.ts"

const seed = shake256(32, utf8("seed"))
const coins = shake256(64, utf8("coins"))
const key = new KemKey(seed)
const info = utf8("info")

describe("HPKE", () => {
  test("the recipient's context is the sender's", () => {
    const sender = setupSender(key.publicKey, info, coins)!
    const recipient = setupRecipient(key, sender.encapsulation, info)!
    const sealed = sender.context.seal(utf8("aad"), utf8("content"))
    expect(recipient.open(utf8("aad"), sealed)).toEqual(utf8("content"))
    expect(recipient.open(utf8("dad"), sealed)).toBeUndefined()
    expect(recipient.export(utf8("commit"), 32)).toEqual(sender.context.export(utf8("commit"), 32))
    expect(recipient.export(utf8("other"), 32)).not.toEqual(sender.context.export(utf8("commit"), 32))
  })

  test("another info is another context", () => {
    const { encapsulation, context } = setupSender(key.publicKey, info, coins)!
    const other = setupRecipient(key, encapsulation, utf8("other"))!
    expect(other.open(utf8(""), context.seal(utf8(""), utf8("content")))).toBeUndefined()
  })

  test("malformed keys and encapsulations give nothing", () => {
    expect(setupSender(key.publicKey.subarray(1), info, coins)).toBeUndefined()
    expect(setupRecipient(key, new Uint8Array(1119), info)).toBeUndefined()
  })
})

describe.skipIf(vectorsMissing)("the working group's vectors (../shared/data/vectors/hpke-pq-x-wing.json)", () => {
  test("of this suite are reproduced", () => {
    const vectors = (publicVectors("hpke-pq-x-wing.json") as HpkeVector[]).filter((vector) => vector.kdf_id === 17)
    expect(vectors.length).toBeGreaterThan(0)
    for (const vector of vectors) {
      const recipientKey = new KemKey(fromHex(vector.skRm))
      expect(hex(recipientKey.publicKey)).toBe(vector.pkRm)
      const sender = setupSender(recipientKey.publicKey, fromHex(vector.info), fromHex(vector.ikmE))!
      expect(hex(sender.encapsulation)).toBe(vector.enc)
      const recipient = setupRecipient(recipientKey, fromHex(vector.enc), fromHex(vector.info))!
      // A context seals once here: the vector's first message is the one it can be compared with.
      const [first] = vector.encryptions
      expect(hex(sender.context.seal(fromHex(first!.aad), fromHex(first!.pt)))).toBe(first!.ct)
      expect(hex(recipient.open(fromHex(first!.aad), fromHex(first!.ct))!)).toBe(first!.pt)
      expect(vector.exports.length).toBeGreaterThan(0)
      for (const { exporter_context, L, exported_value } of vector.exports)
        for (const context of [sender.context, recipient])
          expect(hex(context.export(fromHex(exporter_context), L))).toBe(exported_value)
    }
  })
})

describe("an independent implementation (panva/hpke, over the runtime's WebCrypto)", () => {
  const suite = new oracle.CipherSuite(oracle.KEM_MLKEM768_X25519, oracle.KDF_SHAKE256, oracle.AEAD_ChaCha20Poly1305)
  const bytes = fc.uint8Array({ maxLength: 300 })

  test("opens what this one seals", async () => {
    const privateKey = await suite.DeserializePrivateKey(seed)
    await fc.assert(
      fc.asyncProperty(bytes, bytes, bytes, async (anyInfo, aad, plaintext) => {
        const { encapsulation, context } = setupSender(key.publicKey, anyInfo, coins)!
        const theirs = await suite.SetupRecipient(privateKey, encapsulation, { info: anyInfo })
        expect(new Uint8Array(await theirs.Open(context.seal(aad, plaintext), aad))).toEqual(plaintext)
        expect(new Uint8Array(await theirs.Export(utf8("commit"), 32))).toEqual(context.export(utf8("commit"), 32))
      }),
      { numRuns: 20 },
    )
  })

  test("seals what this one opens", async () => {
    const publicKey = await suite.DeserializePublicKey(key.publicKey)
    await fc.assert(
      fc.asyncProperty(bytes, bytes, bytes, async (anyInfo, aad, plaintext) => {
        const { encapsulatedSecret, ctx } = await suite.SetupSender(publicKey, { info: anyInfo })
        const recipient = setupRecipient(key, encapsulatedSecret, anyInfo)!
        expect(recipient.open(aad, await ctx.Seal(plaintext, aad))).toEqual(plaintext)
      }),
      { numRuns: 20 },
    )
  })
})

interface HpkeVector {
  readonly kdf_id: number
  readonly info: string
  readonly ikmE: string
  readonly skRm: string
  readonly pkRm: string
  readonly enc: string
  readonly encryptions: readonly { readonly aad: string; readonly pt: string; readonly ct: string }[]
  readonly exports: readonly {
    readonly exporter_context: string
    readonly L: number
    readonly exported_value: string
  }[]
}
