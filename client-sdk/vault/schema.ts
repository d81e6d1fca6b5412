/** What a vault holds: its owner's table of collections and journal events, and the view of it inside a transaction. */
import type { z } from "zod"
import type { Incarnation, PocAddress, Realm } from "../../protocol/address.ts"
import type { JournalDetails, JournalRecord } from "./journal.ts"

/** One collection of records. Values are whatever `encodeCbor` takes and `shape` accepts. */
export interface Collection<T> {
  readonly shape: z.ZodType<T>
  /**
   * Belongs to the part that must never go back in time (prekey secrets, replay store, counters): backups leave it out,
   * a new incarnation starts without it (SPEC "A vault that goes back in time").
   */
  readonly volatile?: boolean
}

export type CollectionTable = Readonly<Record<string, Collection<unknown>>>

/** Given to `Vault.create` and `Vault.open`. Names of collections and events must not begin with `vault.`. */
export interface VaultSchema<C extends CollectionTable, E extends string> {
  readonly collections: C
  /** The closed list of journal events. */
  readonly events: readonly E[]
}

/** Events that the vault itself writes to the journal. */
export const vaultEvents = ["vault.created", "vault.incarnation", "vault.backup"] as const
export type VaultEvent = (typeof vaultEvents)[number]

export type NameOf<C extends CollectionTable> = keyof C & string
export type ValueOf<C extends CollectionTable, N extends NameOf<C>> = C[N] extends Collection<infer T> ? T : never

/** Whose vault it is; fixed when it is made. */
export interface VaultAbout {
  readonly poc: PocAddress
  readonly realm: Realm
}

export interface ListRange {
  /** Only keys that begin so. */
  readonly prefix?: string
  /** Only keys beyond this one, in the direction of the listing. */
  readonly after?: string
  readonly limit?: number
  /** Largest key first. */
  readonly reverse?: boolean
}

export interface ReadTx<C extends CollectionTable, E extends string> {
  /** Never changes while one process holds the vault open, unless this or another process starts a new one. */
  readonly incarnation: Incarnation
  get<N extends NameOf<C>>(collection: N, key: string): ValueOf<C, N> | undefined
  /**
   * Ordered by key (JavaScript's order of strings). The keys are those at the time of the call; each value is read when
   * the iteration comes to it, and a record deleted meanwhile is passed over. Not to be used after the transaction.
   */
  list<N extends NameOf<C>>(collection: N, range?: ListRange): Iterable<readonly [key: string, value: ValueOf<C, N>]>
  count(collection: NameOf<C>): number
  /** Journal records in order, from number `from` (default 0) on; `reverse` from the last one backwards. */
  journal(range?: {
    readonly from?: number
    readonly limit?: number
    readonly reverse?: boolean
  }): Iterable<JournalRecord<E | VaultEvent>>
}

export interface VaultTx<C extends CollectionTable, E extends string> extends ReadTx<C, E> {
  /** Throws `ERR_MALFORMED` if the value has not the collection's shape, `ERR_TOO_LARGE` beyond the limits. */
  put<N extends NameOf<C>>(collection: N, key: string, value: ValueOf<C, N>): void
  /** Nothing happens if there is none. */
  delete(collection: NameOf<C>, key: string): void
  appendJournal(entry: { readonly event: E; readonly details?: JournalDetails }): void
}
