/**
 * What the log holds (SPEC, "Directory"): one entry per leaf, in deterministic CBOR, its bytes kept as received. An
 * entry says what kind of change it makes and carries what makes it count: signatures of those whom it concerns.
 * Whoever replays the log decides for itself whether it counts (`state.ts`).
 */
import { z } from "zod"
import { shapes, type Hash, type OfficerId, type PocAddress, type Realm } from "../protocol/address.ts"
import { taggedHash } from "../protocol/hash.ts"
import { fixed } from "../protocol/limits.ts"
import { coSignatureShape, type CoSignature } from "../protocol/manifest.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import { growing, signedShape, signStatement, type Signed } from "../protocol/statement.ts"
import { structureOf, type Structure } from "../protocol/structure.ts"
import { isRelayHost, isVisibleLine } from "./profile.ts"

export const entryKinds = ["ca", "certificate", "manifest", "relay", "revocation", "default", "role"] as const
export type EntryKind = (typeof entryKinds)[number]

/** One leaf of the log. */
export interface LogEntry {
  readonly v: 1
  /** One of `entryKinds`, or a kind of a later version. */
  readonly kind: string
  /** When the log took it in, in seconds: the log's word, never earlier than the entry before. */
  readonly time: number
  /** The kind's structure below, encoded. */
  readonly body: Uint8Array
  /** Statements with label `approval`. */
  readonly approvals?: readonly Signed[] | undefined
  readonly crit?: readonly string[] | undefined
}

/** An issuing CA. Counts by the root's signature in the certificate. */
export interface CaBody {
  readonly v: 1
  readonly certificate: Uint8Array
  readonly crit?: readonly string[] | undefined
}

/**
 * A PoC's certificate: its first, a renewal, or one for a new key. Counts by the holder's approval (renewal, change of
 * key) or by two officers' (first enrolment, key lost); the Secretariat's very first needs none.
 */
export interface CertificateBody {
  readonly v: 1
  readonly use: "poc" | "secretariat"
  readonly poc: PocAddress
  /** Whether `state/role` alone means this PoC. Exactly one PoC of a State and role is the default. */
  readonly isDefault: boolean
  readonly certificate: Uint8Array
  /** The certified key's own signature, label `member`: it has asked for this. */
  readonly member: Uint8Array
  readonly crit?: readonly string[] | undefined
}

/** Counts by the PoC's signature in it; if it changes who may approve, also by two officers' approvals. */
export interface ManifestBody {
  readonly v: 1
  readonly poc: PocAddress
  readonly manifest: Signed
  readonly coSignatures?: readonly CoSignature[] | undefined
  readonly crit?: readonly string[] | undefined
}

/** A relay of this directory, or its new certificate. Counts by two officers' approvals. */
export interface RelayBody {
  readonly v: 1
  readonly host: string
  /** Where it can be reached, e.g. `wss://relay.example/`. */
  readonly urls: readonly string[]
  readonly certificate: Uint8Array
  readonly member: Uint8Array
  readonly crit?: readonly string[] | undefined
}

/** Counts if its requester may end the target: see `Revocation`. */
export interface RevocationBody {
  readonly v: 1
  /** Label `revocation`. */
  readonly statement: Signed
  readonly crit?: readonly string[] | undefined
}

/**
 * Makes another PoC of the State the default. Counts by the present default's own approval; only if that one is no
 * longer in force by two officers'.
 */
export interface DefaultBody {
  readonly v: 1
  readonly poc: PocAddress
  readonly crit?: readonly string[] | undefined
}

/** A role beyond the first two, e.g. `legal`. Counts by two officers' approvals. */
export interface RoleBody {
  readonly v: 1
  readonly role: string
  readonly crit?: readonly string[] | undefined
}

/** "This entry, word for word, shall count": by an officer of the Secretariat, or by the PoC that it concerns. */
export interface Approval {
  readonly v: 1
  /** Whose approval it is: the Secretariat's address, or the PoC's own. */
  readonly poc: PocAddress
  /** The approving officer; absent if the PoC's key itself signs. */
  readonly officer?: OfficerId | undefined
  readonly kind: EntryKind
  /** `subjectOf` the entry. */
  readonly subject: Hash
  /** Seconds; the entry's time lies between them, and they at most 30 days apart. */
  readonly created: number
  readonly expires: number
  readonly crit?: readonly string[] | undefined
}

export const revocationReasons = [
  "compromise", // somebody else has, or may have, the key
  "superseded", // another key took its place
  "withdrawn", // the PoC, device or relay is no more
  "officer-gone", // the duty or its holder
] as const
export type RevocationReason = (typeof revocationReasons)[number]

/** What is ended. Hashes of certificates are `certificateHash`. */
export type RevocationTarget =
  | { readonly kind: "ca"; readonly certificate: Hash }
  | { readonly kind: "certificate"; readonly poc: PocAddress; readonly certificate: Hash }
  | { readonly kind: "device"; readonly poc: PocAddress; readonly device: Uint8Array }
  | { readonly kind: "officer"; readonly poc: PocAddress; readonly officer: Uint8Array }
  | { readonly kind: "relay"; readonly host: string; readonly certificate: Hash }

/**
 * Signed by `requester`. Who may ask: for a certificate its own key; for a device or officer that key itself or its
 * PoC's; for a relay its key. For a relay or an issuing CA also the Secretariat's key, with two officers' approvals in
 * the entry. Ending a State's PoC against its will is `contested`: its form is fixed, and no reader of version 1 counts
 * it.
 */
export interface Revocation {
  readonly v: 1
  readonly target: RevocationTarget
  readonly reason: RevocationReason
  /** One line, published. */
  readonly text: string
  /** SHA3-256 of evidence that is kept elsewhere. */
  readonly evidence?: Hash | undefined
  /** Seconds: the moment from which it holds; not after the entry's time. */
  readonly effective: number
  /** Ed25519 public key. */
  readonly requester: Uint8Array
  /** `true` asks for the slow way: a quorum of officers, a delay, suspension meanwhile. */
  readonly contested?: boolean | undefined
  readonly crit?: readonly string[] | undefined
}

/** What an approval is for: exactly this kind and body. */
export const subjectOf = (kind: EntryKind, body: Uint8Array): Hash => taggedHash("log-entry", kind, body) as Hash

/** How revocations name a certificate. */
export const certificateHash = (certificate: Uint8Array): Hash => taggedHash("statement", certificate) as Hash

export function signApproval(key: SigningKey, realm: Realm, approval: Approval): Signed {
  return signStatement(key, realm, "approval", approvalStructure.encode(approval))
}

export function signRevocation(key: SigningKey, realm: Realm, revocation: Revocation): Signed {
  return signStatement(key, realm, "revocation", revocationStructure.encode(revocation))
}

/** The leaf's bytes. Throws `ERR_MALFORMED` for an entry or body that no reader would take. */
export function encodeEntry<K extends EntryKind>(entry: {
  readonly kind: K
  readonly time: number
  readonly body: BodyOf<K>
  readonly approvals?: readonly Signed[]
}): Uint8Array {
  const body = encodeBody(entry.kind, entry.body)
  return entryStructure.encode({ v: 1, kind: entry.kind, time: entry.time, body, approvals: entry.approvals })
}

/** The bytes that `subjectOf` and an entry's `body` are about. */
export function encodeBody<K extends EntryKind>(kind: K, body: BodyOf<K>): Uint8Array {
  return (bodyStructures[kind] as Structure<BodyOf<K>>).encode(body)
}

export interface Bodies {
  readonly ca: CaBody
  readonly certificate: CertificateBody
  readonly manifest: ManifestBody
  readonly relay: RelayBody
  readonly revocation: RevocationBody
  readonly default: DefaultBody
  readonly role: RoleBody
}
export type BodyOf<K extends EntryKind> = Bodies[K]

const certificateShape = shapes.bytes
const relayHost = z.string().refine(isRelayHost)
const url = z.string().regex(/^wss?:\/\/[a-z0-9.-]+(?::\d{1,5})?\/[!-~]{0,200}$/)
const roleName = z.string().regex(/^[a-z][a-z0-9-]{0,29}[a-z0-9]$/)

export const bodyStructures: { readonly [K in EntryKind]: Structure<Bodies[K]> } = {
  ca: structureOf<CaBody>(growing({ v: z.literal(1), certificate: certificateShape })),
  certificate: structureOf<CertificateBody>(
    growing({
      v: z.literal(1),
      use: z.enum(["poc", "secretariat"]),
      poc: shapes.poc,
      isDefault: z.boolean(),
      certificate: certificateShape,
      member: shapes.signature,
    }),
  ),
  manifest: structureOf<ManifestBody>(
    growing({
      v: z.literal(1),
      poc: shapes.poc,
      manifest: signedShape,
      coSignatures: z.array(coSignatureShape).max(fixed.devicesPerPocMax).optional(),
    }),
  ),
  relay: structureOf<RelayBody>(
    growing({
      v: z.literal(1),
      host: relayHost,
      urls: z.array(url).max(fixed.relayUrlsMax),
      certificate: certificateShape,
      member: shapes.signature,
    }),
  ),
  revocation: structureOf<RevocationBody>(growing({ v: z.literal(1), statement: signedShape })),
  default: structureOf<DefaultBody>(growing({ v: z.literal(1), poc: shapes.poc })),
  role: structureOf<RoleBody>(growing({ v: z.literal(1), role: roleName })),
}

export const entryStructure: Structure<LogEntry> = structureOf<LogEntry>(
  growing({
    v: z.literal(1),
    kind: z.string().max(32),
    time: shapes.seconds,
    body: shapes.bytes,
    approvals: z.array(signedShape).max(fixed.approvalsMax).optional(),
  }),
)

export const approvalStructure: Structure<Approval> = structureOf<Approval>(
  growing({
    v: z.literal(1),
    poc: shapes.poc,
    officer: shapes.officer.optional(),
    kind: z.enum(entryKinds),
    subject: shapes.hash,
    created: shapes.seconds,
    expires: shapes.seconds,
  }).refine(({ created, expires }) => created < expires && expires - created <= fixed.approvalSecondsMax),
)

export const revocationStructure: Structure<Revocation> = structureOf<Revocation>(
  growing({
    v: z.literal(1),
    target: z.discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("ca"), certificate: shapes.hash }),
      z.strictObject({ kind: z.literal("certificate"), poc: shapes.poc, certificate: shapes.hash }),
      z.strictObject({ kind: z.literal("device"), poc: shapes.poc, device: shapes.device }),
      z.strictObject({ kind: z.literal("officer"), poc: shapes.poc, officer: shapes.officer }),
      z.strictObject({ kind: z.literal("relay"), host: relayHost, certificate: shapes.hash }),
    ]),
    reason: z.enum(revocationReasons),
    text: z.string().refine((text) => isVisibleLine(text, fixed.revocationTextCharactersMax)),
    evidence: shapes.hash.optional(),
    effective: shapes.seconds,
    requester: shapes.signingKey,
    contested: z.boolean().optional(),
  }),
)
