/**
 * The vault: everything that one device of a PoC keeps, encrypted and tamper-evident, behind a storage
 * (docs/vault.md; SPEC "Vault"). Several processes may hold the same vault open (docs/vault-sharing.md).
 */
import type { Incarnation } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { wipe } from "../../protocol/primitives.ts"
import { seconds, type Machine } from "../../system/machine.ts"
import { checkFingerprint, emptyFingerprint, readHead, toggled, writeHead, type Head, type SealedHead } from "./head.ts"
import { dataKeyContext, decodeHeader, encodeHeader } from "./header.ts"
import { emptyJournal, type JournalCheck } from "./journal.ts"
import { lock, unlock, type UnlockSecret } from "./lock.ts"
import type { CollectionTable, ReadTx, VaultAbout, VaultSchema, VaultTx } from "./schema.ts"
import type { StorageReadTx, VaultStorage } from "./storage.ts"
import { ownPrefix, Reader, Writer } from "./transaction.ts"
import { tampered, VaultKeys } from "./vault-keys.ts"

export type * from "./schema.ts"

/** What the vault needs of the machine. */
export type VaultMachine = Pick<Machine, "clock" | "random">

/** How soon commits of other processes are noticed: a person who waits for the other window does not notice it. */
const foreignPollMs = 200

export class Vault<C extends CollectionTable, E extends string> {
  readonly about: VaultAbout
  readonly #storage: VaultStorage
  readonly #keys: VaultKeys
  readonly #schema: VaultSchema<C, E>
  readonly #machine: VaultMachine
  readonly #listeners = new Set<() => void>()
  #cancelPoll: (() => void) | undefined
  #foreignVersion: number
  #transactionsSeen: number
  /** The head as it was last read or written. */
  #head: SealedHead | undefined

  /** Makes a vault in an empty storage. Throws `ERR_USAGE` if the storage holds one. The vault closes the storage. */
  static async create<C extends CollectionTable, E extends string>(
    storage: VaultStorage,
    secret: UnlockSecret,
    machine: VaultMachine,
    schema: VaultSchema<C, E>,
    about: VaultAbout,
  ): Promise<Vault<C, E>> {
    refuseOwnNames(schema)
    const dataKey = machine.random.bytes(32)
    const header = encodeHeader(await lock(secret, dataKeyContext, dataKey, machine.random))
    const keys = new VaultKeys(dataKey, machine.random)
    wipe(dataKey)
    const head = { v: 1, about, transactions: 0, fingerprint: emptyFingerprint, journal: emptyJournal } as const
    storage.transaction((rows) => {
      refuseVault(rows.meta("header"))
      rows.setMeta("header", header)
      const writer = new Writer(rows, keys, schema, head, seconds(machine.clock))
      writer.appendOwn("vault.created", {})
      writer.startIncarnation()
      writer.finish()
    })
    return new Vault(storage, keys, machine, schema, head)
  }

  /**
   * Checks that all records are there, each in its newest version, then starts a new incarnation if this is a restored
   * backup. Throws `ERR_PASSPHRASE`, `ERR_VAULT_TAMPERED`, or `ERR_VAULT` (no vault, another format); the storage stays
   * open then. A damaged value shows when it is read, as `ERR_VAULT_TAMPERED`; `verify` reads them all.
   */
  static async open<C extends CollectionTable, E extends string>(
    storage: VaultStorage,
    secret: UnlockSecret,
    machine: VaultMachine,
    schema: VaultSchema<C, E>,
  ): Promise<Vault<C, E>> {
    refuseOwnNames(schema)
    const header = storage.read((rows) => rows.meta("header"))
    if (!header)
      throw new ValiseError("ERR_VAULT", "there is no vault here", {
        hint: "enrol this home first, or restore its vault from a backup",
      })
    const dataKey = await unlock(secret, dataKeyContext, decodeHeader(header))
    const keys = new VaultKeys(dataKey, machine.random)
    wipe(dataKey)
    const head = storage.read((rows) => {
      const head = readHead(rows, keys)
      checkFingerprint(rows, keys, head) // defence: 24 every-record
      return head
    })
    const vault = new Vault(storage, keys, machine, schema, head)
    if (!head.volatile) vault.#startIncarnation("restored") // defence: 24 new-incarnation
    return vault
  }

  private constructor(
    storage: VaultStorage,
    keys: VaultKeys,
    machine: VaultMachine,
    schema: VaultSchema<C, E>,
    head: Head,
  ) {
    this.about = head.about
    this.#storage = storage
    this.#keys = keys
    this.#machine = machine
    this.#schema = schema
    this.#foreignVersion = storage.foreignVersion()
    this.#transactionsSeen = head.transactions
  }

  /** Of this vault's volatile part. Inside a transaction use the transaction's. */
  get incarnation(): Incarnation {
    return this.read((tx) => tx.incarnation)
  }

  /**
   * Runs `body`, synchronously, and makes its changes durable, all of them or none: when this returns they survive power
   * loss. What `body` throws undoes everything. Throws `ERR_DISK` (nothing changed), `ERR_TIMEOUT` (another process holds
   * the vault too long), `ERR_USAGE` (called inside another transaction, or with an async body).
   */
  transaction<T>(body: (tx: VaultTx<C, E>) => T): T {
    return this.#write(body)
  }

  /** Runs `body`, synchronously, on one moment of the vault. */
  read<T>(body: (tx: ReadTx<C, E>) => T): T {
    return this.#read(body)
  }

  /**
   * Calls after each transaction that changed something, of this process at once, of others within 200 ms; never inside
   * a transaction. One call may stand for several. The result ends it.
   */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    this.#poll()
    return () => {
      this.#listeners.delete(listener)
      if (this.#listeners.size === 0) this.#stopPoll()
    }
  }

  /**
   * For the roll-back alarm: this vault went back in time. Prekey secrets, replay store and counters are erased.
   * @param also in the same transaction, behind it: what must not get lost if the process ends here
   */
  startNewIncarnation(also: (tx: VaultTx<C, E>) => void = () => undefined): Incarnation {
    return this.#startIncarnation("rolled back", also)
  }

  /**
   * Copies the vault without its volatile part into an empty storage, in one transaction of it. The copy opens with the
   * same secret and starts a new incarnation then. Throws `ERR_USAGE` if the target holds a vault, `ERR_VAULT_TAMPERED`
   * if this vault is damaged.
   */
  backup(target: VaultStorage): void {
    this.#write((tx) => tx.appendOwn("vault.backup", {}))
    this.verify()
    this.#storage.read((from) =>
      target.transaction((to) => {
        refuseVault(to.meta("header"))
        to.setMeta("header", from.meta("header")!)
        const head = readHead(from, this.#keys)
        let fingerprint = emptyFingerprint
        for (const entry of from.entries()) {
          if (entry.volatile) continue // defence: 24 backup-without-secrets
          to.put(from.record(entry.collection, entry.id)!)
          fingerprint = toggled(fingerprint, this.#keys, entry)
        }
        writeHead(to, this.#keys, { ...head, fingerprint, volatile: undefined }) // defence: 24 backup-without-incarnation => writeHead(to, this.#keys, { ...head, fingerprint })
      }),
    )
  }

  /** Opens and checks everything. Throws `ERR_VAULT_TAMPERED`. */
  verify(): void {
    this.#storage.read((rows) => checkFingerprint(rows, this.#keys, readHead(rows, this.#keys)))
    this.#read((tx) => tx.checkRecords())
    if (!this.verifyJournal().ok) throw tampered("the journal was altered")
  }

  /** Walks the journal's chain from its beginning to the head. */
  verifyJournal(): JournalCheck {
    return this.#read((tx) => tx.checkJournal())
  }

  /**
   * Puts erased prekeys beyond recovery from the storage's files: seals what is left of the volatile part under a new
   * key, so that remnants of the old one are noise, and lets the storage drop its log. To be called soon after prekeys
   * were erased; takes about 0.1 ms per volatile record, and nothing if none was erased since. `false` if a reader in
   * another process held some of it back: call again later. docs/vault.md says what a disk may still keep.
   */
  scrub(): boolean {
    this.#write((tx) => tx.renewVolatileKey())
    return this.#storage.scrub()
  }

  /**
   * Rewrites the whole storage, so that its files hold no remnant of any record that was deleted or replaced, and gives
   * back the space. For deleted messages, once in a while: takes seconds for a large vault. Else as `scrub`.
   */
  compact(): boolean {
    this.#write((tx) => tx.renewVolatileKey())
    return this.#storage.compact()
  }

  /** Forgets the keys and closes the storage. */
  async close(): Promise<void> {
    this.#stopPoll()
    this.#listeners.clear()
    this.#keys.erase()
    this.#head = undefined
    this.#storage.close()
  }

  #startIncarnation(
    reason: "restored" | "rolled back",
    also: (tx: VaultTx<C, E>) => void = () => undefined,
  ): Incarnation {
    const incarnation = this.#write((tx) => {
      // Two processes may open a restored backup at once: one of them starts the incarnation, for both.
      if (reason === "restored" && tx.hasIncarnation) return tx.incarnation
      const next = tx.startIncarnation()
      tx.appendOwn("vault.incarnation", { reason, incarnation: next })
      also(tx)
      return next
    })
    this.#storage.scrub()
    return incarnation
  }

  #read<T>(body: (tx: Reader<C, E>) => T): T {
    return this.#storage.read((rows) => {
      const tx = new Reader(rows, this.#keys, this.#schema, this.#readHead(rows))
      try {
        return synchronous(body(tx))
      } finally {
        tx.end()
      }
    })
  }

  /** Opened anew only if it has changed: every transaction reads it, and most change nothing. */
  #readHead(rows: StorageReadTx): Head {
    const sealed = rows.meta("head")
    if (sealed && this.#head && equal(sealed, this.#head.sealed)) return this.#head.head
    const head = readHead(rows, this.#keys)
    if (sealed) this.#head = { sealed: sealed.slice(), head }
    return head
  }

  #write<T>(body: (tx: Writer<C, E>) => T): T {
    let transactions = this.#transactionsSeen
    let written: SealedHead | undefined
    const result = this.#storage.transaction((rows) => {
      const head = this.#readHead(rows)
      if (head.transactions < this.#transactionsSeen) throw tampered("the vault went back in time while it was open")
      const tx = new Writer(rows, this.#keys, this.#schema, head, seconds(this.#machine.clock))
      try {
        const result = synchronous(body(tx))
        written = tx.finish()
        transactions = (written?.head ?? head).transactions
        return result
      } finally {
        tx.end()
      }
    })
    if (written) this.#head = written
    if (transactions > this.#transactionsSeen) this.#notify()
    this.#transactionsSeen = transactions
    return result
  }

  #notify(): void {
    for (const listener of this.#listeners) queueMicrotask(() => this.#listeners.has(listener) && listener())
  }

  #poll(): void {
    this.#cancelPoll ??= this.#machine.clock.after(foreignPollMs, () => {
      this.#cancelPoll = undefined
      if (this.#othersCommitted()) this.#notify()
      this.#poll()
    })
  }

  /** A storage that fails counts as changed: whoever looks meets the error. */
  #othersCommitted(): boolean {
    const before = this.#foreignVersion
    try {
      this.#foreignVersion = this.#storage.foreignVersion()
    } catch {
      return true
    }
    return this.#foreignVersion !== before
  }

  #stopPoll(): void {
    this.#cancelPoll?.()
    this.#cancelPoll = undefined
  }
}

function refuseOwnNames(schema: VaultSchema<CollectionTable, string>): void {
  for (const name of [...Object.keys(schema.collections), ...schema.events])
    if (name.startsWith(ownPrefix)) throw new ValiseError("ERR_USAGE", `${name} is one of the vault's own names`)
}

function refuseVault(header: Uint8Array | undefined): void {
  if (header) throw new ValiseError("ERR_USAGE", "there is a vault here already")
}

function synchronous<T>(result: T): T {
  if (!(result instanceof Promise)) return result
  result.catch(() => undefined)
  throw new ValiseError("ERR_USAGE", "the body of a transaction must not be async")
}
