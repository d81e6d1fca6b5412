/**
 * From "send" to the relay's signed receipt. Every step is one transaction, so a crash at any moment repeats at most the
 * step under way: composed (durable, online or not) → keyed (each PoC's prekey is here) → sealed (`sealer.ts`) → accepted.
 */
import type { DeviceId, MessageId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { encodeCbor } from "../protocol/cbor.ts"
import { ValiseError, type ErrorCode } from "../protocol/errors.ts"
import { packLeaves, type Leaf } from "../protocol/leaves.ts"
import { fixed } from "../protocol/limits.ts"
import { paddedLength } from "../protocol/padding.ts"
import { verifyRelayReceipt, type RelayReceipt, type SubmittedItem } from "../protocol/relay-receipt.ts"
import type { Signed } from "../protocol/statement.ts"
import type { MessageType, NoticeKind } from "./api.ts"
import { nextOrder, perDevice, type DeviceRecord, type MessageRecord, type Tx } from "./collections.ts"
import { releaseRight } from "./content.ts"
import { iso, type Home } from "./home.ts"
import { Sealer } from "./sealer.ts"
import { isSpoken } from "./view.ts"
import { Waits } from "./waits.ts"

export interface Composition {
  readonly type: MessageType
  readonly case: Uint8Array
  readonly to: readonly PocAddress[]
  readonly leaves: readonly Leaf[]
  readonly lifetimeSeconds?: number
  readonly strictForwardSecrecy?: boolean
  /** Own other devices get a copy, except of receipts. */
  readonly copyToOwnDevices: boolean
}

/** What the outbox needs of the connection. */
export interface Carrier {
  fetchPrekey(device: DeviceId): Promise<Signed | undefined>
  submit(mailbox: Uint8Array, blind: Uint8Array, bytes: Uint8Array): Promise<RelayReceipt>
}

/** Header, entry, path and signatures of a payload, and a checkpoint that gathers more cosignatures. */
const payloadRoomBytes = 3072
/** Numbers that were given out and never used; beyond these the recipient sees a gap. */
const skippedMax = 64
/** A message that cannot be sealed for one of these reasons never will be. */
const hopeless: ReadonlySet<ErrorCode> = new Set(["ERR_TOO_LARGE", "ERR_CONTENT", "ERR_NO_RIGHT"])
/** Prekeys asked for, and envelopes submitted, at one time: as many as a relay answers, and what memory they take. */
const atATime = 128

interface Accepted {
  readonly device: DeviceRecord
  readonly receipt: RelayReceipt
  readonly blind: Uint8Array
}

export class Outbox {
  readonly #home: Home
  readonly #waits: Waits
  readonly #sealer: Sealer

  constructor(home: Home) {
    this.#home = home
    this.#waits = new Waits(home)
    this.#sealer = new Sealer(home, this.#waits)
  }

  /**
   * Writes a message into the outbox, in the caller's transaction: durable when that returns, online or not.
   * Throws `ERR_UNKNOWN_ADDRESS`, `ERR_NO_RIGHT`, `ERR_CONTENT` or `ERR_TOO_LARGE`.
   */
  compose(tx: Tx, message: Composition): MessageId {
    const { identity, machine, now } = this.#home
    const right = releaseRight(message.type)
    const officer = right && this.#home.officerWith(right)
    const unreachable = message.to.filter((poc) => !this.isReachable(poc))
    if (unreachable.length > 0 || message.to.length === 0)
      throw new ValiseError("ERR_UNKNOWN_ADDRESS", "a recipient has no device that can receive", {
        hint: `${unreachable.join(", ")} must publish a manifest with a device first`,
      })
    const devices = this.#devicesOf(message.to, message.copyToOwnDevices)
    this.#requireFits(message.leaves, devices.length)
    const id = machine.random.bytes(16) as MessageId
    const lifetime = Math.min(message.lifetimeSeconds ?? fixed.lifetimeSecondsMax, fixed.lifetimeSecondsMax)
    const record: MessageRecord = {
      direction: "out",
      id,
      case: message.case,
      type: message.type,
      from: identity.poc,
      device: identity.device,
      to: [...message.to],
      created: now,
      expires: now + lifetime,
      contentKey: machine.random.bytes(32),
      leaves: [...message.leaves],
      banners: [],
      order: nextOrder(tx),
      ...(officer && { officer: officer.id, officerTitle: officer.title }),
      devices,
    }
    tx.put("messages", hex(id), record)
    tx.put("outbox", hex(id), {
      id,
      state: "composed",
      strictForwardSecrecy: message.strictForwardSecrecy ?? false,
      copyToOwnDevices: message.copyToOwnDevices,
      incarnation: tx.incarnation,
    })
    if (isSpoken(record)) tx.put("awaited", hex(id), { expires: record.expires })
    tx.appendJournal({ event: "composed", details: { message: hex(id), type: message.type } })
    return id
  }

  /** Those that a message sealed now goes to. */
  #devicesOf(to: readonly PocAddress[], copyToOwnDevices: boolean): DeviceRecord[] {
    const { identity, mirror, now } = this.#home
    return (copyToOwnDevices ? [...to, identity.poc] : to)
      .flatMap((poc) => mirror.state.usableDevices(poc, now))
      .filter((row) => !equal(row.device, identity.device))
      .map(({ poc, device, mailbox }) => ({ poc, device, mailbox }))
  }

  /** Whether a message to this PoC can be composed now. */
  isReachable(poc: PocAddress): boolean {
    const { identity, mirror, now } = this.#home
    return mirror.state.usableDevices(poc, now).some(({ device }) => !equal(device, identity.device))
  }

  /** Ids of the messages that are on their way, oldest first. */
  pending(): string[] {
    return this.#home.vault
      .read((tx) => [...tx.list("outbox")].map(([key]) => ({ key, order: tx.get("messages", key)?.order ?? 0 })))
      .toSorted((a, b) => a.order - b.order)
      .map(({ key }) => key)
  }

  /** Gives up what expired before it could leave; the status says `undelivered`. */
  giveUpExpired(key: string): boolean {
    const record = this.#home.vault.read((tx) => tx.get("messages", key))
    if (record && record.expires > this.#home.now) return false
    const hasNotLeft = record !== undefined && isSpoken(record) && !record.sealed
    const text = `message ${key.slice(0, 8)} expired before it could leave: undelivered at ${record?.to.join(", ")}`
    this.#giveUp(key, "expired", "undelivered", hasNotLeft ? text : undefined)
    return true
  }

  /** Seals a message whose prekeys are all here, if its releasing officer is unlocked in this process. */
  sealIfReady(key: string): void {
    try {
      this.#sealer.sealIfReady(key)
    } catch (error) {
      if (!(error instanceof ValiseError) || !hopeless.has(error.code)) throw error
      const text = `message ${key.slice(0, 8)} cannot be sealed (${error.code}) and was given up`
      this.#giveUp(key, "given-up", "not-opened", text)
    }
  }

  /** Fetches what is missing. Throws what the connection throws; what was served is kept. */
  async fetchPrekeys(key: string, carrier: Carrier): Promise<void> {
    const { vault } = this.#home
    const { row, record } = vault.read((tx) => ({ row: tx.get("outbox", key), record: tx.get("messages", key) }))
    if (row?.state !== "composed" || !record?.devices || this.#waits.has(key)) return
    // It may have been written weeks ago: devices have come and gone since.
    const devices = this.#devicesOf(record.to, row.copyToOwnDevices)
    const wanted = vault.read((tx) => devices.filter(({ device }) => !tx.get("outgoing", perDevice(key, device))))
    const served = new Gathering<{ readonly device: DeviceId; readonly prekey: Signed }>((all) =>
      vault.transaction((tx) => {
        if (tx.get("outbox", key)?.state !== "composed") return
        for (const { device, prekey } of all) tx.put("outgoing", perDevice(key, device), { prekey })
      }),
    )
    const failure = await someAtATime(wanted, async ({ device }) => {
      const prekey = await carrier.fetchPrekey(device)
      if (prekey) await served.add({ device, prekey })
    })
    this.#home.commit((tx, notices) => {
      const now = tx.get("outbox", key)
      if (now?.state !== "composed") return
      const reached = new Set<PocAddress>()
      for (const { device, poc } of devices) if (tx.get("outgoing", perDevice(key, device))) reached.add(poc)
      const missing = record.to.filter((poc) => !reached.has(poc))
      if (missing.length === 0) {
        tx.put("messages", key, { ...tx.get("messages", key)!, devices })
        tx.put("outbox", key, { ...now, state: "keyed" })
      } else if (failure === undefined) {
        const text = `${missing.join(", ")}: no usable prekey at the relay yet`
        this.#waits.wait(tx, notices, key, "no-prekeys", text)
      }
    })
    if (failure !== undefined) throw this.#waits.after(key, failure)
  }

  /** Submits what is sealed, each envelope under the blind that it was given: a retry says so. */
  async submit(key: string, carrier: Carrier): Promise<void> {
    const { vault } = this.#home
    const { row, record } = vault.read((tx) => ({ row: tx.get("outbox", key), record: tx.get("messages", key) }))
    if (row?.state !== "sealed" || !record?.devices || this.#waits.has(key)) return
    const accepted = new Gathering<Accepted>((all) => this.#keep(key, all))
    const failure = await someAtATime(record.devices, async (device) => {
      const outgoing = vault.read((tx) => tx.get("outgoing", perDevice(key, device.device)))
      if (!outgoing || !("bytes" in outgoing)) return
      // A device that has left the directory gets nothing any more.
      if (!this.#home.mirror.state.device(device.device))
        return vault.transaction((tx) => this.#through(tx, key, [device.device]))
      const { blind, bytes } = outgoing
      const receipt = await carrier.submit(device.mailbox, blind, bytes) // defence: 22 retry-blind => const receipt = await carrier.submit(device.mailbox, this.#home.machine.random.bytes(blind.length), bytes)
      this.#requireGenuine(receipt, { blind, digest: device.digest!, mailbox: device.mailbox })
      await accepted.add({ device, receipt, blind })
    })
    if (failure !== undefined) throw this.#waits.after(key, failure)
  }

  #requireGenuine(receipt: RelayReceipt, item: SubmittedItem): void {
    const { mirror, realm } = this.#home
    const relay = mirror.state.relay(receipt.relay)
    const isGenuine = relay !== undefined && verifyRelayReceipt(relay.key, realm, receipt, item)
    if (!isGenuine) throw this.#falseReceipt() // defence: 15 accepted-verified
  }

  #falseReceipt(): ValiseError {
    const text = "the relay's receipt for a message does not verify: nothing counts as accepted"
    this.#home.commit((tx, notices) => this.#home.notice(tx, notices, "unauthorised", text))
    return new ValiseError("ERR_UNTRUSTED", text)
  }

  #keep(key: string, all: readonly Accepted[]): void {
    this.#home.vault.transaction((tx) => {
      for (const { blind, device, receipt } of all) {
        tx.put("accepted", perDevice(key, device.device), { receipt, blind })
        tx.appendJournal({ event: "accepted", details: { message: key, device: hex(device.device) } })
      }
      this.#through(
        tx,
        key,
        all.map(({ device }) => device.device),
      )
    })
    for (const { device } of all)
      this.#home.emit({ kind: "accepted", message: key, poc: device.poc, device: hex(device.device) })
  }

  /** Takes envelopes off the outbox, and the message when it was the last. */
  #through(tx: Tx, key: string, devices: readonly DeviceId[]): void {
    const row = tx.get("outbox", key)
    if (row?.state !== "sealed") return
    const places = devices.map((device) => perDevice(key, device)).filter((place) => tx.get("outgoing", place))
    for (const place of places) tx.delete("outgoing", place)
    const waiting = row.waiting! - places.length
    if (waiting > 0) tx.put("outbox", key, { ...row, waiting })
    else this.#close(tx, key)
  }

  #giveUp(key: string, event: "expired" | "given-up", kind: NoticeKind, text?: string): void {
    this.#home.commit((tx, notices) => {
      const row = tx.get("outbox", key)
      const record = tx.get("messages", key)
      const isNumbered = row !== undefined && equal(row.incarnation, tx.incarnation)
      for (const { device, n } of record?.devices ?? [])
        if (isNumbered && n !== undefined && !tx.get("accepted", perDevice(key, device))) this.#skip(tx, device, n)
      this.#close(tx, key)
      if (record) tx.appendJournal({ event, details: { message: key, at: iso(record.expires) } })
      if (text) this.#home.notice(tx, notices, kind, text)
      if (text) tx.delete("awaited", key)
    })
  }

  #close(tx: Tx, key: string): void {
    for (const [place] of tx.list("outgoing", { prefix: `${key}:` })) tx.delete("outgoing", place)
    tx.delete("outbox", key)
    this.#waits.forget(key)
  }

  /** Found out now, and not when it is sealed, which may be days later. */
  #requireFits(leaves: readonly Leaf[], devices: number): void {
    const { machine, mirror } = this.#home
    const packed = encodeCbor(packLeaves(leaves, machine.deflate)).length
    const padded = paddedLength(packed + mirror.checkpointBytes + payloadRoomBytes)
    if (padded === undefined)
      throw new ValiseError("ERR_TOO_LARGE", "the message is too large for one envelope", {
        hint: `at most about ${fixed.payloadBytesMax / 1024 - 8} KiB after compression; send less, or in parts`,
      })
    if (devices > fixed.recipientsMax)
      throw new ValiseError("ERR_TOO_LARGE", "the message has too many recipients", {
        hint: `at most ${fixed.recipientsMax} devices; send it to fewer PoCs at a time`,
      })
  }

  /** Numbers that were given out and never submitted are named in the next message, so that no gap is unexplained. */
  #skip(tx: Tx, device: DeviceId, n: number): void {
    const counter = `skipped:${hex(device)}`
    const before = tx.get("counters", counter)?.missing ?? []
    tx.put("counters", counter, { n: 0, missing: [...new Set([...before, n])].slice(-skippedMax) })
  }
}

/**
 * Works on so many at a time. Returns the first failure, if there was one; when it says that the line is gone, the rest
 * is not begun.
 */
async function someAtATime<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<unknown> {
  const rest = items.values()
  const failures: unknown[] = []
  let isOver = false
  const worker = async (): Promise<void> => {
    for (const item of rest) {
      if (isOver) return
      try {
        await work(item)
      } catch (error) {
        failures.push(error)
        isOver ||= error instanceof ValiseError && error.code === "ERR_OFFLINE"
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker))
  return failures[0]
}

/** What comes within one turn is dealt with together, as one transaction. */
class Gathering<T> {
  readonly #deal: (all: readonly T[]) => void
  #all: T[] = []
  #dealt: Promise<void> | undefined

  constructor(deal: (all: readonly T[]) => void) {
    this.#deal = deal
  }

  /** Resolves when it has been dealt with. */
  add(item: T): Promise<void> {
    this.#all.push(item)
    this.#dealt ??= Promise.resolve().then(() => {
      this.#dealt = undefined
      this.#deal(this.#all.splice(0))
    })
    return this.#dealt
  }
}
