/** Records of the vault as a program or a person sees them: messages, their delivery, and what is not delivered. */
import type { DeviceId, OfficerId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { decodeForward } from "../protocol/consent.ts"
import type { DeviceStatus, ForwardView, Id, MessageView, Notice, RecipientStatus } from "./api.ts"
import { perDevice, type DeviceRecord, type MessageRecord, type Reader } from "./collections.ts"
import { judgementOf } from "./consent-records.ts"
import { leafNamed, readFrame, readJson, readResponse, readText, readTlp } from "./content.ts"
import { iso, type Home } from "./home.ts"

/** The types that a duty officer reads; everything else serves them. */
const spoken = new Set(["notification", "reply", "response", "forward"])

export function isSpoken(record: MessageRecord): boolean {
  return spoken.has(record.type)
}

/** Written by this PoC, if perhaps on another device of it. */
export const isOwn = (home: Home, record: MessageRecord): boolean => record.from === home.identity.poc

/** The one id that begins so. Throws `ERR_NOT_FOUND` or `ERR_AMBIGUOUS`. */
export function keyByPrefix(keys: Iterable<string>, prefix: string, what: string): string {
  const wanted = prefix.toLowerCase()
  const found = [...keys].filter((key) => key.startsWith(wanted))
  if (found.length === 1 && wanted !== "") return found[0]!
  if (found.length === 0 || wanted === "")
    throw new ValiseError("ERR_NOT_FOUND", `no ${what} with this id`, {
      hint: "ids are listed by inbox, sent and consent",
    })
  throw new ValiseError("ERR_AMBIGUOUS", `${found.length} ${what}s begin with this id`, { hint: "give more digits" })
}

export function messageView(
  tx: Reader,
  home: Home,
  key: string,
  record: MessageRecord,
  answers = answersIn(tx.list("messages")),
): MessageView {
  const { leaves } = record
  const frame = readFrame(leaves)
  const subject = readText(leaves, "subject")
  const tlp = readTlp(leaves)
  const template = readJson(leaves, "template")
  const content = readJson(leaves, "body")
  const response = readResponse(leaves)
  const forward = record.type === "forward" ? forwardView(tx, home, record) : undefined
  const answered = isOwn(home, record)
    ? undefined
    : answers.get(answerKey(record.case, record.id))?.get(home.identity.poc)
  return {
    id: key,
    case: hex(record.case),
    direction: isOwn(home, record) ? "out" : "in",
    type: record.type,
    from: record.from,
    to: record.to,
    involved: frame.involved ?? [],
    ...(record.officerTitle && { releasedBy: record.officerTitle }),
    ...(subject !== undefined && { subject }),
    ...(tlp && { tlp }),
    created: iso(record.created),
    expires: iso(record.expires),
    ...(frame.inReplyTo && { inReplyTo: hex(frame.inReplyTo.message) }),
    ...(template !== null && typeof template === "object" && "id" in template && { template: String(template.id) }),
    ...(content !== undefined && { content }),
    ...(response && { response }),
    parts:
      forward?.parts ??
      leaves.filter(({ name }) => !frameNames.has(name)).map(({ name, value }) => ({ name, bytes: value.length })),
    banners: record.banners,
    ...(forward && { forward }),
    ...(record.acknowledgedAt !== undefined && { acknowledged: iso(record.acknowledgedAt) }),
    ...(record.acknowledgedBy !== undefined && { acknowledgedBy: record.acknowledgedBy }),
    ...(answered && { answered }),
    ...(isOwn(home, record) && { status: statusOf(tx, home, record, answers) }),
  }
}

/** Of what another device of this PoC sent, only what its recipients say is known here. */
export function statusOf(
  tx: Reader,
  home: Home,
  record: MessageRecord,
  answers = answersIn(tx.list("messages")),
): RecipientStatus[] {
  if (!isOwn(home, record)) return []
  const receipts = [...tx.list("receipts", { prefix: `${hex(record.id)}:` })].map(([, row]) => row)
  const responses = answers.get(answerKey(record.case, record.id))
  return record.to.map((poc): RecipientStatus => {
    const deliveries = receipts.filter((row) => row.kind === "device-receipt" && row.poc === poc)
    const known = record.devices?.filter((device) => device.poc === poc)
    const devices = (known ?? deliveries.map(({ signer }): SentTo => ({ device: signer }))).map(
      (sent): DeviceStatus => {
        const delivered = deliveries.find((row) => equal(row.signer, sent.device))
        const accepted = tx.get("accepted", perDevice(hex(record.id), sent.device as DeviceId))
        return {
          device: hex(sent.device),
          ...(accepted && {
            accepted: { relay: accepted.receipt.relay, minute: iso(accepted.receipt.minute * 60) },
          }),
          ...(delivered && { delivered: { at: iso(delivered.at) } }),
          ...(sent.kind && { prekey: sent.kind }),
        }
      },
    )
    const seen = receipts.find((row) => row.kind === "officer-receipt" && row.poc === poc)
    const officer = seen && home.mirror.officer(poc, seen.signer as OfficerId)
    const response = responses?.get(poc)
    return {
      poc,
      devices,
      ...(seen && { acknowledged: { officer: officer?.title ?? "an officer no longer listed", at: iso(seen.at) } }),
      ...(response && { response }),
      state: stateOf(devices, {
        acknowledged: seen !== undefined,
        responded: response !== undefined,
        expired: record.expires <= home.now,
        isCopy: record.direction === "in",
        receiptsLost: record.receiptsLost === true,
      }),
    }
  })
}

type SentTo = Pick<DeviceRecord, "kind"> & { readonly device: Uint8Array }

/** Silence is lawful, and never hidden: each kind of it has its own name. */
function stateOf(
  devices: readonly DeviceStatus[],
  known: { acknowledged: boolean; responded: boolean; expired: boolean; isCopy: boolean; receiptsLost: boolean },
): RecipientStatus["state"] {
  if (known.responded) return "responded"
  if (known.acknowledged) return "acknowledged"
  if (devices.some(({ delivered }) => delivered)) return known.expired ? "delivered-silent" : "delivered"
  if (known.isCopy) return "sent-elsewhere"
  if (known.receiptsLost) return "unknown"
  if (known.expired) return "undelivered"
  return devices.some(({ accepted }) => accepted) ? "accepted" : "waiting"
}

const answerKey = (caseId: Uint8Array, message: Uint8Array): string => `${hex(caseId)}:${hex(message)}`

/** By case and id of the message that is answered, and by the PoC that answers: its newest response. */
export type Answers = ReadonlyMap<string, ReadonlyMap<PocAddress, Answer>>
type Answer = NonNullable<RecipientStatus["response"]>

export function answersIn(messages: Iterable<readonly [key: string, row: MessageRecord]>): Answers {
  const found = new Map<string, Map<PocAddress, Answer>>()
  const responses = [...messages].filter(([, { type }]) => type === "response")
  for (const [key, row] of responses.toSorted(([, a], [, b]) => a.order - b.order)) {
    const response = readResponse(row.leaves)
    const about = readFrame(row.leaves).inReplyTo
    if (!response || !about) continue
    const name = answerKey(row.case, about.message)
    const answers = found.get(name) ?? new Map<PocAddress, Answer>()
    answers.set(row.from, { disposition: response.disposition, at: iso(row.created), message: key })
    found.set(name, answers)
  }
  return found
}

/** Judged whenever it is shown: papers and time may have changed the verdict. */
function forwardView(tx: Reader, home: Home, record: MessageRecord): ForwardView {
  const forward = decodeForward(leafNamed(record.leaves, "statement")!)
  const requestId = hex(forward.requestId)
  const verdict = judgementOf(home, record, tx.get("consents", requestId))
  return {
    requestId,
    forwarder: record.from,
    ...(!isOwn(home, record) && (verdict.verified ? { verifiedFrom: verdict.sender } : { unverified: verdict.reason })),
    parts: forward.leaves.map(({ name, value }) => ({ name, bytes: value.length })),
  }
}

export function noticeViews(tx: Reader): Notice[] {
  return [...tx.list("notices")].map(([key, { at, kind, seenAt, text }]) => ({
    id: key.slice(key.indexOf(":") + 1),
    at: iso(at),
    kind,
    text,
    ...(seenAt !== undefined && { seen: iso(seenAt) }),
  }))
}

export const caseIdOf = (record: MessageRecord): Id => hex(record.case)

const frameNames = new Set([
  "type",
  "case",
  "to",
  "involved",
  "inReplyTo",
  "tlp",
  "language",
  "template",
  "subject",
  "terms",
  "skipped",
])
