/** The messages of an evidence file: what each says by itself, and whether its sender signed it (SPEC, "Evidence files"). */
import type { DeviceId, Hash, OfficerId } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import {
  checkpointHash,
  decodeEntry,
  decodeHeader,
  headerHash as headerHashOf,
  headerNames,
  type Header,
} from "../../protocol/header.ts"
import { contentHash, leafHashesOf, unpackLeaves, type Deflate } from "../../protocol/leaves.ts"
import { fixed } from "../../protocol/limits.ts"
import { verifyStatement } from "../../protocol/statement.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import { verifyCheckpoint, type OpenedCheckpoint } from "../../pki/checkpoint.ts"
import { judgeSenderOf } from "../../pki/judgement.ts"
import { verifyConsistency } from "../../pki/tree.ts"
import { readFrame, type Frame } from "../content.ts"
import type { About, MessageSection, ReceivedSection } from "./bundle.ts"
import { Question, type LogPart } from "./log-part.ts"
import type { EvidenceReason } from "./reasons.ts"

/** What all parts of one file are judged against. */
export interface Context {
  readonly anchor: TrustAnchor
  readonly about: About
  /** The file's own checkpoint, verified. */
  readonly checkpoint: OpenedCheckpoint
  readonly nowSeconds: number
}

/** A message whose parts fit together; whether anybody signed it is not said yet. */
export interface ReadMessage {
  readonly part: MessageSection
  readonly header: Header
  readonly headerHash: Hash
  readonly contentHash: Hash
  readonly frame: Frame
  /** The checkpoint that the header names: written after that one was dated. */
  readonly cited: OpenedCheckpoint
  /** The exporter's device that the header names as a recipient, if the message was received. */
  readonly recipient: DeviceId | undefined
}

export function readMessage(part: MessageSection, context: Context): ReadMessage | EvidenceReason {
  const { about, anchor, checkpoint, nowSeconds } = context
  const header = attempt(() => decodeHeader(part.header.bytes))
  if (typeof header === "string") return header
  if (header.mode !== anchor.realm.mode) return "realm" // defence: 14 evidence-header-mode
  if (!equal(checkpointHash(part.checkpoint), header.checkpoint)) return "checkpoint" // defence: 20 evidence-checkpoint-hash
  const cited = attempt(() => verifyCheckpoint(part.checkpoint, anchor, nowSeconds))
  if (typeof cited === "string") return "checkpoint"
  const extended = verifyConsistency(cited.size, cited.root, checkpoint.size, checkpoint.root, part.consistency)
  if (!extended) return "history" // defence: 20 evidence-history

  const packed = part.leaves.map((leaf) => ({ ...leaf, deflated: false }))
  const leaves = unpackLeaves(packed, nothingDeflated)
  const frame = leaves && attempt(() => readFrame(leaves))
  if (!leaves || !frame || typeof frame === "string" || !spoken.has(frame.type)) return "content"
  if (!equal(frame.case, about.case)) return "case"
  const { created, expires } = header
  if (expires <= created || expires - created > fixed.lifetimeSecondsMax) return "lifetime"
  if (isFuture(created, context)) return "future"

  if (part.direction === "sent" && header.sender.poc !== about.exporter) return "sender"
  const recipient = part.direction === "received" ? recipientIn(part, about) : undefined
  if (part.direction === "received") {
    if (!recipient) return "own-entry"
    if (!headerNames(header, part.entry, part.index, part.path)) return "own-entry" // defence: 15 evidence-own-entry
  }
  const headerHash = headerHashOf(part.header.bytes)
  const content = contentHash(headerHash, leafHashesOf(part.contentKey, leaves))
  return { part, header, headerHash, contentHash: content, frame, cited, recipient }
}

/** The sender as the log lists it when the message was made. */
export type SenderQuestion = ReturnType<typeof askForSender>

export function askForSender({ header, cited }: ReadMessage) {
  const { poc, officer } = header.sender
  return new Question(header.created + fixed.clockSkewSecondsMax, (log) => {
    const history = log.poc(poc)
    const lastTime = log.timeAt(cited.size)
    return {
      judgement: judgeSenderOf(history, header, { size: cited.size, time: lastTime }, header.created),
      pocCertificate: history?.certificate?.certificate,
      officerTitle: officer && history?.officer(officer)?.record.title,
    }
  })
}

export interface JudgedMessage extends ReadMessage {
  readonly officerTitle: string
  readonly banners: readonly string[]
}

/** @param seenSeconds when the message was there by the word of others, if that is known */
export function judgeMessage(
  message: ReadMessage,
  { judgement, pocCertificate, officerTitle }: SenderQuestion["answer"],
  log: LogPart,
  { about, anchor: { realm } }: Context,
  seenSeconds: number | undefined,
): JudgedMessage | EvidenceReason {
  const { header, part, recipient } = message
  const { sender, created } = header
  if (!judgement.ok) return senderReason(judgement.reason)
  const { deviceKey, officerKey, banners } = judgement
  if (!verifyStatement(deviceKey, realm, "header", part.header)) return "signature" // defence: 15 evidence-header-signature
  if (!isReleased(sender.officer, officerKey, message, realm)) return "release" // defence: 15 evidence-release
  if (recipient && !log.poc(about.exporter)?.device(recipient)) return "own-entry" // defence: 15 evidence-own-device
  const history = log.poc(sender.poc)
  // A compromised PoC key takes back what it listed since; a device whose listing is gone has signed nothing that counts.
  if (!history?.device(sender.device) || !history.officer(sender.officer!)) return "revoked"
  const keysStand = [deviceKey, officerKey!].every((key) => log.stands(key, created, seenSeconds))
  if (!keysStand || !log.certificateStands(pocCertificate!, created, created)) return "revoked"
  return { ...message, officerTitle: officerTitle!, banners }
}

/** Every message that a duty officer reads is released by an officer, so one without is not what a reader would have opened. */
function isReleased(
  officer: OfficerId | undefined,
  officerKey: Uint8Array | undefined,
  { part }: ReadMessage,
  realm: Context["anchor"]["realm"],
): boolean {
  if (!officer || !officerKey || !part.release) return false
  return verifyStatement(officerKey, realm, "release", { bytes: part.header.bytes, signature: part.release })
}

function recipientIn({ entry }: ReceivedSection, about: About): DeviceId | undefined {
  const own = attempt(() => decodeEntry(entry))
  return typeof own !== "string" && own.poc === about.exporter ? own.device : undefined
}

const senderReason = (reason: string): EvidenceReason =>
  reason === "revoked" || reason === "checkpoint" ? reason : "sender"

/** Turns the one kind of error that decoders throw into a reason. */
export function attempt<T extends object>(decode: () => T): T | "version" | "malformed" {
  try {
    return decode()
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    return error.code === "ERR_VERSION" ? "version" : "malformed"
  }
}

export const isFuture = (atSeconds: number, { nowSeconds }: Context): boolean =>
  atSeconds > nowSeconds + fixed.clockSkewSecondsMax

/** Leaves stand in the file as they are. */
const nothingDeflated: Deflate = { deflate: (bytes) => bytes, inflate: () => undefined }
const spoken: ReadonlySet<string> = new Set(["notification", "reply", "response", "forward"])
