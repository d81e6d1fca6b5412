/** The inside of a transaction: typed collections on one side, sealed records on the other. */
import type { z } from "zod"
import type { Incarnation } from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { decodeOwnCbor, encodeCbor } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { writeHead, toggled, type Head, type SealedHead, type VolatileHead } from "./head.ts"
import { checkJournal, decodeJournalRecord, nextJournalRecord } from "./journal.ts"
import type { JournalCheck, JournalDetails, JournalRecord } from "./journal.ts"
import { RecordCipher, type Place } from "./record-cipher.ts"
import type { Collection, CollectionTable, ListRange, NameOf, ReadTx } from "./schema.ts"
import type { ValueOf, VaultEvent, VaultSchema, VaultTx } from "./schema.ts"
import type { StorageReadTx, StorageTx, StoredEntry, StoredRecord } from "./storage.ts"
import { tampered, type VaultKeys } from "./vault-keys.ts"

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
  protected readonly keys: VaultKeys
  protected readonly schema: VaultSchema<C, E>
  protected head: Head
  protected cipher: RecordCipher
  readonly #rows: StorageReadTx
  #ended = false

  constructor(rows: StorageReadTx, keys: VaultKeys, schema: VaultSchema<C, E>, head: Head) {
    this.#rows = rows
    this.keys = keys
    this.cipher = new RecordCipher(keys, head.volatile?.key)
    this.schema = schema
    this.head = head
  }

  get incarnation(): Incarnation {
    if (!this.head.volatile) throw new ValiseError("ERR_VAULT", "the vault has no incarnation yet")
    return this.head.volatile.incarnation
  }

  get<N extends NameOf<C>>(collection: N, key: string): ValueOf<C, N> | undefined {
    const bytes = this.valueAt(this.place(collection, key))
    return bytes && this.#decode(collection, bytes)
  }

  list<N extends NameOf<C>>(
    collection: N,
    range: ListRange = {},
  ): Iterable<readonly [key: string, value: ValueOf<C, N>]> {
    return this.#listed(collection, this.#places(collection), range)
  }

  count(collection: NameOf<C>): number {
    this.#collection(collection)
    return this.rows().count(this.keys.collectionTag(collection))
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

  /** Opens every record, those of unknown collections too. Throws `ERR_VAULT_TAMPERED`. */
  checkRecords(): void {
    for (const entry of this.rows().entries()) {
      this.cipher.openName(entry)
      this.cipher.open(this.recordOf(entry))
    }
  }

  /** From now on every use throws. */
  end(): void {
    this.#ended = true
  }

  protected place(collection: NameOf<C>, key: string): Place {
    return {
      collection: this.keys.collectionTag(collection),
      id: this.keys.recordId(collection, key),
      volatile: this.#collection(collection).volatile ?? false,
    }
  }

  protected recordOf({ collection, id }: StoredEntry): StoredRecord {
    const record = this.rows().record(collection, id)
    if (!record) throw tampered("a record is missing")
    return record
  }

  protected valueAt({ collection, id, volatile }: Place): Uint8Array | undefined {
    const record = this.rows().record(collection, id)
    return record && this.cipher.open({ ...record, volatile })
  }

  protected rows(): StorageReadTx {
    if (this.#ended) throw new ValiseError("ERR_USAGE", "used after the end of its transaction")
    return this.#rows
  }

  protected journalPlace(i: number): Place {
    const collection = this.keys.collectionTag(journalCollection)
    return { collection, id: this.keys.recordId(journalCollection, String(i)), volatile: false }
  }

  protected shape<N extends NameOf<C>>(collection: N): z.ZodType<ValueOf<C, N>> {
    return this.#collection(collection).shape as z.ZodType<ValueOf<C, N>>
  }

  *#listed<N extends NameOf<C>>(collection: N, places: ReadonlyMap<string, Place>, range: ListRange) {
    for (const key of selected([...places.keys()], range)) {
      const bytes = this.valueAt(places.get(key)!)
      if (bytes) yield [key, this.#decode(collection, bytes)] as const
    }
  }

  /** By key. */
  #places(collection: NameOf<C>): ReadonlyMap<string, Place> {
    const volatile = this.#collection(collection).volatile ?? false
    const entries = this.rows().entries(this.keys.collectionTag(collection))
    return new Map(
      Array.from(entries, (entry) => {
        const place = { collection: entry.collection, id: entry.id, volatile }
        return [this.cipher.openName(entry), place]
      }),
    )
  }

  #decode<N extends NameOf<C>>(collection: N, bytes: Uint8Array): ValueOf<C, N> {
    try {
      return decodeOwnCbor(this.shape(collection), bytes)
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
    return this.valueAt(this.journalPlace(i))
  }
}

export class Writer<C extends CollectionTable, E extends string> extends Reader<C, E> implements VaultTx<C, E> {
  readonly #rows: StorageTx
  readonly #nowSeconds: number
  #changed = false

  constructor(rows: StorageTx, keys: VaultKeys, schema: VaultSchema<C, E>, head: Head, nowSeconds: number) {
    super(rows, keys, schema, head)
    this.#rows = rows
    this.#nowSeconds = nowSeconds
  }

  put<N extends NameOf<C>>(collection: N, key: string, value: ValueOf<C, N>): void {
    const place = this.place(collection, key)
    const bytes = encoding(() => encodeCbor(value as object))
    if (utf8(key).length > vaultLimits.keyBytesMax || bytes.length > vaultLimits.valueBytesMax)
      throw new ValiseError("ERR_TOO_LARGE", `too large for a record of ${collection}`)
    decodeOwnCbor(this.shape(collection), bytes)
    this.#put(place, key, bytes)
  }

  delete(collection: NameOf<C>, key: string): void {
    this.#remove(this.place(collection, key))
  }

  appendJournal(entry: { readonly event: E; readonly details?: JournalDetails }): void {
    if (!this.schema.events.includes(entry.event)) throw new ValiseError("ERR_USAGE", `no event ${entry.event}`)
    this.appendOwn(entry.event, entry.details ?? {})
  }

  /** As `appendJournal`, for the vault's own events too. */
  appendOwn(event: E | VaultEvent, details: JournalDetails): void {
    const { journal } = this.head
    const next = encoding(() => nextJournalRecord(journal, this.#nowSeconds, event, details))
    this.#put(this.journalPlace(journal.count), String(journal.count), next.bytes)
    this.#setHead({ journal: next.head })
  }

  /** Empties the volatile part and begins another. What was sealed to the old prekeys stays closed for good. */
  startIncarnation(): Incarnation {
    for (const entry of this.#volatileEntries()) this.#remove(entry) // defence: 24 erase-the-old-incarnation
    const incarnation = this.keys.random.bytes(16) as Incarnation
    this.#setVolatile({ incarnation, key: this.keys.random.bytes(32), remnants: false })
    return incarnation
  }

  /** Seals the volatile part under a new key, if the present one could open what was erased. */
  renewVolatileKey(): void {
    if (!this.head.volatile?.remnants) return
    const records = this.#volatileEntries().map((entry) => {
      return { entry, key: this.cipher.openName(entry), value: this.cipher.open(this.recordOf(entry)) }
    })
    const next = { ...this.head.volatile, key: this.keys.random.bytes(32), remnants: false }
    this.#setVolatile(next)
    for (const { entry, key, value } of records) this.#put(entry, key, value)
    this.#setVolatile(next)
  }

  get hasIncarnation(): boolean {
    return this.head.volatile !== undefined
  }

  /** Writes the head if anything was changed, and gives it, sealed and open, if it was. */
  finish(): SealedHead | undefined {
    if (!this.#changed) return undefined
    this.#setHead({ transactions: this.head.transactions + 1 })
    return { sealed: writeHead(this.#rows, this.keys, this.head), head: this.head }
  }

  #put(place: Place, key: string, value: Uint8Array): void {
    const old = this.rows().entry(place.collection, place.id)
    const record = this.cipher.seal(place, key, value)
    this.#rows.put(record)
    if (old) this.#forget(old)
    this.#toggle(record)
  }

  #remove(place: Place): void {
    const old = this.rows().entry(place.collection, place.id)
    if (!old) return
    this.#rows.delete(place.collection, place.id)
    this.#forget(old)
  }

  #forget(old: StoredEntry): void {
    this.#toggle(old)
    if (old.volatile && this.head.volatile) this.#setHead({ volatile: { ...this.head.volatile, remnants: true } })
  }

  #toggle(entry: StoredEntry): void {
    this.#setHead({ fingerprint: toggled(this.head.fingerprint, this.keys, entry) })
  }

  #volatileEntries(): StoredEntry[] {
    return [...this.rows().entries()].filter((entry) => entry.volatile)
  }

  #setVolatile(volatile: VolatileHead): void {
    this.cipher = new RecordCipher(this.keys, volatile.key)
    this.#setHead({ volatile })
  }

  #setHead(change: Partial<Head>): void {
    this.head = { ...this.head, ...change }
    this.#changed = true
  }
}

function encoding<T>(encode: () => T): T {
  try {
    return encode()
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
