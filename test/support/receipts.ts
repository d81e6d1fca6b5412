/** Receipts of one message, honest in every field. */
import { deviceIdOf, type MessageId } from "../../protocol/address.ts"
import { clause, type DeviceReceipt, type OfficerReceipt, type SentEnvelope } from "../../protocol/receipts.ts"
import { bytesOf, hashOf, officerOf, R, signingKeyOf } from "./papers.ts"
import { nowSeconds } from "./sealing.ts"

export const device = signingKeyOf("device of R")
export const officer = officerOf(R)

/** What the sender remembers. */
export const sent: SentEnvelope = {
  messageId: bytesOf(16, "message") as MessageId,
  headerHash: hashOf("header"),
  contentHash: hashOf("content"),
  device: deviceIdOf(R, device.publicKey),
  digest: hashOf("envelope"),
}

const about = {
  v: 1,
  poc: R,
  messageId: sent.messageId,
  header: sent.headerHash,
  content: sent.contentHash,
  time: nowSeconds,
} as const

export const deviceReceipt: DeviceReceipt = { ...about, device: sent.device, digest: sent.digest, kind: "one-time" }
export const officerReceipt: OfficerReceipt = { ...about, officer: officer.id, clause }
