/** Manifests of invented PoCs, honest and not. */
import { deviceIdOf, mailboxOf, officerIdOf, type PocAddress, type Realm } from "../../protocol/address.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { signMember, type Manifest, type ManifestDevice, type ManifestOfficer } from "../../protocol/manifest.ts"
import type { SigningKey } from "../../protocol/primitives.ts"
import { signStatement, type Signed } from "../../protocol/statement.ts"
import { S, signingKeyOf } from "./papers.ts"
import { live, nowSeconds } from "./sealing.ts"

export const pocKey: SigningKey = signingKeyOf("PoC")
export const deviceKey: SigningKey = signingKeyOf("device")
export const officerKey: SigningKey = signingKeyOf("officer")
/** What a reader expects: the certificate's PoC and key. */
export const certified = { address: S, key: pocKey.publicKey }

export function deviceEntry(poc: PocAddress, key: SigningKey, realm: Realm = live): ManifestDevice {
  const device = deviceIdOf(poc, key.publicKey)
  const relay = "relay.example"
  return {
    device,
    key: key.publicKey,
    relay,
    mailbox: mailboxOf(device, relay),
    rights: ["send", "receive"],
    member: signMember(key, realm, poc),
  }
}

export function officerEntry(poc: PocAddress, key: SigningKey, realm: Realm = live): ManifestOfficer {
  return {
    officer: officerIdOf(poc, key.publicKey),
    key: key.publicKey,
    title: "duty officer 2",
    rights: ["acknowledge", "release", "consent"],
    member: signMember(key, realm, poc),
  }
}

export const manifest = (change: Partial<Manifest> = {}): Manifest => ({
  v: 1,
  poc: S,
  version: 1,
  previous: null,
  created: nowSeconds,
  expires: nowSeconds + 90 * 86_400,
  devices: [deviceEntry(S, deviceKey)],
  officers: [officerEntry(S, officerKey)],
  ...change,
})

/** Signed by the PoC whatever it says; `signManifest` would refuse. */
export const signUnchecked = (said: object, key: SigningKey = pocKey, realm: Realm = live): Signed =>
  signStatement(key, realm, "manifest", encodeCbor(said))
