/** The only file that imports @noble/curves: which Ed25519 keys may be listed at all (SPEC, "Keys that are refused"). */
import { ed25519 } from "@noble/curves/ed25519.js"
import { hex } from "./bytes.ts"

/**
 * Whether this is the canonical encoding of a point of prime order. Keys with a small-order part let one signature stand
 * for several messages or keys, and verifiers disagree on them; so they are refused where a key is listed or certified.
 * A key that was good once is remembered: the same keys stand in every manifest of a PoC, and a check takes milliseconds.
 */
export function isSafeSigningKey(key: Uint8Array): boolean {
  const name = hex(key)
  if (safe.has(name)) return true
  if (!isSafe(key)) return false
  if (safe.size >= safeMax) safe.clear()
  safe.add(name)
  return true
}

/** Keys of a large directory, in some 2 MB. */
const safe = new Set<string>()
const safeMax = 16_384

function isSafe(key: Uint8Array): boolean {
  const point = decoded(key)
  if (!point) return false
  if (point.is0()) return false // defence: 17 identity-key
  return point.isTorsionFree() // defence: 17 mixed-order-key => return true
}

/** By RFC 8032 §5.1.3: y ≥ p and a negative zero are refused. */
function decoded(key: Uint8Array): InstanceType<typeof ed25519.Point> | undefined {
  try {
    return ed25519.Point.fromBytes(key)
  } catch {
    return undefined
  }
}
