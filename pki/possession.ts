/** A certificate is given only to a key that has asked for it, signed by itself (SPEC, "Directory"). */
import type { PocAddress, Realm } from "../protocol/address.ts"
import { encodeCbor } from "../protocol/cbor.ts"
import { memberStatement } from "../protocol/manifest.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import { signStatement, verifyStatement } from "../protocol/statement.ts"
import { leafUri, type LeafSubject } from "./profile.ts"

/** The signature, label `member`, with which a key asks to be certified for this subject. */
export function signPossession(key: SigningKey, realm: Realm, subject: LeafSubject): Uint8Array {
  return signStatement(key, realm, "member", possessionStatement(realm, subject, key.publicKey)).signature
}

export function provesPossession(realm: Realm, subject: LeafSubject, key: Uint8Array, signature: Uint8Array): boolean {
  return verifyStatement(key, realm, "member", { bytes: possessionStatement(realm, subject, key), signature })
}

/** For a PoC the same statement as for its devices; for a relay or the log the name of its certificate. */
function possessionStatement(realm: Realm, subject: LeafSubject, key: Uint8Array): Uint8Array {
  if (subject.use === "relay" || subject.use === "log")
    return encodeCbor({ v: 1, subject: leafUri(subject, realm.origin), key })
  const { state, role, agency } = subject.poc
  return memberStatement(`${state}/${role}/${agency}` as PocAddress, key)
}
