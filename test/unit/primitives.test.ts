import { createCipheriv, createHash, createHmac } from "node:crypto"
import { ed25519, x25519 as nobleX25519 } from "@noble/curves/ed25519.js"
import { ml_kem768_x25519 as XWing } from "@noble/post-quantum/hybrid.js"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { concat, fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import {
  aeadOpen,
  aeadSeal,
  constantTimeEqual,
  encapsulate,
  KemKey,
  mac,
  sha3,
  shake256,
  SigningKey,
  verifySignature,
  wipe,
  x25519,
  x25519PublicKey,
} from "../../protocol/primitives.ts"
import { publicVectors, vectorsMissing } from "../support/public-vectors.ts"

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const anyBytes = fc.uint8Array({ maxLength: 600 })

/** The group order of Ed25519, little endian. */
const order = fromHex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")

describe("hashes and MAC agree with OpenSSL", () => {
  test("SHA3-256 and SHAKE256, whole or in parts", () => {
    expect(hex(sha3(utf8("")))).toBe("a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a")
    fc.assert(
      fc.property(anyBytes, anyBytes, fc.integer({ min: 1, max: 300 }), (a, b, length) => {
        expect(hex(sha3(a, b))).toBe(createHash("sha3-256").update(a).update(b).digest("hex"))
        const oracle = createHash("shake256", { outputLength: length }).update(a).update(b)
        expect(hex(shake256(length, a, b))).toBe(oracle.digest("hex"))
      }),
    )
  })

  test("the frames' MAC is HMAC-SHA-512, its first 32 bytes", () => {
    fc.assert(
      fc.property(bytes(32), anyBytes, anyBytes, (key, a, b) => {
        const oracle = createHmac("sha512", key).update(a).update(b).digest("hex").slice(0, 64)
        expect(hex(mac(key, a, b))).toBe(oracle)
      }),
    )
  })
})

describe("ChaCha20-Poly1305", () => {
  test("agrees with OpenSSL", () => {
    fc.assert(
      fc.property(bytes(32), bytes(12), anyBytes, anyBytes, (key, nonce, aad, plaintext) => {
        const cipher = createCipheriv("chacha20-poly1305", key, nonce, { authTagLength: 16 })
        cipher.setAAD(aad, { plaintextLength: plaintext.length })
        const oracle = concat(cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
        expect(aeadSeal(key, nonce, aad, plaintext)).toEqual(oracle)
        expect(aeadOpen(key, nonce, aad, oracle)).toEqual(plaintext)
      }),
    )
  })

  test("opens nothing that was altered or cut", () => {
    const [key, nonce, aad] = [sha3(utf8("key")), sha3(utf8("nonce")).subarray(0, 12), utf8("aad")]
    const sealed = aeadSeal(key, nonce, aad, utf8("content"))
    for (let i = 0; i < sealed.length; i++) {
      const altered = Uint8Array.from(sealed)
      altered[i]! ^= 1
      expect(aeadOpen(key, nonce, aad, altered)).toBeUndefined()
      expect(aeadOpen(key, nonce, aad, sealed.subarray(0, i))).toBeUndefined()
    }
    expect(aeadOpen(key, nonce, utf8("bad"), sealed)).toBeUndefined()
  })
})

describe("Ed25519", () => {
  test("keys and signatures agree with noble's", () => {
    fc.assert(
      fc.property(bytes(32), anyBytes, (seed, message) => {
        const key = new SigningKey(seed)
        const signature = key.sign(message)
        expect(key.publicKey).toEqual(ed25519.getPublicKey(seed))
        expect(signature).toEqual(ed25519.sign(message, seed))
        expect(verifySignature(key.publicKey, message, signature)).toBe(true)
      }),
      { numRuns: 30 },
    )
  })

  test("verification never throws and refuses whatever was not signed", () => {
    const key = new SigningKey(sha3(utf8("seed")))
    const signature = key.sign(utf8("message"))
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.uint8Array({ maxLength: 70 }), (publicKey, other) => {
        expect(verifySignature(publicKey, utf8("message"), signature)).toBe(false)
        expect(verifySignature(key.publicKey, utf8("message"), other)).toBe(false)
      }),
    )
    expect(verifySignature(key.publicKey, utf8("another message"), signature)).toBe(false)
  })

  test("edge cases on which verifiers disagree are refused: small order, S not reduced", () => {
    const key = new SigningKey(sha3(utf8("seed")))
    const message = utf8("message")
    const signature = key.sign(message)
    const points = smallOrder()
    let accepted = 0
    for (const point of points) {
      // With A and R of small order and S = 0, a verifier that multiplies by the cofactor accepts any message.
      const forged = concat(point, new Uint8Array(32))
      for (const other of points) {
        expect(verifySignature(other, message, forged)).toBe(false)
        if (ed25519.verify(forged, message, other, { zip215: true })) accepted++
      }
      expect(verifySignature(key.publicKey, message, concat(point, signature.subarray(32)))).toBe(false)
    }
    expect(accepted, "a verifier that accepts them exists").toBeGreaterThan(0)
    const malleable = concat(signature.subarray(0, 32), addLittleEndian(signature.subarray(32), order))
    expect(verifySignature(key.publicKey, message, malleable)).toBe(false)
  })

  test("erase wipes the expanded key", () => {
    const key = new SigningKey(sha3(utf8("seed")))
    const signature = key.sign(utf8("message"))
    key.erase()
    expect(key.sign(utf8("message"))).not.toEqual(signature)
  })
})

describe("X25519", () => {
  test("agrees with noble's and refuses points of low order", () => {
    fc.assert(
      fc.property(bytes(32), bytes(32), (a, b) => {
        expect(x25519PublicKey(a)).toEqual(nobleX25519.getPublicKey(a))
        expect(x25519(a, x25519PublicKey(b))).toEqual(nobleX25519.getSharedSecret(a, x25519PublicKey(b)))
      }),
      { numRuns: 30 },
    )
    const secret = sha3(utf8("secret"))
    for (const point of lowOrderPoints) expect(x25519(secret, fromHex(point))).toBeUndefined()
    expect(x25519(secret, new Uint8Array(31))).toBeUndefined()
  })
})

describe("X-Wing", () => {
  test("keys, encapsulations and secrets agree with noble's, both ways", () => {
    fc.assert(
      fc.property(bytes(32), bytes(64), (seed, coins) => {
        const key = new KemKey(seed)
        const oracle = XWing.keygen(seed)
        expect(key.publicKey).toEqual(oracle.publicKey)
        const made = encapsulate(key.publicKey, coins)!
        const expected = XWing.encapsulate(key.publicKey, coins)
        expect(made).toEqual({ ciphertext: expected.cipherText, sharedSecret: expected.sharedSecret })
        expect(key.decapsulate(made.ciphertext)).toEqual(made.sharedSecret)
        expect(XWing.decapsulate(made.ciphertext, oracle.secretKey)).toEqual(made.sharedSecret)
      }),
      { numRuns: 10 },
    )
  })

  test("an altered ciphertext gives another secret, a cut one none", () => {
    const key = new KemKey(sha3(utf8("seed")))
    const { ciphertext, sharedSecret } = encapsulate(key.publicKey, shake256(64, utf8("coins")))!
    for (let i = 0; i < ciphertext.length; i += 31) {
      const altered = Uint8Array.from(ciphertext)
      altered[i]! ^= 1
      expect(key.decapsulate(altered)).not.toEqual(sharedSecret)
      expect(key.decapsulate(ciphertext.subarray(0, i))).toBeUndefined()
    }
  })

  test("a public key of the wrong length, or not reduced modulo q, is refused", () => {
    const { publicKey } = new KemKey(sha3(utf8("seed")))
    const coins = shake256(64, utf8("coins"))
    expect(encapsulate(publicKey.subarray(1), coins)).toBeUndefined()
    const notReduced = Uint8Array.from(publicKey)
    notReduced.set([255, 255, 255])
    expect(encapsulate(notReduced, coins)).toBeUndefined()
  })

  test("erase wipes the expanded key", () => {
    const key = new KemKey(sha3(utf8("seed")))
    const { ciphertext, sharedSecret } = encapsulate(key.publicKey, shake256(64, utf8("coins")))!
    key.erase()
    expect(key.decapsulate(ciphertext)).not.toEqual(sharedSecret)
  })

  describe.skipIf(vectorsMissing)("the draft's vectors (../shared/data/vectors/x-wing.json)", () => {
    test("are reproduced", () => {
      const vectors = publicVectors("x-wing.json") as XWingVector[]
      expect(vectors.length).toBeGreaterThan(0)
      for (const vector of vectors) {
        const key = new KemKey(fromHex(vector.seed))
        expect(hex(key.publicKey)).toBe(vector.pk)
        const made = encapsulate(key.publicKey, fromHex(vector.eseed))!
        expect(hex(made.ciphertext)).toBe(vector.ct)
        expect(hex(made.sharedSecret)).toBe(vector.ss)
        expect(hex(key.decapsulate(made.ciphertext)!)).toBe(vector.ss)
      }
    })
  })
})

test("constant-time comparison compares, wiping wipes", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 8 }), fc.uint8Array({ maxLength: 8 }), (a, b) => {
      expect(constantTimeEqual(a, b)).toBe(hex(a) === hex(b))
      expect(constantTimeEqual(a, Uint8Array.from(a))).toBe(true)
    }),
  )
  const secret = Uint8Array.of(1, 2, 3)
  wipe(secret)
  expect(secret).toEqual(new Uint8Array(3))
})

/** The eight points of order 1, 2, 4 and 8, as multiples of one of order 8. */
function smallOrder(): Uint8Array[] {
  const torsion = ed25519.Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", true)
  const points = [ed25519.Point.ZERO]
  while (points.length < 8) points.push(points.at(-1)!.add(torsion))
  return points.map((point) => point.toBytes())
}

interface XWingVector {
  readonly seed: string
  readonly eseed: string
  readonly ss: string
  readonly pk: string
  readonly ct: string
}

/** RFC 7748 §6.1 and the list of curves' implementers: 0, 1, two of order 8, p−1, p, p+1. */
const lowOrderPoints = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]

function addLittleEndian(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length)
  let carry = 0
  for (let i = 0; i < a.length; i++) {
    carry += a[i]! + b[i]!
    out[i] = carry & 255
    carry >>= 8
  }
  return out
}
