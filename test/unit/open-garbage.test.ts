/** Opening whatever arrives: nothing throws, nothing opens that was changed. */
import { describe, expect, test } from "vitest"
import fc from "fast-check"
import { wireSizes } from "../../protocol/envelope.ts"
import { open, type Opened } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"
import { messageOf, openerOf, randomOf, recipientOf, sealDishonestly, singapore } from "../support/sealing.ts"

describe("whatever arrives", () => {
  const { bytes } = seal(messageOf()).envelopes[0]!

  test("one flipped bit anywhere is refused", () => {
    const altered = Uint8Array.from(bytes)
    for (let i = 0; i < bytes.length; i++) {
      altered[i] = bytes[i]! ^ (1 << (i % 8))
      const result = open(openerOf(singapore, altered))
      if (result.ok) expect.fail(`byte ${i} may be changed`)
      altered[i] = bytes[i]!
    }
    expect(open(openerOf(singapore, altered)).ok).toBe(true)
  })

  test("every truncation and extension is refused", () => {
    for (let length = 0; length < bytes.length; length += 97)
      expect(open(openerOf(singapore, bytes.subarray(0, length)))).toMatchObject({ ok: false, reason: "size" })
    for (const length of [bytes.length + 1, wireSizes[1]!, wireSizes.at(-1)!]) {
      const longer = new Uint8Array(length)
      longer.set(bytes)
      expect(open(openerOf(singapore, longer)).ok).toBe(false)
    }
  })

  test("nothing throws: random bytes outside", () => {
    const length = fc.oneof(fc.constantFrom(...wireSizes.slice(0, 4)), fc.nat(7000))
    fc.assert(
      fc.property(length, fc.nat(), (size, seed) => {
        const garbage = randomOf(`garbage ${seed}`)(Math.max(1, size)).subarray(0, size)
        garbage.set(bytes.subarray(0, Math.min(seed % 1186, size)))
        expect(open(openerOf(singapore, garbage)).ok).toBe(false)
      }),
      { numRuns: 200 },
    )
  })

  test("nothing throws: random and mangled payloads from somebody who can seal", () => {
    const input = messageOf({ recipients: [recipientOf(singapore)] })
    const result = (body: (honest: Uint8Array) => Uint8Array): Opened =>
      open(openerOf(singapore, sealDishonestly(input, { body })))
    const deep = new Uint8Array(60_000).fill(0x81)
    expect(result(() => deep)).toMatchObject({ ok: false, reason: "payload" })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        expect(result(() => garbage)).toMatchObject({ ok: false, reason: "payload" })
      }),
      { numRuns: 200 },
    )
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const mangled = result((honest) => {
          honest[at % honest.length]! ^= change
          return honest
        })
        // Its own content and content key are the sender's to choose; everything else is bound.
        if (mangled.ok) expect(mangled.header.messageId).toEqual(input.messageId)
      }),
      { numRuns: 400 },
    )
  })

  test("nothing throws: any values in the payload's fields", () => {
    const input = messageOf({ recipients: [recipientOf(singapore)] })
    const value = fc.oneof(
      fc.constantFrom(null, true, -1, 2 ** 53 - 1, "", "\ud800".toWellFormed(), {}, [], [{}]),
      fc.uint8Array({ maxLength: 70 }),
      fc.string(),
    )
    const field = fc.constantFrom(
      "header",
      "release",
      "checkpoint",
      "entry",
      "index",
      "path",
      "contentKey",
      "leaves",
      "more",
    )
    fc.assert(
      fc.property(field, value, (name, item) => {
        const bytesOf = sealDishonestly(input, { payload: (payload) => ({ ...payload, [name]: item }) })
        const result = open(openerOf(singapore, bytesOf))
        // The content key is the sender's to choose, and the path of a lone recipient is empty indeed.
        if (result.ok) expect(["contentKey", "path"]).toContain(name)
      }),
      { numRuns: 300 },
    )
  })
})
