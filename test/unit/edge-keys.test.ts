import fc from "fast-check"
import { expect, test } from "vitest"
import { isSafeSigningKey } from "../../protocol/edge-keys.ts"
import { SigningKey, verifySignature } from "../../protocol/primitives.ts"
import { mixedOrderKey, nonCanonicalKeys, smallOrderKeys } from "../support/edge-points.ts"

const seed = fc.uint8Array({ minLength: 32, maxLength: 32 })

test("every key that is made from a seed is safe", () => {
  fc.assert(
    fc.property(seed, (s) => isSafeSigningKey(new SigningKey(s).publicKey)),
    { numRuns: 50 },
  )
})

test("no key of small order or in another form is", () => {
  for (const key of [...smallOrderKeys, ...nonCanonicalKeys]) expect(isSafeSigningKey(key)).toBe(false)
})

test("no key of mixed order is, though libsodium verifies its signatures", () => {
  fc.assert(
    fc.property(seed, fc.uint8Array(), (s, message) => {
      const { publicKey, sign } = mixedOrderKey(s)
      expect(verifySignature(publicKey, message, sign(message))).toBe(true)
      expect(isSafeSigningKey(publicKey)).toBe(false)
    }),
    { numRuns: 10 },
  )
})

test("bytes that are no point, too short or too long are refused and do not throw", () => {
  const two = new Uint8Array(32)
  two[0] = 2 // y = 2 is not on the curve
  for (const key of [two, new Uint8Array(0), new Uint8Array(31), new Uint8Array(33).fill(1)])
    expect(isSafeSigningKey(key)).toBe(false)
  fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (key) => typeof isSafeSigningKey(key) === "boolean"))
})
