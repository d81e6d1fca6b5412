import { expect, test } from "vitest"
import { deviceIdOf, mailboxOf, officerIdOf } from "../../protocol/address.ts"
import { isSafeSigningKey } from "../../protocol/edge-keys.ts"
import { memberStatement, readManifest } from "../../protocol/manifest.ts"
import { verifyStatement, signedBytes } from "../../protocol/statement.ts"
import { mixedOrderKey, nonCanonicalKeys, smallOrderKeys } from "../support/edge-points.ts"
import { codeOf } from "../support/errors.ts"
import {
  certified,
  deviceEntry,
  deviceKey,
  manifest,
  officerEntry,
  officerKey,
  signUnchecked,
} from "../support/manifests.ts"
import { bytesOf, S } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const mixed = mixedOrderKey(bytesOf(32, "mixed"))

/** Everything else about the listing is in order, as far as the key's holder can make it so. */
function listing(key: Uint8Array, member: Uint8Array) {
  const device = deviceIdOf(S, key)
  return {
    device: { ...deviceEntry(S, deviceKey), key, device, mailbox: mailboxOf(device, "relay.example"), member },
    officer: { ...officerEntry(S, officerKey), key, officer: officerIdOf(S, key), member },
  }
}

test.each([...smallOrderKeys, ...nonCanonicalKeys].map((key) => [Buffer.from(key).toString("hex"), key] as const))(
  "17 low-order and non-canonical keys: %s is refused",
  (_, key) => {
    expect(isSafeSigningKey(key)).toBe(false)
    const { device, officer } = listing(key, new Uint8Array(64))
    expect(codeOf(() => readManifest(certified, live, signUnchecked(manifest({ devices: [device] }))))).toBe(
      "ERR_UNTRUSTED",
    )
    expect(codeOf(() => readManifest(certified, live, signUnchecked(manifest({ officers: [officer] }))))).toBe(
      "ERR_UNTRUSTED",
    )
  },
)

test("17 low-order and non-canonical keys: a key of mixed order is refused, though its member signature verifies", () => {
  const bytes = memberStatement(S, mixed.publicKey)
  const signature = mixed.sign(signedBytes(live, "member", bytes))
  expect(verifyStatement(mixed.publicKey, live, "member", { bytes, signature })).toBe(true)
  expect(isSafeSigningKey(mixed.publicKey)).toBe(false)
  const { device, officer } = listing(mixed.publicKey, signature)
  expect(codeOf(() => readManifest(certified, live, signUnchecked(manifest({ devices: [device] }))))).toBe(
    "ERR_UNTRUSTED",
  )
  expect(codeOf(() => readManifest(certified, live, signUnchecked(manifest({ officers: [officer] }))))).toBe(
    "ERR_UNTRUSTED",
  )
})
