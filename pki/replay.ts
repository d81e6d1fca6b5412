/**
 * The rules by which entries count (SPEC, "Directory"), kind by kind. Each judges first and changes something only if
 * it counts.
 */
import { parsePocAddress, type PocAddress, type PocName, type Realm } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { followsManifest, isCoSigned, readManifest, type ManifestOfficer } from "../protocol/manifest.ts"
import { verifyStatement } from "../protocol/statement.ts"
import { agreementOn, approvalId, approvingOfficers, type Agreement, type Proposal } from "./authority.ts"
import {
  bodyStructures,
  certificateHash,
  entryKinds,
  entryStructure,
  revocationStructure,
  type CaBody,
  type CertificateBody,
  type DefaultBody,
  type EntryKind,
  type ManifestBody,
  type RelayBody,
  type RevocationBody,
  type RoleBody,
} from "./entries.ts"
import { PocHistory } from "./poc-history.ts"
import { provesPossession } from "./possession.ts"
import type { LeafSubject } from "./profile.ts"
import { findTarget } from "./revocation.ts"
import { firstRoles, memberStates, secretariatRole, secretariatState } from "./states.ts"
import { validateCa, validateLeaf, type CertificateReason } from "./validator.ts"
import type { Certificate } from "./x509.ts"

/** Why an entry does not count: a closed list, with the certificate's own reason after a colon. */
export const entryReasons = [
  "malformed", // not an entry, or not a body of its kind
  "version", // of a later version, or with a critical field that is unknown here
  "kind",
  "time", // earlier than an entry before it
  "approval", // one of its approvals is false, for something else, out of time or used before
  "not-approved", // too few approvals
  "no-ca", // no issuing CA in force
  "repeated", // what it adds is there already
  "address", // no Member State, no role, or not the Secretariat's
  "possession", // the key has not asked for this certificate
  "key-used", // the key is somebody else's
  "key-compromised",
  "default", // a State and role would have two defaults, or none
  "unknown", // the PoC, certificate, device, officer, relay or CA that it is about
  "not-in-force", // the PoC's certificate has ended or expired
  "manifest", // false, or not the PoC's
  "manifest-order", // not the version after the last
  "manifest-dates", // made in the future, or expired when it was logged
  "approvers", // the Secretariat would be left with fewer officers than it takes to approve
  "signature", // the requester's
  "not-entitled", // this requester may not end that
  "contested", // reserved
  "effective", // in the future, or before the certificate's time
] as const
export type EntryReason = (typeof entryReasons)[number] | `certificate:${CertificateReason}`

export interface RelayListing {
  readonly host: string
  readonly urls: readonly string[]
  readonly certificate: Certificate
}

export class Replay {
  readonly #realm: Realm
  readonly #root: Certificate
  readonly #isExcerpt: boolean
  #time = 0
  #secretariat: PocHistory | undefined
  /** Issuing CAs in force. */
  readonly #cas = new Set<Certificate>()
  readonly #roles = new Set<string>(firstRoles)
  /** In hexadecimal: approvals that made an entry count, certificates that counted, keys revoked for compromise. */
  readonly #usedApprovals = new Set<string>()
  readonly #certificates = new Set<string>()
  readonly #compromisedKeys = new Set<string>()
  /** Certified keys, in hexadecimal, and whose they are. */
  readonly #keyHolders = new Map<string, string>()
  readonly #pocs = new Map<PocAddress, PocHistory>()
  /** By `state/role`. */
  readonly #defaults = new Map<string, PocHistory>()
  readonly #relays = new Map<string, RelayListing>()
  /** Every relay's certificates that have not been ended, replaced ones too, by their hash in hexadecimal. */
  readonly #relayCertificates = new Map<string, RelayListing>()

  /**
   * @param options.excerpt the entries are only some of a log's: whether a State and role have exactly one default
   * cannot be judged from them, and is not
   */
  constructor(realm: Realm, root: Certificate, { excerpt = false }: { readonly excerpt?: boolean } = {}) {
    this.#realm = realm
    this.#root = root
    this.#isExcerpt = excerpt
  }

  /** The time of the last entry that counted, in seconds; 0 if none did. */
  get time(): number {
    return this.#time
  }

  get pocs(): ReadonlyMap<PocAddress, PocHistory> {
    return this.#pocs
  }

  /** By `state/role`; may have ended since. */
  get defaults(): ReadonlyMap<string, PocHistory> {
    return this.#defaults
  }

  /** Those not revoked, by host. */
  get relays(): ReadonlyMap<string, RelayListing> {
    return this.#relays
  }

  /** What was listed with this certificate, now or before its relay got another, unless that has been ended. */
  relayWithCertificate(hash: Uint8Array): RelayListing | undefined {
    return this.#relayCertificates.get(hex(hash))
  }

  /** Takes the entry in if it counts; otherwise says why not, and nothing has changed. Never throws. */
  count(leaf: Uint8Array, index: number): EntryReason | undefined {
    try {
      return this.#count(leaf, index)
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
      if (error.code === "ERR_VERSION") return "version"
      return error.code === "ERR_UNTRUSTED" ? "manifest" : "malformed"
    }
  }

  #count(leaf: Uint8Array, index: number): EntryReason | undefined {
    if (leaf.length > fixed.logEntryBytesMax) return "malformed"
    const entry = entryStructure.decode(leaf)
    const kind = entryKinds.find((known) => known === entry.kind)
    if (!kind) return "kind"
    if (entry.time < this.#time) return "time"
    const at = { kind, index, time: entry.time, body: entry.body, approvals: entry.approvals ?? [] }
    const reason = this.#rules[kind](at)
    if (reason !== undefined) return reason
    this.#time = entry.time
    for (const approval of at.approvals) this.#usedApprovals.add(approvalId(approval))
    return undefined
  }

  readonly #rules: Readonly<Record<EntryKind, (at: At) => EntryReason | undefined>> = {
    ca: (at) => this.#countCa(bodyStructures.ca.decode(at.body), at),
    certificate: (at) => this.#countCertificate(bodyStructures.certificate.decode(at.body), at),
    manifest: (at) => this.#countManifest(bodyStructures.manifest.decode(at.body), at),
    relay: (at) => this.#countRelay(bodyStructures.relay.decode(at.body), at),
    revocation: (at) => this.#countRevocation(bodyStructures.revocation.decode(at.body), at),
    default: (at) => this.#countDefault(bodyStructures.default.decode(at.body), at),
    role: (at) => this.#countRole(bodyStructures.role.decode(at.body), at),
  }

  #countCa({ certificate }: CaBody, at: At): EntryReason | undefined {
    const judgement = validateCa(certificate, this.#root, this.#realm, at.time)
    if (!judgement.ok) return `certificate:${judgement.reason}`
    if (this.#certificates.has(idOf(certificate))) return "repeated"
    // It needs none, but false ones would be remembered as used.
    if (!this.#agreement(at)) return "approval"
    this.#certificates.add(idOf(certificate))
    this.#cas.add(judgement.certificate)
    return undefined
  }

  #countCertificate(body: CertificateBody, at: At): EntryReason | undefined {
    const { state, role, agency } = parsePocAddress(body.poc)
    const name = { state, role, agency }
    if (!this.#mayBeEnrolled(body, name)) return "address"
    const known = this.#pocs.get(body.poc)
    const certificate = this.#certified({ use: body.use, poc: name }, body, body.poc, at.time)
    if (typeof certificate === "string") return certificate
    const present = this.#defaults.get(roleOf(name))
    const isTaken = present !== undefined && present !== known && present.isInForce(at.time)
    if (body.isDefault === isTaken && !this.#isExcerpt) return "default"

    const agreement = this.#agreement(at, known)
    if (!agreement) return "approval"
    const isFirst = body.use === "secretariat" && !this.#secretariat
    if (!isFirst && !agreement.holder && !agreement.officers) return "not-approved" // defence: 5 issuance-approved

    const poc = known ?? new PocHistory(body.poc, name, body.use === "secretariat")
    const signer = isFirst || agreement.officers ? undefined : hex(known!.certificate!.certificate.publicKey)
    poc.add({ kind: "certificate", index: at.index, time: at.time, certificate, signer })
    this.#pocs.set(body.poc, poc)
    if (body.isDefault) this.#defaults.set(roleOf(name), poc)
    if (poc.isSecretariat) this.#secretariat = poc
    this.#keepCertified(certificate, body.poc)
    return undefined
  }

  #countManifest(body: ManifestBody, at: At): EntryReason | undefined {
    const poc = this.#pocs.get(body.poc)
    if (!poc?.certificate) return "unknown"
    if (!poc.isInForce(at.time)) return "not-in-force"
    const key = poc.certificate.certificate.publicKey
    const manifest = readManifest({ address: poc.address, key }, this.#realm, body.manifest)
    if (!followsManifest(poc.manifest, manifest)) return "manifest-order"
    if (manifest.created > at.time + fixed.clockSkewSecondsMax || manifest.expires < at.time) return "manifest-dates"
    const listed = [...manifest.devices, ...manifest.officers]
    if (listed.some((x) => this.#compromisedKeys.has(hex(x.key)))) return "key-compromised"

    const agreement = this.#agreement(at)
    if (!agreement) return "approval"
    if (poc.isSecretariat) {
      const next = manifest.officers.filter((x) => x.rights.includes("approve") && !poc.isRevoked(x.officer))
      if (next.length < fixed.approvalsMin) return "approvers"
      const changesApprovers = !sameOfficers(next, approvingOfficers(poc))
      if (poc.manifest && changesApprovers && !agreement.officers) return "not-approved" // defence: 5 approvers-approved
    }

    const older = poc.devices().filter(({ usableFrom }) => usableFrom <= at.time) // defence: 5 voucher-in-use => const older = poc.devices()
    const { bytes } = body.manifest
    poc.add({
      kind: "manifest",
      index: at.index,
      time: at.time,
      manifest,
      bytes,
      signer: hex(key),
      isCoSigned: isCoSigned(this.#realm, bytes, body.coSignatures ?? [], older),
    })
    return undefined
  }

  #countRelay(body: RelayBody, at: At): EntryReason | undefined {
    const holder = `relay ${body.host}`
    const certificate = this.#certified({ use: "relay", host: body.host }, body, holder, at.time)
    if (typeof certificate === "string") return certificate
    const agreement = this.#agreement(at)
    if (!agreement) return "approval"
    if (!agreement.officers) return "not-approved" // defence: 5 relay-approved
    const listing = { host: body.host, urls: body.urls, certificate }
    this.#relays.set(body.host, listing)
    this.#relayCertificates.set(idOf(certificate.der), listing)
    this.#keepCertified(certificate, holder)
    return undefined
  }

  #countDefault(body: DefaultBody, at: At): EntryReason | undefined {
    const poc = this.#pocs.get(body.poc)
    if (!poc) return "unknown"
    if (!poc.isInForce(at.time)) return "not-in-force"
    const present = this.#defaults.get(roleOf(poc.name))
    if (present === poc) return "repeated"
    const agreement = this.#agreement(at, present)
    if (!agreement) return "approval"
    // While the present default holds, only it can hand over: nobody else decides who receives a State's mail.
    const mayOfficers = !present?.isInForce(at.time)
    if (!agreement.holder && !(agreement.officers && mayOfficers)) return "not-approved" // defence: 5 default-handed-over => if (!agreement.holder && !agreement.officers) return "not-approved"
    this.#defaults.set(roleOf(poc.name), poc)
    return undefined
  }

  #countRole({ role }: RoleBody, at: At): EntryReason | undefined {
    if (this.#roles.has(role) || role === secretariatRole) return "repeated"
    const agreement = this.#agreement(at)
    if (!agreement) return "approval"
    if (!agreement.officers) return "not-approved"
    this.#roles.add(role)
    return undefined
  }

  #countRevocation({ statement }: RevocationBody, at: At): EntryReason | undefined {
    const revocation = revocationStructure.decode(statement.bytes)
    if (!verifyStatement(revocation.requester, this.#realm, "revocation", statement)) return "signature" // defence: 14 revocation-signature
    if (revocation.contested) return "contested"
    if (revocation.effective > at.time + fixed.clockSkewSecondsMax) return "effective"
    const agreement = this.#agreement(at)
    if (!agreement) return "approval"
    const endable = {
      cas: this.#cas,
      relays: this.#relays,
      relayCertificates: this.#relayCertificates,
      pocs: this.#pocs,
    }
    const target = findTarget(revocation.target, endable, at.time)
    if (!target) return "unknown"
    const byOfficers = agreement.officers && this.#isSecretariatKey(revocation.requester)
    const byHolder = target.holders.some((key) => equal(key, revocation.requester))
    if (!byHolder && !(byOfficers && target.officersMay)) return "not-entitled" // defence: 21 revocation-entitled
    if (revocation.effective < target.since) return "effective"
    const { reason } = revocation
    if (reason === "compromise") this.#compromisedKeys.add(hex(target.key))
    target.end({ index: at.index, moment: Math.min(revocation.effective, at.time), reason })
    return undefined
  }

  /** The certificate, if the profile allows it for this subject now and its key is the subject's alone. */
  #certified(
    subject: LeafSubject,
    { certificate: der, member }: { readonly certificate: Uint8Array; readonly member: Uint8Array },
    holder: string,
    atSeconds: number,
  ): Certificate | EntryReason {
    const judgements = [...this.#cas].map((ca) => validateLeaf(der, ca, this.#realm, subject, atSeconds))
    const judgement = judgements.find(({ ok }) => ok) ?? judgements.at(-1)
    if (!judgement) return "no-ca"
    if (!judgement.ok) return `certificate:${judgement.reason}`
    const { certificate } = judgement
    const key = hex(certificate.publicKey)
    if (!provesPossession(this.#realm, subject, certificate.publicKey, member)) return "possession" // defence: 31 possession
    if (this.#compromisedKeys.has(key)) return "key-compromised"
    if ((this.#keyHolders.get(key) ?? holder) !== holder) return "key-used"
    return this.#certificates.has(idOf(der)) ? "repeated" : certificate
  }

  #keepCertified(certificate: Certificate, holder: string): void {
    this.#certificates.add(idOf(certificate.der))
    this.#keyHolders.set(hex(certificate.publicKey), holder)
  }

  #mayBeEnrolled({ use, poc }: CertificateBody, { state, role }: PocName): boolean {
    if (use === "poc") return memberStates.has(state) && this.#roles.has(role)
    const isTheOne = this.#secretariat === undefined || this.#secretariat.address === poc
    return state === secretariatState && role === secretariatRole && isTheOne
  }

  #isSecretariatKey(key: Uint8Array): boolean {
    const certificate = this.#secretariat?.certificate?.certificate
    return certificate !== undefined && equal(key, certificate.publicKey)
  }

  #agreement({ kind, body, time, approvals }: At, holder?: PocHistory): Agreement | undefined {
    const approvers = { realm: this.#realm, secretariat: this.#secretariat, holder, used: this.#usedApprovals }
    return agreementOn({ kind, body, time, approvals }, approvers)
  }
}

/** An entry at its place in the log. */
interface At extends Proposal {
  readonly index: number
}

const roleOf = ({ state, role }: PocName): string => `${state}/${role}`

const idOf = (certificate: Uint8Array): string => hex(certificateHash(certificate))

function sameOfficers(a: readonly ManifestOfficer[], b: readonly ManifestOfficer[]): boolean {
  const ids = new Set(a.map(({ officer }) => hex(officer)))
  return a.length === b.length && b.every(({ officer }) => ids.has(hex(officer)))
}
