/**
 * What is true of the whole network, gathered from every vault's journal and from the relay's disk: nobody inside knows
 * so much. Each fact is checked against the promises (docs/requirements.md, P1 to P10) at the step that makes it.
 */
import type { DeviceId, MailboxId, PocAddress, PrekeyId } from "../../protocol/address.ts"
import { equal, hex } from "../../protocol/bytes.ts"
import { envelopeDigest, isWireSize, parseEnvelope } from "../../protocol/envelope.ts"
import type { MessageType } from "../../client-sdk/api.ts"
import type { MessageRecord, Reader } from "../../client-sdk/collections.ts"
import type { Device } from "./device.ts"
import type { StoreWitness, Verb } from "./hostile.ts"
import type { VirtualTime } from "./time.ts"

/** A promise was broken. */
export class Broken extends Error {
  constructor(promise: string, what: string) {
    super(`${promise}: ${what}`)
    this.name = "Broken"
  }
}

/** One message as its sender sealed it. */
export interface SealedMessage {
  readonly header: string
  readonly message: string
  readonly type: MessageType
  readonly sender: Device
  readonly incarnation: string
  readonly atMs: number
  readonly expires: number
  readonly record: MessageRecord
  /** By recipient device. */
  readonly envelopes: ReadonlyMap<string, SealedEnvelope>
}

export interface SealedEnvelope {
  readonly n: number
  readonly digest: string
  /** Whether the sender's clock was wrong. */
  readonly isSkewed: boolean
  prekey?: string
}

/** Everybody's word about one consent request. */
export interface RequestTruth {
  readonly granted: Set<PocAddress>
  readonly withdrawn: Set<PocAddress>
  attested: boolean
}

export class Truth implements StoreWitness {
  readonly sealed = new Map<string, SealedMessage>()
  /** By digest. */
  readonly envelopes = new Map<string, { readonly sealed: SealedMessage; readonly to: string; part: SealedEnvelope }>()
  /** By digest: what is or was on the relay's disk; and what it said to have stored and has not. */
  readonly onDisk = new Set<string>()
  readonly lost = new Set<string>()
  /** By device: headers that it has opened. */
  readonly opened = new Map<string, Set<string>>()
  /** `message:device` and `message:poc`. */
  readonly accepted = new Set<string>()
  readonly delivered = new Set<string>()
  readonly acknowledgedBy = new Set<string>()
  readonly requests = new Map<string, RequestTruth>()
  /** By prekey: its device. */
  readonly ownerOfPrekey: Map<string, string>
  readonly wronglyServed = new Map<string, Verb>()
  /** By device whose vault went back in time: headers that it had opened since, and forgot. */
  readonly forgotten = new Map<string, Set<string>>()
  /** Whose secrets their devices have no more, because their vaults went back in time or began anew. */
  readonly lostPrekeys = new Set<string>()
  /** By device, when it left the directory. */
  readonly removed = new Map<string, number>()
  /** By device, when its clock was last wrong. */
  readonly skewedAtMs = new Map<string, number>()
  /** Devices that know an old log only, and when they first got an old checkpoint all the same. */
  readonly staleSince = new Map<Device, { readonly ms: number; readonly awakeMs: number }>()
  /** When the relay's clock last jumped, or jumped back. */
  relayClockJumpedAtMs = Number.NEGATIVE_INFINITY
  readonly #devices: readonly Device[]
  readonly #byId: ReadonlyMap<string, Device>
  readonly #byMailbox: ReadonlyMap<string, string>
  readonly #time: VirtualTime
  /** The first promise that the relay was seen to break: its own code must not catch it. */
  failure: Broken | undefined
  #later: { readonly needs: readonly Device[]; readonly check: () => void }[] = []

  constructor(devices: readonly Device[], time: VirtualTime, prekeys: ReadonlyMap<string, string>) {
    this.ownerOfPrekey = new Map(prekeys)
    this.#devices = devices
    this.#time = time
    this.#byId = new Map(devices.map((device) => [device.id, device]))
    this.#byMailbox = new Map(devices.map((device) => [device.mailbox, device.id]))
  }

  device(id: string): Device {
    return this.#byId.get(id)!
  }

  devicesOf(poc: PocAddress): Device[] {
    return this.#devices.filter((device) => device.atRest.poc === poc)
  }

  /** Checks as soon as all that these devices have committed is known: a process may have died meanwhile. */
  once(needs: readonly Device[], check: () => void): void {
    if (needs.every((device) => device.isFollowed)) check()
    else this.#later.push({ needs, check })
  }

  /** After the journals were read. */
  catchUp(): void {
    if (this.#later.length === 0) return
    const ready = this.#later.filter(({ needs }) => needs.every((device) => device.isFollowed))
    this.#later = this.#later.filter((each) => !ready.includes(each))
    for (const { check } of ready) check()
  }

  request(id: string): RequestTruth {
    const found = this.requests.get(id) ?? { granted: new Set(), withdrawn: new Set(), attested: false }
    this.requests.set(id, found)
    return found
  }

  wasSkewedSince(device: string, sinceMs: number): boolean {
    return (this.skewedAtMs.get(device) ?? Number.NEGATIVE_INFINITY) >= sinceMs
  }

  hasOpened(device: string, header: string): boolean {
    return this.opened.get(device)?.has(header) === true
  }

  /**
   * @param opened what it had opened when the copy was made that is put back now
   * @param lost prekeys that it has made since
   */
  noteWentBack(device: Device, opened: ReadonlySet<string>, lost: readonly string[]): void {
    const forgotten = this.forgotten.get(device.id) ?? new Set()
    for (const header of this.opened.get(device.id) ?? []) if (!opened.has(header)) forgotten.add(header)
    for (const prekey of lost) this.lostPrekeys.add(prekey)
    this.forgotten.set(device.id, forgotten)
  }

  /** It has thrown away all keys that it ever published. */
  noteBeganAnew(device: Device): void {
    for (const [prekey, owner] of this.ownerOfPrekey) if (owner === device.id) this.lostPrekeys.add(prekey)
  }

  /** Notes a message as its sender's vault has it. */
  noteSealed(tx: Reader, device: Device, message: string, header: string): SealedMessage {
    const record = tx.get("messages", message)!
    const rows = (record.devices ?? []).filter(({ digest }) => digest !== undefined)
    const isSkewed = device.isSkewed
    const envelopes = new Map<string, SealedEnvelope>()
    for (const row of rows) envelopes.set(hex(row.device), { n: row.n!, digest: hex(row.digest!), isSkewed })
    const { type, expires } = record
    const sender = { sender: device, incarnation: hex(tx.incarnation), atMs: this.#time.nowMs }
    const sealed: SealedMessage = { header, message, type, expires, record, envelopes, ...sender }
    this.sealed.set(header, sealed)
    for (const [to, part] of envelopes) this.envelopes.set(part.digest, { sealed, to, part })
    return sealed
  }

  // --- `StoreWitness`: what the relay does ---

  submitted(mailbox: MailboxId, bytes: Uint8Array): void {
    const digest = hex(envelopeDigest(bytes))
    const known = this.envelopes.get(digest)
    const parts = parseEnvelope(bytes)
    if (!known || !parts) throw new Broken("P3", "an envelope was submitted that no vault has sealed")
    if (!isWireSize(bytes.length))
      throw new Broken("P4", `an envelope of ${bytes.length} bytes, which is no size class`)
    const prekey = hex(parts.prekeyId)
    known.part.prekey = prekey
    const owner = this.ownerOfPrekey.get(prekey)
    if (owner !== known.to || this.#byMailbox.get(hex(mailbox)) !== known.to)
      this.#fail("P5", `an envelope for ${known.to.slice(0, 8)} is sealed to a key of another device`)
  }

  stored(bytes: Uint8Array): void {
    this.onDisk.add(hex(envelopeDigest(bytes)))
  }

  betrayed(bytes: Uint8Array): void {
    this.lost.add(hex(envelopeDigest(bytes)))
  }

  /** P2: what leaves the relay is in the recipient's archive. */
  collecting(mailbox: MailboxId, bytes: Uint8Array): void {
    const known = this.envelopes.get(hex(envelopeDigest(bytes)))
    if (!known || this.#byMailbox.get(hex(mailbox)) !== known.to) return
    const { sealed, to, part } = known
    this.once([this.device(to)], () => {
      if (this.hasOpened(to, sealed.header) || this.mayStayClosed(sealed, to, part)) return
      this.#fail("P2", `${sealed.type} ${sealed.message.slice(0, 8)} was collected and is in no archive`)
    })
  }

  #fail(promise: string, what: string): void {
    this.failure ??= new Broken(promise, what)
  }

  /** Whether there is an honest reason why this envelope was never opened. */
  mayStayClosed(sealed: SealedMessage, to: string, part: SealedEnvelope): boolean {
    const isExpired = sealed.expires <= this.device(to).nowSeconds
    const isTwice = part.prekey !== undefined && this.wronglyServed.get(part.prekey) === "serve a key twice"
    const isLost = part.prekey !== undefined && this.lostPrekeys.has(part.prekey)
    // Its sender forgot that it had sealed it, and did so again.
    const isAgain =
      this.forgotten.has(sealed.sender.id) &&
      [...this.sealed.values()].some(
        (other) => other.message === sealed.message && other !== sealed && this.hasOpened(to, other.header),
      )
    const isRemoved = this.removed.has(to) || this.removed.has(sealed.sender.id)
    return (
      part.isSkewed || this.wasSkewedSince(to, sealed.atMs) || isExpired || isTwice || isLost || isAgain || isRemoved
    )
  }

  published(device: DeviceId, prekey: PrekeyId): void {
    this.ownerOfPrekey.set(hex(prekey), hex(device))
  }

  servedOld(name: string): void {
    const device = this.#devices.find((each) => each.name === name)!
    const isStale = device.isRunning && device.home.mirror.isStale
    const { nowMs: ms, awakeMs } = this.#time
    if (!isStale) this.staleSince.delete(device)
    else if (!this.staleSince.has(device)) this.staleSince.set(device, { ms, awakeMs })
  }

  misserved(prekey: PrekeyId, verb: Verb): void {
    this.wronglyServed.set(hex(prekey), verb)
  }
}

/** Whether two vaults hold the same message. */
export function isSame(mine: MessageRecord, theirs: MessageRecord): boolean {
  const [a, b] = [mine.leaves, theirs.leaves]
  return (
    mine.from === theirs.from &&
    equal(mine.device, theirs.device) &&
    equal(mine.sealed!.contentHash, theirs.sealed!.contentHash) &&
    a.length === b.length &&
    a.every(({ name, value }, i) => name === b[i]!.name && equal(value, b[i]!.value))
  )
}
