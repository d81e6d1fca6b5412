/**
 * The certificate profile as constants (SPEC, "Directory"): three levels, no options. Whatever a certificate says
 * beyond this, or otherwise, makes it invalid; `validator.ts` compares, `certificate.ts` issues.
 */
import { pocUri, type PocName, type Realm } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { sha3 } from "../protocol/primitives.ts"
import { der, derOid, derText, tag } from "./der.ts"

/**
 * The arc of this directory's own identifiers, 2.25.<UUID e4c6435a-ede5-4b6d-92f6-de7a1947690c> (ITU-T X.667): the
 * one arc that is ours without asking a registry or borrowing a company's. OpenSSL, Node, Java and Python read it. The
 * library in `certificate.ts` writes it correctly; it would read the long number as a placeholder and corrupt it in
 * writing it again, which nothing here does. Go's standard library refuses numbers above 2^31 (golang/go#30757), so Go
 * programs cannot parse these certificates; the log, which outsiders audit, is not concerned.
 */
export const oidArc = "2.25.304093423942553933377347582718208600332"

/** What a leaf certificate is for; each use has its own extended key usage, so that none stands for another. */
export const leafUses = ["poc", "relay", "log", "secretariat"] as const
export type LeafUse = (typeof leafUses)[number]

export const extendedKeyUsage = {
  poc: `${oidArc}.1.1`,
  relay: `${oidArc}.1.2`,
  log: `${oidArc}.1.3`,
  secretariat: `${oidArc}.1.4`,
} as const satisfies Record<LeafUse, string>

/** Longest lives, in seconds from notBefore to notAfter. */
export const lifetimeSecondsMax = {
  /** Offline, used a few times in its life. */
  root: 20 * 366 * 86_400,
  /** Replaced by a new one from the root well before its leaves would outlive it. */
  ca: 5 * 366 * 86_400,
  /** Thirteen months: the annual confirmation of an entry, and a month to do it in. */
  leaf: (366 + 31) * 86_400,
} as const

/** Exactly so long, positive and without a leading zero: 126 random bits. */
export const serialBytes = 16

/** Characters of an organisation's name in a subject (RFC 5280, ub-organization-name). */
export const organisationCharactersMax = 64

/** A relay's host, with its port if it has one, is also the common name of its certificate (ub-common-name). */
export const relayHostCharactersMax = 64

export const signatureAlgorithm = der(tag.sequence, derOid("1.2.840.10045.4.3.3")) // ecdsa-with-SHA384, no parameters
export const p384Algorithm = der(tag.sequence, derOid("1.2.840.10045.2.1"), derOid("1.3.132.0.34"))
export const ed25519Algorithm = der(tag.sequence, derOid("1.3.101.112"))

/** The extensions that the profile knows. */
export const extensionOids = {
  "basic-constraints": "2.5.29.19",
  "key-usage": "2.5.29.15",
  "extended-key-usage": "2.5.29.37",
  "subject-alternative-name": "2.5.29.17",
  "name-constraints": "2.5.29.30",
  "subject-key-id": "2.5.29.14",
  "authority-key-id": "2.5.29.35",
} as const
export type ExtensionName = keyof typeof extensionOids

/** By the hexadecimal of the identifier's DER. */
export const extensionNameOf: ReadonlyMap<string, ExtensionName> = new Map(
  Object.entries(extensionOids).map(([name, oid]) => [hex(derOid(oid)), name as ExtensionName]),
)

export interface ExpectedExtension {
  readonly critical: boolean
  readonly value: Uint8Array
}
export type ExpectedExtensions = Readonly<Partial<Record<ExtensionName, ExpectedExtension>>>

/** A key's identifier: the first 20 bytes of the SHA3-256 of the subject public key's bits. */
export const keyIdOf = (publicKey: Uint8Array): Uint8Array => sha3(publicKey).subarray(0, 20)

export function rootExtensions(publicKey: Uint8Array): ExpectedExtensions {
  return {
    "basic-constraints": { critical: true, value: certificateAuthority(1) },
    "key-usage": { critical: true, value: keyCertSignAndCrlSign },
    "subject-key-id": { critical: false, value: der(tag.octetString, keyIdOf(publicKey)) },
  }
}

export function caExtensions(publicKey: Uint8Array, rootKey: Uint8Array, origin: string): ExpectedExtensions {
  return {
    "basic-constraints": { critical: true, value: certificateAuthority(0) },
    "key-usage": { critical: true, value: keyCertSignAndCrlSign },
    "name-constraints": { critical: true, value: permittedUris(constraintOf(origin)) },
    "subject-key-id": { critical: false, value: der(tag.octetString, keyIdOf(publicKey)) },
    "authority-key-id": { critical: false, value: authorityKeyId(rootKey) },
  }
}

export function leafExtensions(
  publicKey: Uint8Array,
  caKey: Uint8Array,
  use: LeafUse,
  uri: string,
): ExpectedExtensions {
  return {
    "basic-constraints": { critical: true, value: der(tag.sequence) },
    "key-usage": { critical: true, value: digitalSignature },
    "extended-key-usage": { critical: true, value: der(tag.sequence, derOid(extendedKeyUsage[use])) },
    "subject-alternative-name": { critical: false, value: der(tag.sequence, derText(tag.implicit(6), uri)) },
    "subject-key-id": { critical: false, value: der(tag.octetString, keyIdOf(publicKey)) },
    "authority-key-id": { critical: false, value: authorityKeyId(caKey) },
  }
}

/** One part of a distinguished name, in the order in which the profile writes them. */
export interface NamePart {
  readonly type: keyof typeof nameTypes
  readonly text: string
}

/** The mode stands in the issuers' names, so an exercise's certificate never fits under a live one. */
export const issuerName = (level: "root" | "issuing CA", { origin, mode }: Realm): readonly NamePart[] => [
  { type: "O", text: origin },
  { type: "OU", text: mode },
  { type: "CN", text: `Valise ${level}` },
]

export function leafName(subject: LeafSubject, organisation: string): readonly NamePart[] {
  const country: readonly NamePart[] =
    subject.use === "poc" ? [{ type: "C", text: subject.poc.state.toUpperCase() }] : []
  return [...country, { type: "O", text: organisation }, { type: "CN", text: commonNameOf(subject) }]
}

export function encodeName(parts: readonly NamePart[]): Uint8Array {
  return der(
    tag.sequence,
    ...parts.map(({ type, text }) => der(tag.set, der(tag.sequence, nameTypes[type], derText(nameTags[type], text)))),
  )
}

/** Whom a leaf certificate is about. */
export type LeafSubject =
  | { readonly use: "poc" | "secretariat"; readonly poc: PocName }
  | { readonly use: "relay"; readonly host: string }
  | { readonly use: "log" }

/**
 * The certificate's one alternative name. A relay may stand under any domain, also a State's own, but a certificate
 * may name only hosts under the directory's origin; so the relay's host becomes the first labels of such a name, its
 * port the port: `127.0.0.1:8443` is `relay://127.0.0.1.relay.directory.example:8443/`.
 */
export function leafUri(subject: LeafSubject, origin: string): string {
  if (subject.use === "log") return `log://log.${origin}/`
  if (subject.use !== "relay") return pocUri(subject.poc, origin)
  const [name, port] = subject.host.split(":")
  return `relay://${name}.relay.${origin}${port === undefined ? "" : `:${port}`}/`
}

/** RFC 5280 §4.2.1.10: with a leading period, every host below the origin and not the origin itself. */
export const constraintOf = (origin: string): string => `.${origin}`

/** The directory's name is a host name of two labels or more, short enough for every address below it. */
export const isOrigin = (origin: string): boolean => origin.length <= originCharactersMax && hostName.test(origin)

/** A name or an IPv4 address in lower case, and a port if it is not the usual one. */
export function isRelayHost(host: string): boolean {
  const [name, port, ...more] = host.split(":")
  const isPort = port === undefined || (/^[1-9]\d{0,4}$/.test(port) && Number(port) < 65_536)
  return host.length <= relayHostCharactersMax && more.length === 0 && isPort && relayName.test(name!)
}

export const isOrganisation = (text: string): boolean => isVisibleLine(text, organisationCharactersMax)

/**
 * Text of one line, in Unicode code points, that a screen shows as it is. Control characters, and marks that turn the
 * direction of writing, could forge what a person reads.
 */
export const isVisibleLine = (text: string, charactersMax: number): boolean =>
  text.isWellFormed() && Array.from(text).length <= charactersMax && visible.test(text)

function commonNameOf(subject: LeafSubject): string {
  if (subject.use === "log") return "log"
  return subject.use === "relay" ? subject.host : subject.poc.agency
}

const certificateAuthority = (pathLength: number): Uint8Array =>
  der(tag.sequence, der(tag.boolean, Uint8Array.of(0xff)), der(tag.integer, Uint8Array.of(pathLength)))

/** Bits 5 and 6: certificates, and the list of revoked ones that is exported for outsiders' tools. */
const keyCertSignAndCrlSign = der(tag.bitString, Uint8Array.of(1, 0b0000_0110))
/** Bit 0. */
const digitalSignature = der(tag.bitString, Uint8Array.of(7, 0b1000_0000))

const permittedUris = (host: string): Uint8Array =>
  der(tag.sequence, der(tag.explicit(0), der(tag.sequence, derText(tag.implicit(6), host))))

const authorityKeyId = (issuerKey: Uint8Array): Uint8Array =>
  der(tag.sequence, der(tag.implicit(0), keyIdOf(issuerKey)))

const nameTypes = {
  C: derOid("2.5.4.6"),
  O: derOid("2.5.4.10"),
  OU: derOid("2.5.4.11"),
  CN: derOid("2.5.4.3"),
} as const
const nameTags = { C: tag.printableString, O: tag.utf8String, OU: tag.utf8String, CN: tag.utf8String } as const

/** Leaves room in a host name's 253 characters for agency, role and State (63 + 31 + 2 and their dots). */
const originCharactersMax = 120
const relayName = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const hostName = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/
/** Joiners (U+200C, U+200D) are needed to write Persian and several Indian languages. */
const visible = /^(?=\S)(?:[^\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]|[\u200c\u200d])+(?<=\S)$/u
