import { expect, test } from "vitest"
import { fixed } from "../../protocol/limits.ts"
import { open } from "../../protocol/open.ts"
import { checkPrekey, signPrekey } from "../../protocol/prekey.ts"
import { seal } from "../../protocol/seal.ts"
import { codeOf } from "../support/errors.ts"
import { live, messageOf, nowSeconds, openerOf, prekeyOf, recipientOf, singapore } from "../support/sealing.ts"

const day = 86_400

/** What Singapore says, by its clock, to a message of this life. */
function verdict(created: number, expires: number, now = nowSeconds): string {
  const { bytes } = seal(messageOf({ created, expires, recipients: [recipientOf(singapore)] })).envelopes[0]!
  const result = open({ ...openerOf(singapore, bytes), nowSeconds: now })
  return result.ok ? "opened" : result.reason
}

test("23 clock skew: a sender's clock may be ahead by ten minutes, not by more", () => {
  expect(fixed.clockSkewSecondsMax).toBe(600)
  expect(verdict(nowSeconds + 600, nowSeconds + day)).toBe("opened")
  expect(verdict(nowSeconds + 601, nowSeconds + day)).toBe("created")
})

test("23 clock skew: a message is opened until it expires, not after", () => {
  expect(verdict(nowSeconds, nowSeconds + day, nowSeconds + day)).toBe("opened")
  expect(verdict(nowSeconds, nowSeconds + day, nowSeconds + day + 1)).toBe("expired")
})

test("23 clock skew: a message lives for fourteen days at most, and for some time at least", () => {
  expect(verdict(nowSeconds, nowSeconds + 14 * day)).toBe("opened")
  expect(verdict(nowSeconds, nowSeconds + 14 * day + 1)).toBe("lifetime")
  expect(verdict(nowSeconds + 100, nowSeconds + 100)).toBe("lifetime")
  expect(verdict(nowSeconds + 100, nowSeconds + 50)).toBe("lifetime")
})

test("23 clock skew: a prekey may begin ten minutes from now, by the sender's clock, not later", () => {
  const { statement } = prekeyOf(singapore)
  const device = { id: singapore.id, signingKey: singapore.key.publicKey }
  const begins = (nbf: number) =>
    codeOf(() => checkPrekey(live, device, signPrekey(singapore.key, live, { ...statement, nbf }), nowSeconds))
  expect(begins(nowSeconds + 600)).toBe("none")
  expect(begins(nowSeconds + 601)).toBe("ERR_UNTRUSTED")
})
