/** Seals a message of the outbox to every device whose prekey is here: one transaction, with the numbers that it gives out. */
import type { DeviceId, MessageId } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { checkPrekey, type PrekeyStatement } from "../protocol/prekey.ts"
import { encapsulate, kemCoinsBytes } from "../protocol/primitives.ts"
import { prepare, type Recipient } from "../protocol/seal.ts"
import type { Notice } from "./api.ts"
import { perDevice, type DeviceRecord, type MessageRecord, type OutboxRecord, type Tx } from "./collections.ts"
import { bytesLeaf, releaseRight } from "./content.ts"
import type { Home } from "./home.ts"
import { isSpoken } from "./view.ts"
import type { Waits } from "./waits.ts"

type IsKey = (prekey: PrekeyStatement) => boolean

export class Sealer {
  readonly #home: Home
  readonly #waits: Waits

  constructor(home: Home, waits: Waits) {
    this.#home = home
    this.#waits = waits
  }

  /**
   * If all prekeys are here, and the releasing officer is unlocked in this process. A prekey that its device signed is
   * tried as a key beforehand only if one has turned out to be none.
   */
  sealIfReady(key: string): void {
    try {
      this.#home.commit((tx, notices) => this.#seal(tx, notices, key, () => true))
    } catch (error) {
      if (!(error instanceof ValiseError) || error.code !== "ERR_UNTRUSTED") throw error
      // What was told of it in a transaction that did not come about was not told.
      this.#waits.forget(key)
      const isKey: IsKey = ({ pk }) => encapsulate(pk, new Uint8Array(kemCoinsBytes)) !== undefined
      this.#home.commit((tx, notices) => this.#seal(tx, notices, key, isKey))
    }
  }

  #seal(tx: Tx, notices: Notice[], key: string, isKey: IsKey): void {
    const { deviceKey, identity, machine, mirror, now, officer, realm } = this.#home
    const row = tx.get("outbox", key)
    const record = tx.get("messages", key)
    if (row?.state !== "keyed" || !record?.devices) return
    if (record.officer && (!officer || !equal(officer.id, record.officer))) return
    const right = releaseRight(record.type)
    if (right && !this.#home.mayRelease(right)) throw new ValiseError("ERR_NO_RIGHT", "its officer has left the duty")
    if (!equal(row.incarnation, tx.incarnation)) return this.#renew(tx, key, row, record) // defence: 24 renew-composed
    if (!mirror.state.isReachable(identity.poc, now)) {
      const text = "this PoC's papers have ended: nobody would open it"
      return this.#waits.wait(tx, notices, key, "manifest-expiring", text)
    }
    const recipients = this.#checked(tx, notices, key, row, record, isKey)
    if (!recipients) return
    const skipped = this.#takeSkipped(tx, recipients)
    const leaves = skipped ? [...record.leaves, bytesLeaf("skipped", skipped)] : record.leaves
    const expires = Math.min(record.expires, now + fixed.lifetimeSecondsMax)
    const checkpoint = mirror.freshCheckpoint()
    const { envelope, ...sealed } = prepare({
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
    const sealedTo = new Map<string, Partial<DeviceRecord>>()
    for (const [i, { device, pairSequence }] of recipients.entries()) {
      const { bytes, digest, kind } = envelope(i)
      tx.put("outgoing", perDevice(key, device), { blind: machine.random.bytes(32), bytes })
      sealedTo.set(hex(device), { n: pairSequence.n, kind, digest })
    }
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
      devices: record.devices.map((row): DeviceRecord => ({ ...row, ...sealedTo.get(hex(row.device)) })),
    })
    tx.put("outbox", key, { ...row, state: "sealed", waiting: recipients.length })
    tx.appendJournal({ event: "sealed", details: { message: key, header: hex(sealed.headerHash) } })
  }

  /**
   * Written before this vault went back in time: whether it has left already, nobody here knows. It goes out as another
   * message, under other prekeys, so that no peer sees one id with two headers or a key that was used.
   */
  #renew(tx: Tx, key: string, row: OutboxRecord, record: MessageRecord): void {
    const id = this.#home.machine.random.bytes(16) as MessageId
    for (const collection of ["messages", "outbox", "awaited"] as const) tx.delete(collection, key)
    for (const { device } of record.devices ?? []) tx.delete("outgoing", perDevice(key, device))
    tx.put("messages", hex(id), { ...record, id })
    if (isSpoken(record)) tx.put("awaited", hex(id), { expires: record.expires })
    tx.put("outbox", hex(id), { ...row, id, state: "composed", incarnation: tx.incarnation })
    tx.appendJournal({ event: "composed", details: { message: hex(id), type: record.type, instead: key } })
  }

  /** The recipients with checked prekeys, or `undefined` after sending the message back to fetch others. */
  #checked(
    tx: Tx,
    notices: Notice[],
    key: string,
    row: OutboxRecord,
    record: MessageRecord,
    isKey: IsKey,
  ): readonly Recipient[] | undefined {
    const { mirror, now, realm } = this.#home
    const good: Omit<Recipient, "pairSequence">[] = []
    for (const { device, mailbox } of record.devices!) {
      const place = perDevice(key, device)
      const outgoing = tx.get("outgoing", place)
      const listed = mirror.state.device(device)
      if (!listed || !outgoing || !("prekey" in outgoing)) continue
      let prekey: PrekeyStatement
      try {
        prekey = checkPrekey(realm, { id: device, signingKey: listed.key }, outgoing.prekey, now)
        if (!isKey(prekey)) throw unfit("is no key")
        this.#refuseOlder(tx, device, prekey)
      } catch {
        const text = `${listed.poc}: the relay served a prekey that does not verify or is too old`
        this.#waits.wait(tx, notices, key, "withholding", text)
        tx.delete("outgoing", place)
        continue
      }
      if (row.strictForwardSecrecy && prekey.kind !== "one-time") {
        const text = `${listed.poc}: no one-time keys are left, and the message demands one`
        this.#waits.wait(tx, notices, key, "no-prekeys", text)
        tx.delete("outgoing", place)
        continue
      }
      good.push({ poc: listed.poc, device, mailbox, prekey })
    }
    const reached = new Set(good.map(({ poc }) => poc))
    if (record.to.every((poc) => reached.has(poc)))
      return good.map((row) => ({
        ...row,
        pairSequence: { incarnation: tx.incarnation, n: this.#nextNumber(tx, row.device) },
      }))
    tx.put("outbox", key, { ...row, state: "composed" })
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

  #nextNumber(tx: Tx, device: DeviceId): number {
    const counter = `pair:${hex(device)}`
    const n = (tx.get("counters", counter)?.n ?? 0) + 1
    tx.put("counters", counter, { n })
    return n
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
