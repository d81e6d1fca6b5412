/**
 * ECDSA on P-384 with SHA-384, verification only and without waiting: the signatures of root and issuing CA (SPEC,
 * "Directory").
 */
import { p384 } from "@noble/curves/nist.js"

/** One of r and s, and one coordinate of a point. */
export const p384FieldBytes = 48

/** Whether these are the 97 bytes of an uncompressed point on the curve, not the point at infinity. */
export function isP384Point(key: Uint8Array): boolean {
  if (key.length !== 1 + 2 * p384FieldBytes || key[0] !== 0x04) return false
  try {
    p384.Point.fromBytes(key).assertValidity()
    return true
  } catch {
    return false
  }
}

/**
 * Never throws. Either of the two values of s is accepted, as OpenSSL and WebCrypto make both.
 * @param signature r ‖ s, 48 bytes each
 */
export function verifyP384(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return p384.verify(signature, message, key, { prehash: true, lowS: false, format: "compact" })
  } catch {
    return false
  }
}
