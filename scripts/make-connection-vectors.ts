/** Writes `protocol/vectors/connection.json`: a login and one frame of each type, with all randomness given (SPEC, "Connection"). */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  deviceIdOf,
  mailboxOf,
  type DeviceId,
  type Incarnation,
  type PocAddress,
  type Realm,
} from "../protocol/address.ts"
import { hex, utf8 } from "../protocol/bytes.ts"
import { ClientConnection, RelayConnection, type ClientEvent } from "../protocol/connection.ts"
import {
  decodeLoginFrame,
  frameHeadBytes,
  type ClientFrame,
  type LoginFrame,
  type RelayFrame,
} from "../protocol/frames.ts"
import { frameKeys, transcriptBytes } from "../protocol/login.ts"
import { sha3, SigningKey, x25519 } from "../protocol/primitives.ts"
import { signBatch } from "../protocol/relay-receipt.ts"

const realm: Realm = { origin: "directory.example", mode: "exercise" }
const host = "relay.example"
const poc = "ke/technical/ke-cirt" as PocAddress
const filled = (byte: number, length = 32) => new Uint8Array(length).fill(byte)
const seeds = { relay: filled(1), device: filled(2), nonceClient: filled(3), ephemeralClient: filled(4) }
const relaySeeds = { ephemeralRelay: filled(5), nonceRelay: filled(6) }

export function connectionVectors() {
  const relayKey = new SigningKey(seeds.relay)
  const deviceKey = new SigningKey(seeds.device)
  const device = deviceIdOf(poc, deviceKey.publicKey)
  const client = new ClientConnection({
    realm,
    device,
    key: deviceKey,
    host,
    judgeRelay: () => relayKey.publicKey,
    random: inOrder(seeds.nonceClient, seeds.ephemeralClient),
  })
  const relay = new RelayConnection({
    realm,
    key: relayKey,
    certificate: utf8("certificate"),
    hosts: [host],
    deviceKey: () => deviceKey.publicKey,
    random: inOrder(relaySeeds.ephemeralRelay, relaySeeds.nonceRelay),
  })
  const hello = client.hello()
  relay.receive(hello)
  const challenge = relay.challenge()
  const proof = proofOf(client.receive(challenge))
  relay.receive(proof)

  const { nonce, ephemeral } = decodeLoginFrame(challenge) as Extract<LoginFrame, { type: "challenge" }>
  const transcript = transcriptBytes({
    host,
    relayKey: relayKey.publicKey,
    nonceClient: seeds.nonceClient,
    nonceRelay: nonce,
    ephemeralClient: (decodeLoginFrame(hello) as Extract<LoginFrame, { type: "hello" }>).ephemeral,
    ephemeralRelay: ephemeral,
  })
  const keys = frameKeys(seeds.ephemeralClient.slice(), ephemeral, transcript, device)
  const frame = (name: string, { bytes, counter }: { bytes: Uint8Array; counter: number }) => ({
    name,
    counter,
    mac: hex(bytes.subarray(9, frameHeadBytes)),
    fields: hex(bytes.subarray(frameHeadBytes)),
    frame: hex(bytes),
  })
  const down = relayFrames(relayKey, device).map((sent) => frame(sent.type, relay.send(sent)))
  client.receive(bytesOf(down[0]!.frame))
  const up = clientFrames(device).map((sent) => frame(sent.type, client.send(sent)))
  return {
    about: 'SPEC, "Connection". Bytes are hexadecimal.',
    realm,
    host,
    poc,
    secrets: hexOf({ ...seeds, ...relaySeeds }),
    relayKey: hex(relayKey.publicKey),
    deviceKey: hex(deviceKey.publicKey),
    device: hex(device),
    certificate: hex(utf8("certificate")),
    hello: hex(hello),
    challenge: hex(challenge),
    transcript: hex(transcript),
    proof: hex(proof),
    sharedSecret: hex(x25519(seeds.ephemeralClient, ephemeral)!),
    keyUp: hex(keys.up),
    keyDown: hex(keys.down),
    down,
    up,
  }
}

function clientFrames(device: DeviceId): ClientFrame[] {
  const signed = { bytes: filled(0x21, 3), signature: filled(0x22, 64) }
  return [
    { type: "submit", mailbox: mailboxOf(device, host), blind: filled(0x31), envelope: filled(0x41, 40) },
    { type: "collected", sequences: [1, 258] },
    { type: "fetch-prekeys", device },
    {
      type: "publish-prekeys",
      incarnation: filled(0x51, 16) as Incarnation,
      reset: true,
      rotating: signed,
      oneTime: [signed, signed],
    },
    { type: "sync-log", from: 65_537 },
    { type: "bye" },
  ]
}

function relayFrames(key: SigningKey, device: DeviceId): RelayFrame[] {
  const signed = { bytes: filled(0x21, 3), signature: filled(0x22, 64) }
  const items = [0x41, 0x42, 0x43].map((byte) => ({
    blind: filled(0x31),
    digest: sha3(filled(byte, 40)) as never,
    mailbox: mailboxOf(device, host),
    minute: 30_000_000,
  }))
  const { batch, receipt } = signBatch(key, realm, host, items)
  return [
    { type: "welcome", timeSeconds: 1_800_000_000, credits: 256, oneTimePrekeys: 64, logSize: 12 },
    { type: "accepted", batch, items: [0, 2].map((i) => ({ about: i + 1, ...pathOf(receipt(i)) })) },
    { type: "envelope", sequence: 9, minute: 30_000_000, envelope: filled(0x41, 40) },
    { type: "prekeys", about: 3, prekey: signed },
    { type: "prekeys", about: 3, prekey: undefined },
    { type: "log", about: 5, checkpoint: utf8("checkpoint\n"), entries: [filled(0x61, 2), filled(0x62, 3)] },
    { type: "notice", kind: "prekeys-stored", about: 4, count: 64 },
    { type: "error", about: 1, code: 4420, retryAfterSeconds: 0 },
    { type: "notice", kind: "drain", retryAfterSeconds: 5 },
  ]
}

const pathOf = ({ index, minute, path }: { index: number; minute: number; path: readonly Uint8Array[] }) => ({
  index,
  minute,
  path,
})

function inOrder(...parts: Uint8Array[]): (length: number) => Uint8Array {
  return () => parts.shift()!.slice()
}

function proofOf(event: ClientEvent): Uint8Array {
  if (event.type !== "proof") throw new Error("no proof")
  return event.bytes
}

const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "hex"))
const hexOf = (parts: Record<string, Uint8Array>) =>
  Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, hex(bytes)]))

if (import.meta.main) {
  const path = join(import.meta.dirname, "../protocol/vectors/connection.json")
  writeFileSync(path, `${JSON.stringify(connectionVectors(), null, 1)}\n`)
}
