/** Everything signed, and the papers that travel sealed. Signed by the right key, so that the decoders are reached. */
import type { DeviceId, Hash, MailboxId, PocAddress } from "../../protocol/address.ts"
import { fromHex } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../protocol/cbor.ts"
import {
  decodeAttestation,
  decodeConsent,
  decodeConsentRefusal,
  decodeConsentRequest,
  decodeConsentWithdrawal,
  decodeForward,
  decodeInvolved,
  decodeUseReceipt,
  encodeInvolved,
  readSignedConsent,
} from "../../protocol/consent.ts"
import { followsManifest, readManifest } from "../../protocol/manifest.ts"
import { checkPrekey } from "../../protocol/prekey.ts"
import { readDeviceReceipt, readOfficerReceipt } from "../../protocol/receipts.ts"
import { relayReceiptShape, signBatch, verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { signStatement, type Signed, type StatementLabel } from "../../protocol/statement.ts"
import { exercise as realm } from "../support/sealing.ts"
import type { Target } from "./engine.ts"
import * as by from "./mutations.ts"
import { ensure, sameBytes, tried } from "./properties.ts"
import { bytesOf, vectors } from "./vectors.ts"

interface StatementVectors {
  readonly keys: readonly { readonly name: string; readonly seed: string }[]
  readonly receipts: { readonly device: Bytes; readonly officer: Bytes }
  readonly consent: { readonly [name: string]: Bytes }
  readonly manifests: { readonly versions: readonly Bytes[] }
}
interface Bytes {
  readonly bytes: string
}
interface PrekeyVectors {
  readonly device: { readonly seed: string; readonly device: string }
  readonly prekeys: readonly Bytes[]
}

const { keys, receipts, consent, manifests } = vectors<StatementVectors>("statements")
const keyNamed = (name: string): SigningKey => new SigningKey(fromHex(keys.find((key) => key.name === name)!.seed))
const poc = "ke/technical/baobab" as PocAddress
const refusals = ["ERR_MALFORMED", "ERR_VERSION"] as const

const decoders = [
  decodeConsentRequest,
  decodeConsent,
  decodeAttestation,
  decodeConsentRefusal,
  decodeConsentWithdrawal,
  decodeForward,
  decodeUseReceipt,
]

const papers: Target = {
  name: "papers",
  seeds: [
    ...["request", "consent", "attestation", "forward", "refusal", "withdrawal", "useReceipt"].flatMap((name) =>
      bytesOf(consent[name]!.bytes),
    ),
    encodeInvolved([poc]),
  ],
  mutations: [by.cbor, by.cbor, by.bytes, by.json],
  stepsMax: { base: 20_000, perByte: 900 },
  check: (input) => {
    for (const decode of decoders) {
      const paper = tried(refusals, () => decode(input))
      if (paper) sameBytes("paper", encodeCbor(paper), input)
    }
    const involved = tried(["ERR_MALFORMED"], () => decodeInvolved(input))
    if (involved) ensure(decodeInvolved(encodeInvolved(involved)).join() === involved.join(), "involved")
  },
}

/** The input is what the key signs; `read` gives back what it reads. */
function signedTarget(
  name: string,
  key: SigningKey,
  label: StatementLabel,
  seeds: readonly Uint8Array[],
  read: (signed: Signed) => object,
): Target {
  return {
    name,
    seeds,
    mutations: [by.cbor, by.cbor, by.cbor, by.bytes],
    stepsMax: { base: 20_000, perByte: 120 },
    check: (input) => {
      const statement = tried([...refusals, "ERR_UNTRUSTED"], () => read(signStatement(key, realm, label, input)))
      if (statement) sameBytes(name, encodeCbor(statement), input)
    },
  }
}

const prekeys = vectors<PrekeyVectors>("prekey")
const prekeyDevice = new SigningKey(fromHex(prekeys.device.seed))
const identity = { id: fromHex(prekeys.device.device) as DeviceId, signingKey: prekeyDevice.publicKey }
const [pocKey, device, officer, relay] = ["PoC", "device", "officer", "relay"].map(keyNamed) as [
  SigningKey,
  SigningKey,
  SigningKey,
  SigningKey,
]

const manifest = signedTarget(
  "manifest",
  pocKey,
  "manifest",
  manifests.versions.flatMap(({ bytes }) => bytesOf(bytes)),
  (signed) => {
    const read = readManifest({ address: poc, key: pocKey.publicKey }, realm, signed)
    followsManifest({ manifest: read, bytes: signed.bytes }, read)
    return read
  },
)

const item = {
  blind: new Uint8Array(32).fill(1),
  digest: new Uint8Array(32).fill(2) as Hash,
  mailbox: new Uint8Array(16).fill(3) as MailboxId,
}
const batch = signBatch(
  relay,
  realm,
  "relay.example",
  [1, 2, 3, 4, 5].map((n) => ({ ...item, minute: n })),
)

const relayReceipts: Target = {
  name: "relay-receipt",
  seeds: [encodeCbor(batch.receipt(0)), encodeCbor(batch.receipt(4))],
  mutations: [by.cbor, by.cbor, by.bytes],
  stepsMax: { base: 8000, perByte: 60 },
  check: (input) => {
    const receipt = tried(["ERR_MALFORMED"], () => decodeCbor(relayReceiptShape, input))
    if (!receipt) return
    sameBytes("relay receipt", encodeCbor(receipt), input)
    verifyRelayReceipt(relay.publicKey, realm, receipt, item)
    // What stands in the batch, signed as by a hostile relay.
    const resigned = { ...receipt, batch: signStatement(relay, realm, "relay-receipt", receipt.batch.bytes) }
    verifyRelayReceipt(relay.publicKey, realm, resigned, item)
  },
}

export const statementTargets: readonly Target[] = [
  papers,
  signedTarget("consent", officer, "consent", bytesOf(consent["consent"]!.bytes), (signed) =>
    readSignedConsent(officer.publicKey, realm, signed),
  ),
  signedTarget("device-receipt", device, "device-receipt", bytesOf(receipts.device.bytes), (signed) =>
    readDeviceReceipt(device.publicKey, realm, signed),
  ),
  signedTarget("officer-receipt", officer, "officer-receipt", bytesOf(receipts.officer.bytes), (signed) =>
    readOfficerReceipt(officer.publicKey, realm, signed),
  ),
  signedTarget(
    "prekey",
    prekeyDevice,
    "prekey",
    prekeys.prekeys.flatMap(({ bytes }) => bytesOf(bytes)),
    (signed) => checkPrekey(realm, identity, signed, 1_800_000_000),
  ),
  manifest,
  relayReceipts,
]
