/** What the parts of an evidence file prove, what they do not, and to whom: in words, for people who decide something by it. */
import { hex } from "../../protocol/bytes.ts"
import { fixed } from "../../protocol/limits.ts"
import { clause } from "../../protocol/receipts.ts"
import type { Bundle } from "./bundle.ts"
import { isPossible, type Examined, type ExaminedMessage, type Seen } from "./examine.ts"
import type { JudgedReceipt, JudgedRelayReceipt } from "./receipts.ts"

/**
 * Events of ETSI EN 319 522 that a part is evidence of (`http://uri.etsi.org/19522/Event/` and the name).
 *
 * SubmissionAcceptance: the service has taken in what was submitted. ContentConsignment: the content lies ready for the
 * recipient at the service; the relay keeps the recipient's own mailbox, so its receipt says that too, but only of bytes
 * that are known to be this message. ContentHandover: the content has crossed to the recipient's own equipment; a device's
 * receipt, given after opening, verifying and archiving, says no less. ContentAccessTracking: somebody has looked at it;
 * that is an officer's receipt. ConsignmentAcceptance would be the recipient's consent to receive, given before it sees
 * the content: nothing here is that. A header that nobody has received is no event of a service, and so is a response.
 */
export const etsiEvents = [
  "SubmissionAcceptance",
  "ContentConsignment",
  "ContentHandover",
  "ContentAccessTracking",
] as const
export type EtsiEvent = (typeof etsiEvents)[number]

/** Plain data: goes into JSON as it is. Times are ISO 8601 in UTC, ids hexadecimal. */
export interface Finding {
  readonly section: string
  readonly kind: "message sent" | "message received" | "device receipt" | "officer receipt" | "relay receipt"
  readonly message: string
  readonly title: string
  readonly proves: readonly Proof[]
  readonly doesNotProve: readonly string[]
  /** When it was there, at the latest; `null`: nothing in this file says so. */
  readonly notAfter: TimeBound | null
  /** It was made after this; `null`: nothing in this file says so. */
  readonly notBefore: TimeBound | null
  readonly events: readonly EtsiEvent[]
}

export interface Proof {
  /** `participants`: to those alone who hold the same message themselves. */
  readonly to: "anyone" | "participants"
  readonly text: string
}

export interface TimeBound {
  readonly at: string
  /** Whose clock says so. */
  readonly by: Seen["by"] | "log checkpoint"
}

/** Each message, followed by what the relay, the devices and the officers signed about it. */
export function findingsOf(bundle: Bundle, { messages, receipts, relayReceipts }: Examined): Finding[] {
  const about = [
    ...[...relayReceipts].map(([section, receipt]) => ofRelayReceipt(section, receipt)),
    ...[...receipts].map(([section, receipt]) => ofReceipt(section, receipt)),
  ]
  const byMessage = Map.groupBy(about, ({ message }) => message)
  return [...messages].flatMap(([section, message]) => {
    const finding = ofMessage(section, message, bundle.about.exporter)
    const signed = Map.groupBy(byMessage.get(finding.message) ?? [], ({ kind }) => kind)
    return [finding, ...receiptKinds.flatMap((kind) => signed.get(kind) ?? [])]
  })
}

function ofMessage(section: string, message: ExaminedMessage, exporter: string): Finding {
  const { banners, cited, contentHash, frame, header, officerTitle, part, seen } = message
  const { sender, recipientsCount, created } = header
  const isSent = part.direction === "sent"
  const signed = `device ${short(sender.device)} of ${sender.poc} signed the header of this message, and its officer "${officerTitle}" released it`
  return {
    section,
    kind: isSent ? "message sent" : "message received",
    message: hex(header.messageId),
    title: `from ${sender.poc}, dated ${utc(created)} by its sender; by its content a ${frame.type} to ${listed(frame.to)}`,
    proves: [
      {
        to: "anyone",
        text: isSent
          ? signed
          : `${signed}; the header names a device of ${exporter} as one of ${recipientsCount} recipients`,
      },
      {
        to: "participants",
        text: `that this is the content: who holds the message compares its content hash, ${hex(contentHash)}`,
      },
    ],
    doesNotProve: [
      isSent
        ? "what it says: the signatures cover the header only; what recipients signed for stands under their receipts"
        : `what it says: ${exporter} could have made this file with any other content (messages are deniable by design)`,
      ...(isSent ? [`to whom it went: the header names ${recipientsCount} recipient devices by a hash only`] : []),
      ...(seen ? [] : ["when it was written, other than after the checkpoint: its date is the sender's own word"]),
      ...(created + fixed.clockSkewSecondsMax < cited.cosignedAt
        ? ["its date: the checkpoint that it names is younger, so the sender's clock was wrong, or the sender lied"]
        : []),
      ...banners.map((banner) => `that nothing was amiss with its sender: the log says ${banner}`),
    ],
    notBefore: { at: utc(cited.cosignedAt), by: "log checkpoint" },
    notAfter: seen ? { at: utc(seen.seconds), by: seen.by } : null,
    events: [],
  }
}

function ofReceipt(section: string, receipt: JudgedReceipt): Finding {
  const { message, part, poc, signer, time, title } = receipt
  const isDevice = part.kind === "device-receipt"
  const by = isDevice ? "device receipt" : "officer receipt"
  const who = isDevice ? `device ${short(signer)} of ${poc}` : `officer "${title}" of ${poc}`
  const did = isDevice ? "it has opened, verified and archived" : "he or she has seen"
  const text = `${who} signed that ${did} a message with this header and exactly the content in this file`
  const isDated = isPossible(message, time)
  return {
    section,
    kind: by,
    message: receipt.messageId,
    title: `${isDevice ? "delivered" : "acknowledged"}: ${who}, ${utc(time)} by its own clock`,
    proves: [{ to: "anyone", text }],
    doesNotProve: [
      isDevice ? "that anybody has read it" : `that ${poc} agrees: the ${clause}`,
      `that ${message.header.sender.poc} wrote this content: for that it is the word of ${poc}`,
      isDated
        ? "when, other than by the signer's own clock"
        : "when: it is dated before the checkpoint that the header names, so the signer's clock was wrong, or the signer lied",
    ],
    notBefore: { at: utc(message.cited.cosignedAt), by: "log checkpoint" },
    notAfter: isDated ? { at: utc(time), by } : null,
    events: isDevice ? ["ContentHandover"] : ["ContentAccessTracking"],
  }
}

function ofRelayReceipt(section: string, { isTied, message, part, seenSeconds }: JudgedRelayReceipt): Finding {
  const { device, digest, poc, receipt } = part
  const mailbox = `the mailbox of device ${short(device)} of ${poc}`
  const bytes = isTied
    ? "the very bytes from which that device says that it opened this message"
    : `bytes with the digest ${hex(digest)}`
  return {
    section,
    kind: "relay receipt",
    message: hex(message.header.messageId),
    title: `accepted: relay ${receipt.relay} for ${mailbox}, ${utc(receipt.minute * 60)} by its own clock`,
    proves: [{ to: "anyone", text: `relay ${receipt.relay} kept for ${mailbox}, since that minute, ${bytes}` }],
    doesNotProve: isTied
      ? ["what the bytes hold, by the relay's own word: that they are this message is the word of that device"]
      : [
          "that the bytes are this message: no receipt of that device is here, so it is the sender's word",
          "that the device has fetched or opened them",
        ],
    notBefore: null,
    notAfter: { at: utc(seenSeconds), by: "relay receipt" },
    events: isTied ? ["SubmissionAcceptance", "ContentConsignment"] : ["SubmissionAcceptance"],
  }
}

/** Nothing is proved by keys that nobody vouches for. */
export function unanchored(finding: Finding): Finding {
  return {
    ...finding,
    proves: [],
    doesNotProve: ["anything to anyone: without the directory's trust file nobody knows whose keys these are"],
    notBefore: null,
    notAfter: null,
    events: [],
  }
}

const receiptKinds = ["relay receipt", "device receipt", "officer receipt"] as const

/** UTC, to the second. */
export const utc = (atSeconds: number): string => `${new Date(atSeconds * 1000).toISOString().slice(0, 19)}Z`

const short = (id: Uint8Array): string => hex(id).slice(0, 8)

const namesMax = 5
function listed(pocs: readonly string[]): string {
  const more = pocs.length - namesMax
  return pocs.slice(0, namesMax).join(", ") + (more > 0 ? ` and ${more} more` : "")
}
