/**
 * A relay that is not what it seems: the real one, on a store, a log and a key that do what its operator wants. One verb
 * per attack (SPEC, "Attacks"). It does so until it is started anew, honestly.
 */
import { z } from "zod"
import { shapes, type DeviceId, type MailboxId, type PrekeyId } from "../../protocol/address.ts"
import { concat, equal, hex, utf8 } from "../../protocol/bytes.ts"
import { decodeCbor } from "../../protocol/cbor.ts"
import { parseEnvelope } from "../../protocol/envelope.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { signedShape } from "../../protocol/statement.ts"
import type { LogSource } from "../../pki/log-source.ts"
import type { DirectoryView } from "../../relay/directory-view.ts"
import type { Appended, MailboxStore, Sequence } from "../../relay/store.ts"
import type { Chance } from "./chance.ts"
import type { VirtualTime } from "./time.ts"
import { asking } from "./wire.ts"

/** By what they attack; a hostile relay does up to three of each. */
export const verbs = {
  deliveries: [
    "drop",
    "delay",
    "duplicate",
    "re-deliver",
    "replay what was collected",
    "swap mailboxes",
    "alter",
    "add garbage",
  ],
  prekeys: [
    "withhold one-time keys",
    "serve old keys",
    "serve keys of another",
    "serve a key twice",
    "lie about the pool",
  ],
  words: ["forge receipts", "replay an old checkpoint", "freeze the log for one", "fork the log"],
} as const
export type Verb = (typeof verbs)[keyof typeof verbs][number]

/** Told of what the relay's store is asked and does. */
export interface StoreWitness {
  readonly submitted: (mailbox: MailboxId, bytes: Uint8Array) => void
  /** It is on the disk. */
  readonly stored: (bytes: Uint8Array) => void
  /** The relay says that it is stored, and it is not, or not there. */
  readonly betrayed: (bytes: Uint8Array) => void
  readonly collecting: (mailbox: MailboxId, bytes: Uint8Array) => void
  readonly published: (device: DeviceId, prekey: PrekeyId) => void
  /** This device, by name, got an old checkpoint. */
  readonly servedOld: (device: string) => void
  /** A prekey was given out against the rules. */
  readonly misserved: (prekey: PrekeyId, verb: Verb) => void
}

interface Submission {
  readonly mailbox: MailboxId
  readonly minute: number
  readonly bytes: Uint8Array
}

/** Of one device. */
export interface Pool {
  /** Every statement of its kind that was ever put, oldest first. */
  readonly rotating: Uint8Array[]
  readonly taken: Uint8Array[]
}

export interface HostileParts {
  readonly chance: Chance
  readonly time: VirtualTime
  readonly witness: StoreWitness
  /** What devices published before this seed began; by device. */
  readonly pools: ReadonlyMap<string, Pool>
  /** Makes this mailbox's device come and look, as it is or after a restart. */
  readonly summon: (mailbox: MailboxId) => void
}

/** A verb that is on strikes so often, of a hundred times. */
const strikes = 60

export class Hostile {
  readonly #chance: Chance
  readonly #parts: HostileParts
  readonly #witness: StoreWitness
  readonly #verbs = new Set<Verb>()
  readonly #submissions: Submission[] = []
  readonly #hidden = new Set<Uint8Array>()
  readonly #delivered = new Map<string, Submission>()
  readonly #pools: Map<string, Pool>
  #oldCheckpoint: Uint8Array | undefined
  /** Who sees the log as it was, and how it was. */
  #frozen: { readonly device: string; readonly checkpoint: Uint8Array } | undefined
  #honestStore: MailboxStore | undefined

  constructor(parts: HostileParts) {
    this.#parts = parts
    this.#chance = parts.chance
    this.#witness = parts.witness
    this.#pools = copied(parts.pools)
  }

  get pools(): ReadonlyMap<string, Pool> {
    return copied(this.#pools)
  }

  get isHonest(): boolean {
    return this.#verbs.size === 0
  }

  /** Whether somebody is shown the log as it was. */
  get freezes(): boolean {
    return this.#verbs.has("freeze the log for one") || this.#verbs.has("replay an old checkpoint")
  }

  begin(verb: Verb): void {
    this.#verbs.add(verb)
  }

  /** Before the relay is started anew. */
  behave(): void {
    this.#verbs.clear()
    this.#hidden.clear()
    this.#frozen = undefined
  }

  /** Signs logins as it should, and receipts for something that was never submitted. */
  keyInstead(seed: Uint8Array): SigningKey {
    return new ForgingKey(seed, () => this.#strikes("forge receipts"))
  }

  directoryInstead(honest: DirectoryView): DirectoryView {
    const log: LogSource = {
      checkpoint: async () => {
        const note = await honest.log.checkpoint()
        this.#oldCheckpoint ??= note
        const device = asking.getStore()
        if (device === undefined) return note
        if (this.#verbs.has("freeze the log for one")) this.#frozen ??= { device, checkpoint: note }
        const isOld = this.#verbs.has("replay an old checkpoint")
        if (!isOld && this.#frozen?.device !== device) return note
        this.#witness.servedOld(device)
        return isOld ? this.#oldCheckpoint : this.#frozen!.checkpoint
      },
      entries: async (from, max) => {
        const entries = await honest.log.entries(from, max)
        return this.#verbs.has("fork the log") ? entries.map(altered) : entries
      },
    }
    return {
      device: (id) => honest.device(id),
      deviceOfMailbox: (mailbox) => honest.deviceOfMailbox(mailbox),
      lookSoon: () => honest.lookSoon(),
      get size() {
        return honest.size
      },
      log,
    }
  }

  storeInstead(honest: MailboxStore): MailboxStore {
    this.#honestStore = honest
    return {
      append: (mailbox, blind, minute, bytes) => this.#append(honest, blind, { mailbox, minute, bytes: bytes.slice() }),
      read: async (mailbox, after, max) => {
        const found = await honest.read(mailbox, after, max)
        for (const { sequence, minute, bytes } of found)
          this.#delivered.set(`${hex(mailbox)}/${sequence}`, { mailbox, minute, bytes })
        return this.#hidden.size === 0 ? found : found.filter(({ bytes }) => !this.#isHidden(bytes))
      },
      collect: async (mailbox, sequences) => {
        for (const sequence of sequences) this.#collecting(mailbox, sequence)
        await honest.collect(mailbox, sequences)
      },
      expire: (beforeMinute) => honest.expire(beforeMinute),
      putPrekeys: (device, prekeys) => {
        const pool = this.#pool(device)
        if (prekeys.rotating) pool.rotating.push(prekeys.rotating)
        for (const each of [...prekeys.oneTime, ...(prekeys.rotating ? [prekeys.rotating] : [])])
          this.#witness.published(device, idOf(each))
        return honest.putPrekeys(device, prekeys)
      },
      takePrekey: (device) => this.#takePrekey(honest, device),
      countPrekeys: async (device) => {
        const held = await honest.countPrekeys(device)
        return this.#strikes("lie about the pool") ? this.#chance.pick([0, 1, 64]) : held
      },
      forget: (mailbox, device) => honest.forget(mailbox, device),
      inspect: () => honest.inspect(),
      close: () => honest.close(),
    }
  }

  async #append(honest: MailboxStore, blind: Uint8Array, submission: Submission): Promise<Appended> {
    const { mailbox, minute, bytes } = submission
    this.#witness.submitted(mailbox, bytes)
    const earlier = this.#submissions.length > 0 ? this.#chance.pick(this.#submissions) : submission
    if (this.#submissions.length < submissionsMax) this.#submissions.push(submission)
    const put = async (to: MailboxId, what: Uint8Array): Promise<void> => {
      await honest.append(to, this.#chance.bytes(32), minute, what)
    }
    if (this.#strikes("re-deliver")) await put(earlier.mailbox, earlier.bytes)
    if (this.#strikes("add garbage")) await put(mailbox, garbageLike(bytes, this.#chance))
    if (this.#strikes("duplicate")) await put(mailbox, bytes)
    if (this.#strikes("delay")) this.#hidden.add(bytes)
    const instead = this.#instead(submission, earlier)
    if (instead) {
      this.#witness.betrayed(bytes)
      for (const { mailbox: to, bytes: what } of instead) await put(to, what)
      return { outcome: "stored", minute }
    }
    const appended = await honest.append(mailbox, blind, minute, bytes)
    if (appended.outcome === "stored") this.#witness.stored(bytes)
    return appended
  }

  /** What is stored in the place of a submission. */
  #instead({ mailbox, minute, bytes }: Submission, earlier: Submission): readonly Submission[] | undefined {
    if (this.#strikes("drop")) return []
    if (this.#strikes("alter")) {
      const at = this.#chance.below(bytes.length)
      return [{ mailbox, minute, bytes: bytes.with(at, bytes[at]! ^ (1 + this.#chance.below(255))) }]
    }
    if (!this.#strikes("swap mailboxes") || equal(earlier.mailbox, mailbox)) return undefined
    const readdressed = concat(bytes.subarray(0, 2), earlier.mailbox, bytes.subarray(2 + mailbox.length))
    return [bytes, readdressed].map((each) => ({ mailbox: earlier.mailbox, minute, bytes: each }))
  }

  async #takePrekey(honest: MailboxStore, device: DeviceId): Promise<Uint8Array | undefined> {
    const pool = this.#pool(device)
    const others = [...this.#pools].filter(([other]) => other !== hex(device)).flatMap(([, { rotating }]) => rotating)
    const lie = (verb: Verb, statement: Uint8Array | undefined): Uint8Array | undefined => {
      if (!statement || !this.#strikes(verb)) return undefined
      this.#witness.misserved(idOf(statement), verb)
      return statement
    }
    const lied =
      lie("withhold one-time keys", pool.rotating.at(-1)) ??
      lie("serve old keys", pool.rotating[0]) ??
      lie("serve keys of another", others[0]) ??
      lie("serve a key twice", pool.taken.at(-1))
    if (lied) return lied
    const taken = await honest.takePrekey(device)
    if (taken) pool.taken.push(taken)
    return taken
  }

  #collecting(mailbox: MailboxId, sequence: Sequence): void {
    const delivered = this.#delivered.get(`${hex(mailbox)}/${sequence}`)
    if (!delivered) return
    this.#witness.collecting(mailbox, delivered.bytes)
    if (this.#strikes("replay what was collected"))
      this.#parts.time.after(this.#chance.between(100, 30_000), () => void this.#replay(delivered))
  }

  /** A store that has crashed meanwhile does not answer any more. */
  async #replay({ mailbox, minute, bytes }: Submission): Promise<void> {
    if (!this.#verbs.has("replay what was collected")) return
    try {
      await this.#honestStore!.append(mailbox, this.#chance.bytes(32), minute, bytes)
      this.#parts.summon(mailbox)
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
    }
  }

  #isHidden(bytes: Uint8Array): boolean {
    return [...this.#hidden].some((hidden) => equal(hidden, bytes))
  }

  #strikes(verb: Verb): boolean {
    return this.#verbs.has(verb) && this.#chance.percent(strikes)
  }

  #pool(device: DeviceId): Pool {
    const pool = this.#pools.get(hex(device)) ?? { rotating: [], taken: [] }
    this.#pools.set(hex(device), pool)
    return pool
  }
}

class ForgingKey extends SigningKey {
  readonly #isForging: () => boolean

  constructor(seed: Uint8Array, isForging: () => boolean) {
    super(seed)
    this.#isForging = isForging
  }

  override sign(message: Uint8Array): Uint8Array {
    const isReceipt = Buffer.from(message).includes(Buffer.from(receiptLabel))
    return super.sign(isReceipt && this.#isForging() ? altered(message) : message)
  }
}

const receiptLabel = concat(Uint8Array.of(0), utf8("relay-receipt"), Uint8Array.of(0))
/** A hostile relay need not remember more. */
const submissionsMax = 256

const copied = (pools: ReadonlyMap<string, Pool>): Map<string, Pool> =>
  new Map([...pools].map(([device, { rotating, taken }]) => [device, { rotating: [...rotating], taken: [...taken] }]))

const altered = (bytes: Uint8Array): Uint8Array => bytes.with(bytes.length - 1, bytes.at(-1)! ^ 1)

const idShape = z.looseObject({ id: shapes.prekeyId })
const idOf = (signed: Uint8Array): PrekeyId => decodeCbor(idShape, decodeCbor(signedShape, signed).bytes).id

/** Of the same class, to the same mailbox and prekey: nothing outside tells it from an envelope. */
function garbageLike(bytes: Uint8Array, chance: Chance): Uint8Array {
  const parts = parseEnvelope(bytes)!
  const head = concat(bytes.subarray(0, 2), parts.mailbox, parts.prekeyId)
  return concat(head, chance.bytes(bytes.length - head.length))
}
