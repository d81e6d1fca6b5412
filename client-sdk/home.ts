/** One opened installation: its vault, mirror and unlocked keys. Every part of the SDK works on this. */
import { deviceIdOf, type OfficerId, type Realm } from "../protocol/address.ts"
import { equal, fromHex, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { OfficerRight } from "../protocol/manifest.ts"
import { SigningKey, wipe } from "../protocol/primitives.ts"
import { seconds, type Machine } from "../system/machine.ts"
import type { Notice, NoticeKind, PocEvent } from "./api.ts"
import type { IdentityRecord, HomeVault, Tx } from "./collections.ts"
import { Mirror } from "./mirror.ts"
import type { UnlockSecret } from "./vault/lock.ts"
import { unlockOfficerKey } from "./vault/officer-key.ts"

export interface Officer {
  readonly id: OfficerId
  readonly title: string
  readonly key: SigningKey
}

export class Home {
  readonly vault: HomeVault
  readonly machine: Machine
  readonly identity: IdentityRecord
  readonly mirror: Mirror
  readonly deviceKey: SigningKey
  readonly #listeners = new Set<(event: PocEvent) => void>()
  #officer: Officer | undefined

  constructor(vault: HomeVault, machine: Machine) {
    const identity = vault.read((tx) => tx.get("identity", "self"))
    if (!identity) throw new ValiseError("ERR_VAULT", "this vault holds no device yet", { hint: "enrol it first" })
    this.vault = vault
    this.machine = machine
    this.identity = identity
    this.mirror = new Mirror(vault, machine.clock, identity.trust)
    this.deviceKey = new SigningKey(identity.deviceSeed)
    if (!equal(deviceIdOf(identity.poc, this.deviceKey.publicKey), identity.device))
      throw new ValiseError("ERR_VAULT_TAMPERED", "the device key does not belong to the device")
  }

  get realm(): Realm {
    return this.mirror.anchor.realm
  }

  get now(): number {
    return seconds(this.machine.clock)
  }

  /**
   * Unlocks an officer's key for this process, until `close`: the one with this title, or the first that the secret opens.
   * Throws `ERR_PASSPHRASE` or `ERR_NOT_FOUND`.
   */
  async unlockOfficer(secret: UnlockSecret, title?: string): Promise<void> {
    const rows = this.vault
      .read((tx) => [...tx.list("keys")])
      .filter(([key, row]) => key !== pocKeyName && (title === undefined || row.title === title))
    if (rows.length === 0) throw new ValiseError("ERR_NOT_FOUND", "no such officer in this vault")
    let refusal: unknown
    for (const [key, row] of rows) {
      const id = fromHex(key) as OfficerId
      try {
        const seed = await unlockOfficerKey(secret, id, row.locked)
        this.#officer?.key.erase()
        this.#officer = { id, title: row.title, key: new SigningKey(seed) }
        wipe(seed)
        return
      } catch (error) {
        refusal = error
      }
    }
    throw refusal
  }

  get officer(): Officer | undefined {
    return this.#officer
  }

  /** The unlocked officer, if the manifest gives it this right. Throws `ERR_NO_RIGHT`. */
  officerWith(right: OfficerRight): Officer {
    const officer = this.#officer
    if (!officer)
      throw new ValiseError("ERR_NO_RIGHT", "no officer is unlocked", {
        hint: "unlock an officer's key first (in the sandbox it is unlocked by itself)",
      })
    const listed = this.mirror.officer(this.identity.poc, officer.id)
    if (!listed?.current || !listed.rights.includes(right))
      throw new ValiseError("ERR_NO_RIGHT", `the manifest does not give this officer the right to ${right}`)
    return officer
  }

  /** Whether an officer is unlocked whom the manifest gives this right. */
  mayRelease(right: OfficerRight): boolean {
    const listed = this.#officer && this.mirror.officer(this.identity.poc, this.#officer.id)
    return listed !== undefined && listed.current && listed.rights.includes(right)
  }

  on(listener: (event: PocEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** A listener that throws is the program's fault, told as such: nobody else misses the event because of it. */
  emit(event: PocEvent): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }

  /** One transaction; the notices that it leaves are told once they are durable. */
  commit<T>(body: (tx: Tx, notices: Notice[]) => T): T {
    const notices: Notice[] = []
    const result = this.vault.transaction((tx) => body(tx, notices))
    for (const notice of notices) this.emit({ kind: "notice", notice })
    return result
  }

  /** This vault went back in time: it begins anew, and its people are told so, in one transaction. */
  startNewIncarnation(text: string): void {
    const notices: Notice[] = []
    this.vault.startNewIncarnation((tx) => this.notice(tx, notices, "roll-back", text))
    for (const notice of notices) this.emit({ kind: "notice", notice })
  }

  /**
   * Records something that a duty officer must see, in the transaction of a `commit`. Peers and relays can cause notices,
   * so each kind keeps its newest ones only, and the same words within the hour are not said again.
   */
  notice(tx: Tx, notices: Notice[], kind: NoticeKind, text: string): void {
    const at = this.now
    const id = hex(this.machine.random.bytes(4))
    const same = [...tx.list("notices")].filter(([, row]) => row.kind === kind)
    if (same.some(([, row]) => row.text === text && Math.abs(at - row.at) < noticeRepeatSeconds)) return
    for (const [key] of same.slice(0, Math.max(0, same.length + 1 - noticesPerKindMax))) tx.delete("notices", key)
    tx.put("notices", `${String(at).padStart(12, "0")}:${id}`, { at, kind, text })
    notices.push({ id, at: iso(at), kind, text })
  }

  /** The same, for what stays true: told once, and not again for as long as it is kept. */
  noticeOnce(kind: NoticeKind, text: string): void {
    const isTold = this.vault.read((tx) => [...tx.list("notices")].some(([, row]) => row.text === text))
    if (!isTold) this.commit((tx, notices) => this.notice(tx, notices, kind, text))
  }

  /** It is no longer true; if it comes true again, it is told again. */
  withdrawNotice(text: string): void {
    const told = this.vault.read((tx) => [...tx.list("notices")].filter(([, row]) => row.text === text))
    if (told.length === 0) return
    this.vault.transaction((tx) => {
      for (const [key] of told) tx.delete("notices", key)
    })
  }

  close(): void {
    this.#officer?.key.erase()
    this.deviceKey.erase()
    this.#listeners.clear()
  }
}

export const pocKeyName = "poc"

/** One kind must not fill the vault, nor push another one out of sight. */
export const noticesPerKindMax = 100
const noticeRepeatSeconds = 3600

/** UTC, to the second. */
export const iso = (atSeconds: number): string => `${new Date(atSeconds * 1000).toISOString().slice(0, 19)}Z`
