/**
 * Issuing certificates: the only file that imports @peculiar/x509. The library puts the parts together and signs; what
 * stands in them is the profile's, and whatever it makes is read back by our own validator before anybody gets it.
 * Nothing here reads a certificate that somebody else made: see `x509.ts` and `validator.ts`.
 */
import "reflect-metadata"
import { Extension, Name, X509CertificateGenerator } from "@peculiar/x509"
import type { Realm } from "../protocol/address.ts"
import { concat, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { der, tag } from "./der.ts"
import { provesPossession } from "./possession.ts"
import {
  caExtensions,
  ed25519Algorithm,
  extensionOids,
  isOrigin,
  issuerName,
  leafExtensions,
  leafName,
  leafUri,
  p384Algorithm,
  rootExtensions,
  serialBytes,
  type ExpectedExtensions,
  type ExtensionName,
  type LeafSubject,
  type NamePart,
} from "./profile.ts"
import { validateCa, validateLeaf, validateRoot, type Judgement } from "./validator.ts"
import { readCertificate } from "./x509.ts"

/** A P-384 key that issues. */
export interface IssuerKey {
  /** The uncompressed point, 97 bytes. */
  readonly publicKey: Uint8Array
  /** PKCS #8. Secret: the root's is kept offline, the issuing CA's where only the directory's service reads it. */
  readonly privateKey: Uint8Array
}

/** An issuer at work: its certificate and the secret key (PKCS #8) that belongs to it. */
export interface Issuer {
  readonly certificate: Uint8Array
  readonly privateKey: Uint8Array
}

export interface Issuing {
  readonly realm: Realm
  /** Seconds since 1970; both ends belong to the certificate's life. */
  readonly notBefore: number
  readonly notAfter: number
  /** Unpredictable bytes, for the serial number. */
  readonly random: (length: number) => Uint8Array
}

export async function makeIssuerKey(): Promise<IssuerKey> {
  const { publicKey, privateKey } = await crypto.subtle.generateKey(p384, true, ["sign", "verify"])
  return {
    publicKey: new Uint8Array(await crypto.subtle.exportKey("raw", publicKey)),
    privateKey: new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey)),
  }
}

/** The self-signed root, DER. Throws `ERR_USAGE` for what the profile does not allow; so do the others. */
export async function issueRoot(input: Issuing & { readonly key: IssuerKey }): Promise<Uint8Array> {
  const { realm, key } = input
  const root = await build(input, {
    issuer: issuerName("root", realm),
    subject: issuerName("root", realm),
    publicKey: p384KeyInfo(key.publicKey),
    privateKey: key.privateKey,
    extensions: rootExtensions(key.publicKey),
  })
  return accepted(validateRoot(root, realm))
}

/** The issuing CA's certificate, DER, for a key made where it will be used. */
export async function issueCa(
  input: Issuing & { readonly root: Issuer; readonly publicKey: Uint8Array },
): Promise<Uint8Array> {
  const { realm, root, publicKey } = input
  const rootCertificate = readCertificate(root.certificate)
  const ca = await build(input, {
    issuer: issuerName("root", realm),
    subject: issuerName("issuing CA", realm),
    publicKey: p384KeyInfo(publicKey),
    privateKey: root.privateKey,
    extensions: caExtensions(publicKey, rootCertificate.publicKey, realm.origin),
  })
  return accepted(validateCa(ca, rootCertificate, realm, input.notBefore))
}

/**
 * A leaf certificate, DER. Throws `ERR_UNTRUSTED` unless the key itself has asked to be certified for this subject.
 * @param input.publicKey Ed25519, 32 bytes; made and held by whom the certificate is about
 * @param input.possession that key's signature, see `signPossession`
 */
export async function issueLeaf(
  input: Issuing & {
    readonly ca: Issuer
    readonly subject: LeafSubject
    readonly organisation: string
    readonly publicKey: Uint8Array
    readonly possession: Uint8Array
  },
): Promise<Uint8Array> {
  const { realm, ca, subject, organisation, publicKey } = input
  if (!provesPossession(realm, subject, publicKey, input.possession))
    throw new ValiseError("ERR_UNTRUSTED", "the key has not asked to be certified for this subject")
  const caCertificate = readCertificate(ca.certificate)
  const leaf = await build(input, {
    issuer: issuerName("issuing CA", realm),
    subject: leafName(subject, organisation),
    publicKey: der(tag.sequence, ed25519Algorithm, der(tag.bitString, concat(Uint8Array.of(0), publicKey))),
    privateKey: ca.privateKey,
    extensions: leafExtensions(publicKey, caCertificate.publicKey, subject.use, leafUri(subject, realm.origin)),
  })
  return accepted(validateLeaf(leaf, caCertificate, realm, subject, input.notBefore))
}

interface Parts {
  readonly issuer: readonly NamePart[]
  readonly subject: readonly NamePart[]
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  readonly privateKey: Uint8Array
  readonly extensions: ExpectedExtensions
}

async function build({ realm, notBefore, notAfter, random }: Issuing, parts: Parts): Promise<Uint8Array> {
  if (!isOrigin(realm.origin)) throw notOfTheProfile("the directory's name is not a host name")
  const signingKey = await crypto.subtle.importKey("pkcs8", Uint8Array.from(parts.privateKey), p384, false, ["sign"])
  const certificate = await X509CertificateGenerator.create({
    serialNumber: hex(serialOf(random(serialBytes))),
    issuer: nameOf(parts.issuer),
    subject: nameOf(parts.subject),
    notBefore: new Date(notBefore * 1000),
    notAfter: new Date(notAfter * 1000),
    publicKey: Uint8Array.from(parts.publicKey),
    signingKey,
    signingAlgorithm: p384,
    extensions: Object.entries(parts.extensions).map(
      ([name, { critical, value }]) =>
        new Extension(extensionOids[name as ExtensionName], critical, Uint8Array.from(value)),
    ),
  })
  return new Uint8Array(certificate.rawData)
}

/** Nobody gets a certificate that nobody would accept. */
function accepted(judgement: Judgement): Uint8Array {
  if (!judgement.ok) throw notOfTheProfile(judgement.reason)
  return judgement.certificate.der
}

const notOfTheProfile = (why: string): ValiseError =>
  new ValiseError("ERR_USAGE", `this certificate would not be one of the profile: ${why}`)

/** The top bits 01 make the number positive and always of the same length. */
function serialOf(bytes: Uint8Array): Uint8Array {
  const serial = Uint8Array.from(bytes)
  serial[0] = (serial[0]! & 0x3f) | 0x40
  return serial
}

const nameOf = (parts: readonly NamePart[]): Name =>
  new Name(
    parts.map(({ type, text }) => ({ [type]: [type === "C" ? { printableString: text } : { utf8String: text }] })),
  )

const p384KeyInfo = (point: Uint8Array): Uint8Array =>
  der(tag.sequence, p384Algorithm, der(tag.bitString, concat(Uint8Array.of(0), point)))

const p384 = { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" } as const
