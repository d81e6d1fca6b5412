/**
 * Signatures in the directory's log and on its checkpoints, of which a process meets the same ones again and again: it
 * replays one log for its ledger, its relay and each of its vaults, and every message that arrives names a checkpoint.
 */
import { hex } from "./bytes.ts"
import { sha3, signatureBytes, signingKeyBytes, verifySignature } from "./primitives.ts"

/** As `verifySignature`, and never throws either. A signature that was good once is remembered, a bad one never. */
export function verifyRemembered(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  // Of fixed length, so that no two triples have one name.
  if (publicKey.length !== signingKeyBytes || signature.length !== signatureBytes) return false
  const name = hex(sha3(publicKey, signature, message))
  if (good.has(name)) return true
  if (!verifySignature(publicKey, message, signature)) return false
  if (good.size >= goodMax) good.clear()
  good.add(name)
  return true
}

/** Of (key, signature, message). Those of a large directory, in some 2 MB. */
const good = new Set<string>()
const goodMax = 16_384
