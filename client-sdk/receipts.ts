/** Receipts as they arrive and as officers give them (SPEC, "Receipts"). A receipt that does not verify changes nothing. */
import type { Hash, MessageId, PocAddress } from "../protocol/address.ts"
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
} from "../protocol/receipts.ts"
import { signedShape, type Signed } from "../protocol/statement.ts"
import type { Notice, PocEvent } from "./api.ts"
import { messageUnder } from "./archive.ts"
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
      return type === "device-receipt" ? this.#delivered(tx, opened, signed) : this.#acknowledged(tx, poc, signed)
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
    tx.put("messages", key, { ...record, acknowledgedAt: now })
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
      copyToOwnDevices: false,
    })
    tx.appendJournal({ event: "acknowledged", details: { message: key } })
  }

  #delivered(tx: Tx, opened: OpenedMessage, signed: Signed): PocEvent[] {
    const { device, poc } = opened.header.sender
    const listed = this.#home.mirror.state.device(device)
    if (!listed) throw untrusted()
    const receipt = readDeviceReceipt(listed.key, this.#home.realm, signed)
    const own = this.#own(tx, receipt)
    if (!own) return []
    const target = own.devices?.find((row) => equal(row.device, device))
    if (!target?.digest || !own.sealed || receipt.poc !== poc) throw untrusted()
    const { contentHash, headerHash } = own.sealed
    const sent = { messageId: own.id, headerHash, contentHash, device, digest: target.digest }
    if (!isDeliveryOf(receipt, sent)) throw untrusted() // defence: 15 sdk-delivery
    const row = { message: own.id, poc, signer: device, signed, at: receipt.time, own: false }
    if (!this.#store(tx, { ...row, kind: "device-receipt" })) return []
    tx.appendJournal({ event: "delivered", details: { message: hex(own.id), device: hex(device) } })
    return [{ kind: "delivered", message: hex(own.id), poc, device: hex(device) }]
  }

  #acknowledged(tx: Tx, poc: PocAddress, signed: Signed): PocEvent[] {
    const manifest = this.#home.mirror.state.poc(poc)?.manifest
    for (const officer of manifest?.officers ?? []) {
      if (!officer.rights.includes("acknowledge")) continue // defence: 15 acknowledge-right
      if (!this.#home.mirror.officer(poc, officer.officer)?.current) continue // defence: 15 revoked-officer
      let receipt
      try {
        receipt = readOfficerReceipt(officer.key, this.#home.realm, signed)
      } catch {
        continue
      }
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

  /** The message that it is about; `undefined` if another device of this PoC sent it, which keeps the receipts for it. */
  #own(tx: Tx, receipt: { readonly messageId: MessageId; readonly header: Hash }): MessageRecord | undefined {
    const { identity, mirror } = this.#home
    const own = messageUnder(tx, receipt.messageId, receipt.header)
    const isUnknown = tx.get("messages", hex(receipt.messageId)) === undefined
    const hasOthers = (mirror.state.poc(identity.poc)?.manifest?.devices.length ?? 1) > 1
    if (isUnknown && hasOthers) return undefined
    if (own?.from !== identity.poc) throw untrusted()
    return own.direction === "out" ? own : undefined
  }

  /** The first receipt of a signer stands; `false` if it was here before. */
  #store(tx: Tx, row: ReceiptRecord): boolean {
    const key = `${hex(row.message)}:${row.kind}:${row.poc}:${hex(row.signer)}`
    if (tx.get("receipts", key)) return false
    tx.put("receipts", key, row)
    return true
  }
}

const untrusted = (): ValiseError => new ValiseError("ERR_UNTRUSTED", "a receipt for something else")
