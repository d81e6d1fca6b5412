/**
 * The directory's own keys on disk. `root/` is used for nothing but making an issuing CA, and belongs offline: the
 * directory runs without it. `keys/` is what the running service needs: the issuing CA and the log's key.
 */
import { z } from "zod"
import { shapes, type Realm } from "../protocol/address.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError } from "../protocol/errors.ts"
import { SigningKey, seedBytes } from "../protocol/primitives.ts"
import { issueCa, issueRoot, makeIssuerKey, type Issuer } from "../pki/certificate.ts"
import { lifetimeSecondsMax } from "../pki/profile.ts"
import { seconds, type Machine } from "../system/machine.ts"
import type { Files } from "./files.ts"

export type DirectoryMachine = Pick<Machine, "clock" | "random">

/** Makes the root's key, which is written only to `root/`. */
export async function makeRoot(files: Files, realm: Realm, machine: DirectoryMachine): Promise<Issuer> {
  const key = await makeIssuerKey()
  const now = seconds(machine.clock)
  const random = (length: number) => machine.random.bytes(length)
  const certificate = await issueRoot({ realm, key, notBefore: now, notAfter: now + lifetimeSecondsMax.root, random })
  const root = { certificate, privateKey: key.privateKey }
  await files.write(rootPath, encodeCbor(root))
  return root
}

/** A new issuing CA under the root. It counts once its certificate is logged; `keepCa` is for afterwards. */
export async function makeCa(root: Issuer, realm: Realm, machine: DirectoryMachine): Promise<Issuer> {
  const { publicKey, privateKey } = await makeIssuerKey()
  const now = seconds(machine.clock)
  const certificate = await issueCa({
    realm,
    root,
    publicKey,
    notBefore: now,
    notAfter: now + lifetimeSecondsMax.ca,
    random: (length) => machine.random.bytes(length),
  })
  return { certificate, privateKey }
}

/** Throws `ERR_NOT_FOUND` if the root is where it should be: elsewhere. */
export async function readRoot(files: Files): Promise<Issuer> {
  return await readIssuer(files, rootPath, "bring the offline folder `root` back for this, and take it away afterwards")
}

export async function keepCa(files: Files, ca: Issuer): Promise<void> {
  await files.write(caPath, encodeCbor({ certificate: ca.certificate, privateKey: ca.privateKey }))
}

export async function readCa(files: Files): Promise<Issuer> {
  return await readIssuer(files, caPath, restore)
}

export async function makeLogKey(files: Files, machine: DirectoryMachine): Promise<SigningKey> {
  const seed = machine.random.bytes(seedBytes)
  await files.write(logKeyPath, seed)
  return new SigningKey(seed)
}

export async function readLogKey(files: Files): Promise<SigningKey> {
  const seed = await files.read(logKeyPath)
  return seed?.length === seedBytes ? new SigningKey(seed) : missing(restore)
}

async function readIssuer(files: Files, path: string, hint: string): Promise<Issuer> {
  return decodeCbor(issuerShape, (await files.read(path)) ?? missing(hint))
}

function missing(hint: string): never {
  throw new ValiseError("ERR_NOT_FOUND", "a key of the directory is missing", { hint })
}

const restore = "restore the directory's folder from its backup"
const rootPath = "root/issuer"
const caPath = "keys/ca"
const logKeyPath = "keys/log"
const issuerShape = z.strictObject({ certificate: shapes.bytes, privateKey: shapes.bytes })
