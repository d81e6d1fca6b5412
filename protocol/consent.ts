/**
 * The papers of consent-gated forwarding (SPEC, "Consent"). All travel as leaves of sealed messages. None is signed, with
 * one exception: the copy of a consent that S gets. In the hands of R or T a signature over these fields would be the very
 * proof that sealing withholds.
 */
import { z } from "zod"
import { shapes, type Hash, type MessageId, type PocAddress, type Realm } from "./address.ts"
import { equal, fromUtf8, utf8 } from "./bytes.ts"
import { encodeCbor } from "./cbor.ts"
import { ValiseError } from "./errors.ts"
import { taggedHash } from "./hash.ts"
import { fixed } from "./limits.ts"
import type { SigningKey } from "./primitives.ts"
import { growing, signStatement, verifyStatement, type Signed } from "./statement.ts"
import { structureOf, textShape } from "./structure.ts"
import { tlpShape, type Tlp } from "./tlp.ts"

/** 16 random bytes that R chooses; everything about one request bears it. */
export type RequestId = Uint8Array & { readonly brand: "RequestId" }

export interface NamedHash {
  readonly name: string
  readonly hash: Hash
}

/** What is asked, consented to and attested: these fields are equal in all three. */
export interface ConsentScope {
  readonly v: 1
  readonly requestId: RequestId
  readonly messageId: MessageId
  /** TH("header", …) of the message. */
  readonly header: Hash
  /** Sorted by name, unique; `involved` and at least one other. */
  readonly leaves: readonly NamedHash[]
  readonly sender: PocAddress
  readonly forwarder: PocAddress
  readonly thirdParty: PocAddress
  readonly purpose: string
  /** The label under which the third party gets the leaves. */
  readonly tlp: Tlp
  readonly crit?: readonly string[] | undefined
}

/** R → S and every involved PoC, never T: `content` is C, and S's word for C would open every leaf. */
export interface ConsentRequest extends ConsentScope {
  readonly content: Hash
}

/** P → R, T and (signed) S. Usable from `nbf` to `exp`, seconds, both included; at most 14 days. */
export interface ConsentTerms extends ConsentScope {
  readonly nbf: number
  readonly exp: number
}

/** S → T, last. `nbf` and `exp` are its own. */
export interface Attestation extends ConsentTerms {
  /** Sorted by PoC, unique; S itself is not among them: the attestation is its consent. */
  readonly consents: readonly ListedConsent[]
}

export interface ListedConsent {
  readonly poc: PocAddress
  readonly digest: Hash
}

/** P → R: no. */
export interface ConsentRefusal {
  readonly v: 1
  readonly requestId: RequestId
  readonly reason?: string | undefined
  readonly crit?: readonly string[] | undefined
}

/** P or S → R, S and T: no longer. Final for this request. */
export interface ConsentWithdrawal {
  readonly v: 1
  readonly requestId: RequestId
  readonly crit?: readonly string[] | undefined
}

/** R → T: the chosen leaves and `involved`, nothing else of the message. */
export interface Forward {
  readonly v: 1
  readonly requestId: RequestId
  readonly leaves: readonly ForwardedLeaf[]
  readonly crit?: readonly string[] | undefined
}

export interface ForwardedLeaf {
  readonly name: string
  readonly salt: Uint8Array
  readonly value: Uint8Array
}

/** T → all: used, then. */
export interface UseReceipt {
  readonly v: 1
  readonly requestId: RequestId
  /** Seconds. */
  readonly time: number
  readonly crit?: readonly string[] | undefined
}

/** The terms to which a PoC says yes. `nbf` lies a clock skew back, so that S can use it at once if its clock is slow. */
export function consentTo(scope: ConsentScope, nowSeconds: number): ConsentTerms {
  const nbf = Math.max(0, nowSeconds - fixed.clockSkewSecondsMax)
  return { ...scopeOf(scope), nbf, exp: nbf + fixed.consentSeconds }
}

/** What S seals to T. @param consents from `mayAttest` */
export function attestationOf(
  scope: ConsentScope,
  consents: readonly ListedConsent[],
  nowSeconds: number,
  exp: number,
): Attestation {
  return { ...scopeOf(scope), nbf: nowSeconds, exp, consents }
}

/** A consent as one of its readers gets it: bytes for all, an officer's signature for S alone. */
export function consentFor(
  reader: PocAddress,
  terms: ConsentTerms,
  realm: Realm,
  officer: SigningKey,
): { readonly bytes: Uint8Array; readonly signature?: Uint8Array } {
  const bytes = encodeConsent(terms)
  if (reader !== terms.sender) return { bytes } // defence: 27 unsigned-to-others
  return signStatement(officer, realm, "consent", bytes)
}

/** S's copy. Throws `ERR_UNTRUSTED`, `ERR_MALFORMED` or `ERR_VERSION`. @param officerKey of an officer with the right `consent` */
export function readSignedConsent(officerKey: Uint8Array, realm: Realm, signed: Signed): ConsentTerms {
  if (!verifyStatement(officerKey, realm, "consent", signed)) throw forged() // defence: 25 consent-signature
  return decodeConsent(signed.bytes)
}

/** Names a consent in an attestation. */
export const consentDigest = (bytes: Uint8Array): Hash => taggedHash("statement", bytes) as Hash

/** The fields of the scope as this version knows them: nobody agrees to a field that it does not know. */
export function scopeOf(paper: ConsentScope): ConsentScope {
  const { v, requestId, messageId, header, leaves, sender, forwarder, thirdParty, purpose, tlp } = paper
  return { v, requestId, messageId, header, leaves, sender, forwarder, thirdParty, purpose, tlp }
}

/** Equal in every field, known or not, but the dates and an attestation's list. */
export const sameScope = (a: ConsentScope, b: ConsentScope): boolean => equal(undated(a), undated(b))

/** Leaf `involved`: a JSON array of addresses, unique, in UTF-8. Throws `ERR_MALFORMED`. */
export function encodeInvolved(pocs: readonly PocAddress[]): Uint8Array {
  const bytes = utf8(JSON.stringify(pocs))
  decodeInvolved(bytes)
  return bytes
}

/** Throws `ERR_MALFORMED`. */
export function decodeInvolved(bytes: Uint8Array): PocAddress[] {
  try {
    return involvedShape.parse(JSON.parse(fromUtf8(bytes)))
  } catch (cause) {
    throw new ValiseError("ERR_MALFORMED", "not a list of PoCs", { cause })
  }
}

const forged = (): ValiseError => new ValiseError("ERR_UNTRUSTED", "a consent is not signed by this officer")

function undated(paper: ConsentScope & Partial<Attestation>): Uint8Array {
  return encodeCbor({ ...paper, nbf: undefined, exp: undefined, consents: undefined })
}

const ascending = (texts: readonly string[]): boolean => texts.every((text, i) => i === 0 || texts[i - 1]! < text)
const unique = (texts: readonly string[]): boolean => new Set(texts).size === texts.length

const version = z.literal(1)
const requestId = z.custom<RequestId>((x) => x instanceof Uint8Array && x.length === 16)
const leafName = z.string().regex(/^[a-z][A-Za-z0-9]{0,63}$/)
const purpose = textShape(fixed.purposeCharactersMax)
const names = (leaves: readonly { readonly name: string }[]): string[] => leaves.map(({ name }) => name)

const leaves = z
  .array(z.strictObject({ name: leafName, hash: shapes.hash }))
  .min(2)
  .max(fixed.leavesMax)
  .refine((list) => ascending(names(list)) && names(list).includes("involved"))

const scope = {
  v: version,
  requestId,
  messageId: shapes.messageId,
  header: shapes.hash,
  leaves,
  sender: shapes.poc,
  forwarder: shapes.poc,
  thirdParty: shapes.poc,
  purpose,
  tlp: tlpShape,
}
const dates = { nbf: shapes.seconds, exp: shapes.seconds }
const threePocs = (x: ConsentScope): boolean => unique([x.sender, x.forwarder, x.thirdParty])
const lasts = (x: { readonly nbf: number; readonly exp: number }, secondsMax: number): boolean =>
  x.nbf <= x.exp && x.exp - x.nbf <= secondsMax

const listedConsents = z
  .array(z.strictObject({ poc: shapes.poc, digest: shapes.hash }))
  .max(fixed.involvedMax)
  .refine((list) => ascending(list.map(({ poc }) => poc)))

const forwardedLeaves = z
  .array(z.strictObject({ name: leafName, salt: shapes.hash, value: shapes.bytes }))
  .min(2)
  .max(fixed.leavesMax)
  .refine((list) => unique(names(list)))

const involvedShape = z.array(shapes.poc).min(1).max(fixed.involvedMax).refine(unique)

// Encoders throw for what their decoder would refuse; decoders throw `ERR_MALFORMED` or `ERR_VERSION`, and nothing else.
export const { encode: encodeConsentRequest, decode: decodeConsentRequest } = structureOf<ConsentRequest>(
  growing({ ...scope, content: shapes.hash }).refine(threePocs),
)
export const { encode: encodeConsent, decode: decodeConsent } = structureOf<ConsentTerms>(
  growing({ ...scope, ...dates }).refine((x) => threePocs(x) && lasts(x, fixed.consentSeconds)),
)
export const { encode: encodeAttestation, decode: decodeAttestation } = structureOf<Attestation>(
  growing({ ...scope, ...dates, consents: listedConsents }).refine(
    (x) => threePocs(x) && lasts(x, fixed.attestationSecondsMax) && x.consents.every(({ poc }) => poc !== x.sender),
  ),
)
export const { encode: encodeConsentRefusal, decode: decodeConsentRefusal } = structureOf<ConsentRefusal>(
  growing({ v: version, requestId, reason: purpose.optional() }),
)
export const { encode: encodeConsentWithdrawal, decode: decodeConsentWithdrawal } = structureOf<ConsentWithdrawal>(
  growing({ v: version, requestId }),
)
export const { encode: encodeForward, decode: decodeForward } = structureOf<Forward>(
  growing({ v: version, requestId, leaves: forwardedLeaves }),
)
export const { encode: encodeUseReceipt, decode: decodeUseReceipt } = structureOf<UseReceipt>(
  growing({ v: version, requestId, time: shapes.seconds }),
)
