import { expect, test } from "vitest"
import { deviceIdOf, officerIdOf, type MailboxId, type MessageId } from "../../protocol/address.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import {
  isAcknowledgementOf,
  isDeliveryOf,
  readDeviceReceipt,
  readOfficerReceipt,
  signDeviceReceipt,
  signOfficerReceipt,
} from "../../protocol/receipts.ts"
import { signBatch, verifyRelayReceipt, type AcceptedItem } from "../../protocol/relay-receipt.ts"
import { signStatement } from "../../protocol/statement.ts"
import { codeOf } from "../support/errors.ts"
import { bytesOf, hashOf, officerOf, P, R, signingKeyOf } from "../support/papers.ts"
import { device, deviceReceipt, officer, officerReceipt, sent } from "../support/receipts.ts"
import { live } from "../support/sealing.ts"

const relay = signingKeyOf("relay")
const others = [
  { messageId: bytesOf(16, "another message") as MessageId },
  { header: hashOf("another header") },
  { content: hashOf("another content") },
]

test("15 receipts: honest ones are read, and match what was sent", () => {
  const delivered = signDeviceReceipt(device, live, deviceReceipt)
  expect(readDeviceReceipt(device.publicKey, live, delivered)).toEqual(deviceReceipt)
  expect(isDeliveryOf(deviceReceipt, sent)).toBe(true)
  const acknowledged = signOfficerReceipt(officer.key, live, officerReceipt)
  expect(readOfficerReceipt(officer.key.publicKey, live, acknowledged)).toEqual(officerReceipt)
  expect(isAcknowledgementOf(officerReceipt, R, sent)).toBe(true)
})

test("15 receipt forgery by the relay: under its own key, with another's signature, with a changed byte", () => {
  const delivered = signDeviceReceipt(device, live, deviceReceipt)
  const bent = { ...delivered, bytes: encodeCbor({ ...deviceReceipt, time: deviceReceipt.time + 1 }) }
  for (const signed of [signDeviceReceipt(relay, live, deviceReceipt), bent])
    expect(codeOf(() => readDeviceReceipt(device.publicKey, live, signed))).toBe("ERR_UNTRUSTED")
  const acknowledged = signOfficerReceipt(relay, live, officerReceipt)
  expect(codeOf(() => readOfficerReceipt(officer.key.publicKey, live, acknowledged))).toBe("ERR_UNTRUSTED")
})

test("15 receipt forgery by the relay: the device's login signature is no receipt", () => {
  const signed = signStatement(device, live, "login-device", encodeCbor(deviceReceipt))
  expect(codeOf(() => readDeviceReceipt(device.publicKey, live, signed))).toBe("ERR_UNTRUSTED")
})

test.each(others)("15 receipt replay: a receipt of another message, or of other content under its id", (change) => {
  expect(isDeliveryOf({ ...deviceReceipt, ...change }, sent)).toBe(false)
  expect(isAcknowledgementOf({ ...officerReceipt, ...change }, R, sent)).toBe(false)
})

test("15 receipt replay: a receipt of the envelope to another device, or of another envelope to this one", () => {
  const other = deviceIdOf(R, signingKeyOf("second device of R").publicKey)
  expect(isDeliveryOf(deviceReceipt, { ...sent, device: other })).toBe(false)
  expect(isDeliveryOf(deviceReceipt, { ...sent, digest: hashOf("resent envelope") })).toBe(false)
})

test("15 another PoC's officer receipt: neither the receipt nor its PoC's name can be borrowed", () => {
  expect(isAcknowledgementOf(officerReceipt, P, sent)).toBe(false)
  const theirs = officerOf(P)
  for (const id of [officer.id, officerIdOf(P, theirs.key.publicKey)]) {
    const claim = signOfficerReceipt(theirs.key, live, { ...officerReceipt, officer: id })
    expect(codeOf(() => readOfficerReceipt(theirs.key.publicKey, live, claim))).toBe("ERR_UNTRUSTED")
  }
})

test("15 another PoC's device receipt: neither the receipt nor its PoC's name can be borrowed", () => {
  const theirs = signingKeyOf("device of P")
  for (const id of [deviceReceipt.device, deviceIdOf(P, theirs.publicKey)]) {
    const claim = signDeviceReceipt(theirs, live, { ...deviceReceipt, device: id })
    expect(codeOf(() => readDeviceReceipt(theirs.publicKey, live, claim))).toBe("ERR_UNTRUSTED")
  }
})

test("15 officer's receipt: it cannot say more than that it was seen", () => {
  for (const clause of ["we agree", "", "receipt indicates concurrence"])
    expect(codeOf(() => signOfficerReceipt(officer.key, live, { ...officerReceipt, clause: clause as never }))).toBe(
      "ERR_MALFORMED",
    )
})

const item = (n: number): AcceptedItem => ({
  blind: bytesOf(32, `blind ${n}`),
  digest: hashOf(`envelope ${n}`),
  mailbox: bytesOf(16, `mailbox ${n}`) as MailboxId,
  minute: 30_000_000 + n,
})
const items = [0, 1, 2, 3, 4].map(item)
const batch = signBatch(relay, live, "relay.example", items)
const receipt = batch.receipt(2)

test("15 relay receipt: verifies for its own item, and for nothing else of it", () => {
  const verifies = (change: object, of: object = {}) =>
    verifyRelayReceipt(relay.publicKey, live, { ...receipt, ...change }, { ...items[2]!, ...of })
  expect(verifies({})).toBe(true)
  expect(verifies({ minute: receipt.minute - 1 })).toBe(false)
  expect(verifies({ index: 3 })).toBe(false)
  expect(verifies({ path: receipt.path.slice(1) })).toBe(false)
  expect(verifies({ path: [...receipt.path, hashOf("more")] })).toBe(false)
  expect(verifies({ path: batch.receipt(1).path })).toBe(false)
  for (const of of [{ blind: items[1]!.blind }, { digest: items[1]!.digest }, { mailbox: items[1]!.mailbox }])
    expect(verifies({}, of)).toBe(false)
})

test("15 relay receipt: by another key, from another relay's host, or over a statement that is none", () => {
  const verify = (key: Uint8Array, change: object) =>
    verifyRelayReceipt(key, live, { ...receipt, ...change }, items[2]!)
  const forged = signBatch(signingKeyOf("a stranger"), live, "relay.example", items)
  expect(verify(relay.publicKey, { batch: forged.batch })).toBe(false)
  expect(verify(relay.publicKey, { relay: "other.example" })).toBe(false)
  const root = { v: 1, relay: "relay.example", root: hashOf("root"), size: 5 }
  for (const said of [
    { ...root, size: 0 },
    { ...root, crit: ["size", "surprise"] },
    { ...root, relay: 5 },
  ])
    expect(verify(relay.publicKey, { batch: signStatement(relay, live, "relay-receipt", encodeCbor(said)) })).toBe(
      false,
    )
})

test("15 relay receipt: a node of the tree is no item", () => {
  const single = signBatch(relay, live, "relay.example", [items[0]!])
  expect(single.receipt(0).path).toEqual([])
  expect(verifyRelayReceipt(relay.publicKey, live, single.receipt(0), items[0]!)).toBe(true)
  expect(verifyRelayReceipt(relay.publicKey, live, { ...single.receipt(0), index: 1 }, items[0]!)).toBe(false)
})
