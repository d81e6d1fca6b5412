/**
 * The mutual login (SPEC, "Connection"): both ends sign one transcript, and the keys of every later frame hang on a fresh
 * Diffie-Hellman secret, that transcript and the device. `formal/login.pv` shows what each part is for.
 */
import type { DeviceId, Realm } from "./address.ts"
import { encodeCbor } from "./cbor.ts"
import { ValiseError } from "./errors.ts"
import { connectionVersion, subprotocol } from "./frames.ts"
import { taggedHash } from "./hash.ts"
import { mac, wipe, x25519, type SigningKey } from "./primitives.ts"
import { signStatement, verifyStatement } from "./statement.ts"

/** What both ends sign. `host` is the one that the client dialled: no other relay can pass the login on. */
export interface Transcript {
  readonly host: string
  readonly relayKey: Uint8Array
  readonly nonceClient: Uint8Array
  readonly nonceRelay: Uint8Array
  readonly ephemeralClient: Uint8Array
  readonly ephemeralRelay: Uint8Array
}

export interface FrameKeys {
  /** Client to relay. */
  readonly up: Uint8Array
  /** Relay to client. */
  readonly down: Uint8Array
}

export const transcriptBytes = (t: Transcript): Uint8Array =>
  encodeCbor({
    v: connectionVersion,
    subprotocol,
    suite: 1,
    host: t.host, // defence: 29 host
    relayKey: t.relayKey,
    nonceClient: t.nonceClient,
    nonceRelay: t.nonceRelay,
    ephemeralClient: t.ephemeralClient,
    ephemeralRelay: t.ephemeralRelay,
  })

export const signLogin = (
  key: SigningKey,
  realm: Realm,
  role: "login-relay" | "login-device",
  transcript: Uint8Array,
): Uint8Array => signStatement(key, realm, role, transcript).signature

export const verifyLogin = (
  publicKey: Uint8Array,
  realm: Realm,
  role: "login-relay" | "login-device",
  transcript: Uint8Array,
  signature: Uint8Array,
): boolean => verifyStatement(publicKey, realm, role, { bytes: transcript, signature })

/**
 * Both directions' MAC keys; the ephemeral secret is wiped. Throws `ERR_LOGIN` for a peer's key of low order, which
 * would make the shared secret known to all.
 */
export function frameKeys(
  ephemeralSecret: Uint8Array,
  peerEphemeral: Uint8Array,
  transcript: Uint8Array,
  device: DeviceId,
): FrameKeys {
  const shared = x25519(ephemeralSecret, peerEphemeral)
  wipe(ephemeralSecret)
  if (!shared) throw new ValiseError("ERR_LOGIN", "the peer's ephemeral key is of low order")
  const keys = {
    up: mac(shared, taggedHash("up", transcript, device)), // defence: 29 device-in-key => up: mac(shared, taggedHash("up", transcript)),
    down: mac(shared, taggedHash("down", transcript, device)), // defence: 30 direction => down: mac(shared, taggedHash("up", transcript, device)),
  }
  wipe(shared)
  return keys
}
