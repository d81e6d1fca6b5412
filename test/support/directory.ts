/** A whole invented directory: root, issuing CA, Secretariat with three officers, and PoCs by name. */
import { randomBytes } from "node:crypto"
import {
  deviceIdOf,
  mailboxOf,
  officerIdOf,
  parsePocAddress,
  type PocAddress,
  type Realm,
} from "../../protocol/address.ts"
import {
  coSignManifest,
  manifestHash,
  signManifest,
  signMember,
  type Manifest,
  type ManifestDevice,
  type ManifestOfficer,
  type OfficerRight,
} from "../../protocol/manifest.ts"
import type { SigningKey } from "../../protocol/primitives.ts"
import type { Signed } from "../../protocol/statement.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import { issueCa, issueLeaf, issueRoot, makeIssuerKey, type Issuer } from "../../pki/certificate.ts"
import {
  certificateHash,
  encodeBody,
  encodeEntry,
  signApproval,
  signRevocation,
  subjectOf,
  type Approval,
  type BodyOf,
  type EntryKind,
  type Revocation,
  type RevocationTarget,
} from "../../pki/entries.ts"
import { encodeVerifierKey, verifierKey } from "../../pki/note.ts"
import { noWitnesses } from "../../pki/policy.ts"
import { signPossession } from "../../pki/possession.ts"
import type { LeafSubject } from "../../pki/profile.ts"
import { DirectoryState, type Applied } from "../../pki/state.ts"
import { signingKeyOf } from "./papers.ts"
import { live } from "./sealing.ts"

export const day = 86_400
export const start = 1_800_000_000
export const secretariat = "un/secretariat/valise" as PocAddress
/** The Secretariat's officers who may approve. */
export const approvers = ["first", "second", "third"] as const
export type Approver = (typeof approvers)[number]
const random = (length: number): Uint8Array => new Uint8Array(randomBytes(length))

export interface Authorities {
  readonly realm: Realm
  readonly root: Issuer
  readonly ca: Issuer
}

/** Root and issuing CA; made once per realm, as keys of this kind take their time. */
export async function makeAuthorities(realm: Realm = live): Promise<Authorities> {
  const [rootKey, caKey] = await Promise.all([makeIssuerKey(), makeIssuerKey()])
  const rootTimes = { notBefore: start - 10 * day, notAfter: start + 7000 * day }
  const root = {
    certificate: await issueRoot({ realm, random, ...rootTimes, key: rootKey }),
    privateKey: rootKey.privateKey,
  }
  const caTimes = { notBefore: start - 10 * day, notAfter: start + 1800 * day }
  const certificate = await issueCa({ realm, random, ...caTimes, root, publicKey: caKey.publicKey })
  return { realm, root, ca: { certificate, privateKey: caKey.privateKey } }
}

/** A leaf as the issuing CA would make it for whoever holds this key. */
export async function issue(
  { realm, ca }: Authorities,
  subject: LeafSubject,
  key: SigningKey,
  { notBefore = start - day, notAfter = start + 365 * day, organisation = "Agency of Tests" } = {},
): Promise<{ readonly certificate: Uint8Array; readonly member: Uint8Array }> {
  const possession = signPossession(key, realm, subject)
  const times = { notBefore, notAfter }
  const input = { realm, random, ...times, ca, subject, organisation, publicKey: key.publicKey, possession }
  return { certificate: await issueLeaf(input), member: possession }
}

export class TestDirectory {
  readonly authorities: Authorities
  readonly anchor: TrustAnchor
  readonly state: DirectoryState
  readonly leaves: Uint8Array[] = []
  /** The log's clock, in seconds. */
  time = start

  constructor(authorities: Authorities) {
    const logKey = encodeVerifierKey(verifierKey("directory.example/log", "ed25519", signingKeyOf("log").publicKey))
    this.authorities = authorities
    this.anchor = {
      realm: authorities.realm,
      rootCertificate: authorities.root.certificate,
      logKey,
      policy: noWitnesses,
    }
    this.state = new DirectoryState(this.anchor)
  }

  /** With issuing CA, Secretariat and its officers in the log; throws if any of that does not count. */
  static async create(authorities: Authorities): Promise<TestDirectory> {
    const directory = new TestDirectory(authorities)
    directory.must(directory.log("ca", { v: 1, certificate: authorities.ca.certificate }))
    directory.must(directory.log("certificate", await directory.certificateBody(secretariat), []))
    const officers = approvers.map((name) => officerEntry(authorities.realm, secretariat, name, ["approve", "release"]))
    directory.must(directory.logManifest(secretariat, { officers }))
    return directory
  }

  /** A PoC with one device and one officer, approved by two officers; the State's default unless told otherwise. */
  async enrol(poc: PocAddress, isDefault = true): Promise<void> {
    this.must(this.log("certificate", await this.certificateBody(poc, { isDefault }), ["first", "second"]))
    this.must(this.logManifest(poc))
  }

  /** Appends an entry with this body, approved by these officers or with these approvals. */
  log<K extends EntryKind>(kind: K, body: BodyOf<K>, approvals: readonly (Approver | Signed)[] = []): Applied {
    const signed = approvals.map((x) => (typeof x === "string" ? this.approve(kind, body, x) : x))
    return this.append(encodeEntry({ kind, time: this.time, body, ...(signed.length > 0 && { approvals: signed }) }))
  }

  append(leaf: Uint8Array): Applied {
    this.leaves.push(leaf)
    return this.state.apply(leaf)
  }

  must(applied: Applied): void {
    if (!applied.counted) throw new Error(`an entry of the test directory does not count: ${applied.reason}`)
  }

  async certificateBody(
    poc: PocAddress,
    { isDefault = true, key = pocKeyOf(poc), ...times }: CertificateOptions = {},
  ): Promise<BodyOf<"certificate">> {
    const use = poc === secretariat ? "secretariat" : "poc"
    const issued = await issue(this.authorities, { use, poc: parsePocAddress(poc) }, key, times)
    return { v: 1, use, poc, isDefault, ...issued }
  }

  async relayBody(host: string, key = signingKeyOf(host)): Promise<BodyOf<"relay">> {
    const issued = await issue(this.authorities, { use: "relay", host }, key)
    return { v: 1, host, urls: [`wss://${host}/`], ...issued }
  }

  approve<K extends EntryKind>(kind: K, body: BodyOf<K>, officer: Approver, change: Partial<Approval> = {}): Signed {
    const key = officerKeyOf(secretariat, officer)
    const who = { poc: secretariat, officer: officerIdOf(secretariat, key.publicKey) }
    return signApproval(key, this.authorities.realm, { ...this.#approvalOf(kind, body), ...who, ...change })
  }

  /** The approval of the PoC itself. */
  approveAs<K extends EntryKind>(poc: PocAddress, kind: K, body: BodyOf<K>, key = pocKeyOf(poc)): Signed {
    return signApproval(key, this.authorities.realm, { ...this.#approvalOf(kind, body), poc })
  }

  /** The PoC's next manifest; says by default what its last one said, or lists one device and one officer. */
  manifestOf(poc: PocAddress, change: Partial<Manifest> = {}): Manifest {
    const last = this.state.poc(poc)
    const { realm } = this.authorities
    return {
      v: 1,
      poc,
      version: (last?.manifest?.version ?? 0) + 1,
      previous: last?.manifestBytes ? manifestHash(last.manifestBytes) : null,
      created: this.time,
      expires: this.time + 90 * day,
      devices: last?.manifest?.devices ?? [deviceEntry(realm, poc, "first")],
      officers: last?.manifest?.officers ?? [officerEntry(realm, poc, "first")],
      ...change,
    }
  }

  logManifest(
    poc: PocAddress,
    change: Partial<Manifest> = {},
    { key = pocKeyOf(poc), coSigner, approvals = [] }: ManifestOptions = {},
  ): Applied {
    const { realm } = this.authorities
    const manifest = signManifest(key, realm, this.manifestOf(poc, change))
    const signer = coSigner === undefined ? undefined : deviceKeyOf(poc, coSigner)
    const coSignatures = signer && [coSignManifest(signer, realm, deviceIdOf(poc, signer.publicKey), manifest.bytes)]
    return this.log("manifest", { v: 1, poc, manifest, ...(coSignatures && { coSignatures }) }, approvals)
  }

  revoke(
    target: RevocationTarget,
    key: SigningKey,
    change: Partial<Revocation> = {},
    approvals: readonly Approver[] = [],
  ): Applied {
    const statement = signRevocation(key, this.authorities.realm, this.revocationOf(target, key, change))
    return this.log("revocation", { v: 1, statement }, approvals)
  }

  revocationOf(target: RevocationTarget, key: SigningKey, change: Partial<Revocation> = {}): Revocation {
    const reason = { reason: "compromise", text: "The key was found elsewhere." } as const
    return { v: 1, target, ...reason, effective: this.time, requester: key.publicKey, ...change }
  }

  /** The certificate that the PoC has now. */
  certificateTarget(poc: PocAddress): RevocationTarget {
    return { kind: "certificate", poc, certificate: certificateHash(this.state.poc(poc)!.certificate) }
  }

  #approvalOf<K extends EntryKind>(kind: K, body: BodyOf<K>) {
    const subject = subjectOf(kind, encodeBody(kind, body))
    return { v: 1, kind, subject, created: this.time, expires: this.time + 7 * day } as const
  }
}

export interface CertificateOptions {
  readonly isDefault?: boolean
  readonly key?: SigningKey
  readonly notBefore?: number
  readonly notAfter?: number
}

export interface ManifestOptions {
  readonly key?: SigningKey
  /** Name of an older device of the PoC. */
  readonly coSigner?: string
  readonly approvals?: readonly Approver[]
}

export const pocKeyOf = (poc: PocAddress, name = "first"): SigningKey => signingKeyOf(`${name} key of ${poc}`)
export const deviceKeyOf = (poc: PocAddress, name = "first"): SigningKey => signingKeyOf(`${name} device of ${poc}`)
export const officerKeyOf = (poc: PocAddress, name = "first"): SigningKey => signingKeyOf(`${name} officer of ${poc}`)

export function deviceEntry(realm: Realm, poc: PocAddress, name = "first", relay = "relay.example"): ManifestDevice {
  const key = deviceKeyOf(poc, name)
  const device = deviceIdOf(poc, key.publicKey)
  const member = signMember(key, realm, poc)
  return { device, key: key.publicKey, relay, mailbox: mailboxOf(device, relay), rights: ["send", "receive"], member }
}

export function officerEntry(
  realm: Realm,
  poc: PocAddress,
  name = "first",
  rights: readonly OfficerRight[] = ["acknowledge", "release", "consent", "attest"],
): ManifestOfficer {
  const key = officerKeyOf(poc, name)
  const officer = officerIdOf(poc, key.publicKey)
  return { officer, key: key.publicKey, title: `${name} officer`, rights, member: signMember(key, realm, poc) }
}

export const deviceOf = (poc: PocAddress, name = "first") => deviceIdOf(poc, deviceKeyOf(poc, name).publicKey)
export const officerOf = (poc: PocAddress, name = "first") => officerIdOf(poc, officerKeyOf(poc, name).publicKey)
