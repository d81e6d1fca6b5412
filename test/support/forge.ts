/** Certificates that nobody should accept: an honest one taken apart, one part changed, and signed by a real issuer. */
import { sign } from "node:crypto"
import { utf8 } from "../../protocol/bytes.ts"
import { bitsOf, der, derOid, derText, readElements, tag } from "../../pki/der.ts"
import { extensionOids, signatureAlgorithm, type ExtensionName } from "../../pki/profile.ts"
import { readCertificate } from "../../pki/x509.ts"

/** DER of each part; `undefined` leaves it out. */
export interface Parts {
  readonly version: Uint8Array | undefined
  readonly serial: Uint8Array
  readonly algorithm: Uint8Array
  readonly issuer: Uint8Array
  readonly validity: Uint8Array
  readonly subject: Uint8Array
  readonly keyInfo: Uint8Array
  /** Between key and extensions: version 2's identifiers. */
  readonly extra: Uint8Array | undefined
  readonly extensions: readonly Uint8Array[]
  readonly outerAlgorithm: Uint8Array
}

/** The parts of an honest certificate. */
export function partsOf(certificate: Uint8Array): Parts {
  const [version, serial, algorithm, issuer, validity, subject, keyInfo, extensions] = readElements(
    readElements(readCertificate(certificate).signed)[0]!.content,
  )
  return {
    version: version!.bytes,
    serial: serial!.bytes,
    algorithm: algorithm!.bytes,
    issuer: issuer!.bytes,
    validity: validity!.bytes,
    subject: subject!.bytes,
    keyInfo: keyInfo!.bytes,
    extra: undefined,
    extensions: readElements(readElements(extensions!.content)[0]!.content).map(({ bytes }) => bytes),
    outerAlgorithm: signatureAlgorithm,
  }
}

/** @param privateKey of the signing issuer, PKCS #8 */
export function assemble(parts: Parts, privateKey: Uint8Array): Uint8Array {
  const signed = der(
    tag.sequence,
    parts.version ?? none,
    parts.serial,
    parts.algorithm,
    parts.issuer,
    parts.validity,
    parts.subject,
    parts.keyInfo,
    parts.extra ?? none,
    der(tag.explicit(3), der(tag.sequence, ...parts.extensions)),
  )
  return der(tag.sequence, signed, parts.outerAlgorithm, der(tag.bitString, zero, ecdsa(signed, privateKey)))
}

export const ecdsa = (message: Uint8Array, privateKey: Uint8Array): Uint8Array =>
  new Uint8Array(sign("sha384", message, { key: Buffer.from(privateKey), format: "der", type: "pkcs8" }))

export function extension(oid: string, critical: boolean, value: Uint8Array): Uint8Array {
  const flag = critical ? der(tag.boolean, Uint8Array.of(0xff)) : none
  return der(tag.sequence, derOid(oid), flag, der(tag.octetString, value))
}

/** The extensions with this one changed, or left out. */
export function withExtension(
  extensions: readonly Uint8Array[],
  name: ExtensionName,
  change: { readonly critical: boolean; readonly value: Uint8Array } | undefined,
): readonly Uint8Array[] {
  const id = derOid(extensionOids[name])
  return extensions.flatMap((bytes) => {
    const isIt = Buffer.from(readElements(readElements(bytes)[0]!.content)[0]!.bytes).equals(id)
    if (!isIt) return [bytes]
    return change ? [extension(extensionOids[name], change.critical, change.value)] : []
  })
}

export const validityOf = (notBefore: string, notAfter: string): Uint8Array =>
  der(
    tag.sequence,
    ...[notBefore, notAfter].map((x) => derText(x.length === 13 ? tag.utcTime : tag.generalizedTime, x)),
  )

export const uris = (...texts: readonly string[]): Uint8Array =>
  der(tag.sequence, ...texts.map((text) => derText(tag.implicit(6), text)))

export const keyInfo = (algorithm: Uint8Array, key: Uint8Array): Uint8Array =>
  der(tag.sequence, algorithm, der(tag.bitString, zero, key))

/** The key of a SubjectPublicKeyInfo. */
export const keyOf = (parts: Parts): Uint8Array => bitsOf(readElements(readElements(parts.keyInfo)[0]!.content)[1]!)

/** `names` in order: type's identifier, string type, text. */
export const nameOf = (...parts: readonly (readonly [string, number, string])[]): Uint8Array =>
  der(
    tag.sequence,
    ...parts.map(([oid, stringTag, text]) => der(tag.set, der(tag.sequence, derOid(oid), der(stringTag, utf8(text))))),
  )

const none = new Uint8Array(0)
const zero = Uint8Array.of(0)
