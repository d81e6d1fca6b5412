/** TYPES FIRST; the implementation follows within the hour. The directory as replayed from the log (SPEC §8). */
import type { DeviceId, MailboxId, OfficerId, PocAddress, PocName } from "../protocol/address.ts"
import type { TrustAnchor } from "./anchor.ts"

export interface PocRecord {
  readonly address: PocAddress
  readonly name: PocName
  readonly organisation: string
  readonly key: Uint8Array
  /** DER. */
  readonly certificate: Uint8Array
  readonly certificateIndex: number
  /** Seconds: the certificate's last. */
  readonly notAfter: number
  readonly manifest: import("../protocol/manifest.ts").Manifest | undefined
  readonly manifestIndex: number | undefined
  readonly isDefault: boolean
  readonly secretariat: boolean
}

export interface DeviceRecord {
  readonly poc: PocAddress
  readonly device: DeviceId
  readonly key: Uint8Array
  readonly relay: string
  readonly mailbox: MailboxId
  readonly rights: readonly ("send" | "receive")[]
  /** The log entry that first listed it. */
  readonly listedAt: number
  /** Seconds: since when senders seal to it. */
  readonly usableFrom: number
}

export interface RelayRecord {
  /** A name or IPv4 address, with or without `:port`: the one that clients dial and prove in the login. */
  readonly host: string
  /** Where it can be reached, e.g. `wss://relay.example/`; empty if that is told elsewhere. */
  readonly urls: readonly string[]
  readonly key: Uint8Array
  readonly certificate: Uint8Array
  readonly notBefore: number
  readonly notAfter: number
}

export type Applied = { readonly counted: true } | { readonly counted: false; readonly reason: string }

/** Assignable to JudgeResult of protocol/open.ts. */
export type SenderJudgement =
  | {
      readonly ok: true
      readonly deviceKey: Uint8Array
      readonly officerKey?: Uint8Array | undefined
      readonly banners: readonly string[]
    }
  | {
      readonly ok: false
      readonly reason: "sender" | "revoked" | "checkpoint"
      readonly notYet?: boolean | undefined
    }

export declare class DirectoryState {
  constructor(anchor: TrustAnchor)
  /** Leaves applied, whether they count or not. */
  get size(): number
  /** The next leaf, in order. No clock: every reader comes to the same state. Never throws. */
  apply(leaf: Uint8Array): Applied
  rootAt(size: number): Uint8Array
  inclusionProof(index: number, size: number): readonly Uint8Array[]
  consistencyProof(from: number, to: number): readonly Uint8Array[]
  resolve(text: string): PocRecord
  poc(address: PocAddress): PocRecord | undefined
  pocs(): readonly PocRecord[]
  relays(): readonly RelayRecord[]
  relay(host: string): RelayRecord | undefined
  /** Listed by its PoC's manifest in force, neither it nor the PoC revoked. */
  device(id: DeviceId): DeviceRecord | undefined
  deviceOfMailbox(mailbox: MailboxId): DeviceRecord | undefined
  usableDevices(poc: PocAddress, nowSeconds: number): readonly DeviceRecord[]
  judgeSender(
    header: {
      readonly sender: { readonly poc: PocAddress; readonly device: DeviceId; readonly officer?: OfficerId | undefined }
      readonly created: number
    },
    checkpointSize: number,
    nowSeconds: number,
  ): SenderJudgement
  refused(): readonly { readonly index: number; readonly reason: string }[]
}
