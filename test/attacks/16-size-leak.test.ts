import fc from "fast-check"
import { expect, test } from "vitest"
import { isWireSize, wireSizes } from "../../protocol/envelope.ts"
import { open } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"
import { deviceOf, messageOf, openerOf, randomOf, recipientOf, sealDishonestly, singapore } from "../support/sealing.ts"

/** The whole set, written out from SPEC: 1202 bytes around a payload of 4096, then 16 classes for every doubling. */
const expectedSizes = [4096, 8192, 16_384, 32_768]
  .flatMap((power) => Array.from({ length: 16 }, (_, i) => 1202 + power + (i * power) / 16))
  .concat(1202 + 65_536)

test("16 size leak: the set of an envelope's sizes is exactly this", () => {
  expect(wireSizes).toEqual(expectedSizes)
  expect(wireSizes.length).toBe(65)
  for (let length = 0; length < 70_000; length++)
    if (isWireSize(length) !== expectedSizes.includes(length)) expect.fail(`${length} bytes`)
})

test("16 size leak: whatever is sent, and to however many, has a size of the set; short messages all have the same", () => {
  const devices = Array.from({ length: 5 }, (_, i) => deviceOf(`sg/technical/merlion-${i}`))
  fc.assert(
    fc.property(fc.nat(62_000), fc.integer({ min: 1, max: 5 }), (length, count) => {
      const leaves = [{ name: "attachments", value: randomOf("noise")(length + 1) }]
      const recipients = devices.slice(0, count).map((device) => recipientOf(device))
      for (const { bytes } of seal(messageOf({ leaves, recipients })).envelopes) {
        expect(expectedSizes).toContain(bytes.length)
        if (length < 2500) expect(bytes.length).toBe(1202 + 4096)
      }
    }),
    { numRuns: 60 },
  )
})

test("16 size leak: a sender cannot signal by a larger class than its payload needs", () => {
  const input = messageOf({ recipients: [recipientOf(singapore)] })
  const padded = (honest: Uint8Array): Uint8Array => {
    const larger = new Uint8Array(8192)
    larger.set(honest)
    return larger
  }
  expect(open(openerOf(singapore, sealDishonestly(input, { padded })))).toMatchObject({ ok: false, reason: "padding" })
})
