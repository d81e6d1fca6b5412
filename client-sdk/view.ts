/** Records of the vault as a program or a person sees them: messages, their delivery, and what is not delivered. */
import type { OfficerId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { decodeForward } from "../protocol/consent.ts"
import type { DeviceStatus, ForwardView, Id, MessageView, Notice, RecipientStatus } from "./api.ts"
import type { MessageRecord, Reader } from "./collections.ts"
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

export function messageView(tx: Reader, home: Home, key: string, record: MessageRecord): MessageView {
  const { leaves } = record
  const frame = readFrame(leaves)
  const subject = readText(leaves, "subject")
  const tlp = readTlp(leaves)
  const template = readJson(leaves, "template")
  const content = readJson(leaves, "body")
  const response = readResponse(leaves)
  const forward = record.type === "forward" ? forwardView(tx, home, record) : undefined
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
    ...(record.direction === "out" && { status: statusOf(tx, home, key, record) }),
  }
}

/** Empty for what another device of this PoC sent: that one keeps the receipts. */
export function statusOf(tx: Reader, home: Home, key: string, record: MessageRecord): RecipientStatus[] {
  if (record.direction !== "out") return []
  const receipts = [...tx.list("receipts", { prefix: `${key}:` })].map(([, row]) => row)
  const responses = responsesTo(tx, record)
  return record.to.map((poc): RecipientStatus => {
    const devices = (record.devices ?? [])
      .filter((device) => device.poc === poc)
      .map((device): DeviceStatus => {
        const delivered = receipts.find((row) => row.kind === "device-receipt" && equal(row.signer, device.device))
        return {
          device: hex(device.device),
          ...(device.accepted && {
            accepted: { relay: device.accepted.receipt.relay, minute: iso(device.accepted.receipt.minute * 60) },
          }),
          ...(delivered && { delivered: { at: iso(delivered.at) } }),
          ...(device.kind && { prekey: device.kind }),
        }
      })
    const seen = receipts.find((row) => row.kind === "officer-receipt" && row.poc === poc)
    const officer = seen && home.mirror.officer(poc, seen.signer as OfficerId)
    const response = responses.get(poc)
    return {
      poc,
      devices,
      ...(seen && { acknowledged: { officer: officer?.title ?? "an officer no longer listed", at: iso(seen.at) } }),
      ...(response && { response }),
      state: stateOf(devices, seen !== undefined, response !== undefined, record.expires <= home.now),
    }
  })
}

/** Silence is lawful, and never hidden: each kind of it has its own name. */
function stateOf(
  devices: readonly DeviceStatus[],
  acknowledged: boolean,
  responded: boolean,
  expired: boolean,
): RecipientStatus["state"] {
  if (responded) return "responded"
  if (acknowledged) return "acknowledged"
  if (devices.some(({ delivered }) => delivered)) return expired ? "delivered-silent" : "delivered"
  if (expired) return "undelivered"
  return devices.some(({ accepted }) => accepted) ? "accepted" : "waiting"
}

function responsesTo(tx: Reader, record: MessageRecord): Map<PocAddress, NonNullable<RecipientStatus["response"]>> {
  const found = new Map<PocAddress, NonNullable<RecipientStatus["response"]>>()
  const answers = [...tx.list("messages")]
    .filter(([, other]) => other.type === "response" && other.direction === "in" && equal(other.case, record.case))
    .toSorted(([, a], [, b]) => a.order - b.order)
  for (const [key, other] of answers) {
    const response = readResponse(other.leaves)
    const about = readFrame(other.leaves).inReplyTo
    if (response && about && equal(about.message, record.id))
      found.set(other.from, { disposition: response.disposition, at: iso(other.created), message: key })
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
  return [...tx.list("notices")].map(([, { at, kind, text }]) => ({ at: iso(at), kind, text }))
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
