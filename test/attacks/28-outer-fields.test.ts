import { describe, expect, test } from "vitest"
import { open } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"
import { messageOf, openerOf, recipientOf, singapore } from "../support/sealing.ts"

const { bytes } = seal(messageOf({ recipients: [recipientOf(singapore)] })).envelopes[0]!

/** Field, first byte, length, and what the recipient's journal says of a change. */
const fields = [
  ["version", 0, 1, "version"],
  ["suite", 1, 1, "version"],
  ["mailbox", 2, 16, "aead"],
  ["prekey id", 18, 16, "prekey"],
  ["commitment", 34, 32, "commitment"],
  ["encapsulation", 66, 1120, "commitment"],
] as const

describe("28 outer fields", () => {
  test.each(fields)("28 a changed %s is refused", (_, at, length, reason) => {
    for (let i = at; i < at + length; i++)
      for (const bit of length > 100 ? [1] : [1, 16, 128]) {
        const altered = Uint8Array.from(bytes)
        altered[i]! ^= bit
        expect(open(openerOf(singapore, altered))).toEqual({ ok: false, reason, notYet: false })
      }
  })
})
