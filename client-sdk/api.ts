/**
 * The public types of the SDK: what a program sees of a message, its delivery and its consents.
 * Nothing here needs cryptographic knowledge; times are ISO 8601 strings in UTC.
 */
import type { PocAddress } from "../protocol/address.ts"
import type { Tlp } from "../protocol/tlp.ts"

/** A message or case id as people see it: hexadecimal; commands accept any unique prefix. */
export type Id = string

export const dispositions = [
  "acting",
  "needs-information",
  "declined",
  "disputed",
  "redirected",
  "lacks-capacity",
  "resolved",
] as const
export type Disposition = (typeof dispositions)[number]

export interface SendInput {
  /** Addresses, e.g. `sg/technical` for the State's default or `sg/technical/banyan`. */
  readonly to: readonly string[]
  readonly template?: string
  readonly tlp: Tlp
  readonly subject: string
  /** What the template asks for; checked against its schema. */
  readonly content: Readonly<Record<string, unknown>>
  /** A STIX 2.1 bundle or a MISP event, carried byte for byte. */
  readonly indicators?: Uint8Array
  /** Further parts, each of which can be shared or withheld alone. */
  readonly parts?: Readonly<Record<string, Uint8Array>>
  /** BCP 47; `en` unless told. */
  readonly language?: string
  /** Lifetime in seconds, 14 days at most and by default. */
  readonly lifetimeSeconds?: number
  /** Who must consent before anybody passes it on; the default is the sender and every recipient. */
  readonly involved?: readonly string[]
  /** Refuse to fall back to a rotating prekey; demanded for TLP:RED unless told otherwise. */
  readonly strictForwardSecrecy?: boolean
}

export interface RespondInput {
  readonly disposition: Disposition
  readonly note?: string
  /** For `disputed`: the leaf whose facts are disputed. */
  readonly disputes?: string
  /** For `redirected`: the PoC to turn to. */
  readonly redirectedTo?: string
}

export interface ReplyInput {
  readonly text: string
  readonly indicators?: Uint8Array
}

/** What happened to one message at one recipient PoC; silence is lawful and never hidden. */
export interface RecipientStatus {
  readonly poc: PocAddress
  readonly devices: readonly DeviceStatus[]
  readonly acknowledged?: { readonly officer: string; readonly at: string }
  readonly response?: { readonly disposition: Disposition; readonly at: string; readonly message: Id }
  /**
   * `waiting` nothing has left this device; `undelivered` expired without a device's receipt; `delivered-silent` nobody
   * has acknowledged; `unknown` expired, and receipts for it may have expired unread while this device was away for more
   * than two weeks; `sent-elsewhere` another device of this PoC sent it, and knows how far it has come.
   */
  readonly state:
    | "waiting"
    | "accepted"
    | "delivered"
    | "acknowledged"
    | "responded"
    | "undelivered"
    | "delivered-silent"
    | "unknown"
    | "sent-elsewhere"
}

export interface DeviceStatus {
  readonly device: Id
  readonly accepted?: { readonly relay: string; readonly minute: string }
  readonly delivered?: { readonly at: string }
  /** Whether it was sealed to a one-time or to a rotating prekey. */
  readonly prekey?: "one-time" | "rotating"
}

export const messageTypes = [
  "notification",
  "reply",
  "response",
  "consent-request",
  "consent",
  "consent-refusal",
  "consent-withdrawal",
  "attestation",
  "attested",
  "forward",
  "use-receipt",
  "device-receipt",
  "officer-receipt",
] as const
export type MessageType = (typeof messageTypes)[number]

export interface MessageView {
  readonly id: Id
  readonly case: Id
  readonly direction: "in" | "out"
  readonly type: MessageType
  readonly from: PocAddress
  readonly to: readonly PocAddress[]
  readonly involved: readonly PocAddress[]
  /** The title of the officer who released it. */
  readonly releasedBy?: string
  readonly subject?: string
  readonly tlp?: Tlp
  readonly created: string
  readonly expires: string
  readonly inReplyTo?: Id
  readonly template?: string
  readonly content?: unknown
  readonly response?: RespondInput
  /** Names and lengths of the parts. */
  readonly parts: readonly { readonly name: string; readonly bytes: number }[]
  /** Things that a duty officer must see: a manifest in its days of grace, a fallback to a rotating key, … */
  readonly banners: readonly string[]
  /** For `forward`: whether it is verified, and whose word it is. */
  readonly forward?: ForwardView
  readonly acknowledged?: string
  /** The title of the officer who did, at whichever device of this PoC. */
  readonly acknowledgedBy?: string
  /** What this PoC has answered to a message received. */
  readonly answered?: RecipientStatus["response"]
  readonly status?: readonly RecipientStatus[]
}

export interface ForwardView {
  readonly requestId: Id
  readonly forwarder: PocAddress
  /** Set only if S attested and everyone involved consented: *verified from* this PoC. */
  readonly verifiedFrom?: PocAddress
  /** Why it is quarantined: *unverified: the forwarder's word only*. */
  readonly unverified?: string
  readonly parts: readonly { readonly name: string; readonly bytes: number }[]
}

export interface ConsentView {
  readonly requestId: Id
  readonly message: Id
  readonly role: "forwarder" | "sender" | "involved" | "third-party"
  readonly sender: PocAddress
  readonly forwarder: PocAddress
  readonly thirdParty: PocAddress
  readonly leaves: readonly string[]
  readonly purpose: string
  readonly tlp: Tlp
  readonly involved: readonly PocAddress[]
  readonly consented: readonly PocAddress[]
  readonly refused: readonly PocAddress[]
  readonly withdrawn: readonly PocAddress[]
  readonly attested: boolean
  /** What this PoC itself has said. */
  readonly mine: "nothing" | "granted" | "refused" | "withdrawn"
  readonly state: "open" | "granted" | "refused" | "withdrawn" | "expired"
  readonly forwarded: boolean
  /** When the third party says that it used what it was given. */
  readonly used?: string
}

/** What the PoC's manifest lists. */
export interface Members {
  readonly version: number
  readonly expires: string
  readonly devices: readonly DeviceMember[]
  readonly officers: readonly OfficerMember[]
}

export interface DeviceMember {
  readonly id: Id
  readonly relay: string
  readonly rights: readonly string[]
  /** Whether this is the installation that says so. */
  readonly here: boolean
  /** Since when it was revoked. */
  readonly ended?: string
  /** Peers write to it from then on; nobody vouched for it. */
  readonly usableFrom?: string
}

export interface OfficerMember {
  readonly id: Id
  readonly title: string
  readonly rights: readonly string[]
  /** Whether the key lies in this vault. */
  readonly here: boolean
  readonly ended?: string
}

export interface Notice {
  readonly id: Id
  readonly at: string
  readonly kind: NoticeKind
  /** Words for a person; no content of messages. */
  readonly text: string
  /** When a person said that it has been read. */
  readonly seen?: string
}

export const noticeKinds = [
  "withholding",
  "sequence-gap",
  "roll-back",
  "equivocation",
  "split-view",
  "stale-directory",
  "own-entry",
  "not-listed",
  "manifest-expiring",
  "certificate-expiring",
  "undelivered",
  "not-opened",
  "no-prekeys",
  "unauthorised",
  "intercepted",
] as const
export type NoticeKind = (typeof noticeKinds)[number]

export type LinkStatus =
  | { readonly state: "connecting"; readonly attempt: number }
  | { readonly state: "live"; readonly relay: string }
  | { readonly state: "offline"; readonly reason: string; readonly retryInMs: number }
  | { readonly state: "elsewhere" }
  | { readonly state: "closed" }

/** Everything that happens, in the order in which it became durable. */
export type PocEvent =
  | { readonly kind: "link"; readonly status: LinkStatus }
  | {
      readonly kind: "message"
      readonly message: Id
      readonly type: MessageType
      readonly case: Id
      readonly from: PocAddress
    }
  | { readonly kind: "accepted"; readonly message: Id; readonly poc: PocAddress; readonly device: Id }
  | { readonly kind: "delivered"; readonly message: Id; readonly poc: PocAddress; readonly device: Id }
  | { readonly kind: "acknowledged"; readonly message: Id; readonly poc: PocAddress; readonly officer: string }
  | {
      readonly kind: "consent"
      readonly requestId: Id
      readonly change: "requested" | "granted" | "refused" | "withdrawn" | "attested" | "verified"
    }
  | { readonly kind: "notice"; readonly notice: Notice }
