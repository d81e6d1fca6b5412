/**
 * What a vault holds, collection by collection. The volatile part (prekey secrets, replay store, counters) goes back in
 * time with a restored backup, so backups leave it out and a vault without it starts a new incarnation (SPEC, "Prekeys").
 */
import { z } from "zod"
import type {
  DeviceId,
  Hash,
  Incarnation,
  MailboxId,
  MessageId,
  OfficerId,
  PocAddress,
  PrekeyId,
} from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import type { ConsentScope, RequestId } from "../protocol/consent.ts"
import type { ForwardReason, Paper } from "../protocol/forward.ts"
import type { Leaf } from "../protocol/leaves.ts"
import type { PrekeyKind } from "../protocol/prekey.ts"
import type { RelayReceipt } from "../protocol/relay-receipt.ts"
import type { Signed } from "../protocol/statement.ts"
import type { MessageType, NoticeKind } from "./api.ts"
import type { Locked } from "./vault/lock.ts"
import type { Collection, CollectionTable, ReadTx, VaultTx } from "./vault/schema.ts"
import type { Vault } from "./vault/vault.ts"

/** The vault authenticates every record, so a shape here only keeps versions apart from accidents. */
const records = <T extends object>(options: { volatile?: boolean } = {}): Collection<T> => ({
  shape: z.custom<T>((value) => typeof value === "object" && value !== null),
  ...options,
})

export const collections = {
  /** `self`: who this installation is. */
  identity: records<IdentityRecord>(),
  /** Officer keys, each locked with a secret of its holder, key: hex of the officer id; and the PoC's key, key: `poc`. */
  keys: records<KeyRecord>(),
  /** The mirrored log, key: index as 10 digits. */
  log: records<{ bytes: Uint8Array }>(),
  /** `newest`; and `contradicting`: the first one that the log signed and that contradicts this mirror. */
  checkpoint: records<{ note: Uint8Array; size: number }>(),
  /** What of the log was made in this vault, key: see `own-entries.ts`. */
  made: records<{ at: number }>(),
  /** `log`: how many of its entries have been looked through; `drained`: when the mailbox was last seen empty, in seconds. */
  watched: records<{ n: number }>(),
  /** Every message sent or received, key: see `archive.ts`. */
  messages: records<MessageRecord>(),
  /** Messages not yet accepted by the relay for every device, key: hex of the message id. */
  outbox: records<OutboxRecord>(),
  /** What is on its way to one device each, key: `message:device`. */
  outgoing: records<OutgoingRecord>(),
  /** The relay's receipts, key: `message:device`. */
  accepted: records<AcceptedRecord>(),
  /** Messages of which a duty officer is told if they expire undelivered, key: that of the message. */
  awaited: records<{ expires: number }>(),
  /** Signed receipts received and given, key: `message:kind:poc:signer`. */
  receipts: records<ReceiptRecord>(),
  /** Consent requests, key: hex of the request id. */
  consents: records<ConsentRecord>(),
  /** key: time as 12 digits, then 8 random ones. */
  notices: records<NoticeRecord>(),
  /** key: hex of the prekey id. */
  prekeys: records<PrekeyRecord>({ volatile: true }),
  /** key: `sender device:message id`. */
  replay: records<ReplayRecord>({ volatile: true }),
  counters: records<CounterRecord>({ volatile: true }),
} as const satisfies CollectionTable

export const journalEvents = [
  "enrolled",
  "composed",
  "sealed",
  "accepted",
  "expired",
  "given-up",
  "opened",
  "not-opened",
  "equivocation",
  "delivered",
  "acknowledgement",
  "acknowledged",
  "receipt-refused",
  "consent",
  "forwarded",
  "exported",
] as const
export type JournalEvent = (typeof journalEvents)[number]

export const homeSchema = { collections, events: journalEvents }

export type HomeVault = Vault<typeof collections, JournalEvent>
export type Tx = VaultTx<typeof collections, JournalEvent>
export type Reader = ReadTx<typeof collections, JournalEvent>

export interface CounterRecord {
  n: number
  missing?: number[]
  /** Numbers up to here are not watched any more. */
  floor?: number
  /** Seconds. */
  at?: number
  incarnation?: Incarnation
}

/** The next message's place: behind all that are here, also in a restored backup, which has no counters. */
export function nextOrder(tx: Tx): number {
  const counted = tx.get("counters", "order")?.n
  const last = counted ?? [...tx.list("messages")].reduce((max, [, row]) => Math.max(max, row.order), 0)
  tx.put("counters", "order", { n: last + 1 })
  return last + 1
}

export interface IdentityRecord {
  poc: PocAddress
  device: DeviceId
  deviceSeed: Uint8Array
  relay: string
  mailbox: MailboxId
  /** The trust file's text. */
  trust: string
}

export interface KeyRecord {
  title: string
  locked: Locked
}

export interface MessageRecord {
  direction: "in" | "out"
  id: MessageId
  case: Uint8Array
  type: MessageType
  from: PocAddress
  device: DeviceId
  to: PocAddress[]
  created: number
  expires: number
  contentKey: Uint8Array
  leaves: Leaf[]
  banners: string[]
  /** Rises with every message that this vault wrote or received. */
  order: number
  /** Set once sealed; for received messages always. */
  sealed?: SealedRecord
  officer?: OfficerId
  officerTitle?: string
  acknowledgedAt?: number
  /** The title of the officer of this PoC who did, at this device or another one. */
  acknowledgedBy?: string
  /** Per recipient device, for messages sent. */
  devices?: DeviceRecord[]
  /** Expired while receipts for it may have expired as well, unread. */
  receiptsLost?: true
  /** For `forward`: T's verdict as last judged. */
  forward?: { requestId: RequestId; verifiedFrom?: PocAddress; unverified?: ForwardReason }
}

export interface SealedRecord {
  header: Signed
  release?: Uint8Array
  headerHash: Hash
  contentHash: Hash
  checkpoint: Uint8Array
  /** Own entry, for received messages. */
  entry?: Uint8Array
  index?: number
  path?: Uint8Array[]
  digest?: Hash
  kind?: PrekeyKind
}

export interface DeviceRecord {
  poc: PocAddress
  device: DeviceId
  mailbox: MailboxId
  /** Its number in the row of messages to this device, once sealed; none if there was no prekey for it. */
  n?: number
  kind?: PrekeyKind
  digest?: Hash
}

export interface OutboxRecord {
  id: MessageId
  state: "composed" | "keyed" | "sealed"
  strictForwardSecrecy: boolean
  copyToOwnDevices: boolean
  /** In which it was composed. */
  incarnation: Incarnation
  /** Once sealed: envelopes that the relay has not accepted yet. */
  waiting?: number
}

/** A record for each device, so that a message to everybody is neither one huge record nor written anew for each answer. */
export type OutgoingRecord = { prekey: Signed } | { blind: Uint8Array; bytes: Uint8Array }

export interface AcceptedRecord {
  receipt: RelayReceipt
  blind: Uint8Array
}

/** The key of what there is once for each device of a message. @param message the message's own key */
export const perDevice = (message: string, device: DeviceId): string => `${message}:${hex(device)}`

export interface ReceiptRecord {
  message: MessageId
  kind: "device-receipt" | "officer-receipt"
  poc: PocAddress
  signer: Uint8Array
  signed: Signed
  at: number
  /** `true` if this vault's own device or officer signed it. */
  own: boolean
}

/** One request, seen from this PoC; at T built from the papers that arrived. */
export interface ConsentRecord {
  requestId: RequestId
  role: "forwarder" | "sender" | "involved" | "third-party"
  /** As asked; at T as first consented to or attested. */
  scope: ConsentScope
  /** Known to all but T before the forward arrives. */
  involved: PocAddress[]
  asked: number
  mine: "nothing" | "granted" | "refused" | "withdrawn"
  consents: (Paper & { signature?: Uint8Array; officer?: OfficerId })[]
  refused: PocAddress[]
  withdrawn: PocAddress[]
  /** At T: the first of each PoC that claims to be the sender; the forward says which of them it needs. */
  attestations: Paper[]
  /** S has said that it attested (at R), or has attested (at S). */
  attested: boolean
  forwarded: boolean
  /** When the third party says that it used what it was given; seconds. */
  used?: number
}

export interface NoticeRecord {
  at: number
  kind: NoticeKind
  text: string
  /** When a person said that it has been read. */
  seenAt?: number
}

export interface PrekeyRecord {
  id: PrekeyId
  kind: PrekeyKind
  seed: Uint8Array
  n: number
  nbf: number
  exp: number
  /** Set before it leaves; `publishedAt` once the relay has confirmed it. */
  published: boolean
  publishedAt?: number
  supersededAt?: number
}

export interface ReplayRecord {
  header: Hash
  content: Hash
  expires: number
  prekey: PrekeyId
}
