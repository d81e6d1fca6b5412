/**
 * From "send" to the relay's signed receipt. Every step is one transaction, so a crash at any moment repeats at most the
 * step under way: composed (durable, online or not) → keyed (each device's prekey is here) → sealed → accepted.
 */
import type { DeviceId, MessageId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { Leaf } from "../protocol/leaves.ts"
import { fixed } from "../protocol/limits.ts"
import { checkPrekey, type PrekeyStatement } from "../protocol/prekey.ts"
import { verifyRelayReceipt, type RelayReceipt } from "../protocol/relay-receipt.ts"
import { seal, type Recipient } from "../protocol/seal.ts"
import type { Signed } from "../protocol/statement.ts"
import type { DeviceRecord as ListedDevice } from "../pki/state.ts"
import type { MessageType } from "./api.ts"
import type { DeviceRecord, MessageRecord, OutboxRecord, Tx } from "./collections.ts"
import { bytesLeaf, releaseRight } from "./content.ts"
import { iso, type Home } from "./home.ts"

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

/** A message whose recipients' prekeys are missing or bad is not asked for again before this. */
const prekeyRetryMs = 10_000

export class Outbox {
  readonly #home: Home
  /** Until when, by the monotonic clock, a message waits before it asks for prekeys again. */
  readonly #waits = new Map<string, number>()

  constructor(home: Home) {
    this.#home = home
  }

  /**
   * Writes a message into the outbox, in the caller's transaction: durable when that returns, online or not.
   * Throws `ERR_UNKNOWN_ADDRESS`, `ERR_NO_RIGHT` or `ERR_CONTENT`.
   */
  compose(tx: Tx, message: Composition): MessageId {
    const { identity, machine, mirror, now } = this.#home
    const right = releaseRight(message.type)
    const officer = right && this.#home.officerWith(right)
    const targets = this.#devicesOf(message.to)
    if (message.copyToOwnDevices)
      targets.push(...mirror.state.usableDevices(identity.poc, now).filter((row) => !equal(row.device, identity.device)))
    if (targets.length === 0)
      throw new ValiseError("ERR_UNKNOWN_ADDRESS", "no recipient has a device that can receive", {
        hint: "the PoC must publish a manifest with a device first",
      })
    const id = machine.random.bytes(16) as MessageId
    const lifetime = Math.min(message.lifetimeSeconds ?? fixed.lifetimeSecondsMax, fixed.lifetimeSecondsMax)
    const order = (tx.get("counters", "order")?.n ?? 0) + 1
    tx.put("counters", "order", { n: order })
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
      order,
      ...(officer && { officer: officer.id, officerTitle: officer.title }),
      devices: targets.map((row): DeviceRecord => ({
        poc: row.poc,
        device: row.device,
        mailbox: row.mailbox,
        n: this.#nextNumber(tx, row.device),
      })),
    }
    const skipped = this.#takeSkipped(tx, record.devices!)
    if (skipped) record.leaves.push(bytesLeaf("skipped", skipped))
    tx.put("messages", hex(id), record)
    tx.put("outbox", hex(id), {
      id,
      state: "composed",
      strictForwardSecrecy: message.strictForwardSecrecy ?? false,
      prekeys: [],
      envelopes: [],
    })
    tx.appendJournal({ event: "composed", details: { message: hex(id), type: message.type } })
    return id
  }

  /** Ids of the messages that are on their way, oldest first. */
  pending(): string[] {
    return this.#home.vault
      .read((tx) => [...tx.list("outbox")].map(([key]) => ({ key, order: tx.get("messages", key)?.order ?? 0 })))
      .toSorted((a, b) => a.order - b.order)
      .map(({ key }) => key)
  }

  /** Takes one message as far as it goes now. Throws retryable errors of the connection; everything done is kept. */
  async advance(key: string, carrier: Carrier | undefined): Promise<void> {
    if (this.#expired(key)) return
    if (carrier) await this.#fetchPrekeys(key, carrier)
    this.sealIfReady(key)
    if (carrier) await this.#submit(key, carrier)
  }

  /** Seals a message whose prekeys are all here, if its releasing officer is unlocked in this process. */
  sealIfReady(key: string): void {
    const { deviceKey, identity, machine, mirror, now, officer, realm, vault } = this.#home
    vault.transaction((tx) => {
      const row = tx.get("outbox", key)
      const record = tx.get("messages", key)
      if (row?.state !== "keyed" || !record?.devices) return
      if (record.officer && (!officer || !equal(officer.id, record.officer))) return
      const usable = this.#checked(tx, key, row, record)
      if (!usable) return
      const sealed = seal({
        realm,
        sender: { poc: identity.poc, device: identity.device, key: deviceKey },
        ...(record.officer && officer && { officer: { id: officer.id, key: officer.key } }),
        messageId: record.id,
        created: now,
        expires: record.expires,
        checkpoint: mirror.freshCheckpoint(),
        contentKey: record.contentKey,
        leaves: record.leaves,
        recipients: usable,
        random: (length) => machine.random.bytes(length),
        deflate: machine.deflate,
      })
      const envelopes = new Map(sealed.envelopes.map((envelope) => [hex(envelope.device), envelope]))
      tx.put("messages", key, {
        ...record,
        created: now,
        sealed: {
          header: sealed.header,
          ...(sealed.release && { release: sealed.release.signature }),
          headerHash: sealed.headerHash,
          contentHash: sealed.contentHash,
          checkpoint: mirror.freshCheckpoint(),
        },
        devices: record.devices.map((device) => {
          const envelope = envelopes.get(hex(device.device))
          return envelope ? { ...device, kind: envelope.kind, digest: envelope.digest } : device
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
    })
  }

  async #fetchPrekeys(key: string, carrier: Carrier): Promise<void> {
    const { vault } = this.#home
    const { row, record } = vault.read((tx) => ({ row: tx.get("outbox", key), record: tx.get("messages", key) }))
    if (row?.state !== "composed" || !record?.devices) return
    if ((this.#waits.get(key) ?? 0) > this.#home.machine.clock.monotonic()) return
    const have = new Set(row.prekeys.map(({ device }) => hex(device)))
    const wanted = record.devices.filter(({ device }) => !have.has(hex(device)))
    const fetched = await Promise.all(
      wanted.map(async ({ device }) => ({ device, prekey: await carrier.fetchPrekey(device) })),
    )
    vault.transaction((tx) => {
      const now = tx.get("outbox", key)
      if (now?.state !== "composed") return
      const prekeys = [...now.prekeys]
      for (const { device, prekey } of fetched) if (prekey) prekeys.push({ device, prekey })
      const served = new Set(prekeys.map(({ device }) => hex(device)))
      const reached = new Set(record.devices!.filter(({ device }) => served.has(hex(device))).map(({ poc }) => poc))
      const missing = record.to.filter((poc) => !reached.has(poc))
      if (missing.length > 0) this.#wait(tx, key, "no-prekeys", `${missing.join(", ")}: no usable prekey at the relay yet`)
      if (missing.length > 0 && prekeys.length === now.prekeys.length) return
      tx.put("outbox", key, { ...now, prekeys, state: missing.length === 0 ? "keyed" : "composed" })
    })
  }

  /** The recipients with checked prekeys, or `undefined` after sending the message back to fetch others. */
  #checked(
    tx: Tx,
    key: string,
    row: OutboxRecord,
    record: MessageRecord,
  ): readonly Recipient[] | undefined {
    const { mirror, now, realm } = this.#home
    const good: Recipient[] = []
    const kept: OutboxRecord["prekeys"] = []
    for (const { device, prekey } of row.prekeys) {
      const listed = mirror.state.device(device)
      const target = record.devices!.find((row) => equal(row.device, device))
      if (!listed || !target) continue
      let statement: PrekeyStatement
      try {
        statement = checkPrekey(realm, { id: device, signingKey: listed.key }, prekey, now)
        this.#refuseOlder(tx, device, statement)
      } catch {
        this.#wait(tx, key, "withholding", `${listed.poc}: the relay served a prekey that does not verify or is too old`)
        continue
      }
      if (row.strictForwardSecrecy && statement.kind !== "one-time") {
        this.#wait(tx, key, "no-prekeys", `${listed.poc}: no one-time keys are left, and the message demands one`)
        continue
      }
      kept.push({ device, prekey })
      good.push({
        poc: listed.poc,
        device,
        mailbox: target.mailbox,
        prekey: statement,
        pairSequence: { incarnation: tx.incarnation, n: target.n },
      })
    }
    const reached = new Set(good.map(({ poc }) => poc))
    if (record.to.every((poc) => reached.has(poc))) return good
    tx.put("outbox", key, { ...row, state: "composed", prekeys: kept })
    return undefined
  }

  /** A sender takes the newest rotating key it has seen: an older one served later is refused. */
  #refuseOlder(tx: Tx, device: DeviceId, statement: PrekeyStatement): void {
    if (statement.kind !== "rotating") return
    const counter = `rotating:${hex(device)}:${hex(statement.incarnation)}`
    const newest = tx.get("counters", counter)?.n ?? 0
    if (statement.n < newest) throw new ValiseError("ERR_UNTRUSTED", "an older rotating prekey was served again") // defence: 11 newest-rotating-key
    tx.put("counters", counter, { n: statement.n })
  }

  async #submit(key: string, carrier: Carrier): Promise<void> {
    const row = this.#home.vault.read((tx) => tx.get("outbox", key))
    if (row?.state !== "sealed") return
    const waiting = row.envelopes.filter(({ accepted }) => !accepted)
    const outcomes = await Promise.allSettled(
      waiting.map(async (envelope) => {
        const receipt = await carrier.submit(envelope.mailbox, envelope.blind, envelope.bytes)
        this.#accepted(key, envelope, receipt)
      }),
    )
    const failed = outcomes.find((outcome) => outcome.status === "rejected")
    if (failed) throw failed.reason
  }

  #accepted(key: string, envelope: OutboxRecord["envelopes"][number], receipt: RelayReceipt): void {
    const { mirror, realm, vault } = this.#home
    const relay = mirror.state.relay(receipt.relay)
    const poc = vault.transaction((tx) => {
      const row = tx.get("outbox", key)
      const record = tx.get("messages", key)
      const device = record?.devices?.find((row) => equal(row.device, envelope.device))
      if (!row || !record || !device?.digest) return undefined
      const item = { blind: envelope.blind, digest: device.digest, mailbox: device.mailbox }
      if (!relay || !verifyRelayReceipt(relay.key, realm, receipt, item))
        throw new ValiseError("ERR_UNTRUSTED", "the relay's receipt does not verify; nothing counts as accepted")
      tx.put("messages", key, {
        ...record,
        devices: record.devices!.map((row) =>
          row === device
            ? {
                ...row,
                accepted: { receipt, blind: envelope.blind },
              }
            : row,
        ),
      })
      const envelopes = row.envelopes.map((other) =>
        equal(other.device, envelope.device) ? { ...other, accepted: true, bytes: new Uint8Array(0) } : other,
      )
      if (envelopes.every(({ accepted }) => accepted)) tx.delete("outbox", key)
      else tx.put("outbox", key, { ...row, envelopes })
      tx.appendJournal({ event: "accepted", details: { message: key, device: hex(envelope.device) } })
      return { poc: device.poc, id: record.id }
    })
    if (poc) this.#home.emit({ kind: "accepted", message: hex(poc.id), poc: poc.poc, device: hex(envelope.device) })
  }

  /** Gives up what expired before it could leave; the status says `undelivered`. */
  #expired(key: string): boolean {
    const { now, vault } = this.#home
    return vault.transaction((tx) => {
      const record = tx.get("messages", key)
      if (record && record.expires > now) return false
      const unsent = record?.devices?.filter(({ accepted }) => !accepted) ?? []
      for (const { device, n } of unsent) this.#skip(tx, device, n)
      tx.delete("outbox", key)
      if (record) tx.appendJournal({ event: "expired", details: { message: key, at: iso(record.expires) } })
      return true
    })
  }

  /** Tells the duty officer, once per message, and tries again later. */
  #wait(tx: Tx, key: string, kind: "no-prekeys" | "withholding", text: string): void {
    if (!this.#waits.has(key)) this.#home.notice(tx, kind, `${text}; message ${key.slice(0, 8)} waits`)
    this.#waits.set(key, this.#home.machine.clock.monotonic() + prekeyRetryMs)
  }

  #devicesOf(to: readonly PocAddress[]): ListedDevice[] {
    const { mirror, now } = this.#home
    return to.flatMap((poc) => mirror.state.usableDevices(poc, now))
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
    const before = tx.get("counters", counter)
    tx.put("counters", counter, { n: 0, missing: [...(before?.missing ?? []), n].slice(-64) })
  }

  #takeSkipped(tx: Tx, devices: readonly DeviceRecord[]): Uint8Array | undefined {
    const named: Record<string, number[]> = {}
    for (const { device } of devices) {
      const counter = `skipped:${hex(device)}`
      const missing = tx.get("counters", counter)?.missing
      if (!missing?.length) continue
      named[hex(device)] = missing
      tx.delete("counters", counter)
    }
    return Object.keys(named).length > 0 ? new TextEncoder().encode(JSON.stringify(named)) : undefined
  }
}
