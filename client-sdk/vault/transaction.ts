/** The inside of a transaction: typed collections on one side, sealed records on the other. */
import type { z } from "zod"
import type { Incarnation } from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { writeHead, toggled, type Head } from "./head.ts"
import { checkJournal, decodeJournalRecord, nextJournalRecord } from "./journal.ts"
import type { JournalCheck, JournalDetails, JournalRecord } from "./journal.ts"
import { tampered, type Place, type RecordCipher } from "./record-cipher.ts"
import type { Collection, CollectionTable, ListRange, NameOf, ReadTx } from "./schema.ts"
import type { ValueOf, VaultEvent, VaultSchema, VaultTx } from "./schema.ts"
import type { StorageReadTx, StorageTx, StoredEntry } from "./storage.ts"

export const vaultLimits = {
  /** A key is an id or a few of them. */
  keyBytesMax: 512,
  /** A record is at most one message: 1 MiB of content, its receipts and proofs. */
  valueBytesMax: 4 * 1024 * 1024,
} as const

/** Where the journal lies among the collections. Names that begin so are the vault's own. */
export const ownPrefix = "vault."
const journalCollection = `${ownPrefix}journal`

export class Reader<C extends CollectionTable, E extends string> implements ReadTx<C, E> {
  protected readonly cipher: RecordCipher
  protected readonly schema: VaultSchema<C, E>
  protected head: Head
  readonly #rows: StorageReadTx
  #ended = false

  constructor(rows: StorageReadTx, cipher: RecordCipher, schema: VaultSchema<C, E>, head: Head) {
    this.#rows = rows
    this.cipher = cipher
    this.schema = schema
    this.head = head
  }

  get incarnation(): Incarnation {
    if (!this.head.incarnation) throw new ValiseError("ERR_VAULT", "the vault has no incarnation yet")
    return this.head.incarnation
  }

  get<N extends NameOf<C>>(collection: N, key: string): ValueOf<C, N> | undefined {
    const bytes = this.valueAt(this.place(collection, key))
    return bytes && this.#decode(collection, bytes)
  }

  list<N extends NameOf<C>>(
    collection: N,
    range: ListRange = {},
  ): Iterable<readonly [key: string, value: ValueOf<C, N>]> {
    return this.#listed(collection, selected(this.#keys(collection), range))
  }

  count(collection: NameOf<C>): number {
    this.#collection(collection)
    return this.rows().count(this.cipher.collectionTag(collection))
  }

  *journal(range: { from?: number; limit?: number; reverse?: boolean } = {}): Iterable<JournalRecord<E | VaultEvent>> {
    const { from = 0, limit = this.head.journal.count, reverse = false } = range
    const count = Math.min(limit, this.head.journal.count - from)
    for (let n = 0; n < count; n++) {
      const i = reverse ? this.head.journal.count - 1 - n : from + n
      const bytes = this.#journalBytes(i)
      if (!bytes) throw tampered("a record of the journal is missing")
      yield decodeJournalRecord(bytes) as JournalRecord<E | VaultEvent>
    }
  }

  checkJournal(): JournalCheck {
    return checkJournal(this.head.journal, (i) => this.#journalBytes(i))
  }

  /** Opens every record, of every collection in the table. Throws `ERR_VAULT_TAMPERED` or `ERR_VAULT`. */
  checkRecords(): void {
    for (const collection of Object.keys(this.schema.collections) as NameOf<C>[])
      for (const [, value] of this.list(collection)) void value
  }

  /** From now on every use throws. */
  end(): void {
    this.#ended = true
  }

  protected place(collection: NameOf<C>, key: string): Place {
    return { collection, key, volatile: this.#collection(collection).volatile ?? false }
  }

  protected valueAt(place: Place): Uint8Array | undefined {
    const record = this.rows().record(
      this.cipher.collectionTag(place.collection),
      this.cipher.idOf(place.collection, place.key),
    )
    return record && this.cipher.open(place, record)
  }

  protected rows(): StorageReadTx {
    if (this.#ended) throw new ValiseError("ERR_USAGE", "used after the end of its transaction")
    return this.#rows
  }

  protected shape<N extends NameOf<C>>(collection: N): z.ZodType<ValueOf<C, N>> {
    return this.#collection(collection).shape as z.ZodType<ValueOf<C, N>>
  }

  *#listed<N extends NameOf<C>>(collection: N, keys: readonly string[]) {
    for (const key of keys) {
      const value = this.get(collection, key)
      if (value !== undefined) yield [key, value] as const
    }
  }

  #keys(collection: NameOf<C>): string[] {
    this.#collection(collection)
    const entries = this.rows().entries(this.cipher.collectionTag(collection))
    return Array.from(entries, this.cipher.keyReader(collection))
  }

  #decode<N extends NameOf<C>>(collection: N, bytes: Uint8Array): ValueOf<C, N> {
    try {
      return decodeCbor(this.shape(collection), bytes)
    } catch (cause) {
      throw new ValiseError("ERR_VAULT", `a record of ${collection} has an unknown shape`, {
        cause,
        hint: "the vault was used by another version",
      })
    }
  }

  #collection(collection: NameOf<C>): Collection<unknown> {
    const { collections } = this.schema
    const found = Object.hasOwn(collections, collection) ? collections[collection] : undefined
    if (!found) throw new ValiseError("ERR_USAGE", `there is no collection ${collection}`)
    return found
  }

  #journalBytes(i: number): Uint8Array | undefined {
    return this.valueAt(journalPlace(i))
  }
}

export class Writer<C extends CollectionTable, E extends string> extends Reader<C, E> implements VaultTx<C, E> {
  readonly #rows: StorageTx
  readonly #nowSeconds: number
  #changed = false

  constructor(rows: StorageTx, cipher: RecordCipher, schema: VaultSchema<C, E>, head: Head, nowSeconds: number) {
    super(rows, cipher, schema, head)
    this.#rows = rows
    this.#nowSeconds = nowSeconds
  }

  put<N extends NameOf<C>>(collection: N, key: string, value: ValueOf<C, N>): void {
    const place = this.place(collection, key)
    const bytes = encoded(value)
    if (utf8(key).length > vaultLimits.keyBytesMax || bytes.length > vaultLimits.valueBytesMax)
      throw new ValiseError("ERR_TOO_LARGE", `too large for a record of ${collection}`)
    decodeCbor(this.shape(collection), bytes)
    this.#put(place, bytes)
  }

  delete(collection: NameOf<C>, key: string): void {
    const place = this.place(collection, key)
    this.#remove(this.cipher.collectionTag(collection), this.cipher.idOf(collection, place.key))
  }

  appendJournal(entry: { readonly event: E; readonly details?: JournalDetails }): void {
    if (!this.schema.events.includes(entry.event)) throw new ValiseError("ERR_USAGE", `no event ${entry.event}`)
    this.appendOwn(entry.event, entry.details ?? {})
  }

  /** As `appendJournal`, for the vault's own events too. */
  appendOwn(event: E | VaultEvent, details: JournalDetails): void {
    const { bytes, head } = nextJournalRecord(this.head.journal, this.#nowSeconds, event, details)
    this.#put(journalPlace(this.head.journal.count), bytes)
    this.#setHead({ journal: head })
  }

  /** Empties the volatile part. What was sealed to the old incarnation's prekeys stays closed for good. */
  startIncarnation(incarnation: Incarnation): void {
    const old = [...this.rows().entries()].filter((entry) => entry.volatile)
    for (const entry of old) this.#remove(entry.collection, entry.id)
    this.#setHead({ incarnation })
  }

  get hasIncarnation(): boolean {
    return this.head.incarnation !== undefined
  }

  /** Writes the head if anything was changed. The number of transactions up to this one. */
  finish(): number {
    if (this.#changed) {
      this.#setHead({ transactions: this.head.transactions + 1 })
      writeHead(this.#rows, this.cipher, this.head)
    }
    return this.head.transactions
  }

  #put(place: Place, value: Uint8Array): void {
    const record = this.cipher.seal(place, value)
    const old = this.rows().entry(record.collection, record.id)
    this.#rows.put(record)
    if (old) this.#toggle(old)
    this.#toggle(record)
  }

  #remove(collection: Uint8Array, id: Uint8Array): void {
    const old = this.rows().entry(collection, id)
    if (!old) return
    this.#rows.delete(collection, id)
    this.#toggle(old)
  }

  #toggle(entry: StoredEntry): void {
    this.#setHead({ fingerprint: toggled(this.head.fingerprint, this.cipher, entry) })
  }

  #setHead(change: Partial<Head>): void {
    this.head = { ...this.head, ...change }
    this.#changed = true
  }
}

const journalPlace = (i: number): Place => ({ collection: journalCollection, key: String(i), volatile: false })

function encoded(value: unknown): Uint8Array {
  try {
    return encodeCbor(value as object)
  } catch (cause) {
    throw new ValiseError("ERR_MALFORMED", "a value cannot be encoded", { cause })
  }
}

function selected(keys: readonly string[], { prefix = "", after, limit, reverse = false }: ListRange): string[] {
  const beyond = (key: string) => after === undefined || (reverse ? key < after : key > after)
  const chosen = keys.filter((key) => key.startsWith(prefix) && beyond(key)).toSorted()
  if (reverse) chosen.reverse()
  return chosen.slice(0, limit)
}
