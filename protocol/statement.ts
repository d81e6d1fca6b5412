/** Everything that is signed: `"valise/v1" 0 origin 0 mode 0 label 0 bytes` (SPEC, "Encodings"). The labels are a closed list. */
import { z } from "zod"
import { shapes, type Realm } from "./address.ts"
import { concat, utf8 } from "./bytes.ts"
import { decodeCbor, decodeValue, shaped } from "./cbor.ts"
import { ValiseError } from "./errors.ts"
import { verifyRemembered } from "./good-signatures.ts"
import { verifySignature, type SigningKey } from "./primitives.ts"

export const statementLabels = [
  "prekey",
  "header",
  "release",
  "login-relay",
  "login-device",
  "device-receipt",
  "officer-receipt",
  "relay-receipt",
  "consent",
  "attest",
  "manifest",
  "member",
  "entry",
  "revocation",
  "approval",
] as const
export type StatementLabel = (typeof statementLabels)[number]

/** A statement's bytes as its signer wrote them (never re-serialised) and the signature over them. */
export interface Signed {
  readonly bytes: Uint8Array
  readonly signature: Uint8Array
}

/** The shape of a signed pair inside another structure. */
export const signedShape: z.ZodType<Signed> = z.strictObject({ bytes: shapes.bytes, signature: shapes.signature })

/**
 * A statement's shape that survives growth: fields it does not know are kept (the signed bytes stay as received),
 * unless `crit` names them. Only then must the reader give up.
 */
export function growing<S extends z.ZodRawShape>(fields: S) {
  return z.looseObject({ ...fields, crit: z.array(z.string().max(64)).max(16).optional() })
}

/** Throws `ERR_VERSION` if `crit` names a field that this reader does not know. */
export function refuseUnknownCritical(
  shape: z.ZodObject,
  value: { readonly crit?: readonly string[] | undefined },
): void {
  for (const name of value.crit ?? [])
    if (!Object.hasOwn(shape.shape, name)) throw new ValiseError("ERR_VERSION", "a critical field is unknown here")
}

/**
 * Decodes a structure of this version. Throws `ERR_VERSION` if it is of another version or suite, or if it names a
 * critical field that is unknown here; `ERR_MALFORMED` on anything else.
 */
export function decodeGrowing<T extends { readonly crit?: readonly string[] | undefined }>(
  shape: z.ZodObject & z.ZodType<T>,
  bytes: Uint8Array,
): T {
  const decoded = decodeValue(bytes)
  const { v, suite } = shaped(versionsShape, decoded)
  if (v !== 1 || suite !== 1) throw new ValiseError("ERR_VERSION", "a structure of another version or suite") // defence: 12 signed-version
  const value = shaped(shape, decoded)
  refuseUnknownCritical(shape, value) // defence: 12 critical-field
  return value
}

const versionsShape = z.looseObject({ v: z.number(), suite: z.number().default(1) })

export const signedBytes = (realm: Realm, label: StatementLabel, bytes: Uint8Array): Uint8Array =>
  concat(
    utf8("valise/v1\0"),
    utf8(`${realm.origin}\0`), // defence: 14 origin
    utf8(`${realm.mode}\0`), // defence: 14 mode
    utf8(`${label}\0`), // defence: 13 label
    bytes,
  )

export function signStatement(key: SigningKey, realm: Realm, label: StatementLabel, bytes: Uint8Array): Signed {
  return { bytes, signature: key.sign(signedBytes(realm, label, bytes)) }
}

export function verifyStatement(publicKey: Uint8Array, realm: Realm, label: StatementLabel, signed: Signed): boolean {
  const verify = logged.has(label) ? verifyRemembered : verifySignature
  return verify(publicKey, signedBytes(realm, label, signed.bytes), signed.signature)
}

/** What stands in the log. */
const logged: ReadonlySet<StatementLabel> = new Set(["manifest", "member", "entry", "revocation", "approval"])

/** Verifies first and parses afterwards. Throws `ERR_UNTRUSTED` or `ERR_MALFORMED`. */
export function readStatement<T>(
  publicKey: Uint8Array,
  realm: Realm,
  label: StatementLabel,
  signed: Signed,
  shape: z.ZodType<T>,
): T {
  if (!verifyStatement(publicKey, realm, label, signed))
    throw new ValiseError("ERR_UNTRUSTED", `the signature of a ${label} statement does not verify`)
  return decodeCbor(shape, signed.bytes)
}
