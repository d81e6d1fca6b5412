/**
 * From "send" to the relay's signed receipt. Every step is one transaction, so a crash at any moment repeats at most the
 * step under way: composed (durable, online or not) → keyed (each PoC's prekey is here) → sealed → accepted.
 */
import type { DeviceId, MessageId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { encodeCbor } from "../protocol/cbor.ts"
import { ValiseError, type ErrorCode } from "../protocol/errors.ts"
import { packLeaves, type Leaf } from "../protocol/leaves.ts"
import { fixed } from "../protocol/limits.ts"
import { wireSizes } from "../protocol/envelope.ts"
import { paddedLength } from "../protocol/padding.ts"
import { checkPrekey, type PrekeyStatement } from "../protocol/prekey.ts"
import { encapsulate, kemCoinsBytes } from "../protocol/primitives.ts"
import { verifyRelayReceipt, type RelayReceipt } from "../protocol/relay-receipt.ts"
import { seal, type Recipient } from "../protocol/seal.ts"
import type { Signed } from "../protocol/statement.ts"
import type { MessageType, Notice, NoticeKind } from "./api.ts"
import { nextOrder, type DeviceRecord, type MessageRecord, type OutboxRecord, type Tx } from "./collections.ts"
import { bytesLeaf, releaseRight } from "./content.ts"
import { iso, type Home } from "./home.ts"
import { isSpoken } from "./view.ts"
import { vaultLimits } from "./vault/transaction.ts"

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

/** What the relay refused, or has not got, is not asked for again before this. */
const retryMs = 10_000
/** Header, entry, path and signatures of a payload, and a checkpoint that gathers more cosignatures. */
const payloadRoomBytes = 3072
/** Numbers that were given out and never used; beyond these the recipient sees a gap. */
const skippedMax = 64
/** A message that cannot be sealed for one of these reasons never will be. */
const hopeless: ReadonlySet<ErrorCode> = new Set(["ERR_TOO_LARGE", "ERR_CONTENT", "ERR_NO_RIGHT"])
/** What an envelope adds to its padded payload. */
const envelopeHeadBytes = wireSizes[0]! - fixed.payloadBytesMin
/** Envelopes of one message wait in one record of the vault. */
const envelopesBytesMax = vaultLimits.valueBytesMax - 65_536

export class Outbox {
  readonly #home: Home
  /** Until when, by the monotonic clock, a message does not ask the relay again. */
  readonly #waits = new Map<string, number>()
  /** Messages of whose waiting the duty officer has been told. */
  readonly #told = new Set<string>()

  constructor(home: Home) {
    this.#home = home
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
      prekeys: [],
      envelopes: [],
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
      this.#sealTrusting(key)
    } catch (error) {
      if (!(error instanceof ValiseError) || !hopeless.has(error.code)) throw error
      this.#giveUp(
        key,
        "given-up",
        "not-opened",
        `message ${key.slice(0, 8)} cannot be sealed (${error.code}) and was given up`,
      )
    }
  }

  /** A prekey that its device signed is tried as a key beforehand only if one has turned out to be none. */
  #sealTrusting(key: string): void {
    try {
      this.#home.commit((tx, notices) => this.#seal(tx, notices, key, () => true))
    } catch (error) {
      if (!(error instanceof ValiseError) || error.code !== "ERR_UNTRUSTED") throw error
      // What was told of it in a transaction that did not come about was not told.
      this.#forget(key)
      const isKey = ({ pk }: PrekeyStatement): boolean => encapsulate(pk, new Uint8Array(kemCoinsBytes)) !== undefined
      this.#home.commit((tx, notices) => this.#seal(tx, notices, key, isKey))
    }
  }

  #seal(tx: Tx, notices: Notice[], key: string, isKey: (prekey: PrekeyStatement) => boolean): void {
    const { deviceKey, identity, machine, mirror, now, officer, realm } = this.#home
    const row = tx.get("outbox", key)
    const record = tx.get("messages", key)
    if (row?.state !== "keyed" || !record?.devices) return
    if (record.officer && (!officer || !equal(officer.id, record.officer))) return
    const right = releaseRight(record.type)
    if (right && !this.#home.mayRelease(right)) throw new ValiseError("ERR_NO_RIGHT", "its officer has left the duty")
    if (!equal(row.incarnation, tx.incarnation)) return this.#renew(tx, key, row, record) // defence: 24 renew-composed
    if (!mirror.state.isReachable(identity.poc, now))
      return this.#wait(tx, notices, key, "manifest-expiring", "this PoC's papers have ended: nobody would open it")
    const recipients = this.#checked(tx, notices, key, row, record, isKey)
    if (!recipients) return
    const skipped = this.#takeSkipped(tx, recipients)
    const leaves = skipped ? [...record.leaves, bytesLeaf("skipped", skipped)] : record.leaves
    const expires = Math.min(record.expires, now + fixed.lifetimeSecondsMax)
    const checkpoint = mirror.freshCheckpoint()
    const sealed = seal({
      realm,
      sender: { poc: identity.poc, device: identity.device, key: deviceKey },
      ...(record.officer && officer && { officer: { id: officer.id, key: officer.key } }),
      messageId: record.id,
      created: now,
      expires,
      checkpoint,
      contentKey: record.contentKey,
      leaves,
      recipients,
      random: (length) => machine.random.bytes(length),
      deflate: machine.deflate,
    })
    const envelopes = new Map(sealed.envelopes.map((envelope) => [hex(envelope.device), envelope]))
    tx.put("messages", key, {
      ...record,
      created: now,
      expires,
      leaves,
      sealed: {
        header: sealed.header,
        ...(sealed.release && { release: sealed.release.signature }),
        headerHash: sealed.headerHash,
        contentHash: sealed.contentHash,
        checkpoint,
      },
      devices: record.devices.map((device): DeviceRecord => {
        const envelope = envelopes.get(hex(device.device))
        const n = recipients.find((recipient) => equal(recipient.device, device.device))?.pairSequence.n
        return envelope && n !== undefined ? { ...device, n, kind: envelope.kind, digest: envelope.digest } : device
      }),
    })
    tx.put("outbox", key, {
      ...row,
      state: "sealed",
      prekeys: [],
      envelopes: sealed.envelopes.map(({ device, mailbox, bytes }) => ({
        device,
        mailbox,
        bytes,
        blind: machine.random.bytes(32),
        accepted: false,
      })),
    })
    tx.appendJournal({ event: "sealed", details: { message: key, header: hex(sealed.headerHash) } })
  }

  /**
   * Written before this vault went back in time: whether it has left already, nobody here knows. It goes out as another
   * message, under other prekeys, so that no peer sees one id with two headers or a key that was used.
   */
  #renew(tx: Tx, key: string, row: OutboxRecord, record: MessageRecord): void {
    const id = this.#home.machine.random.bytes(16) as MessageId
    for (const collection of ["messages", "outbox", "awaited"] as const) tx.delete(collection, key)
    tx.put("messages", hex(id), { ...record, id })
    if (isSpoken(record)) tx.put("awaited", hex(id), { expires: record.expires })
    tx.put("outbox", hex(id), { ...row, id, state: "composed", prekeys: [], incarnation: tx.incarnation })
    tx.appendJournal({ event: "composed", details: { message: hex(id), type: record.type, instead: key } })
  }

  /** Fetches what is missing. Throws what the connection throws; what was served is kept. */
  async fetchPrekeys(key: string, carrier: Carrier): Promise<void> {
    const { vault } = this.#home
    const { row, record } = vault.read((tx) => ({ row: tx.get("outbox", key), record: tx.get("messages", key) }))
    if (row?.state !== "composed" || !record?.devices || this.#isWaiting(key)) return
    // It may have been written weeks ago: devices have come and gone since.
    const devices = this.#devicesOf(record.to, row.copyToOwnDevices)
    const have = new Set(row.prekeys.map(({ device }) => hex(device)))
    const wanted = devices.filter(({ device }) => !have.has(hex(device)))
    const outcomes = await Promise.allSettled(
      wanted.map(async ({ device }) => ({ device, prekey: await carrier.fetchPrekey(device) })),
    )
    const failed = outcomes.find((outcome) => outcome.status === "rejected")
    this.#home.commit((tx, notices) => {
      const now = tx.get("outbox", key)
      if (now?.state !== "composed") return
      const prekeys = [...now.prekeys]
      for (const outcome of outcomes)
        if (outcome.status === "fulfilled" && outcome.value.prekey)
          prekeys.push({ device: outcome.value.device, prekey: outcome.value.prekey })
      const served = new Set(prekeys.map(({ device }) => hex(device)))
      const reached = new Set(devices.filter(({ device }) => served.has(hex(device))).map(({ poc }) => poc))
      const missing = record.to.filter((poc) => !reached.has(poc))
      if (missing.length > 0 && !failed)
        this.#wait(tx, notices, key, "no-prekeys", `${missing.join(", ")}: no usable prekey at the relay yet`)
      if (missing.length > 0 && prekeys.length === now.prekeys.length) return
      tx.put("messages", key, { ...tx.get("messages", key)!, devices })
      tx.put("outbox", key, { ...now, prekeys, state: missing.length === 0 ? "keyed" : "composed" })
    })
    if (failed) throw this.#paused(key, failed.reason)
  }

  /** The recipients with checked prekeys, or `undefined` after sending the message back to fetch others. */
  #checked(
    tx: Tx,
    notices: Notice[],
    key: string,
    row: OutboxRecord,
    record: MessageRecord,
    isKey: (prekey: PrekeyStatement) => boolean,
  ): readonly Recipient[] | undefined {
    const { mirror, now, realm } = this.#home
    const good: Omit<Recipient, "pairSequence">[] = []
    const kept: OutboxRecord["prekeys"] = []
    for (const { device, prekey } of row.prekeys) {
      const listed = mirror.state.device(device)
      const target = record.devices!.find((row) => equal(row.device, device))
      if (!listed || !target) continue
      let statement: PrekeyStatement
      try {
        statement = checkPrekey(realm, { id: device, signingKey: listed.key }, prekey, now)
        if (!isKey(statement)) throw unfit("is no key")
        this.#refuseOlder(tx, device, statement)
      } catch {
        this.#wait(
          tx,
          notices,
          key,
          "withholding",
          `${listed.poc}: the relay served a prekey that does not verify or is too old`,
        )
        continue
      }
      if (row.strictForwardSecrecy && statement.kind !== "one-time") {
        this.#wait(
          tx,
          notices,
          key,
          "no-prekeys",
          `${listed.poc}: no one-time keys are left, and the message demands one`,
        )
        continue
      }
      kept.push({ device, prekey })
      good.push({ poc: listed.poc, device, mailbox: target.mailbox, prekey: statement })
    }
    const reached = new Set(good.map(({ poc }) => poc))
    if (record.to.every((poc) => reached.has(poc)))
      return good.map((row) => ({
        ...row,
        pairSequence: { incarnation: tx.incarnation, n: this.#nextNumber(tx, row.device) },
      }))
    tx.put("outbox", key, { ...row, state: "composed", prekeys: kept })
    return undefined
  }

  /** A sender takes the newest rotating key it has seen: an older one served later is refused. */
  #refuseOlder(tx: Tx, device: DeviceId, { incarnation, kind, n, nbf }: PrekeyStatement): void {
    if (kind !== "rotating") return
    const counter = `rotating:${hex(device)}`
    const newest = tx.get("counters", counter)
    const isSame = newest?.incarnation !== undefined && equal(newest.incarnation, incarnation)
    const older = isSame ? n < newest.n : nbf + fixed.clockSkewSecondsMax < (newest?.at ?? 0)
    if (older) throw unfit("is older than one seen before") // defence: 11 newest-rotating-key
    tx.put("counters", counter, { n, at: nbf, incarnation })
  }

  /** Submits what is sealed, each envelope under the blind that it was given: a retry says so. */
  async submit(key: string, carrier: Carrier): Promise<void> {
    this.#dropLeft(key)
    const row = this.#home.vault.read((tx) => tx.get("outbox", key))
    if (row?.state !== "sealed" || this.#isWaiting(key)) return
    const waiting = row.envelopes.filter(({ accepted }) => !accepted)
    const outcomes = await Promise.allSettled(
      waiting.map(async (envelope) => {
        const { blind, bytes, mailbox } = envelope
        const receipt = await carrier.submit(mailbox, blind, bytes) // defence: 22 retry-blind => const receipt = await carrier.submit(mailbox, this.#home.machine.random.bytes(blind.length), bytes)
        this.#accepted(key, envelope, receipt)
      }),
    )
    const failed = outcomes.find((outcome) => outcome.status === "rejected")
    if (failed) throw this.#paused(key, failed.reason)
  }

  #accepted(key: string, envelope: OutboxRecord["envelopes"][number], receipt: RelayReceipt): void {
    const { mirror, realm, vault } = this.#home
    const relay = mirror.state.relay(receipt.relay)
    const record = vault.read((tx) => tx.get("messages", key))
    const device = record?.devices?.find((row) => equal(row.device, envelope.device))
    if (!record || !device?.digest) return
    const item = { blind: envelope.blind, digest: device.digest, mailbox: device.mailbox }
    const isGenuine = relay !== undefined && verifyRelayReceipt(relay.key, realm, receipt, item)
    if (!isGenuine) throw this.#falseReceipt() // defence: 15 accepted-verified
    vault.transaction((tx) => {
      const now = tx.get("messages", key)
      if (!now?.devices) return
      const accepted = { receipt, blind: envelope.blind }
      const devices = now.devices.map((row) => (equal(row.device, envelope.device) ? { ...row, accepted } : row))
      tx.put("messages", key, { ...now, devices })
      this.#done(tx, key, (other) => equal(other.device, envelope.device))
      tx.appendJournal({ event: "accepted", details: { message: key, device: hex(envelope.device) } })
    })
    this.#home.emit({ kind: "accepted", message: key, poc: device.poc, device: hex(envelope.device) })
  }

  #falseReceipt(): ValiseError {
    const text = "the relay's receipt for a message does not verify: nothing counts as accepted"
    this.#home.commit((tx, notices) => this.#home.notice(tx, notices, "unauthorised", text))
    return new ValiseError("ERR_UNTRUSTED", text)
  }

  /** A device that has left the directory gets nothing any more. */
  #dropLeft(key: string): void {
    const { mirror, vault } = this.#home
    vault.transaction((tx) => this.#done(tx, key, ({ device }) => !mirror.state.device(device)))
  }

  /** Marks envelopes as through, and takes the message off the outbox when all are. */
  #done(tx: Tx, key: string, isThrough: (envelope: OutboxRecord["envelopes"][number]) => boolean): void {
    const row = tx.get("outbox", key)
    if (row?.state !== "sealed" || !row.envelopes.some((one) => !one.accepted && isThrough(one))) return
    const envelopes = row.envelopes.map((one) =>
      isThrough(one) ? { ...one, accepted: true, bytes: new Uint8Array(0) } : one,
    )
    if (!envelopes.every(({ accepted }) => accepted)) return tx.put("outbox", key, { ...row, envelopes })
    tx.delete("outbox", key)
    this.#forget(key)
  }

  #giveUp(key: string, event: "expired" | "given-up", kind: NoticeKind, text?: string): void {
    this.#home.commit((tx, notices) => {
      const row = tx.get("outbox", key)
      const record = tx.get("messages", key)
      const isNumbered = row !== undefined && equal(row.incarnation, tx.incarnation)
      for (const { accepted, device, n } of record?.devices ?? [])
        if (isNumbered && n !== undefined && !accepted) this.#skip(tx, device, n)
      tx.delete("outbox", key)
      if (record) tx.appendJournal({ event, details: { message: key, at: iso(record.expires) } })
      if (text) this.#home.notice(tx, notices, kind, text)
      if (text) tx.delete("awaited", key)
    })
    this.#forget(key)
  }

  /** Tells the duty officer, once per message, and tries again later. */
  #wait(tx: Tx, notices: Notice[], key: string, kind: NoticeKind, text: string): void {
    if (!this.#told.has(key)) this.#home.notice(tx, notices, kind, `${text}; message ${key.slice(0, 8)} waits`)
    this.#told.add(key)
    this.#waits.set(key, this.#home.machine.clock.monotonic() + retryMs)
  }

  /** What the relay refused is not asked for again at once; a connection that ended asks anew by itself. */
  #paused(key: string, reason: unknown): unknown {
    const isRefusal = !(reason instanceof ValiseError && reason.code === "ERR_OFFLINE")
    if (isRefusal) this.#waits.set(key, this.#home.machine.clock.monotonic() + retryMs)
    return reason
  }

  #isWaiting(key: string): boolean {
    return (this.#waits.get(key) ?? 0) > this.#home.machine.clock.monotonic()
  }

  #forget(key: string): void {
    this.#waits.delete(key)
    this.#told.delete(key)
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
    if (devices > fixed.recipientsMax || devices * (padded + envelopeHeadBytes) > envelopesBytesMax)
      throw new ValiseError("ERR_TOO_LARGE", "the message is too large for so many recipients", {
        hint: "send it to fewer at a time, or send less",
      })
  }

  #nextNumber(tx: Tx, device: DeviceId): number {
    const counter = `pair:${hex(device)}`
    const n = (tx.get("counters", counter)?.n ?? 0) + 1
    tx.put("counters", counter, { n })
    return n
  }

  /** Numbers that were given out and never submitted are named in the next message, so that no gap is unexplained. */
  #skip(tx: Tx, device: DeviceId, n: number): void {
    const counter = `skipped:${hex(device)}`
    const before = tx.get("counters", counter)?.missing ?? []
    tx.put("counters", counter, { n: 0, missing: [...new Set([...before, n])].slice(-skippedMax) })
  }

  /** Only in a message to one PoC: how many messages others were sent is nobody else's business. */
  #takeSkipped(tx: Tx, recipients: readonly Recipient[]): Uint8Array | undefined {
    const { identity } = this.#home
    if (new Set(recipients.map(({ poc }) => poc).filter((poc) => poc !== identity.poc)).size > 1) return undefined
    const named: Record<string, number[]> = {}
    for (const { device, poc } of recipients) {
      const counter = `skipped:${hex(device)}`
      const missing = tx.get("counters", counter)?.missing
      if (!missing?.length || poc === identity.poc) continue
      named[hex(device)] = missing
      tx.delete("counters", counter)
    }
    return Object.keys(named).length > 0 ? new TextEncoder().encode(JSON.stringify(named)) : undefined
  }
}

const unfit = (what: string): ValiseError => new ValiseError("ERR_UNTRUSTED", `a prekey ${what}`)
