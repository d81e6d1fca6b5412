/**
 * HPKE (RFC 9180, draft-ietf-hpke-pq) base mode for the one suite of version 1:
 * KEM X-Wing 0x647a, one-stage KDF SHAKE256 0x0011, AEAD ChaCha20-Poly1305 0x0003.
 * Each context here seals exactly one plaintext, so the nonce is the base nonce.
 */
import { concat, u16be, utf8 } from "./bytes.ts"
import { aeadKeyBytes, aeadNonceBytes, aeadOpen, aeadSeal, encapsulate, shake256, type KemKey } from "./primitives.ts"

const suiteId = concat(utf8("HPKE"), u16be(0x647a), u16be(0x0011), u16be(0x0003))
const version = utf8("HPKE-v1")
const baseMode = Uint8Array.of(0)
const exporterSecretBytes = 64

export class HpkeContext {
  readonly #key: Uint8Array
  readonly #nonce: Uint8Array
  readonly #exporterSecret: Uint8Array

  constructor(sharedSecret: Uint8Array, info: Uint8Array) {
    const secret = labeledDerive(
      concat(lengthPrefixed(empty), lengthPrefixed(sharedSecret)),
      "secret",
      concat(baseMode, lengthPrefixed(empty), lengthPrefixed(info)),
      aeadKeyBytes + aeadNonceBytes + exporterSecretBytes,
    )
    this.#key = secret.subarray(0, aeadKeyBytes)
    this.#nonce = secret.subarray(aeadKeyBytes, aeadKeyBytes + aeadNonceBytes)
    this.#exporterSecret = secret.subarray(aeadKeyBytes + aeadNonceBytes)
  }

  /** Call once per context. */
  seal(aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    return aeadSeal(this.#key, this.#nonce, aad, plaintext)
  }

  open(aad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    return aeadOpen(this.#key, this.#nonce, aad, ciphertext)
  }

  export(context: Uint8Array, length: number): Uint8Array {
    return labeledDerive(this.#exporterSecret, "sec", context, length)
  }
}

/** @param coins 64 fresh random bytes. `undefined` if the public key is malformed. */
export function setupSender(
  publicKey: Uint8Array,
  info: Uint8Array,
  coins: Uint8Array,
): { readonly encapsulation: Uint8Array; readonly context: HpkeContext } | undefined {
  const made = encapsulate(publicKey, coins)
  return made && { encapsulation: made.ciphertext, context: new HpkeContext(made.sharedSecret, info) }
}

/** `undefined` if the encapsulation is malformed. */
export function setupRecipient(key: KemKey, encapsulation: Uint8Array, info: Uint8Array): HpkeContext | undefined {
  const sharedSecret = key.decapsulate(encapsulation)
  return sharedSecret && new HpkeContext(sharedSecret, info)
}

const empty = new Uint8Array(0)
const lengthPrefixed = (x: Uint8Array): Uint8Array => concat(u16be(x.length), x)

function labeledDerive(ikm: Uint8Array, label: string, context: Uint8Array, length: number): Uint8Array {
  return shake256(length, ikm, version, suiteId, lengthPrefixed(utf8(label)), u16be(length), context)
}
