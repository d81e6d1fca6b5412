/**
 * Writes `protocol/vectors/statements.json`: node scripts/make-statement-vectors.ts
 *
 * Every key and random value is SHAKE256 of its name, so that the file comes out the same everywhere. Each structure is
 * there as its bytes and as its fields; byte strings among the fields are in hexadecimal.
 */
import { writeFileSync } from "node:fs"
import {
  deviceIdOf,
  mailboxOf,
  officerIdOf,
  type Hash,
  type MailboxId,
  type MessageId,
  type PocAddress,
  type Realm,
} from "../protocol/address.ts"
import { hex, utf8 } from "../protocol/bytes.ts"
import {
  attestationOf,
  consentDigest,
  consentFor,
  consentTo,
  encodeAttestation,
  encodeConsentRefusal,
  encodeConsentRequest,
  encodeConsentWithdrawal,
  encodeForward,
  encodeInvolved,
  encodeUseReceipt,
  scopeOf,
  type ConsentRequest,
  type RequestId,
} from "../protocol/consent.ts"
import { merkleTree, taggedHash } from "../protocol/hash.ts"
import { contentHash, leafHash, leafHashesOf, saltOf, type Leaf } from "../protocol/leaves.ts"
import {
  coSignManifest,
  manifestHash,
  memberStatement,
  signManifest,
  signMember,
  type Manifest,
} from "../protocol/manifest.ts"
import { shake256, SigningKey } from "../protocol/primitives.ts"
import { clause, signDeviceReceipt, signOfficerReceipt } from "../protocol/receipts.ts"
import { signBatch, type AcceptedItem } from "../protocol/relay-receipt.ts"
import { signedBytes, type Signed } from "../protocol/statement.ts"

const realm: Realm = { origin: "directory.example", mode: "exercise" }
const relay = "relay.example"
const now = 1_800_000_000
const day = 86_400

const kenya = "ke/technical/baobab" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress
const brazil = "br/technical/jacaranda" as PocAddress
const france = "fr/technical/chene" as PocAddress

const bytes = (length: number, name: string): Uint8Array => shake256(length, utf8(`valise vectors: ${name}`))
const seedOf = (name: string): Uint8Array => bytes(32, `seed of ${name}`)
const keyOf = (name: string): SigningKey => new SigningKey(seedOf(name))

const keyNames = ["PoC", "device", "second device", "officer", "relay"] as const
const keys = Object.fromEntries(keyNames.map((name) => [name, keyOf(name)])) as Record<
  (typeof keyNames)[number],
  SigningKey
>

export function statementVectors(): object {
  return readable({
    description: "Statements of SPEC, in the realm given; signatures are Ed25519 over `signed` (or as SPEC has it)",
    realm,
    keys: keyNames.map((name) => ({ name, seed: seedOf(name), publicKey: keys[name].publicKey })),
    receipts: receipts(),
    relayReceipts: [1, 5].map(batch),
    consent: consent(),
    manifests: manifests(),
  })
}

function receipts(): object {
  const about = {
    v: 1 as const,
    poc: kenya,
    messageId: bytes(16, "message") as MessageId,
    header: taggedHash("header", utf8("a header")) as Hash,
    content: taggedHash("content", utf8("a content")) as Hash,
    time: now,
  }
  const device = {
    ...about,
    device: deviceIdOf(kenya, keys.device.publicKey),
    digest: bytes(32, "envelope") as Hash,
    kind: "one-time" as const,
  }
  const officer = { ...about, officer: officerIdOf(kenya, keys.officer.publicKey), clause } as const
  return {
    device: {
      key: "device",
      fields: device,
      ...withInput("device-receipt", signDeviceReceipt(keys.device, realm, device)),
    },
    officer: {
      key: "officer",
      fields: officer,
      ...withInput("officer-receipt", signOfficerReceipt(keys.officer, realm, officer)),
    },
  }
}

function batch(size: number): object {
  const items = Array.from({ length: size }, (_, i): AcceptedItem => ({
    blind: bytes(32, `blind ${i}`),
    digest: bytes(32, `envelope ${i}`) as Hash,
    mailbox: bytes(16, `mailbox ${i}`) as MailboxId,
    minute: 30_000_000 + i,
  }))
  const signed = signBatch(keys.relay, realm, relay, items)
  const leaves = items.map((x) => taggedHash("accepted", x.blind, x.digest, x.mailbox, minuteBytes(x.minute)))
  return {
    key: "relay",
    relay,
    items: items.map((item, i) => ({ ...item, leaf: leaves[i], path: signed.receipt(i).path })),
    root: merkleTree(leaves).root,
    ...withInput("relay-receipt", signed.batch),
  }
}

/** Written out, so that the file does not follow the code it checks. */
function minuteBytes(minute: number): Uint8Array {
  const out = new Uint8Array(8)
  for (let i = 7, rest = minute; i >= 0; i--, rest = Math.floor(rest / 256)) out[i] = rest % 256
  return out
}

/** Kenya wrote; Singapore asks to share with France; Brazil is involved. */
function consent(): object {
  const contentKey = bytes(32, "content key")
  const message: Leaf[] = [
    { name: "type", value: utf8("notification") },
    { name: "involved", value: encodeInvolved([kenya, singapore, brazil]) },
    { name: "body", value: utf8('{"victim":"withheld"}') },
    { name: "indicators", value: utf8('{"objects":["198.51.100.7"]}') },
  ]
  const header = taggedHash("header", utf8("the header of the message")) as Hash
  const asked = ["indicators", "involved"].map((name) => {
    const { value } = message.find((leaf) => leaf.name === name)!
    return { name, value, salt: saltOf(contentKey, name), hash: leafHash(saltOf(contentKey, name), name, value) }
  })
  const request: ConsentRequest = {
    v: 1,
    requestId: bytes(16, "request") as RequestId,
    messageId: bytes(16, "message") as MessageId,
    header,
    content: contentHash(header, leafHashesOf(contentKey, message)),
    leaves: asked.map(({ name, hash }) => ({ name, hash })),
    sender: kenya,
    forwarder: singapore,
    thirdParty: france,
    purpose: "The same hosts beacon into a network in France.",
    tlp: "AMBER",
  }
  const terms = consentTo(scopeOf(request), now)
  const copy = consentFor(kenya, terms, realm, keys.officer)
  const digest = consentDigest(copy.bytes)
  const consents = [brazil, singapore].map((poc) => ({ poc, digest }))
  const attestation = attestationOf(scopeOf(request), consents, now + 60, now + 90 * day)
  const { requestId } = request
  const forward = { v: 1, requestId, leaves: asked.map(({ name, salt, value }) => ({ name, salt, value })) } as const
  const refusal = { v: 1, requestId, reason: "The victim has not been told yet." } as const
  const useReceipt = { v: 1, requestId, time: now + 3600 } as const
  return {
    contentKey,
    leaves: message.map(({ name, value }, i) => ({ name, value, hash: leafHashesOf(contentKey, message)[i] })),
    request: { fields: request, bytes: encodeConsentRequest(request) },
    consent: {
      key: "officer",
      fields: terms,
      digest,
      ...withInput("consent", copy as Signed),
    },
    attestation: { fields: attestation, bytes: encodeAttestation(attestation) },
    forward: { fields: forward, bytes: encodeForward(forward) },
    refusal: { fields: refusal, bytes: encodeConsentRefusal(refusal) },
    withdrawal: { fields: { v: 1, requestId }, bytes: encodeConsentWithdrawal({ v: 1, requestId }) },
    useReceipt: { fields: useReceipt, bytes: encodeUseReceipt(useReceipt) },
  }
}

/** A first version, and a second one that adds a device, co-signed by the first. */
function manifests(): object {
  const deviceOf = (key: SigningKey): Manifest["devices"][number] => {
    const device = deviceIdOf(kenya, key.publicKey)
    const member = signMember(key, realm, kenya)
    return { device, key: key.publicKey, relay, mailbox: mailboxOf(device, relay), rights: ["send", "receive"], member }
  }
  const first: Manifest = {
    v: 1,
    poc: kenya,
    version: 1,
    previous: null,
    created: now,
    expires: now + 90 * day,
    devices: [deviceOf(keys.device)],
    officers: [
      {
        officer: officerIdOf(kenya, keys.officer.publicKey),
        key: keys.officer.publicKey,
        title: "duty officer 2",
        rights: ["acknowledge", "release", "consent", "attest"],
        member: signMember(keys.officer, realm, kenya),
      },
    ],
  }
  const signedFirst = signManifest(keys.PoC, realm, first)
  const second: Manifest = {
    ...first,
    version: 2,
    previous: manifestHash(signedFirst.bytes),
    devices: [...first.devices, deviceOf(keys["second device"])],
  }
  const signedSecond = signManifest(keys.PoC, realm, second)
  return {
    key: "PoC",
    memberStatement: memberStatement(kenya, keys.device.publicKey),
    versions: [
      { fields: first, hash: manifestHash(signedFirst.bytes), ...withInput("manifest", signedFirst) },
      { fields: second, hash: manifestHash(signedSecond.bytes), ...withInput("manifest", signedSecond) },
    ],
    coSignature: coSignManifest(keys.device, realm, first.devices[0]!.device, signedSecond.bytes),
  }
}

const withInput = (label: Parameters<typeof signedBytes>[1], { bytes: said, signature }: Signed): object => ({
  bytes: said,
  signed: signedBytes(realm, label, said),
  signature,
})

function readable(value: unknown): object {
  return JSON.parse(
    JSON.stringify(value, (_, item: unknown) => (item instanceof Uint8Array ? hex(item) : item)),
  ) as object
}

if (import.meta.main)
  writeFileSync(
    new URL("../protocol/vectors/statements.json", import.meta.url),
    `${JSON.stringify(statementVectors(), null, 2)}\n`,
  )
