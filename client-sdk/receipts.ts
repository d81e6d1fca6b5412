/** Receipts as they arrive and as officers give them (SPEC, "Receipts"). A receipt that does not verify changes nothing. */
import type { Hash, MessageId } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { OpenedMessage } from "../protocol/open.ts"
import {
  clause,
  isAcknowledgementOf,
  isDeliveryOf,
  readDeviceReceipt,
  readOfficerReceipt,
  signOfficerReceipt,
  type OfficerReceipt,
} from "../protocol/receipts.ts"
import { signedShape, type Signed } from "../protocol/statement.ts"
import type { Notice, PocEvent } from "./api.ts"
import { readCheckpoint } from "../pki/checkpoint.ts"
import { isBefore } from "../pki/judgement.ts"
import type { End } from "../pki/poc-history.ts"
import { foundUnder, messageUnder } from "./archive.ts"
import type { MessageRecord, ReceiptRecord, Tx } from "./collections.ts"
import { bytesLeaf, frameLeaves, leafNamed } from "./content.ts"
import type { Home } from "./home.ts"
import type { Outbox } from "./outbox.ts"

export class Receipts {
  readonly #home: Home
  readonly #outbox: Outbox

  constructor(home: Home, outbox: Outbox) {
    this.#home = home
    this.#outbox = outbox
  }

  /** A receipt that came as a sealed message; in the transaction that archives it. */
  receive(tx: Tx, type: ReceiptRecord["kind"], opened: OpenedMessage, notices: Notice[]): PocEvent[] {
    const { poc } = opened.header.sender
    try {
      const leaf = leafNamed(opened.leaves, "receipt")
      if (!leaf) throw new ValiseError("ERR_CONTENT", "a receipt without its leaf")
      const signed = decodeCbor(signedShape, leaf)
      return type === "device-receipt" ? this.#delivered(tx, opened, signed) : this.#acknowledged(tx, opened, signed)
    } catch (error) {
      const reason = error instanceof ValiseError ? error.code : "ERR_INTERNAL"
      tx.appendJournal({ event: "receipt-refused", details: { poc, reason } })
      const text = `${poc} sent a receipt that does not verify; it counts for nothing`
      this.#home.notice(tx, notices, "not-opened", text)
      return []
    }
  }

  /** The officer now unlocked says that he or she has seen it. Throws `ERR_NO_RIGHT`. Giving it again changes nothing. */
  acknowledge(tx: Tx, key: string, record: MessageRecord): void {
    const { identity, now, realm } = this.#home
    if (record.direction !== "in" || !record.sealed || record.from === identity.poc)
      throw new ValiseError("ERR_USAGE", "only a message received from another PoC can be acknowledged")
    if (record.acknowledgedAt !== undefined) return
    const officer = this.#home.officerWith("acknowledge")
    const signed = signOfficerReceipt(officer.key, realm, {
      v: 1,
      poc: identity.poc,
      officer: officer.id,
      messageId: record.id,
      header: record.sealed.headerHash,
      content: record.sealed.contentHash,
      time: now,
      clause,
    })
    tx.put("messages", key, { ...record, acknowledgedAt: now, acknowledgedBy: officer.title })
    this.#store(tx, {
      message: record.id,
      kind: "officer-receipt",
      poc: identity.poc,
      signer: officer.id,
      signed,
      at: now,
      own: true,
    })
    this.#outbox.compose(tx, {
      type: "officer-receipt",
      case: record.case,
      to: [record.from],
      leaves: [
        ...frameLeaves({ type: "officer-receipt", case: record.case, to: [record.from] }),
        bytesLeaf("receipt", encodeCbor(signed)),
      ],
      copyToOwnDevices: true,
    })
    tx.appendJournal({ event: "acknowledged", details: { message: key } })
  }

  #delivered(tx: Tx, opened: OpenedMessage, signed: Signed): PocEvent[] {
    const { device, poc } = opened.header.sender
    const listed = this.#home.mirror.state.deviceEver(poc, device)
    if (!listed) throw untrusted()
    const receipt = readDeviceReceipt(listed.record.key, this.#home.realm, signed)
    const own = this.#own(tx, receipt)
    if (!own) return []
    // Which envelope went to which device, only the device that sealed them knows.
    const digest =
      own.direction === "in" ? receipt.digest : own.devices?.find((row) => equal(row.device, device))?.digest
    if (!digest || !own.sealed || receipt.poc !== poc || !own.to.includes(poc)) throw untrusted()
    const { contentHash, headerHash } = own.sealed
    const sent = { messageId: own.id, headerHash, contentHash, device, digest }
    if (!isDeliveryOf(receipt, sent)) throw untrusted() // defence: 15 sdk-delivery
    const row = { message: own.id, poc, signer: device, signed, at: receipt.time, own: false }
    if (!this.#store(tx, { ...row, kind: "device-receipt" })) return []
    tx.appendJournal({ event: "delivered", details: { message: hex(own.id), device: hex(device) } })
    return [{ kind: "delivered", message: hex(own.id), poc, device: hex(device) }]
  }

  #acknowledged(tx: Tx, opened: OpenedMessage, signed: Signed): PocEvent[] {
    const { poc } = opened.header.sender
    const { identity, mirror, realm } = this.#home
    for (const { end, record: officer } of mirror.state.officersEver(poc)) {
      if (!officer.rights.includes("acknowledge")) continue // defence: 15 acknowledge-right
      let receipt
      try {
        receipt = readOfficerReceipt(officer.key, realm, signed)
      } catch {
        continue
      }
      if (end && !signedBefore(end, receipt, opened)) throw untrusted() // defence: 15 revoked-officer
      if (poc === identity.poc) return this.#acknowledgedHere(tx, receipt, signed, officer.title)
      const own = this.#own(tx, receipt)
      if (!own) return []
      if (!own.sealed || !own.to.includes(poc)) throw untrusted() // defence: 15 acknowledged-by-recipient
      const sent = { messageId: own.id, headerHash: own.sealed.headerHash, contentHash: own.sealed.contentHash }
      if (!isAcknowledgementOf(receipt, poc, sent)) throw untrusted() // defence: 15 sdk-acknowledgement
      const row = { message: own.id, poc, signer: officer.officer, signed, at: receipt.time, own: false }
      if (!this.#store(tx, { ...row, kind: "officer-receipt" })) return []
      tx.appendJournal({ event: "acknowledgement", details: { message: hex(own.id), poc } })
      return [{ kind: "acknowledged", message: hex(own.id), poc, officer: officer.title }]
    }
    throw untrusted()
  }

  /** Another device of this PoC has acknowledged: nobody here needs to do it again. */
  #acknowledgedHere(tx: Tx, receipt: OfficerReceipt, signed: Signed, title: string): PocEvent[] {
    const found = foundUnder(tx, receipt.messageId, receipt.header)
    if (!found) return [] // it was sent before this device was listed, or has expired on its way here
    const [key, record] = found
    const { contentHash, headerHash } = record.sealed!
    const received = { messageId: record.id, headerHash, contentHash }
    const isFitting = record.from !== receipt.poc && isAcknowledgementOf(receipt, receipt.poc, received)
    if (!isFitting) throw untrusted() // defence: 15 own-acknowledgement
    const { officer: signer, poc, time: at } = receipt
    if (!this.#store(tx, { message: record.id, kind: "officer-receipt", poc, signer, signed, at, own: true })) return []
    if (record.acknowledgedAt === undefined)
      tx.put("messages", key, { ...record, acknowledgedAt: at, acknowledgedBy: title })
    tx.appendJournal({ event: "acknowledgement", details: { message: key, poc } })
    return [{ kind: "acknowledged", message: key, poc, officer: title }]
  }

  /** The message that it is about, perhaps sent by another device of this PoC; `undefined` if that one's copy is not here. */
  #own(tx: Tx, receipt: { readonly messageId: MessageId; readonly header: Hash }): MessageRecord | undefined {
    const { identity, mirror } = this.#home
    const own = messageUnder(tx, receipt.messageId, receipt.header)
    const isUnknown = tx.get("messages", hex(receipt.messageId)) === undefined
    const hasOthers = (mirror.state.poc(identity.poc)?.manifest?.devices.length ?? 1) > 1
    if (isUnknown && hasOthers) return undefined
    if (own?.from !== identity.poc) throw untrusted()
    return own
  }

  /** The first receipt of a signer stands; `false` if it was here before. */
  #store(tx: Tx, row: ReceiptRecord): boolean {
    const key = `${hex(row.message)}:${row.kind}:${row.poc}:${hex(row.signer)}`
    if (tx.get("receipts", key)) return false
    tx.put("receipts", key, row)
    return true
  }
}

/** As for messages: the signer dates, and its device cites what it knew of the log; both must lie before the end. */
function signedBefore(end: End, receipt: OfficerReceipt, { checkpoint }: OpenedMessage): boolean {
  const size = readCheckpoint(checkpoint)?.size
  return end.reason !== "compromise" && size !== undefined && isBefore(end, { created: receipt.time }, { size })
}

const untrusted = (): ValiseError => new ValiseError("ERR_UNTRUSTED", "a receipt for something else")
