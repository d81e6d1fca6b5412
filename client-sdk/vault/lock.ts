/**
 * A secret under a lock that a passphrase or a key file opens: the vault's data key, and each officer's key with a secret
 * of its own (SPEC "Vault: locks").
 */
import { z } from "zod"
import { shapes } from "../../protocol/address.ts"
import { concat, utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { lengthPrefixed } from "../../protocol/hash.ts"
import { constantTimeEqual, mac, wipe, xaeadNonceBytes, xaeadOpen, xaeadSeal } from "../../protocol/primitives.ts"
import type { Random } from "../../system/machine.ts"

/** What opens a lock. Made by `passphraseSecret` and `readKeyFile` on Node. */
export type UnlockSecret =
  | { readonly kind: "passphrase"; readonly passphrase: string; readonly derivation: KeyDerivation }
  | { readonly kind: "key-file"; readonly key: Uint8Array }

/** Argon2id version 0x13 (RFC 9106) with a 32-byte result; an interface because browsers have none built in. */
export interface KeyDerivation {
  derive(passphrase: Uint8Array, salt: Uint8Array, parameters: Argon2Parameters): Promise<Uint8Array>
}

export interface Argon2Parameters {
  readonly memoryKib: number
  readonly passes: number
  readonly lanes: number
}

/** For every new lock; an old one keeps the parameters that it was made with. */
export const argon2Parameters: Argon2Parameters = {
  /** 256 MiB, as much as age's scrypt takes: a guess costs a cracker this memory; a duty desk spends it once a start. */
  memoryKib: 256 * 1024,
  /** RFC 9106 §4 asks for 3 below 2 GiB. */
  passes: 3,
  /** RFC 9106 §4: 4 lanes. About a second on two free cores. */
  lanes: 4,
}

/** A secret under lock, as it is stored. */
export interface Locked {
  readonly v: 1
  readonly by: { readonly kind: "passphrase"; readonly argon2id: Argon2Parameters } | { readonly kind: "key-file" }
  readonly salt: Uint8Array
  /** Tells a wrong secret from an altered lock. */
  readonly check: Uint8Array
  readonly nonce: Uint8Array
  readonly box: Uint8Array
}

export const lockedShape: z.ZodType<Locked> = z.strictObject({
  v: z.literal(1),
  by: z.discriminatedUnion("kind", [
    z.strictObject({
      kind: z.literal("passphrase"),
      // The upper bounds keep an altered lock from taking all memory or hours.
      argon2id: z.strictObject({
        memoryKib: z
          .number()
          .int()
          .min(8 * 16)
          .max(2 ** 21),
        passes: z.number().int().min(1).max(16),
        lanes: z.number().int().min(1).max(16),
      }),
    }),
    z.strictObject({ kind: z.literal("key-file") }),
  ]),
  salt: bytesOf(32),
  check: bytesOf(32),
  nonce: bytesOf(xaeadNonceBytes),
  box: shapes.bytes,
})

/** @param context what the secret is and whose: a lock cannot be taken for another's. Throws `ERR_USAGE` for an empty passphrase. */
export async function lock(
  secret: UnlockSecret,
  context: string,
  plaintext: Uint8Array,
  random: Random,
): Promise<Locked> {
  const by: Locked["by"] =
    secret.kind === "passphrase" ? { kind: "passphrase", argon2id: argon2Parameters } : { kind: "key-file" }
  if (secret.kind === "passphrase" && secret.passphrase === "")
    throw new ValiseError("ERR_USAGE", "a passphrase must not be empty")
  const salt = random.bytes(32)
  const nonce = random.bytes(xaeadNonceBytes)
  const { wrapKey, check } = await keysOf(secret, by, salt)
  const box = xaeadSeal(wrapKey, nonce, aadOf(context, by, salt), plaintext)
  wipe(wrapKey)
  return { v: 1, by, salt, check, nonce, box }
}

/** Throws `ERR_PASSPHRASE` for a wrong secret, `ERR_VAULT_TAMPERED` if the lock, or its context, is not the one that was made. */
export async function unlock(secret: UnlockSecret, context: string, locked: Locked): Promise<Uint8Array> {
  if (secret.kind !== locked.by.kind)
    throw new ValiseError("ERR_PASSPHRASE", "the wrong kind of secret", {
      hint: locked.by.kind === "passphrase" ? "this opens with a passphrase" : "this opens with a key file",
    })
  const { wrapKey, check } = await keysOf(secret, locked.by, locked.salt)
  if (!constantTimeEqual(check, locked.check)) throw new ValiseError("ERR_PASSPHRASE", "the secret does not fit")
  const plaintext = xaeadOpen(wrapKey, locked.nonce, aadOf(context, locked.by, locked.salt), locked.box)
  wipe(wrapKey)
  if (!plaintext) throw new ValiseError("ERR_VAULT_TAMPERED", "a lock was altered")
  return plaintext
}

async function keysOf(secret: UnlockSecret, by: Locked["by"], salt: Uint8Array) {
  const master = await masterOf(secret, by, salt)
  const wrapKey = mac(master, utf8("valise/v1/lock/wrap"))
  const check = mac(master, utf8("valise/v1/lock/check"))
  wipe(master)
  return { wrapKey, check }
}

/** A passphrase is normalised (NFC): the same letters from another keyboard are the same passphrase. */
async function masterOf(secret: UnlockSecret, by: Locked["by"], salt: Uint8Array): Promise<Uint8Array> {
  if (secret.kind === "passphrase" && by.kind === "passphrase")
    return await secret.derivation.derive(utf8(secret.passphrase.normalize("NFC")), salt, by.argon2id)
  if (secret.kind === "key-file") return mac(secret.key, salt)
  throw new ValiseError("ERR_PASSPHRASE", "the wrong kind of secret")
}

const aadOf = (context: string, by: Locked["by"], salt: Uint8Array): Uint8Array =>
  concat(lengthPrefixed(utf8("valise/v1/lock")), lengthPrefixed(utf8(context)), encodeCbor({ v: 1, by, salt }))

function bytesOf(length: number): z.ZodType<Uint8Array> {
  return z.custom<Uint8Array>((x) => x instanceof Uint8Array && x.length === length)
}
