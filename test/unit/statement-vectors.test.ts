/** `protocol/vectors/statements.json`, checked by Node's own SHA-3 and Ed25519 and by an encoder written from RFC 8949. */
import { createHash, createPrivateKey, sign } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { z } from "zod"
import type { PocAddress } from "../../protocol/address.ts"
import { compare, concat, fromHex, hex, u32be, utf8 } from "../../protocol/bytes.ts"
import {
  decodeAttestation,
  decodeConsentRefusal,
  decodeConsentRequest,
  decodeConsentWithdrawal,
  decodeForward,
  decodeUseReceipt,
  readSignedConsent,
} from "../../protocol/consent.ts"
import { judgeForward, type Paper } from "../../protocol/forward.ts"
import { followsManifest, isCoSigned, readManifest, type CoSignature } from "../../protocol/manifest.ts"
import { readDeviceReceipt, readOfficerReceipt } from "../../protocol/receipts.ts"
import { relayReceiptShape, verifyRelayReceipt, type SubmittedItem } from "../../protocol/relay-receipt.ts"
import type { Signed } from "../../protocol/statement.ts"
import { statementVectors } from "../../scripts/make-statement-vectors.ts"

const bytes = z.string().transform(fromHex)
const fields = z.record(z.string(), z.unknown())
const plain = z.object({ fields, bytes })
const signed = z.object({ bytes, signed: bytes, signature: bytes })
const named = signed.extend({ key: z.string(), fields })
const shape = z.object({
  realm: z.object({ origin: z.string(), mode: z.enum(["live", "exercise"]) }),
  keys: z.array(z.object({ name: z.string(), seed: bytes, publicKey: bytes })),
  receipts: z.object({ device: named, officer: named }),
  relayReceipts: z.array(
    signed.extend({
      relay: z.string(),
      items: z.array(
        z.object({
          blind: bytes,
          digest: bytes,
          mailbox: bytes,
          minute: z.number(),
          leaf: bytes,
          path: z.array(bytes),
        }),
      ),
      root: bytes,
    }),
  ),
  consent: z.object({
    request: plain,
    consent: named.extend({ digest: bytes }),
    attestation: plain,
    forward: plain,
    refusal: plain,
    withdrawal: plain,
    useReceipt: plain,
  }),
  manifests: z.object({
    memberStatement: bytes,
    versions: z.array(signed.extend({ fields, hash: bytes })),
    coSignature: z.object({ device: bytes, signature: bytes }),
  }),
})

const file = readFileSync(join(import.meta.dirname, "../../protocol/vectors/statements.json"), "utf8")
const vectors = shape.parse(JSON.parse(file))
const { realm, receipts, relayReceipts, consent, manifests } = vectors
const key = (name: string) => vectors.keys.find((row) => row.name === name)!
const [kenya, singapore, brazil, france] = [
  "ke/technical/baobab",
  "sg/technical/merlion",
  "br/technical/jacaranda",
  "fr/technical/chene",
] as PocAddress[]

test("the file is what the code makes today", () => {
  expect(`${JSON.stringify(statementVectors(), null, 2)}\n`).toBe(file)
})

describe("signatures are those of OpenSSL, over the input that SPEC describes", () => {
  const cases: [string, string, z.infer<typeof signed>][] = [
    ["device", "device-receipt", receipts.device],
    ["officer", "officer-receipt", receipts.officer],
    ["officer", "consent", consent.consent],
    ...relayReceipts.map((batch): [string, string, typeof batch] => ["relay", "relay-receipt", batch]),
    ...manifests.versions.map((version): [string, string, typeof version] => ["PoC", "manifest", version]),
  ]
  test.each(cases)("%s: %s", (name, label, one) => {
    expect(one.signed).toEqual(inputOf(label, one.bytes))
    expect(hex(opensslSign(key(name).seed, one.signed))).toBe(hex(one.signature))
  })

  test("member and co-signature", () => {
    const { devices } = readManifest(poc, realm, manifests.versions[0]!)
    expect(hex(opensslSign(key("device").seed, inputOf("member", manifests.memberStatement)))).toBe(
      hex(devices[0]!.member),
    )
    const second = manifests.versions[1]!
    expect(hex(opensslSign(key("device").seed, second.signed))).toBe(hex(manifests.coSignature.signature))
  })
})

const poc = { address: kenya!, key: key("PoC").publicKey }

test("every structure is read, has the fields that stand beside it, and is RFC 8949's one encoding of them", () => {
  const read: [object, { fields: object; bytes: Uint8Array }][] = [
    [readDeviceReceipt(key("device").publicKey, realm, receipts.device), receipts.device],
    [readOfficerReceipt(key("officer").publicKey, realm, receipts.officer), receipts.officer],
    [readSignedConsent(key("officer").publicKey, realm, consent.consent), consent.consent],
    [decodeConsentRequest(consent.request.bytes), consent.request],
    [decodeAttestation(consent.attestation.bytes), consent.attestation],
    [decodeForward(consent.forward.bytes), consent.forward],
    [decodeConsentRefusal(consent.refusal.bytes), consent.refusal],
    [decodeConsentWithdrawal(consent.withdrawal.bytes), consent.withdrawal],
    [decodeUseReceipt(consent.useReceipt.bytes), consent.useReceipt],
    ...manifests.versions.map((version): [object, typeof version] => [readManifest(poc, realm, version), version]),
  ]
  for (const [value, vector] of read) {
    expect(JSON.parse(JSON.stringify(value, (_, x: unknown) => (x instanceof Uint8Array ? hex(x) : x)))).toEqual(
      vector.fields,
    )
    expect(hex(cbor(value))).toBe(hex(vector.bytes))
  }
})

test.each(relayReceipts.map((batch) => [batch.items.length, batch] as const))("a batch of %i", (size, batch) => {
  expect(hex(cbor({ v: 1, relay: batch.relay, root: batch.root, size }))).toBe(hex(batch.bytes))
  expect(hex(rootOf(batch.items.map(({ leaf }) => leaf)))).toBe(hex(batch.root))
  for (const [index, item] of batch.items.entries()) {
    const minute = concat(u32be(0), u32be(item.minute))
    expect(hex(th("accepted", item.blind, item.digest, item.mailbox, minute))).toBe(hex(item.leaf))
    const signedBatch: Signed = { bytes: batch.bytes, signature: batch.signature }
    const receipt = { relay: batch.relay, batch: signedBatch, index, path: item.path, minute: item.minute }
    expect(
      verifyRelayReceipt(
        key("relay").publicKey,
        realm,
        relayReceiptShape.parse(receipt),
        item as unknown as SubmittedItem,
      ),
    ).toBe(true)
  }
})

test("France sees the forwarded leaf as verified from Kenya", () => {
  const forward = decodeForward(consent.forward.bytes)
  for (const { name, salt, value } of forward.leaves)
    expect(consent.attestation.fields["leaves"]).toContainEqual({
      name,
      hash: hex(th("leaf", salt, utf8(name), value)),
    })
  expect(hex(th("statement", consent.consent.bytes))).toBe(hex(consent.consent.digest))
  const created = decodeAttestation(consent.attestation.bytes).nbf
  const paper = (from: PocAddress): Paper => ({ from, created, rights: ["consent"], bytes: consent.consent.bytes })
  const result = judgeForward({
    me: france!,
    nowSeconds: created,
    forward: { from: singapore!, ...forward },
    attestation: { from: kenya!, created, rights: ["attest"], bytes: consent.attestation.bytes },
    consents: [paper(singapore!), paper(brazil!)],
    withdrawn: [],
  })
  expect(result).toMatchObject({ verified: true, sender: kenya })
})

test("the second manifest follows the first, and its new device is vouched for by the old one", () => {
  const [first, second] = manifests.versions.map((version) => readManifest(poc, realm, version))
  const { bytes: before, hash } = manifests.versions[0]!
  expect(hex(th("statement", before))).toBe(hex(hash))
  expect(followsManifest({ manifest: first!, bytes: before }, second!)).toBe(true)
  const coSignature = manifests.coSignature as CoSignature
  expect(isCoSigned(realm, manifests.versions[1]!.bytes, [coSignature], first!.devices)).toBe(true)
})

// The second opinion: SPEC's words, on Node's own primitives.

const sha3 = (...parts: readonly Uint8Array[]): Uint8Array =>
  createHash("sha3-256")
    .update(concat(...parts))
    .digest()

const th = (label: string, ...parts: readonly Uint8Array[]): Uint8Array =>
  sha3(...[utf8("valise/v1"), utf8(label), ...parts].flatMap((part) => [u32be(part.length), part]))

const inputOf = (label: string, said: Uint8Array): Uint8Array =>
  concat(utf8(["valise/v1", realm.origin, realm.mode, label, ""].join("\0")), said)

function opensslSign(seed: Uint8Array, message: Uint8Array): Uint8Array {
  const der = Buffer.from(concat(fromHex("302e020100300506032b657004220420"), seed))
  return sign(null, message, createPrivateKey({ key: der, format: "der", type: "pkcs8" }))
}

/** RFC 6962 §2.1, by its recursive definition. */
function rootOf(leaves: readonly Uint8Array[]): Uint8Array {
  if (leaves.length === 1) return sha3(Uint8Array.of(0), leaves[0]!)
  const split = 2 ** Math.floor(Math.log2(leaves.length - 1))
  return sha3(Uint8Array.of(1), rootOf(leaves.slice(0, split)), rootOf(leaves.slice(split)))
}

/** RFC 8949 §4.2.1, for the types that statements have. */
function cbor(value: unknown): Uint8Array {
  if (value === null) return Uint8Array.of(0xf6)
  if (typeof value === "number") return head(0, value)
  if (typeof value === "string") return concat(head(3, utf8(value).length), utf8(value))
  if (value instanceof Uint8Array) return concat(head(2, value.length), value)
  if (Array.isArray(value)) return concat(head(4, value.length), ...value.map(cbor))
  const pairs = Object.entries(value as object).map(([name, item]) => [cbor(name), cbor(item)] as const)
  pairs.sort(([a], [b]) => compare(a, b))
  return concat(head(5, pairs.length), ...pairs.flat())
}

function head(major: number, n: number): Uint8Array {
  const type = major << 5
  if (n < 24) return Uint8Array.of(type | n)
  if (n < 0x100) return Uint8Array.of(type | 24, n)
  if (n < 0x1_0000) return Uint8Array.of(type | 25, n >> 8, n & 255)
  return concat(Uint8Array.of(type | 26), u32be(n))
}
