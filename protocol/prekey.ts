/** Prekeys: the signed keys that envelopes are sealed to (SPEC, "Prekeys"). */
import { z } from "zod"
import { prekeyIdOf, shapes, type DeviceId, type Incarnation, type PrekeyId, type Realm } from "./address.ts"
import { equal } from "./bytes.ts"
import { encodeCbor } from "./cbor.ts"
import { ValiseError } from "./errors.ts"
import { fixed } from "./limits.ts"
import { kemPublicKeyBytes, type SigningKey } from "./primitives.ts"
import { decodeGrowing, growing, signStatement, verifyStatement, type Signed } from "./statement.ts"

export const prekeyKinds = ["one-time", "rotating"] as const
export type PrekeyKind = (typeof prekeyKinds)[number]

/** What a device signs for each of its prekeys. */
export interface PrekeyStatement {
  readonly v: 1
  readonly device: DeviceId
  /** With `n`, which counts all prekeys of an incarnation, it shows a vault that went back in time. */
  readonly incarnation: Incarnation
  readonly n: number
  readonly kind: PrekeyKind
  readonly id: PrekeyId
  readonly suite: 1
  /** Seconds; the key may be sealed to from `nbf` to `exp`, both included. */
  readonly nbf: number
  readonly exp: number
  /** X-Wing public key, 1216 bytes. */
  readonly pk: Uint8Array
  readonly crit?: readonly string[] | undefined
}

export function signPrekey(key: SigningKey, realm: Realm, statement: PrekeyStatement): Signed {
  return signStatement(key, realm, "prekey", encodeCbor(statement))
}

/**
 * All that can be judged of one prekey alone, before anything is sealed to it. Throws `ERR_UNTRUSTED` (not signed by
 * this device, not this device's, outside its time), `ERR_VERSION` or `ERR_MALFORMED`.
 */
export function checkPrekey(
  realm: Realm,
  device: { readonly id: DeviceId; readonly signingKey: Uint8Array },
  signed: Signed,
  nowSeconds: number,
): PrekeyStatement {
  const genuine = verifyStatement(device.signingKey, realm, "prekey", signed)
  if (!genuine) throw untrusted("is not signed by its device") // defence: 4 prekey-signature
  const prekey = decodeGrowing(prekeyShape, signed.bytes)
  if (!equal(prekey.device, device.id)) throw untrusted("is another device's") // defence: 4 prekey-device
  if (!equal(prekey.id, prekeyIdOf(prekey.pk))) throw untrusted("has the id of another key") // defence: 4 prekey-id
  if (prekey.exp - prekey.nbf > fixed.rotatingPrekeySeconds) throw untrusted("lives too long") // defence: 4 prekey-lifetime
  if (prekey.exp < nowSeconds) throw untrusted("has expired") // defence: 4 prekey-expired
  if (prekey.nbf > nowSeconds + fixed.clockSkewSecondsMax) throw untrusted("is not yet valid") // defence: 23 prekey-skew
  return prekey
}

const untrusted = (what: string): ValiseError => new ValiseError("ERR_UNTRUSTED", `a prekey ${what}`)

const prekeyShape = growing({
  v: z.literal(1),
  device: shapes.device,
  incarnation: shapes.incarnation,
  n: shapes.counter,
  kind: z.enum(prekeyKinds),
  id: shapes.prekeyId,
  suite: z.literal(1),
  nbf: shapes.seconds,
  exp: shapes.seconds,
  pk: z.custom<Uint8Array>((x) => x instanceof Uint8Array && x.length === kemPublicKeyBytes),
})
