/**
 * The header: what can be read of a vault without its secret (SPEC "Vault: header"): the format's version and the lock
 * on the data key. No address, no name. A plain checksum tells damage from a wrong passphrase.
 */
import { z } from "zod"
import { shapes } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { sha3 } from "../../protocol/primitives.ts"
import { lockedShape, type Locked } from "./lock.ts"
import { tampered } from "./vault-keys.ts"

export const vaultFormat = 1
/** The lock's context of the data key. */
export const dataKeyContext = "vault data key"

export function encodeHeader(locked: Locked): Uint8Array {
  const body = encodeCbor({ format: vaultFormat, locked })
  return encodeCbor({ body, checksum: sha3(body) })
}

/** Throws `ERR_VAULT_TAMPERED` for damage, `ERR_VAULT` for another format. */
export function decodeHeader(bytes: Uint8Array): Locked {
  const { body, checksum } = damaged(() => decodeCbor(headerShape, bytes))
  if (!equal(sha3(body), checksum)) throw tampered("the vault's header is damaged")
  const { format } = damaged(() => decodeCbor(formatShape, body))
  if (format !== vaultFormat)
    throw new ValiseError("ERR_VAULT", "the vault has another format", { hint: "it was made by a newer version" })
  return damaged(() => decodeCbor(bodyShape, body)).locked
}

function damaged<T>(decode: () => T): T {
  try {
    return decode()
  } catch {
    throw tampered("the vault's header is damaged")
  }
}

const headerShape = z.strictObject({ body: shapes.bytes, checksum: shapes.hash })
const formatShape = z.looseObject({ format: z.number().int() })
const bodyShape = z.strictObject({ format: z.literal(vaultFormat), locked: lockedShape })
