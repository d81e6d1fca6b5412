/**
 * Hashes envelopes, and the same one only once: most are delivered as soon as they are stored, and the frame's MAC takes
 * the digest again. In memory alone, of the last few; bytes are compared, so a submitter that repeats another's first
 * bytes gains nothing.
 */
import type { Hash } from "../protocol/address.ts"
import { sha3 } from "../protocol/primitives.ts"

export class RecentDigests {
  readonly #known = new Map<string, { readonly envelope: Buffer; readonly digest: Hash }>()

  /** SHA3-256. */
  of(envelope: Uint8Array): Hash {
    const bytes = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.length)
    const name = bytes.toString("latin1", nameFrom, nameTo)
    const known = this.#known.get(name)
    if (known?.envelope.equals(bytes)) {
      this.#known.delete(name)
      return known.digest
    }
    const digest = sha3(bytes) as Hash
    this.#known.set(name, { envelope: bytes, digest })
    if (this.#known.size > knownMax) this.#known.delete(this.#known.keys().next().value!)
    return digest
  }
}

/** Mailbox, prekey and commitment: the same in two honest envelopes never. */
const [nameFrom, nameTo] = [2, 66]
/** They hold what the sockets have read: at most some 20 MB. */
const knownMax = 256
