/** Two ends of a connection, joined without a socket. */
import { deviceIdOf, type DeviceId, type PocAddress, type Realm } from "../../protocol/address.ts"
import { equal, utf8 } from "../../protocol/bytes.ts"
import { ClientConnection, RelayConnection } from "../../protocol/connection.ts"
import { decodeLoginFrame, type LoginFrame } from "../../protocol/frames.ts"
import { frameKeys, transcriptBytes, type FrameKeys } from "../../protocol/login.ts"
import { sha3, shake256, SigningKey } from "../../protocol/primitives.ts"

export const realm: Realm = { origin: "directory.example", mode: "exercise" }
export const relayHost = "relay.example"

export const keyOf = (name: string): SigningKey => new SigningKey(sha3(utf8(name)))

/** Reproducible bytes: each call gives the next ones. */
export function seededRandom(seed: string): (length: number) => Uint8Array {
  let call = 0
  return (length) => shake256(length, utf8(`${seed}/${call++}`))
}

export interface TestDevice {
  readonly poc: PocAddress
  readonly id: DeviceId
  readonly key: SigningKey
}

export function testDevice(poc: string, name = "device"): TestDevice {
  const key = keyOf(`${poc}/${name}`)
  return { poc: poc as PocAddress, id: deviceIdOf(poc as PocAddress, key.publicKey), key }
}

export const relayKey = keyOf("relay")
export const relayCertificate = utf8("a certificate for relay.example")

export interface Ends {
  readonly client: ClientConnection
  readonly relay: RelayConnection
  readonly device: TestDevice
  readonly seed: string
}

export function ends(device: TestDevice, options: { realm?: Realm; relayRealm?: Realm; seed?: string } = {}): Ends {
  const seed = options.seed ?? "ends"
  const client = new ClientConnection({
    realm: options.realm ?? realm,
    device: device.id,
    key: device.key,
    host: relayHost,
    judgeRelay: () => relayKey.publicKey,
    random: seededRandom(`${seed}/client`),
  })
  const relay = new RelayConnection({
    realm: options.relayRealm ?? options.realm ?? realm,
    key: relayKey,
    certificate: relayCertificate,
    hosts: [relayHost],
    deviceKey: (id) => (equal(id, device.id) ? device.key.publicKey : undefined),
    random: seededRandom(`${seed}/relay`),
  })
  return { client, relay, device, seed }
}

export const welcome = {
  type: "welcome",
  timeSeconds: 1_800_000_000,
  credits: 256,
  oneTimePrekeys: 0,
  logSize: 0,
} as const

/** Takes the ends through a login; returns the keys, which only a test that misbehaves has a use for. */
export function logIn(both: Ends): FrameKeys {
  const hello = both.client.hello()
  both.relay.receive(hello)
  const challenge = both.relay.challenge()
  const proof = both.client.receive(challenge)
  if (proof.type !== "proof") throw new Error("no proof")
  both.relay.receive(proof.bytes)
  both.client.receive(both.relay.send(welcome).bytes)
  return keysOf(both, hello, challenge)
}

/** The frame keys, recomputed from the frames on the wire and the client's secret randomness. */
export function keysOf(both: Ends, hello: Uint8Array, challenge: Uint8Array): FrameKeys {
  const clientRandom = seededRandom(`${both.seed}/client`)
  clientRandom(32)
  const { ephemeral } = decodeLoginFrame(challenge) as Extract<LoginFrame, { type: "challenge" }>
  return frameKeys(clientRandom(32), ephemeral, transcriptOf(hello, challenge), both.device.id)
}

/** What the two ends sign, as anybody on the line can tell. */
export function transcriptOf(
  hello: Uint8Array,
  challenge: Uint8Array,
  relay = { host: relayHost, key: relayKey.publicKey },
): Uint8Array {
  const h = decodeLoginFrame(hello) as Extract<LoginFrame, { type: "hello" }>
  const c = decodeLoginFrame(challenge) as Extract<LoginFrame, { type: "challenge" }>
  return transcriptBytes({
    host: relay.host,
    relayKey: relay.key,
    nonceClient: h.nonce,
    nonceRelay: c.nonce,
    ephemeralClient: h.ephemeral,
    ephemeralRelay: c.ephemeral,
  })
}
