import { expect, test } from "vitest"
import type { DeviceId } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { ClientConnection, RelayConnection } from "../../protocol/connection.ts"
import {
  decodeLoginFrame,
  encodeFrame,
  encodeLoginFrame,
  type ClientFrame,
  type LoginFrame,
} from "../../protocol/frames.ts"
import { frameKeys, signLogin } from "../../protocol/login.ts"
import { x25519PublicKey, type SigningKey } from "../../protocol/primitives.ts"
import { codeOf } from "../support/errors.ts"
import {
  keyOf,
  realm,
  relayCertificate,
  relayHost,
  relayKey,
  seededRandom,
  testDevice,
  transcriptOf,
} from "../support/login.ts"

/** Another relay of the same directory: hostile, certified for its own host. */
const hostile = { host: "other.example", key: keyOf("hostile relay") }
const kenya = testDevice("ke/technical/baobab")
const mallory = testDevice("xx/technical/mallory")

/** A client that dials this host, for which the directory lists this relay key. */
function dialling(host: string, listedKey: SigningKey, device = kenya): ClientConnection {
  const { id, key } = device
  const judgeRelay = () => listedKey.publicKey
  return new ClientConnection({ realm, device: id, key, host, judgeRelay, random: seededRandom("client") })
}

function honestRelay(seed = "relay"): RelayConnection {
  const deviceKey = (id: DeviceId) => [kenya, mallory].find((device) => equal(device.id, id))?.key.publicKey
  return new RelayConnection({
    realm,
    key: relayKey,
    certificate: relayCertificate,
    hosts: [relayHost],
    deviceKey,
    random: seededRandom(seed),
  })
}

type Login<N> = Extract<LoginFrame, { type: N }>
const read = <N extends LoginFrame["type"]>(bytes: Uint8Array) => decodeLoginFrame(bytes) as Login<N>
const rewritten = (bytes: Uint8Array, change: object) => encodeLoginFrame({ ...read(bytes), ...change })
const proofOf = (client: ClientConnection, challenge: Uint8Array) => {
  const event = client.receive(challenge)
  if (event.type !== "proof") throw new Error("no proof")
  return event.bytes
}

test("29 login passed on: the honest relay answers no hello for another host", () => {
  // The hostile relay has got its host listed with the honest relay's key, so the answer would convince the client.
  const client = dialling(hostile.host, relayKey)
  const relay = honestRelay()
  expect(codeOf(() => relay.receive(client.hello()))).toBe("ERR_LOGIN")
})

test("29 login passed on: a hello rewritten for the honest relay gives a challenge that the client refuses", () => {
  const client = dialling(hostile.host, relayKey)
  const relay = honestRelay()
  relay.receive(rewritten(client.hello(), { host: relayHost }))
  expect(codeOf(() => client.receive(relay.challenge()))).toBe("ERR_UNTRUSTED")
})

test("29 login passed on: a challenge that the hostile relay signs itself gives a proof that no other relay takes", () => {
  const client = dialling(hostile.host, hostile.key)
  const hello = client.hello()
  const relay = honestRelay()
  relay.receive(rewritten(hello, { host: relayHost }))
  const challenge = relay.challenge()
  const transcript = transcriptOf(hello, challenge, { host: hostile.host, key: hostile.key.publicKey })
  const signature = signLogin(hostile.key, realm, "login-relay", transcript)
  const proof = proofOf(client, rewritten(challenge, { signature }))
  expect(codeOf(() => relay.receive(proof))).toBe("ERR_LOGIN")
})

test("29 login passed on: whoever cannot sign as the relay is not believed to be it", () => {
  const client = dialling(relayHost, relayKey)
  const hello = client.hello()
  const unsigned = encodeLoginFrame({
    type: "challenge",
    nonce: new Uint8Array(32),
    ephemeral: x25519PublicKey(seededRandom("attacker")(32)),
    signature: new Uint8Array(64),
    certificate: relayCertificate,
  })
  const signature = signLogin(hostile.key, realm, "login-relay", transcriptOf(hello, unsigned))
  expect(codeOf(() => client.receive(rewritten(unsigned, { signature })))).toBe("ERR_UNTRUSTED")
})

test("29 login passed on: the proof of one login is worth nothing in the next", () => {
  const client = dialling(relayHost, relayKey)
  const hello = client.hello()
  const first = honestRelay("first")
  first.receive(hello)
  const proof = proofOf(client, first.challenge())
  expect(codeOf(() => first.receive(proof))).toBe("none")
  const second = honestRelay("second")
  second.receive(hello)
  second.challenge()
  expect(codeOf(() => second.receive(proof))).toBe("ERR_LOGIN")
})

test("29 proof swapped: a device that slips its own proof under another's hello gets no frame of the other's accepted", () => {
  const client = dialling(relayHost, relayKey)
  const hello = client.hello()
  const relay = honestRelay()
  relay.receive(hello)
  const challenge = relay.challenge()
  proofOf(client, challenge)
  const transcript = transcriptOf(hello, challenge)
  const swapped: LoginFrame = {
    type: "proof",
    device: mallory.id,
    signature: signLogin(mallory.key, realm, "login-device", transcript),
  }
  // The relay cannot know: this is a valid proof of mallory. But the keys of this session are nobody's.
  expect(relay.receive(encodeLoginFrame(swapped))).toEqual({ type: "proved", device: mallory.id })
  relay.send({ type: "welcome", timeSeconds: 1, credits: 1, oneTimePrekeys: 0, logSize: 0 })
  const fromKenya: ClientFrame = { type: "collected", sequences: [1] }
  const random = seededRandom("client")
  random(32)
  const { up } = frameKeys(random(32), read<"challenge">(challenge).ephemeral, transcript, kenya.id)
  expect(codeOf(() => relay.receive(encodeFrame(up, 1, fromKenya)))).toBe("ERR_FRAME_AUTHENTICATION")
})
