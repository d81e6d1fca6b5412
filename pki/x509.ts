/**
 * An X.509 certificate (RFC 5280 §4.1) taken apart, strictly. Says nothing about whether it is valid: see
 * `validator.ts`.
 */
import { ValiseError } from "../protocol/errors.ts"
import { bitsOf, contentOf, positiveIntegerOf, readElements, tag, textOf, timeOf, type Element } from "./der.ts"
import { p384FieldBytes } from "./p384.ts"

export interface Certificate {
  /** The whole certificate, as received. */
  readonly der: Uint8Array
  /** The part that the issuer signed. */
  readonly signed: Uint8Array
  /** `undefined` for version 1, which has no version field. */
  readonly version: Uint8Array | undefined
  readonly serial: Uint8Array
  /** DER, as it stands in the signed part and beside the signature. */
  readonly signatureAlgorithms: readonly [Uint8Array, Uint8Array]
  /** DER of the names. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  /** The subject's organisation; "" unless there is exactly one. */
  readonly organisation: string
  /** Seconds; both ends belong to the certificate's life. */
  readonly notBefore: number
  readonly notAfter: number
  /** DER of the key's algorithm, and the key itself. */
  readonly keyAlgorithm: Uint8Array
  readonly publicKey: Uint8Array
  readonly extensions: readonly Extension[]
  /** r ‖ s, 48 bytes each. */
  readonly signature: Uint8Array
}

export interface Extension {
  /** DER of the identifier. */
  readonly id: Uint8Array
  readonly critical: boolean
  /** DER of the value. */
  readonly value: Uint8Array
}

/** Throws `ERR_MALFORMED` for anything but one certificate, in DER, with nothing after it. */
export function readCertificate(bytes: Uint8Array): Certificate {
  const [signed, outerAlgorithm, signature, ...more] = readElements(contentOf(tag.sequence, bytes))
  if (signed?.tag !== tag.sequence || !outerAlgorithm || !signature || more.length > 0) return refuse()
  const fields = [...readElements(signed.content)]
  const version = fields[0]?.tag === tag.explicit(0) ? contentOf(tag.integer, fields.shift()!.content) : undefined
  // Exactly these seven: issuer and subject identifiers of version 2 have no place here.
  const [serial, algorithm, issuer, validity, subject, key, extensions] = fields
  if (!serial || !algorithm || !issuer || !validity || !subject || !key || !extensions || fields.length !== 7)
    return refuse()
  const [notBefore, notAfter, ...noMoreTimes] = readElements(sequence(validity))
  const [keyAlgorithm, publicKey, ...noMoreKeys] = readElements(sequence(key))
  if (!notBefore || !notAfter || !keyAlgorithm || !publicKey || noMoreTimes.length + noMoreKeys.length > 0)
    return refuse()
  if (extensions.tag !== tag.explicit(3)) return refuse()
  return {
    der: bytes,
    signed: signed.bytes,
    version,
    serial: positiveIntegerOf(serial),
    signatureAlgorithms: [algorithm.bytes, outerAlgorithm.bytes],
    issuer: issuer.bytes,
    subject: subject.bytes,
    organisation: organisationOf(subject),
    notBefore: timeOf(notBefore),
    notAfter: timeOf(notAfter),
    keyAlgorithm: keyAlgorithm.bytes,
    publicKey: bitsOf(publicKey),
    extensions: readElements(contentOf(tag.sequence, extensions.content)).map(extensionOf),
    signature: ecdsaSignatureOf(signature),
  }
}

/** The one URI of a subject alternative name's value; "" if it is anything else. */
export function uriOf(value: Uint8Array | undefined): string {
  try {
    const content = contentOf(tag.implicit(6), contentOf(tag.sequence, value ?? new Uint8Array(0)))
    return content.every((byte) => byte > 0x20 && byte < 0x7f) ? String.fromCharCode(...content) : ""
  } catch {
    return ""
  }
}

function organisationOf(subject: Element): string {
  const organisations = readElements(sequence(subject)).flatMap((part) => {
    if (part.tag !== tag.set) return refuse()
    return readElements(part.content).flatMap((pair) => {
      const [type, value, ...more] = readElements(sequence(pair))
      if (type?.tag !== tag.oid || !value || more.length > 0) return refuse()
      return isOrganisationType(type) ? [textOf(value)] : []
    })
  })
  return organisations.length === 1 ? organisations[0]! : ""
}

function extensionOf(element: Element): Extension {
  const parts = [...readElements(sequence(element))]
  const id = parts.shift()
  const critical = parts[0]?.tag === tag.boolean ? parts.shift()!.content : undefined
  const value = parts.shift()
  if (id?.tag !== tag.oid || value?.tag !== tag.octetString || parts.length > 0) return refuse()
  // DER: `false` is the default and therefore never written; `true` is 0xff.
  if (critical && (critical.length !== 1 || critical[0] !== 0xff)) return refuse()
  return { id: id.bytes, critical: critical !== undefined, value: value.content }
}

/** ECDSA-Sig-Value: two positive integers, written to 48 bytes each. */
function ecdsaSignatureOf(element: Element): Uint8Array {
  const [r, s, ...more] = readElements(contentOf(tag.sequence, bitsOf(element)))
  if (!r || !s || more.length > 0) return refuse()
  const out = new Uint8Array(2 * p384FieldBytes)
  for (const [index, integer] of [r, s].entries()) {
    const bytes = positiveIntegerOf(integer)
    const digits = bytes[0] === 0 ? bytes.subarray(1) : bytes
    if (digits.length > p384FieldBytes) return refuse()
    out.set(digits, (index + 1) * p384FieldBytes - digits.length)
  }
  return out
}

const sequence = (element: Element): Uint8Array => (element.tag === tag.sequence ? element.content : refuse())

/** 2.5.4.10 */
const isOrganisationType = ({ content: [a, b, c, ...more] }: Element): boolean =>
  a === 0x55 && b === 0x04 && c === 0x0a && more.length === 0

function refuse(): never {
  throw new ValiseError("ERR_MALFORMED", "not a certificate of the profile's structure")
}
