/**
 * ChaCha20-Poly1305 commits to no key: who knows two keys can make one ciphertext that is authentic under both
 * (Len, Grubbs, Ristenpart: "Partitioning Oracle Attacks", 2021). Any sender knows two contexts of one encapsulation:
 * those of two devices that hold the same prekey, as after a copied vault. This file builds that ciphertext.
 */
import { createCipheriv, createHash } from "node:crypto"
import { expect, test } from "vitest"
import { concat, u16be, utf8 } from "../../protocol/bytes.ts"
import { infoOf, writeEnvelope } from "../../protocol/envelope.ts"
import { HpkeContext } from "../../protocol/hpke.ts"
import { open } from "../../protocol/open.ts"
import { encapsulate, sha3, shake256 } from "../../protocol/primitives.ts"
import {
  brazil,
  live,
  messageOf,
  openerOf,
  prekeyOf,
  recipientOf,
  sealDishonestly,
  singapore,
} from "../support/sealing.ts"

const prekey = prekeyOf(singapore)

test("7 invisible salamander: one ciphertext, authentic under two keys, is opened by neither but the committed one", () => {
  const { id, kind, pk } = prekey.statement
  const { ciphertext: encapsulation, sharedSecret } = encapsulate(pk, shake256(64, utf8("coins")))!
  const infos = [singapore, brazil].map((device) => infoOf(live, device.id, id, kind))
  const contexts = infos.map((info) => new HpkeContext(sharedSecret, info))
  const to = { mailbox: recipientOf(singapore).mailbox, prekeyId: id }
  const honest = writeEnvelope(to, encapsulation, contexts[0]!, new Uint8Array(4096))
  const aad = honest.subarray(0, honest.length - 4096 - 16)

  const ciphertext = authenticUnderBoth(
    infos.map((info) => keyOf(sharedSecret, info)),
    aad,
    honest.slice(aad.length, -16),
  )
  for (const context of contexts) expect(context.open(aad, ciphertext)).toBeInstanceOf(Uint8Array)

  const salamander = concat(aad, ciphertext)
  expect(open(openerOf(brazil, salamander, prekey))).toMatchObject({ ok: false, reason: "commitment" })
  expect(open(openerOf(singapore, salamander, prekey))).toMatchObject({ ok: false, reason: "padding" })
})

test("7 wrong-key oracle: a commitment that is not the context's is refused before anything is decrypted", () => {
  const input = messageOf({ recipients: [recipientOf(singapore)] })
  const bytes = sealDishonestly(input, {
    envelope: ({ recipient, encapsulation, context, padded }) => {
      const aad = concat(Uint8Array.of(1, 1), recipient.mailbox, recipient.prekey.id, new Uint8Array(32), encapsulation)
      return concat(aad, context.seal(aad, padded))
    },
  })
  expect(open(openerOf(singapore, bytes))).toMatchObject({ ok: false, reason: "commitment" })
})

interface AeadKey {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
}

/** HPKE's key schedule (RFC 9180 with a one-stage KDF), written a second time, over OpenSSL. */
function keyOf(sharedSecret: Uint8Array, info: Uint8Array): AeadKey {
  const lp = (x: Uint8Array): Uint8Array => concat(u16be(x.length), x)
  const suiteId = concat(utf8("HPKE"), u16be(0x647a), u16be(0x0011), u16be(0x0003))
  const secret = createHash("shake256", { outputLength: 32 + 12 + 64 })
    .update(concat(lp(utf8("")), lp(sharedSecret), utf8("HPKE-v1"), suiteId, lp(utf8("secret")), u16be(108)))
    .update(concat(Uint8Array.of(0), lp(utf8("")), lp(info)))
    .digest()
  return { key: secret.subarray(0, 32), nonce: secret.subarray(32, 44) }
}

const prime = 2n ** 130n - 5n
const word = 2n ** 128n

/** Chooses the last two blocks and the tag so that Poly1305 agrees under both keys: two linear equations modulo p. */
function authenticUnderBoth(keys: readonly AeadKey[], aad: Uint8Array, body: Uint8Array): Uint8Array {
  const [a, b] = keys.map(({ key, nonce }) => {
    const block = createCipheriv("chacha20", key, concat(new Uint8Array(4), nonce)).update(new Uint8Array(32))
    const r = littleEndian(block.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn
    return { r, s: littleEndian(block.subarray(16)), known: polynomial(r, blocksOf(aad, body)) }
  }) as [PolyKey, PolyKey]
  // The free blocks stand before the block of lengths: their coefficients are r³ and r².
  const determinant = modulo(a.r ** 3n * b.r ** 2n - a.r ** 2n * b.r ** 3n)
  const inverse = power(determinant, prime - 2n)
  for (let attempt = 0; attempt < 1000; attempt++) {
    const tag = littleEndian(sha3(utf8(`tag ${attempt}`)).subarray(0, 16))
    for (let i = 0n; i < 16n; i++) {
      const left = modulo(modulo128(tag - a.s) + (i & 3n) * word - a.known)
      const right = modulo(modulo128(tag - b.s) + (i >> 2n) * word - b.known)
      const x = modulo((left * b.r ** 2n - right * a.r ** 2n) * inverse)
      const y = modulo((right * a.r ** 3n - left * b.r ** 3n) * inverse)
      if (x < word && y < word)
        return concat(body.subarray(0, -32), littleEndianBytes(x), littleEndianBytes(y), littleEndianBytes(tag))
    }
  }
  throw new Error("no solution found")
}

interface PolyKey {
  readonly r: bigint
  readonly s: bigint
  /** The polynomial's value where the free blocks are zero. */
  readonly known: bigint
}

/** What RFC 8439 feeds to Poly1305: aad and ciphertext, each padded to 16, and their lengths; the free blocks zero. */
function blocksOf(aad: Uint8Array, body: Uint8Array): bigint[] {
  const free = concat(body.subarray(0, -32), new Uint8Array(32))
  const padded = concat(aad, new Uint8Array((16 - (aad.length % 16)) % 16), free)
  const blocks = Array.from({ length: padded.length / 16 }, (_, i) =>
    littleEndian(padded.subarray(16 * i, 16 * i + 16)),
  )
  return [...blocks, BigInt(aad.length) + (BigInt(body.length) << 64n)]
}

const polynomial = (r: bigint, blocks: readonly bigint[]): bigint =>
  blocks.reduce((sum, block) => modulo((sum + block + word) * r), 0n)

function power(base: bigint, exponent: bigint): bigint {
  let out = 1n
  for (let square = base, left = exponent; left > 0n; left >>= 1n, square = modulo(square * square))
    if (left & 1n) out = modulo(out * square)
  return out
}

const modulo = (x: bigint): bigint => ((x % prime) + prime) % prime
const modulo128 = (x: bigint): bigint => ((x % word) + word) % word
const littleEndian = (bytes: Uint8Array): bigint => bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n)
const littleEndianBytes = (x: bigint): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => Number((x >> BigInt(8 * i)) & 255n))
