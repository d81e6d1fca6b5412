/**
 * The primitives of suite 1, and the only file that imports libsodium (SPEC, "Primitives").
 *
 * Nothing here draws randomness: seeds and coins are arguments, so that a simulation replays and vectors are exact.
 * Keys are held as seeds; the expanded forms live only inside the two key classes and are wiped by `erase`.
 */
import sodium from "libsodium-wrappers"
import { concat } from "./bytes.ts"

await sodium.ready

export const hashBytes = 32
export const macBytes = 32
export const macKeyBytes = 32
export const seedBytes = 32
export const signatureBytes = 64
export const signingKeyBytes = 32
export const aeadKeyBytes = 32
export const aeadNonceBytes = 12
export const aeadTagBytes = 16
export const xaeadNonceBytes = 24
export const kemPublicKeyBytes = 1216
export const kemCiphertextBytes = 1120
export const kemCoinsBytes = 64
export const x25519Bytes = 32

/** SHA3-256 of the parts in a row. */
export function sha3(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = joined(parts)
  return machineSha3 && bytes.length >= machineSha3From ? machineSha3(bytes) : sodium.crypto_hash_sha3256(bytes)
}

export const shake256 = (length: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  sodium.crypto_xof_shake256(length, joined(parts))

/** HMAC-SHA-512 truncated to 32 bytes (libsodium `crypto_auth`). */
export const mac = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array =>
  sodium.crypto_auth(joined(parts), key)

export function constantTimeEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && sodium.memcmp(a, b)
}

export function wipe(secret: Uint8Array): void {
  secret.fill(0)
}

/** ChaCha20-Poly1305 (RFC 8439); the tag follows the ciphertext. */
export function aeadSeal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, aad, null, nonce, key)
}

/** `undefined` if the ciphertext is not authentic under this key, nonce and aad. */
export function aeadOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | undefined {
  if (ciphertext.length < aeadTagBytes) return undefined
  try {
    return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, ciphertext, aad, nonce, key)
  } catch {
    return undefined
  }
}

/** XChaCha20-Poly1305: its nonce is long enough to be drawn at random under one key. The tag follows the ciphertext. */
export function xaeadSeal(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  return sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, null, nonce, key)
}

/** `undefined` if the ciphertext is not authentic under this key, nonce and aad. */
export function xaeadOpen(
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array | undefined {
  if (nonce.length !== xaeadNonceBytes || ciphertext.length < aeadTagBytes) return undefined
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, ciphertext, aad, nonce, key)
  } catch {
    return undefined
  }
}

/** An Ed25519 key that signs. */
export class SigningKey {
  readonly publicKey: Uint8Array
  readonly #expanded: Uint8Array

  constructor(seed: Uint8Array) {
    const pair = sodium.crypto_sign_seed_keypair(seed)
    this.publicKey = pair.publicKey
    this.#expanded = pair.privateKey
  }

  sign(message: Uint8Array): Uint8Array {
    return sodium.crypto_sign_detached(message, this.#expanded)
  }

  erase(): void {
    wipe(this.#expanded)
  }
}

/** Ed25519 by libsodium's rule, the only rule evidence is judged by (SPEC, "Primitives"). Never throws. */
export function verifySignature(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== signingKeyBytes || signature.length !== signatureBytes) return false
  try {
    return sodium.crypto_sign_verify_detached(signature, message, publicKey)
  } catch {
    return false
  }
}

/** An X-Wing key that decapsulates; made from its 32-byte seed. */
export class KemKey {
  readonly publicKey: Uint8Array
  readonly #secret: Uint8Array

  constructor(seed: Uint8Array) {
    const pair = sodium.crypto_kem_xwing_seed_keypair(seed)
    this.publicKey = pair.publicKey
    this.#secret = pair.privateKey
  }

  /** `undefined` if the ciphertext has the wrong length or is refused. */
  decapsulate(ciphertext: Uint8Array): Uint8Array | undefined {
    if (ciphertext.length !== kemCiphertextBytes) return undefined
    try {
      return sodium.crypto_kem_xwing_dec(ciphertext, this.#secret)
    } catch {
      return undefined
    }
  }

  erase(): void {
    wipe(this.#secret)
  }
}

/** @param coins 64 fresh random bytes. `undefined` if the public key is malformed. */
export function encapsulate(
  publicKey: Uint8Array,
  coins: Uint8Array,
): { readonly ciphertext: Uint8Array; readonly sharedSecret: Uint8Array } | undefined {
  if (publicKey.length !== kemPublicKeyBytes) return undefined
  try {
    return sodium.crypto_kem_xwing_enc_deterministic(publicKey, coins)
  } catch {
    return undefined
  }
}

export const x25519PublicKey = (secret: Uint8Array): Uint8Array => sodium.crypto_scalarmult_base(secret)

/** `undefined` if the peer's key is of low order. */
export function x25519(secret: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
  if (publicKey.length !== x25519Bytes) return undefined
  try {
    return sodium.crypto_scalarmult(secret, publicKey)
  } catch {
    return undefined
  }
}

/** Node's own SHA3 takes half the time for an envelope, and as long as libsodium's for what is short. */
const machineSha3 = ((): ((bytes: Uint8Array) => Uint8Array) | undefined => {
  const hash = globalThis.process?.getBuiltinModule?.("node:crypto")?.hash
  return hash && ((bytes) => new Uint8Array(hash("sha3-256", bytes, "buffer")))
})()
const machineSha3From = 512

const joined = (parts: readonly Uint8Array[]): Uint8Array => (parts.length === 1 ? parts[0]! : concat(...parts))
