/** The receipts of an evidence file: the recipients' and the relay's, and what they are about (SPEC, "Evidence files"). */
import { z } from "zod"
import { mailboxOf, shapes, type DeviceId, type OfficerId, type PocAddress } from "../../protocol/address.ts"
import { equal, hex } from "../../protocol/bytes.ts"
import { decodeCbor } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { fixed } from "../../protocol/limits.ts"
import {
  readDeviceReceipt,
  readOfficerReceipt,
  type DeviceReceipt,
  type OfficerReceipt,
} from "../../protocol/receipts.ts"
import { verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import type { Listed } from "../../pki/poc-history.ts"
import type { ReceiptSection, RelayReceiptSection } from "./bundle.ts"
import { Question, type LogPart } from "./log-part.ts"
import { isFuture, type Context, type ReadMessage } from "./messages.ts"
import type { EvidenceReason } from "./reasons.ts"

/** Of a receipt, before its signature is looked at: who is said to have signed what, and when. */
export interface ReadReceipt {
  readonly part: ReceiptSection
  readonly poc: PocAddress
  readonly signer: DeviceId | OfficerId
  readonly messageId: string
  readonly time: number
}

export function readReceipt(part: ReceiptSection): ReadReceipt | EvidenceReason {
  try {
    const said = decodeCbor(outline, part.signed.bytes)
    const signer = part.kind === "device-receipt" ? said.device : said.officer
    if (!signer) return "malformed"
    return { part, poc: said.poc, signer, messageId: hex(said.messageId), time: said.time }
  } catch {
    return "malformed"
  }
}

/** The signer as its PoC's manifest lists it when the receipt was given; `undefined` if it does not, or without the right. */
export type SignerQuestion = ReturnType<typeof askForSigner>

export function askForSigner({ part, poc, signer, time }: ReadReceipt) {
  return new Question(time + fixed.clockSkewSecondsMax, (log) => {
    const history = log.poc(poc)
    if (!history?.isReachable(time)) return undefined
    const pocCertificate = history.certificate!.certificate
    if (part.kind === "device-receipt") {
      const device = history.device(signer)
      const mayReceive = device?.record.rights.includes("receive")
      return mayReceive && isListed(device!, time)
        ? { key: device!.record.key, pocCertificate, title: undefined }
        : undefined
    }
    const officer = history.officer(signer)
    const mayAcknowledge = officer?.record.rights.includes("acknowledge") // defence: 15 evidence-officer-right => const mayAcknowledge = officer !== undefined
    return mayAcknowledge && isListed(officer!, time)
      ? { key: officer!.record.key, pocCertificate, title: officer!.record.title }
      : undefined
  })
}

export interface JudgedReceipt extends ReadReceipt {
  readonly message: ReadMessage
  /** The officer's. */
  readonly title: string | undefined
  /** The envelope's, from a device's receipt. */
  readonly digest: Uint8Array | undefined
}

/** @param message that the exporter sent, under the receipt's message id */
export function judgeReceipt(
  receipt: ReadReceipt,
  message: ReadMessage | undefined,
  listed: SignerQuestion["answer"],
  log: LogPart,
  context: Context,
): JudgedReceipt | EvidenceReason {
  const { part, poc, signer, time } = receipt
  if (message?.part.direction !== "sent") return "unknown-message" // defence: 22 receipts-of-what-was-sent => if (!message) return "unknown-message"
  if (!listed) return "signer"
  const said = signedBy(listed.key, part, context)
  if (typeof said === "string") return said
  if (!equal(said.header, message.headerHash)) return "header" // defence: 15 evidence-receipt-header
  if (!equal(said.content, message.contentHash)) return "content-hash" // defence: 15 evidence-receipt-content
  if (isFuture(time, context)) return "future"
  const history = log.poc(poc)
  const stillListed = part.kind === "device-receipt" ? history?.device(signer) : history?.officer(signer)
  const certificateStands = log.certificateStands(listed.pocCertificate, time, time)
  if (!stillListed || !log.stands(listed.key, time) || !certificateStands) return "revoked"
  return { ...receipt, message, title: listed.title, digest: "digest" in said ? said.digest : undefined }
}

export interface JudgedRelayReceipt {
  readonly part: RelayReceiptSection
  readonly message: ReadMessage
  /** The last second of the relay's minute. */
  readonly seenSeconds: number
  /** The device's own receipt names the same bytes: so they are this message. Without that it is the exporter's word. */
  readonly isTied: boolean
}

/** @param receipts of this message, judged */
export function judgeRelayReceipt(
  part: RelayReceiptSection,
  message: ReadMessage | undefined,
  receipts: readonly JudgedReceipt[],
  log: LogPart,
  context: Context,
): JudgedRelayReceipt | EvidenceReason {
  const { poc, device, mailbox, blind, digest, receipt } = part
  const { realm } = context.anchor
  if (message?.part.direction !== "sent") return "unknown-message" // defence: 22 relay-receipts-of-what-was-sent => if (!message) return "unknown-message"
  if (!log.poc(poc)?.device(device)) return "signer"
  if (!equal(mailboxOf(device, receipt.relay), mailbox)) return "mailbox" // defence: 15 evidence-mailbox
  const atSeconds = receipt.minute * 60
  if (isFuture(atSeconds, context)) return "future"
  const keys = log.relayKeys(receipt.relay, atSeconds, fixed.clockSkewSecondsMax)
  if (keys.length === 0) return "relay"
  const isSigned = keys.some((key) => verifyRelayReceipt(key, realm, receipt, { blind, digest, mailbox }))
  if (!isSigned) return "relay-receipt" // defence: 15 evidence-relay-receipt
  const own = receipts.find(({ part: { kind }, signer }) => kind === "device-receipt" && equal(signer, device))
  const isTied = own?.digest !== undefined && equal(own.digest, digest)
  if (own && !isTied) return "envelope" // defence: 15 evidence-other-envelope
  return { part, message, seenSeconds: atSeconds + 59, isTied }
}

function signedBy(
  key: Uint8Array,
  { kind, signed }: ReceiptSection,
  { anchor: { realm } }: Context,
): DeviceReceipt | OfficerReceipt | EvidenceReason {
  try {
    return kind === "device-receipt" ? readDeviceReceipt(key, realm, signed) : readOfficerReceipt(key, realm, signed)
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    if (error.code === "ERR_UNTRUSTED") return "signature"
    return error.code === "ERR_VERSION" ? "version" : "malformed"
  }
}

/** One that left the manifest a moment ago may not have known. */
const isListed = ({ end }: Listed<unknown>, atSeconds: number): boolean =>
  end?.reason !== "removed" || end.moment > atSeconds - fixed.clockSkewSecondsMax

const outline = z.looseObject({
  poc: shapes.poc,
  device: shapes.device.optional(),
  officer: shapes.officer.optional(),
  messageId: shapes.messageId,
  time: shapes.seconds,
})
