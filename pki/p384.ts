/**
 * ECDSA on P-384 with SHA-384, verification only and without waiting: the signatures of root and issuing CA (SPEC,
 * "Directory").
 */
import { p384 } from "@noble/curves/nist.js"
import { hex } from "../protocol/bytes.ts"
import { sha256 } from "./sha256.ts"

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
 * Never throws. Either of the two values of s is accepted, as OpenSSL and WebCrypto make both. A signature that was good
 * once is remembered: a process replays the same log for its ledger, its relay and each of its vaults, and one check
 * takes milliseconds.
 * @param signature r ‖ s, 48 bytes each
 */
export function verifyP384(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const name = hex(sha256(sha256(key), sha256(message), sha256(signature)))
  if (verified.has(name)) return true
  if (!isGood(key, message, signature)) return false
  if (verified.size >= verifiedMax) verified.clear()
  verified.add(name)
  return true
}

/** Of (key, message, signature). Certificates of a large directory, in some 1 MB. */
const verified = new Set<string>()
const verifiedMax = 8192

function isGood(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  try {
    return p384.verify(signature, message, key, { prehash: true, lowS: false, format: "compact" })
  } catch {
    return false
  }
}
