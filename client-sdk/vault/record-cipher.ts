/**
 * The keys of an open vault and what they do to its records (SPEC "Vault: records"). Everything that a storage gets to see
 * is made here: tags in place of names, sealed names and values, and the element that each record adds to the vault's
 * fingerprint.
 */
import { concat, utf8, fromUtf8 } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { lengthPrefixed } from "../../protocol/hash.ts"
import { mac, wipe, xaeadNonceBytes, xaeadOpen, xaeadSeal } from "../../protocol/primitives.ts"
import type { Random } from "../../system/machine.ts"
import { collectionTagBytes, recordIdBytes, type StoredEntry, type StoredRecord } from "./storage.ts"

/** Where a record belongs; bound into its ciphertext, so that records cannot change places. */
export interface Place {
  readonly collection: string
  readonly key: string
  readonly volatile: boolean
}

export class RecordCipher {
  readonly #random: Random
  readonly #sealKey: Uint8Array
  readonly #tagKey: Uint8Array
  readonly #fingerprintKey: Uint8Array

  /** @param dataKey 32 bytes; not kept. */
  constructor(dataKey: Uint8Array, random: Random) {
    this.#random = random
    this.#sealKey = mac(dataKey, utf8("valise/v1/vault/seal"))
    this.#tagKey = mac(dataKey, utf8("valise/v1/vault/tag"))
    this.#fingerprintKey = mac(dataKey, utf8("valise/v1/vault/fingerprint"))
  }

  collectionTag(collection: string): Uint8Array {
    return mac(this.#tagKey, fields("collection", collection)).slice(0, collectionTagBytes)
  }

  idOf(collection: string, key: string): Uint8Array {
    return mac(this.#tagKey, fields("record", collection, key)).slice(0, recordIdBytes)
  }

  seal(place: Place, value: Uint8Array): StoredRecord {
    const nonce = this.#random.bytes(xaeadNonceBytes)
    const id = this.idOf(place.collection, place.key)
    return {
      collection: this.collectionTag(place.collection),
      id,
      volatile: place.volatile,
      nonce,
      name: this.#sealBox(concat(nameAad(place.collection), id), utf8(place.key)),
      value: xaeadSeal(this.#sealKey, nonce, valueAad(place), value),
    }
  }

  /** Throws `ERR_VAULT_TAMPERED` unless this is what `seal` made for this place. */
  open(place: Place, record: StoredRecord): Uint8Array {
    const value =
      record.volatile === place.volatile
        ? xaeadOpen(this.#sealKey, record.nonce, valueAad(place), record.value)
        : undefined
    if (!value) throw tampered("a record was altered")
    return value
  }

  /** Tells the key under which an entry of this collection was put; throws `ERR_VAULT_TAMPERED`. */
  keyReader(collection: string): (entry: StoredEntry) => string {
    const aad = nameAad(collection)
    return (entry) => fromUtf8(this.#openBox(concat(aad, entry.id), entry.name))
  }

  /**
   * What the entry adds to the fingerprint of the whole: its place among all and the nonce of its value, so one version
   * of one record. The fingerprint is the XOR of all elements (a keyed set hash: Clarke et al., ASIACRYPT 2003); ids
   * differ, so no element counts twice, and it never leaves the vault unsealed.
   */
  element(entry: StoredEntry): Uint8Array {
    return mac(this.#fingerprintKey, entry.collection, entry.id, Uint8Array.of(entry.volatile ? 1 : 0), entry.nonce)
  }

  sealHead(head: Uint8Array): Uint8Array {
    return this.#sealBox(fields("head"), head)
  }

  /** Throws `ERR_VAULT_TAMPERED`. */
  openHead(sealed: Uint8Array): Uint8Array {
    return this.#openBox(fields("head"), sealed)
  }

  /** The cipher is of no use afterwards. */
  erase(): void {
    for (const key of [this.#sealKey, this.#tagKey, this.#fingerprintKey]) wipe(key)
  }

  #sealBox(aad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    const nonce = this.#random.bytes(xaeadNonceBytes)
    return concat(nonce, xaeadSeal(this.#sealKey, nonce, aad, plaintext))
  }

  #openBox(aad: Uint8Array, box: Uint8Array): Uint8Array {
    const plaintext = xaeadOpen(this.#sealKey, box.subarray(0, xaeadNonceBytes), aad, box.subarray(xaeadNonceBytes))
    if (!plaintext) throw tampered("the vault was altered")
    return plaintext
  }
}

export const tampered = (message: string): ValiseError =>
  new ValiseError("ERR_VAULT_TAMPERED", message, {
    hint: "restore the vault from a backup; the disk may be failing, or somebody changed the file",
  })

const valueAad = ({ collection, key, volatile }: Place): Uint8Array =>
  fields(volatile ? "volatile value" : "value", collection, key)

/** The record's id follows. */
const nameAad = (collection: string): Uint8Array => fields("name", collection)

const fields = (...parts: readonly string[]): Uint8Array =>
  concat(...["valise/v1/vault", ...parts].map((part) => lengthPrefixed(utf8(part))))
