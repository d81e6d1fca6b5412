/** A leaf certificate from the issuing CA, for as long as the profile and the CA allow. */
import type { Realm } from "../protocol/address.ts"
import { issueLeaf, type Issuer } from "../pki/certificate.ts"
import { lifetimeSecondsMax, type LeafSubject } from "../pki/profile.ts"
import { readCertificate } from "../pki/x509.ts"
import { seconds } from "../system/machine.ts"
import type { DirectoryMachine } from "./keys.ts"

export interface IssuingInput {
  readonly realm: Realm
  readonly ca: Issuer
  readonly machine: DirectoryMachine
  readonly organisation: string
  /** Ed25519, 32 bytes. */
  readonly key: Uint8Array
  /** The key's own signature: it asks for this certificate. */
  readonly member: Uint8Array
}

/** DER. Throws `ERR_UNTRUSTED` if the key has not asked, `ERR_USAGE` for what the profile does not allow. */
export async function issueFor(subject: LeafSubject, input: IssuingInput): Promise<Uint8Array> {
  const { realm, ca, machine, organisation, key, member } = input
  const now = seconds(machine.clock)
  return await issueLeaf({
    realm,
    ca,
    subject,
    organisation,
    publicKey: key,
    possession: member,
    notBefore: now,
    notAfter: Math.min(now + lifetimeSecondsMax.leaf, readCertificate(ca.certificate).notAfter),
    random: (length) => machine.random.bytes(length),
  })
}
