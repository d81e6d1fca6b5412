/** Seals and opens records (SPEC "Vault: records"). One per transaction: the volatile part's key changes. */
import { concat, fromUtf8, utf8 } from "../../protocol/bytes.ts"
import { xaeadNonceBytes, xaeadOpen, xaeadSeal } from "../../protocol/primitives.ts"
import type { StoredEntry, StoredRecord } from "./storage.ts"
import { fields, openBox, sealBox, tampered, type VaultKeys } from "./vault-keys.ts"

/** Where a record belongs. Bound into its ciphertext (the id stands for the key), so records cannot change places. */
export type Place = Pick<StoredEntry, "collection" | "id" | "volatile">

export class RecordCipher {
  readonly #keys: VaultKeys
  readonly #volatileKey: Uint8Array | undefined

  /** @param volatileKey of the head; `undefined` in a backup, which has no volatile records. */
  constructor(keys: VaultKeys, volatileKey: Uint8Array | undefined) {
    this.#keys = keys
    this.#volatileKey = volatileKey
  }

  seal({ collection, id, volatile }: Place, key: string, value: Uint8Array): StoredRecord {
    const place = { collection, id, volatile }
    const sealKey = this.#keyOf(place)
    const nonce = this.#keys.random.bytes(xaeadNonceBytes)
    return {
      ...place,
      nonce,
      name: sealBox(sealKey, this.#keys.random, aadOf(nameLabel, place), utf8(key)),
      value: xaeadSeal(sealKey, nonce, aadOf(valueLabel, place), value),
    }
  }

  /** The value. Throws `ERR_VAULT_TAMPERED` unless this is what `seal` made for its place. */
  open(record: StoredRecord): Uint8Array {
    const value = xaeadOpen(this.#keyOf(record), record.nonce, aadOf(valueLabel, record), record.value)
    if (!value) throw tampered("a record was altered")
    return value
  }

  /** The key under which it was put. Throws `ERR_VAULT_TAMPERED`. */
  openName(entry: StoredEntry): string {
    return fromUtf8(openBox(this.#keyOf(entry), aadOf(nameLabel, entry), entry.name))
  }

  #keyOf({ volatile }: Place): Uint8Array {
    if (!volatile) return this.#keys.sealKey
    if (!this.#volatileKey) throw tampered("a record of the volatile part stands in a backup")
    return this.#volatileKey
  }
}

const nameLabel = fields("name")
const valueLabel = fields("value")

/** All of fixed length after the label. */
const aadOf = (label: Uint8Array, { collection, id, volatile }: Place): Uint8Array =>
  concat(label, collection, id, Uint8Array.of(volatile ? 1 : 0))
