/** The keys of an open vault (SPEC "Vault: keys"): tags in place of names, the fingerprint's elements, the sealed head. */
import { concat, utf8 } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { lengthPrefixed } from "../../protocol/hash.ts"
import { mac, wipe, xaeadNonceBytes, xaeadOpen, xaeadSeal } from "../../protocol/primitives.ts"
import type { Random } from "../../system/machine.ts"
import { collectionTagBytes, recordIdBytes, type StoredEntry } from "./storage.ts"

export class VaultKeys {
  readonly random: Random
  /** Seals the head and all records but the volatile ones. */
  readonly sealKey: Uint8Array
  readonly #tagKey: Uint8Array
  readonly #fingerprintKey: Uint8Array
  /** There are a dozen collections, and each use of one asks for its tag. */
  readonly #collectionTags = new Map<string, Uint8Array>()

  /** @param dataKey 32 bytes; not kept. */
  constructor(dataKey: Uint8Array, random: Random) {
    this.random = random
    this.sealKey = mac(dataKey, utf8("valise/v1/vault/seal"))
    this.#tagKey = mac(dataKey, utf8("valise/v1/vault/tag"))
    this.#fingerprintKey = mac(dataKey, utf8("valise/v1/vault/fingerprint"))
  }

  collectionTag(collection: string): Uint8Array {
    const known = this.#collectionTags.get(collection)
    if (known) return known
    const tag = mac(this.#tagKey, fields("collection", collection)).slice(0, collectionTagBytes)
    this.#collectionTags.set(collection, tag)
    return tag
  }

  recordId(collection: string, key: string): Uint8Array {
    return mac(this.#tagKey, fields("record", collection, key)).slice(0, recordIdBytes)
  }

  /**
   * What the entry adds to the fingerprint of the whole: its place among all and the nonce of its value, so one version
   * of one record. The fingerprint is the XOR of all elements (a keyed set hash: Clarke et al., ASIACRYPT 2003); ids
   * differ, so no element counts twice, and neither elements nor fingerprint leave the vault unsealed.
   */
  element({ collection, id, volatile, nonce }: StoredEntry): Uint8Array {
    return mac(this.#fingerprintKey, collection, id, Uint8Array.of(volatile ? 1 : 0), nonce)
  }

  sealHead(head: Uint8Array): Uint8Array {
    return sealBox(this.sealKey, this.random, headLabel, head)
  }

  /** Throws `ERR_VAULT_TAMPERED`. */
  openHead(sealed: Uint8Array): Uint8Array {
    return openBox(this.sealKey, headLabel, sealed)
  }

  /** Of no use afterwards. */
  erase(): void {
    for (const key of [this.sealKey, this.#tagKey, this.#fingerprintKey]) wipe(key)
  }
}

export const tampered = (message: string): ValiseError =>
  new ValiseError("ERR_VAULT_TAMPERED", message, {
    hint: "restore the vault from a backup; the disk may be failing, or somebody changed the file",
  })

/** Nonce and ciphertext in one. */
export function sealBox(key: Uint8Array, random: Random, aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
  const nonce = random.bytes(xaeadNonceBytes)
  return concat(nonce, xaeadSeal(key, nonce, aad, plaintext))
}

/** Throws `ERR_VAULT_TAMPERED`. */
export function openBox(key: Uint8Array, aad: Uint8Array, box: Uint8Array): Uint8Array {
  const plaintext = xaeadOpen(key, box.subarray(0, xaeadNonceBytes), aad, box.subarray(xaeadNonceBytes))
  if (!plaintext) throw tampered("the vault was altered")
  return plaintext
}

const protocolLabel = lengthPrefixed(utf8("valise/v1/vault"))

/** `LP("valise/v1/vault") ‖ LP(part) ‖ …` */
export const fields = (...parts: readonly string[]): Uint8Array =>
  concat(protocolLabel, ...parts.map((part) => lengthPrefixed(utf8(part))))

const headLabel = fields("head")
