import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { encodeCbor } from "../../protocol/cbor.ts"
import { fixed } from "../../protocol/limits.ts"
import {
  readDeviceReceipt,
  readOfficerReceipt,
  signDeviceReceipt,
  signOfficerReceipt,
} from "../../protocol/receipts.ts"
import { relayReceiptShape, signBatch, verifyRelayReceipt, type AcceptedItem } from "../../protocol/relay-receipt.ts"
import { signStatement } from "../../protocol/statement.ts"
import { codeOf } from "../support/errors.ts"
import { signingKeyOf } from "../support/papers.ts"
import { device, deviceReceipt, officer, officerReceipt } from "../support/receipts.ts"
import { live } from "../support/sealing.ts"

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

describe("device and officer receipts", () => {
  test("round trip, whatever they are about", () => {
    const about = fc.record({
      messageId: bytes(16),
      header: bytes(32),
      content: bytes(32),
      time: fc.nat(),
      later: fc.option(fc.string(), { nil: undefined }),
    })
    fc.assert(
      fc.property(about, fc.constantFrom("one-time", "rotating"), (fields, kind) => {
        const delivered = { ...deviceReceipt, ...fields, kind } as unknown as typeof deviceReceipt
        const signedByDevice = signDeviceReceipt(device, live, delivered)
        expect(encodeCbor(readDeviceReceipt(device.publicKey, live, signedByDevice))).toEqual(signedByDevice.bytes)
        const acknowledged = { ...officerReceipt, ...fields } as unknown as typeof officerReceipt
        const signedByOfficer = signOfficerReceipt(officer.key, live, acknowledged)
        expect(encodeCbor(readOfficerReceipt(officer.key.publicKey, live, signedByOfficer))).toEqual(
          signedByOfficer.bytes,
        )
      }),
      { numRuns: 50 },
    )
  })

  test.each([
    { v: 2, code: "ERR_VERSION" },
    { crit: ["mood"], code: "ERR_VERSION" },
    { kind: "eternal", code: "ERR_MALFORMED" },
    { time: -1, code: "ERR_MALFORMED" },
    { digest: new Uint8Array(31), code: "ERR_MALFORMED" },
    { poc: "ke", code: "ERR_MALFORMED" },
  ])("a signed one that is none: %j", ({ code, ...change }) => {
    const signed = signStatement(device, live, "device-receipt", encodeCbor({ ...deviceReceipt, ...change }))
    expect(codeOf(() => readDeviceReceipt(device.publicKey, live, signed))).toBe(code)
  })

  test("what cannot be read is not signed", () => {
    expect(codeOf(() => signDeviceReceipt(device, live, { ...deviceReceipt, time: 1.5 }))).toBe("ERR_MALFORMED")
    expect(codeOf(() => signOfficerReceipt(officer.key, live, { ...officerReceipt, crit: ["mood"] }))).toBe(
      "ERR_VERSION",
    )
  })
})

describe("relay receipts", () => {
  const relay = signingKeyOf("relay")
  const item = fc.record({ blind: bytes(32), digest: bytes(32), mailbox: bytes(16), minute: fc.nat() })
  const batch = fc.array(item, { minLength: 1, maxLength: 20 }) as unknown as fc.Arbitrary<AcceptedItem[]>

  test("every item of every batch has a receipt that verifies for it alone, and survives its shape", () => {
    fc.assert(
      fc.property(batch, fc.nat(), fc.nat(), (items, a, b) => {
        const signed = signBatch(relay, live, "relay.example", items)
        const [mine, other] = [a % items.length, b % items.length]
        const receipt = signed.receipt(mine)
        expect(relayReceiptShape.parse(receipt)).toEqual(receipt)
        expect(receipt.path.length).toBeLessThanOrEqual(Math.ceil(Math.log2(items.length)))
        expect(verifyRelayReceipt(relay.publicKey, live, receipt, items[mine]!)).toBe(true)
        if (other !== mine)
          expect(verifyRelayReceipt(relay.publicKey, live, signed.receipt(other), items[mine]!)).toBe(false)
      }),
      { numRuns: 50 },
    )
  })

  test("a batch of one has an empty path; an empty batch, or one too large, has no signature", () => {
    const one = {
      blind: new Uint8Array(32),
      digest: new Uint8Array(32),
      mailbox: new Uint8Array(16),
      minute: 0,
    } as AcceptedItem
    expect(signBatch(relay, live, "relay.example", [one]).receipt(0).path).toEqual([])
    expect(codeOf(() => signBatch(relay, live, "relay.example", []))).toBe("ERR_USAGE")
    const tooMany = Array.from({ length: fixed.receiptBatchMax + 1 }, () => one)
    expect(codeOf(() => signBatch(relay, live, "relay.example", tooMany))).toBe("ERR_USAGE")
    expect(2 ** fixed.receiptPathMax).toBe(fixed.receiptBatchMax)
  })

  test.each(["", "relay example", "relay.éxample", "x".repeat(256)])("a relay called %j signs nothing", (host) => {
    const one = {
      blind: new Uint8Array(32),
      digest: new Uint8Array(32),
      mailbox: new Uint8Array(16),
      minute: 0,
    } as AcceptedItem
    expect(codeOf(() => signBatch(relay, live, host, [one]))).toBe("ERR_MALFORMED")
  })
})
