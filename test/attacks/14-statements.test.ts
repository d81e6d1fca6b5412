import { expect, test } from "vitest"
import type { MailboxId, Realm } from "../../protocol/address.ts"
import { consentFor, readSignedConsent } from "../../protocol/consent.ts"
import { isCoSigned, coSignManifest, readManifest } from "../../protocol/manifest.ts"
import {
  readDeviceReceipt,
  readOfficerReceipt,
  signDeviceReceipt,
  signOfficerReceipt,
} from "../../protocol/receipts.ts"
import { signBatch, verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import type { Signed } from "../../protocol/statement.ts"
import { codeOf } from "../support/errors.ts"
import {
  certified,
  deviceEntry,
  deviceKey,
  manifest,
  officerEntry,
  officerKey,
  pocKey,
  signUnchecked,
} from "../support/manifests.ts"
import { bytesOf, hashOf, officerOf, P, S, signingKeyOf, terms } from "../support/papers.ts"
import { device, deviceReceipt, officer, officerReceipt } from "../support/receipts.ts"
import { exercise, live } from "../support/sealing.ts"

const elsewhere: Realm = { origin: "other.example", mode: "live" }
const relay = signingKeyOf("relay")
const item = { blind: bytesOf(32, "blind"), digest: hashOf("envelope"), mailbox: bytesOf(16, "mailbox") as MailboxId }
const consentOfficer = officerOf(P)

/** Signs in one realm, reads in another; says whether it was believed. */
const statements: Record<string, (signed: Realm, read: Realm) => boolean> = {
  "device receipt": (signed, read) =>
    believed(() => readDeviceReceipt(device.publicKey, read, signDeviceReceipt(device, signed, deviceReceipt))),
  "officer receipt": (signed, read) =>
    believed(() =>
      readOfficerReceipt(officer.key.publicKey, read, signOfficerReceipt(officer.key, signed, officerReceipt)),
    ),
  "relay receipt": (signed, read) => {
    const receipt = signBatch(relay, signed, "relay.example", [{ ...item, minute: 30_000_000 }]).receipt(0)
    return verifyRelayReceipt(relay.publicKey, read, receipt, item)
  },
  consent: (signed, read) => {
    const copy = consentFor(S, terms, signed, consentOfficer.key) as Signed
    return believed(() => readSignedConsent(consentOfficer.key.publicKey, read, copy))
  },
  manifest: (signed, read) => {
    const entries = { devices: [deviceEntry(S, deviceKey, read)], officers: [officerEntry(S, officerKey, read)] }
    return believed(() => readManifest(certified, read, signUnchecked(manifest(entries), pocKey, signed)))
  },
  "member (device)": (signed, read) => {
    const entries = { devices: [deviceEntry(S, deviceKey, signed)], officers: [] }
    return believed(() => readManifest(certified, read, signUnchecked(manifest(entries), pocKey, read)))
  },
  "member (officer)": (signed, read) => {
    const entries = { devices: [], officers: [officerEntry(S, officerKey, signed)] }
    return believed(() => readManifest(certified, read, signUnchecked(manifest(entries), pocKey, read)))
  },
  "co-signature": (signed, read) => {
    const { bytes } = signUnchecked(manifest())
    const older = deviceEntry(S, deviceKey)
    return isCoSigned(read, bytes, [coSignManifest(deviceKey, signed, older.device, bytes)], [older])
  },
}

test.each(Object.entries(statements))("14 live and exercise do not cross: %s", (_, believes) => {
  expect(believes(live, live)).toBe(true)
  expect(believes(exercise, exercise)).toBe(true)
  expect(believes(live, exercise)).toBe(false)
  expect(believes(exercise, live)).toBe(false)
  expect(believes(elsewhere, live)).toBe(false)
})

function believed(read: () => unknown): boolean {
  const code = codeOf(read)
  if (code !== "none" && code !== "ERR_UNTRUSTED") throw new Error(code)
  return code === "none"
}
