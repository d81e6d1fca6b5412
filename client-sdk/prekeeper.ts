/** Keeps this device's prekeys: makes, publishes, supersedes and erases them (SPEC, "Prekeys"). */
import { prekeyIdOf } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { fixed } from "../protocol/limits.ts"
import { signPrekey, type PrekeyKind } from "../protocol/prekey.ts"
import { KemKey, seedBytes } from "../protocol/primitives.ts"
import type { Signed } from "../protocol/statement.ts"
import type { PrekeyRecord, Tx } from "./collections.ts"
import type { Home } from "./home.ts"

/** Prekeys that the relay has not confirmed yet. */
export interface Unpublished {
  readonly rotating?: Signed
  readonly oneTime: readonly Signed[]
  readonly ids: readonly string[]
}

/**
 * One-time secrets that are kept at a time. Whoever fetches keys and never uses them, and a relay that says its pool is
 * empty when it is not, would otherwise make the vault grow for weeks. Beyond it senders fall back to the rotating key.
 */
export const oneTimeSecretsMax = 16 * fixed.oneTimePrekeys
/** A rotating key that left, but was not confirmed, may be at the relay: it is not replaced at every attempt. */
const unconfirmedSeconds = 3600
/** But so many are, while the relay has confirmed none of this incarnation: it may still give out keys that nobody holds. */
const unconfirmedMax = 8

export class Prekeeper {
  readonly #home: Home

  constructor(home: Home) {
    this.#home = home
  }

  /** Makes what is missing: a rotating key a day, and one-time keys up to the pool's size if the relay runs low. */
  replenish(oneTimeAtRelay: number): void {
    const { now, vault } = this.#home
    vault.transaction((tx) => {
      const rows = [...tx.list("prekeys")]
      const newest = rows.filter(([, row]) => row.kind === "rotating" && row.supersededAt === undefined)
      const unconfirmed = rows.filter(([, row]) => row.kind === "rotating" && row.publishedAt === undefined).length
      const isUrgent = tx.get("counters", "published") === undefined && unconfirmed < unconfirmedMax
      const isLost = (row: PrekeyRecord): boolean =>
        row.published && row.publishedAt === undefined && (isUrgent || now - row.nbf > unconfirmedSeconds)
      const current = newest.reduce((best, [, row]) => (isLost(row) ? best : Math.max(best, row.nbf)), 0)
      if (now - current >= fixed.rotatingPrekeyEverySeconds || current > now + fixed.clockSkewSecondsMax) {
        for (const [key, row] of newest) tx.put("prekeys", key, { ...row, supersededAt: now })
        this.#make(tx, "rotating")
      }
      const oneTime = rows.filter(([, row]) => row.kind === "one-time")
      const waiting = oneTime.filter(([, row]) => !row.published && this.#isCurrent(row)).length
      const room = Math.min(fixed.oneTimePrekeys - oneTimeAtRelay - waiting, oneTimeSecretsMax - oneTime.length) // defence: 11 pool-bound => const room = fixed.oneTimePrekeys - oneTimeAtRelay - waiting
      if (oneTimeAtRelay + waiting <= fixed.oneTimeRefillAt) for (let i = 0; i < room; i++) this.#make(tx, "one-time")
    })
  }

  /** The next batch to publish, signed; `undefined` when everything is at the relay. */
  unpublished(): Unpublished | undefined {
    const rows = this.#home.vault
      .read((tx) => [...tx.list("prekeys")])
      .filter(([, row]) => !row.published && this.#isCurrent(row))
    if (rows.length === 0) return undefined
    const byNumber = rows.toSorted(([, a], [, b]) => a.n - b.n)
    const rotating = byNumber.findLast(([, row]) => row.kind === "rotating" && row.supersededAt === undefined)
    const oneTime = byNumber.filter(([, row]) => row.kind === "one-time").slice(0, fixed.prekeysPerPublish - 1)
    if (!rotating && oneTime.length === 0) return undefined
    return {
      ...(rotating && { rotating: this.#sign(rotating[1]) }),
      oneTime: oneTime.map(([, row]) => this.#sign(row)),
      ids: [...(rotating ? [rotating[0]] : []), ...oneTime.map(([key]) => key)],
    }
  }

  /** Whether the relay has confirmed a publication of this incarnation; before, it may still hold prekeys of an older one. */
  isConfirmed(): boolean {
    return this.#home.vault.read((tx) => tx.get("counters", "published") !== undefined)
  }

  /** Whether all that there is to publish has been, and peers can write to this device. */
  isPublished(): boolean {
    return this.isConfirmed() && this.unpublished() === undefined
  }

  /** Before they leave: an answer that is lost must not make this vault look as if it had gone back in time. */
  markSent(ids: readonly string[]): void {
    this.#home.vault.transaction((tx) => {
      for (const id of ids) {
        const row = tx.get("prekeys", id)
        if (row) tx.put("prekeys", id, { ...row, published: true })
      }
    })
  }

  /** The relay has refused them, and has none of them. */
  takeBack(ids: readonly string[]): void {
    this.#home.vault.transaction((tx) => {
      for (const id of ids) {
        const row = tx.get("prekeys", id)
        if (row) tx.put("prekeys", id, { ...row, published: false })
      }
    })
  }

  confirmPublished(ids: readonly string[]): void {
    const { now, vault } = this.#home
    vault.transaction((tx) => {
      tx.put("counters", "published", { n: 1 })
      for (const id of ids) {
        const row = tx.get("prekeys", id)
        if (row) tx.put("prekeys", id, { ...row, publishedAt: now })
      }
    })
  }

  /**
   * Erases secrets that nothing can need any more: past `exp`, once the mailbox is drained past it, at latest one
   * keeping time of the relay after it. Resolves to how many were erased.
   * @param drainedAt when this device last saw its mailbox empty, in seconds; 0 if never.
   */
  erase(drainedAt: number): number {
    const { now, vault } = this.#home
    return vault.transaction((tx) => {
      let erased = 0
      const alive = new Set<string>()
      for (const [key, row] of tx.list("prekeys")) {
        const drained = row.exp < now && drainedAt > row.exp
        if (!drained && now <= row.exp + fixed.lifetimeSecondsMax) {
          alive.add(key)
          continue
        }
        tx.delete("prekeys", key)
        erased++
      }
      for (const [key, row] of tx.list("replay"))
        if (row.expires + fixed.replayGraceSeconds < now && !alive.has(hex(row.prekey))) tx.delete("replay", key) // defence: 9 purge-by-clock => if (row.expires < now) tx.delete("replay", key)
      return erased
    })
  }

  /** Whether the relay would take it: one made while this machine's clock was wrong is not shown to it. */
  #isCurrent({ exp, nbf }: PrekeyRecord): boolean {
    const { now } = this.#home
    return now < exp && nbf <= now + fixed.clockSkewSecondsMax
  }

  #make(tx: Tx, kind: PrekeyKind): void {
    const { now, machine } = this.#home
    const n = (tx.get("counters", "prekey")?.n ?? 0) + 1
    tx.put("counters", "prekey", { n })
    const seed = machine.random.bytes(seedBytes)
    const key = new KemKey(seed)
    const id = prekeyIdOf(key.publicKey)
    key.erase()
    const row: PrekeyRecord = { id, kind, seed, n, nbf: now, exp: now + fixed.rotatingPrekeySeconds, published: false }
    tx.put("prekeys", hex(id), row)
  }

  #sign(row: PrekeyRecord): Signed {
    const { deviceKey, identity, realm, vault } = this.#home
    const key = new KemKey(row.seed)
    const statement = {
      v: 1 as const,
      device: identity.device,
      incarnation: vault.incarnation,
      n: row.n,
      kind: row.kind,
      id: row.id,
      suite: 1 as const,
      nbf: row.nbf,
      exp: row.exp,
      pk: key.publicKey,
    }
    key.erase()
    return signPrekey(deviceKey, realm, statement)
  }
}
