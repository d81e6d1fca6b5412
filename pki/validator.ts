/**
 * Certificate validation: a fixed depth (root, issuing CA, leaf) and an exact profile, as a checklist (SPEC,
 * "Directory"). It asks "is this the certificate that the profile prescribes?", never "is there a path that could be
 * acceptable?". So there is no path building, no policy, no option. Revocation is not judged here: the log decides it.
 */
import type { Realm } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { isSafeSigningKey } from "../protocol/edge-keys.ts"
import { isP384Point, verifyP384 } from "./p384.ts"
import {
  caExtensions,
  constraintOf,
  ed25519Algorithm,
  encodeName,
  extensionNameOf,
  isOrganisation,
  issuerName,
  leafExtensions,
  leafName,
  leafUri,
  lifetimeSecondsMax,
  p384Algorithm,
  rootExtensions,
  serialBytes,
  signatureAlgorithm,
  type ExpectedExtensions,
  type ExtensionName,
  type LeafSubject,
} from "./profile.ts"
import { readCertificate, uriOf, type Certificate } from "./x509.ts"

/** Why a certificate is refused: a closed list, the first that applies in the order of the checklists. */
export const certificateReasons = [
  "der", // not one certificate in canonical DER
  "version",
  "serial",
  "signature-algorithm",
  "issuer", // not the name of the certificate above it
  "lifetime", // longer than its level may live
  "outlives-issuer",
  "not-yet-valid",
  "expired",
  "subject",
  "key-algorithm",
  "public-key", // not a point, or one of small or mixed order
  "unknown-extension",
  "duplicate-extension",
  "critical-flag",
  "basic-constraints",
  "key-usage",
  "extended-key-usage",
  "name-constraints", // the issuing CA's is not exactly the directory's origin
  "outside-name-constraints", // the leaf names a host that its issuer may not certify
  "subject-alternative-name",
  "subject-key-id",
  "authority-key-id",
  "signature",
] as const
export type CertificateReason = (typeof certificateReasons)[number]

export type Judgement =
  | { readonly ok: true; readonly certificate: Certificate }
  | { readonly ok: false; readonly reason: CertificateReason }

/** The root of this realm. Its expiry is judged where it is used: no certificate under it may outlive it. */
export function validateRoot(der: Uint8Array, realm: Realm): Judgement {
  return judge(der, (root) => [
    ...form(root),
    ["issuer", () => equal(root.issuer, encodeName(issuerName("root", realm)))],
    ["subject", () => equal(root.subject, root.issuer)],
    ["lifetime", () => livesAtMost(root, lifetimeSecondsMax.root)],
    ["key-algorithm", () => equal(root.keyAlgorithm, p384Algorithm)],
    ["public-key", () => isP384Point(root.publicKey)],
    ...extensions(root, rootExtensions(root.publicKey)),
    ["signature", () => verifyP384(root.publicKey, root.signed, root.signature)],
  ])
}

/** The issuing CA under this root, at this moment. */
export function validateCa(der: Uint8Array, root: Certificate, realm: Realm, atSeconds: number): Judgement {
  return judge(der, (ca) => [
    ...form(ca),
    ["issuer", () => equal(ca.issuer, root.subject)],
    ["subject", () => equal(ca.subject, encodeName(issuerName("issuing CA", realm)))],
    ["lifetime", () => livesAtMost(ca, lifetimeSecondsMax.ca)],
    ...timeChecks(ca, root, atSeconds),
    ["key-algorithm", () => equal(ca.keyAlgorithm, p384Algorithm)],
    ["public-key", () => isP384Point(ca.publicKey)],
    ...extensions(ca, caExtensions(ca.publicKey, root.publicKey, realm.origin)),
    ["signature", () => verifyP384(root.publicKey, ca.signed, ca.signature)],
  ])
}

/** The leaf for exactly this subject under this issuing CA, which `validateCa` has accepted, at this moment. */
export function validateLeaf(
  der: Uint8Array,
  ca: Certificate,
  realm: Realm,
  subject: LeafSubject,
  atSeconds: number,
): Judgement {
  const uri = leafUri(subject, realm.origin)
  return judge(der, (leaf) => [
    ...form(leaf),
    ["issuer", () => equal(leaf.issuer, ca.subject)],
    ["subject", () => isOrganisation(leaf.organisation)],
    ["subject", () => equal(leaf.subject, encodeName(leafName(subject, leaf.organisation)))],
    ["lifetime", () => livesAtMost(leaf, lifetimeSecondsMax.leaf)],
    ...timeChecks(leaf, ca, atSeconds),
    ["key-algorithm", () => equal(leaf.keyAlgorithm, ed25519Algorithm)],
    ["public-key", () => isSafeSigningKey(leaf.publicKey)], // defence: 17 certificate-key
    ["outside-name-constraints", () => namesHostBelow(leaf, constraintOf(realm.origin))],
    ...extensions(leaf, leafExtensions(leaf.publicKey, ca.publicKey, subject.use, uri)),
    ["signature", () => verifyP384(ca.publicKey, leaf.signed, leaf.signature)],
  ])
}

type Check = readonly [reason: CertificateReason, holds: () => boolean]

/** What every level has in common. */
const form = (certificate: Certificate): readonly Check[] => [
  ["version", () => equal(certificate.version ?? none, version3)],
  ["serial", () => certificate.serial.length === serialBytes && certificate.serial[0]! >= 0x40],
  ["signature-algorithm", () => certificate.signatureAlgorithms.every((x) => equal(x, signatureAlgorithm))],
]

const timeChecks = (certificate: Certificate, issuer: Certificate, atSeconds: number): readonly Check[] => [
  ["outlives-issuer", () => certificate.notBefore >= issuer.notBefore && certificate.notAfter <= issuer.notAfter],
  ["not-yet-valid", () => atSeconds >= certificate.notBefore],
  ["expired", () => atSeconds <= certificate.notAfter],
]

/** Exactly the expected extensions, each once, each with exactly the expected value and flag. */
function extensions(certificate: Certificate, expected: ExpectedExtensions): readonly Check[] {
  const found = certificate.extensions.map(({ id, ...rest }) => ({ name: extensionNameOf.get(hex(id)), ...rest }))
  const wanted = Object.entries(expected)
  return [
    ["unknown-extension", () => found.every(({ name }) => name !== undefined && expected[name] !== undefined)],
    ["duplicate-extension", () => new Set(found.map(({ name }) => name)).size === found.length],
    ["critical-flag", () => found.every(({ name, critical }) => critical === expected[name!]!.critical)],
    ...wanted.map(([name, { value }]): Check => [
      name as ExtensionName,
      () => equal(found.find((x) => x.name === name)?.value ?? none, value),
    ]),
  ]
}

/** RFC 5280 §4.2.1.10 for URIs: the host, without user and port, has one label or more before the constraint. */
function namesHostBelow(leaf: Certificate, constraint: string): boolean {
  const alternativeName = leaf.extensions.find(({ id }) => extensionNameOf.get(hex(id)) === "subject-alternative-name")
  const host = /^[a-z]+:\/\/([a-z0-9.-]+)(?::\d+)?\/$/.exec(uriOf(alternativeName?.value))?.[1]
  return host !== undefined && host.endsWith(constraint) && host.length > constraint.length
}

const livesAtMost = ({ notBefore, notAfter }: Certificate, secondsMax: number): boolean =>
  notBefore <= notAfter && notAfter - notBefore <= secondsMax

function judge(der: Uint8Array, checklist: (certificate: Certificate) => readonly Check[]): Judgement {
  let certificate: Certificate
  try {
    certificate = readCertificate(der)
  } catch {
    return { ok: false, reason: "der" }
  }
  for (const [reason, holds] of checklist(certificate)) if (!holds()) return { ok: false, reason }
  return { ok: true, certificate }
}

const none = new Uint8Array(0)
const version3 = Uint8Array.of(2)
