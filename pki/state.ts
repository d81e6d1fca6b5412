/**
 * The directory, replayed from the log (SPEC, "Directory"). Every entry is judged once, in order, from what the log
 * held before it and from nothing else, no clock included: so all readers of one log come to one directory. An entry
 * that breaks a rule stays in the tree and does not count.
 */
import {
  parsePocAddress,
  type DeviceId,
  type MailboxId,
  type OfficerId,
  type PocAddress,
  type PocName,
} from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { Manifest, ManifestOfficer } from "../protocol/manifest.ts"
import type { JudgeResult } from "../protocol/open.ts"
import type { TrustAnchor } from "./anchor.ts"
import { expiryBanners, judgeSenderOf, type Banner, type JudgedHeader } from "./judgement.ts"
import type { DeviceRecord, Listed, PocHistory } from "./poc-history.ts"
import { Replay, type EntryReason, type RelayListing } from "./replay.ts"
import { memberStates, secretariatState } from "./states.ts"
import { MerkleLog } from "./tree.ts"
import { validateRoot } from "./validator.ts"

export type { DeviceRecord, Listed } from "./poc-history.ts"
export type { EntryReason } from "./replay.ts"

/** A PoC whose certificate has not been revoked; it may have expired. */
export interface PocRecord {
  readonly address: PocAddress
  readonly name: PocName
  readonly organisation: string
  /** Ed25519. */
  readonly key: Uint8Array
  /** DER. */
  readonly certificate: Uint8Array
  readonly certificateIndex: number
  /** The certificate's last second. */
  readonly notAfter: number
  readonly manifest: Manifest | undefined
  readonly manifestIndex: number | undefined
  /** The bytes that the next manifest's `previous` is the hash of. */
  readonly manifestBytes: Uint8Array | undefined
  readonly isDefault: boolean
  readonly secretariat: boolean
}

export interface RelayRecord {
  /** A name or IPv4 address, with `:port` if it has one. */
  readonly host: string
  /** Where it can be reached, e.g. `wss://relay.example/`; may be empty. */
  readonly urls: readonly string[]
  /** Ed25519. */
  readonly key: Uint8Array
  /** DER. */
  readonly certificate: Uint8Array
  /** Seconds. */
  readonly notBefore: number
  readonly notAfter: number
}

export type Applied = { readonly counted: true } | { readonly counted: false; readonly reason: EntryReason }

export class DirectoryState {
  readonly #log = new MerkleLog()
  readonly #replay: Replay
  /** After each leaf, the time of the last entry that counted. */
  readonly #times: number[] = []
  readonly #refused: { readonly index: number; readonly reason: EntryReason }[] = []
  #lookUp: LookUp | undefined

  /** Throws `ERR_UNTRUSTED` if the anchor's root is not one of the profile. */
  constructor(anchor: TrustAnchor) {
    const root = validateRoot(anchor.rootCertificate, anchor.realm)
    if (!root.ok) throw new ValiseError("ERR_UNTRUSTED", `the root certificate is not of the profile: ${root.reason}`)
    this.#replay = new Replay(anchor.realm, root.certificate)
  }

  /** Leaves applied, whether they count or not. */
  get size(): number {
    return this.#log.size
  }

  /** The next leaf of the log. Never throws. */
  apply(leaf: Uint8Array): Applied {
    const index = this.#log.append(leaf)
    const reason = this.#replay.count(leaf, index)
    this.#times.push(this.#replay.time)
    this.#lookUp = undefined
    if (reason === undefined) return { counted: true }
    this.#refused.push({ index, reason })
    return { counted: false, reason }
  }

  /** RFC 6962 root over the first `size` leaves. These three throw `RangeError` if there are not so many. */
  rootAt(size: number): Uint8Array {
    return this.#log.rootAt(size)
  }

  inclusionProof(index: number, size: number): readonly Uint8Array[] {
    return this.#log.inclusionProof(index, size)
  }

  consistencyProof(from: number, to: number): readonly Uint8Array[] {
    return this.#log.consistencyProof(from, to)
  }

  /**
   * A full address, or `state/role` for the State's default. Throws `ERR_UNKNOWN_ADDRESS` with a hint that helps on.
   */
  resolve(text: string): PocRecord {
    const isShort = /^[^/]*\/[^/]*$/.test(text)
    const poc = isShort ? this.#replay.defaults.get(text) : this.#replay.pocs.get(parsePocAddress(text).address)
    const record = poc && this.#recordOf(poc)
    if (record) return record
    throw new ValiseError("ERR_UNKNOWN_ADDRESS", "no such PoC is in the directory", { hint: this.#hintFor(text) })
  }

  poc(address: PocAddress): PocRecord | undefined {
    const poc = this.#replay.pocs.get(address)
    return poc && this.#recordOf(poc)
  }

  pocs(): readonly PocRecord[] {
    return [...this.#replay.pocs.values()].map((poc) => this.#recordOf(poc)).filter((record) => record !== undefined)
  }

  /** Those not revoked; whether one has expired is for the reader to see. */
  relays(): readonly RelayRecord[] {
    return [...this.#replay.relays.values()].map(relayRecord)
  }

  relay(host: string): RelayRecord | undefined {
    const listing = this.#replay.relays.get(host)
    return listing && relayRecord(listing)
  }

  /** Listed by its PoC's manifest, neither it nor the PoC's certificate revoked. */
  device(id: DeviceId): DeviceRecord | undefined {
    return this.#devices().byId.get(hex(id))
  }

  /** An officer whom this PoC lists, or once listed: then `end` says since when and why no longer. */
  officer(poc: PocAddress, officer: OfficerId): Listed<ManifestOfficer> | undefined {
    return this.#replay.pocs.get(poc)?.officer(officer)
  }

  /** Every officer whom this PoC lists or once listed. */
  officersEver(poc: PocAddress): readonly Listed<ManifestOfficer>[] {
    return this.#replay.pocs.get(poc)?.everyOfficer() ?? []
  }

  /** A device that this PoC lists, or once listed. */
  deviceEver(poc: PocAddress, device: DeviceId): Listed<DeviceRecord> | undefined {
    return this.#replay.pocs.get(poc)?.device(device)
  }

  deviceOfMailbox(mailbox: MailboxId): DeviceRecord | undefined {
    return this.#devices().byMailbox.get(hex(mailbox))
  }

  /** Whether certificate and manifest hold, the manifest perhaps by grace: otherwise nobody opens what this PoC sends. */
  isReachable(address: PocAddress, nowSeconds: number): boolean {
    return this.#replay.pocs.get(address)?.isReachable(nowSeconds) ?? false
  }

  /** The devices that a sender seals to: none if certificate or manifest no longer hold. */
  usableDevices(address: PocAddress, nowSeconds: number): readonly DeviceRecord[] {
    const poc = this.#replay.pocs.get(address)
    if (!poc?.isReachable(nowSeconds)) return []
    return poc.devices().filter(({ rights, usableFrom }) => rights.includes("receive") && usableFrom <= nowSeconds)
  }

  /** What a person is told before writing to this PoC. */
  banners(address: PocAddress, nowSeconds: number): readonly Banner[] {
    const poc = this.#replay.pocs.get(address)
    return poc ? expiryBanners(poc, nowSeconds) : []
  }

  /**
   * Whether the sender whom a header names may be believed, with what is known now.
   * @param checkpointSize of the checkpoint that the header names, opened and found consistent with this log
   */
  judgeSender(header: JudgedHeader, checkpointSize: number, nowSeconds: number): JudgeResult {
    if (checkpointSize > this.size) return { ok: false, reason: "checkpoint", notYet: true }
    const cited = { size: checkpointSize, time: this.#times[checkpointSize - 1] ?? 0 }
    return judgeSenderOf(this.#replay.pocs.get(header.sender.poc), header, cited, nowSeconds)
  }

  /** Entries that are in the log and do not count. */
  refused(): readonly { readonly index: number; readonly reason: EntryReason }[] {
    return this.#refused
  }

  #recordOf(poc: PocHistory): PocRecord | undefined {
    if (!poc.certificate || poc.certificateEnd) return undefined
    const { certificate, index } = poc.certificate
    return {
      address: poc.address,
      name: poc.name,
      organisation: certificate.organisation,
      key: certificate.publicKey,
      certificate: certificate.der,
      certificateIndex: index,
      notAfter: certificate.notAfter,
      manifest: poc.manifest?.manifest,
      manifestIndex: poc.manifest?.index,
      manifestBytes: poc.manifest?.bytes,
      isDefault: this.#replay.defaults.get(`${poc.name.state}/${poc.name.role}`) === poc,
      secretariat: poc.isSecretariat,
    }
  }

  #devices(): LookUp {
    if (this.#lookUp) return this.#lookUp
    const devices = [...this.#replay.pocs.values()].flatMap((poc) => (this.#recordOf(poc) ? poc.devices() : []))
    return (this.#lookUp = {
      byId: new Map(devices.map((record) => [hex(record.device), record])),
      byMailbox: new Map(devices.map((record) => [hex(record.mailbox), record])),
    })
  }

  #hintFor(text: string): string {
    const state = text.split("/")[0]!
    if (!memberStates.has(state) && state !== secretariatState)
      return "an address begins with a Member State's two-letter code in lower case, e.g. ke/technical"
    const near = this.pocs().filter(({ name }) => name.state === state)
    if (near.length === 0) return `${state} has no PoC in the directory`
    const names = near
      .slice(0, hintsMax)
      .map(({ address, isDefault }) => (isDefault ? `${address} (default)` : address))
    return `${state} has ${names.join(", ")}${near.length > hintsMax ? ", …" : ""}`
  }
}

interface LookUp {
  readonly byId: ReadonlyMap<string, DeviceRecord>
  readonly byMailbox: ReadonlyMap<string, DeviceRecord>
}

const relayRecord = ({ host, urls, certificate }: RelayListing): RelayRecord => ({
  host,
  urls,
  key: certificate.publicKey,
  certificate: certificate.der,
  notBefore: certificate.notBefore,
  notAfter: certificate.notAfter,
})

/** A hint is one line on a screen. */
const hintsMax = 6
