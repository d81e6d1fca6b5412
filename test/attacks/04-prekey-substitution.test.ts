import { describe, expect, test } from "vitest"
import { prekeyIdOf, type PrekeyId } from "../../protocol/address.ts"
import { infoOf, writeEnvelope } from "../../protocol/envelope.ts"
import { fixed } from "../../protocol/limits.ts"
import { open } from "../../protocol/open.ts"
import { checkPrekey, signPrekey, type PrekeyStatement } from "../../protocol/prekey.ts"
import { KemKey, sha3, SigningKey } from "../../protocol/primitives.ts"
import { codeOf } from "../support/errors.ts"
import {
  brazil,
  live,
  messageOf,
  nowSeconds,
  openerOf,
  prekeyOf,
  randomOf,
  recipientOf,
  sealDishonestly,
  singapore,
} from "../support/sealing.ts"

const { statement } = prekeyOf(singapore)
const device = { id: singapore.id, signingKey: singapore.key.publicKey }
const verdict = (change: Partial<PrekeyStatement>, key = singapore.key): string =>
  codeOf(() => checkPrekey(live, device, signPrekey(key, live, { ...statement, ...change }), nowSeconds))

describe("4 prekey substitution: a sender refuses a prekey", () => {
  test("4 that the relay signed itself, while the device's own passes", () => {
    expect(verdict({})).toBe("none")
    const relay = new SigningKey(sha3(new Uint8Array(1)))
    expect(verdict({}, relay)).toBe("ERR_UNTRUSTED")
  })

  test("4 of which one bit was changed: kind, dates, number or key", () => {
    const signed = signPrekey(singapore.key, live, statement)
    for (let i = 0; i < signed.bytes.length; i += 7) {
      const bytes = Uint8Array.from(signed.bytes)
      bytes[i]! ^= 1
      expect(codeOf(() => checkPrekey(live, device, { ...signed, bytes }, nowSeconds))).toBe("ERR_UNTRUSTED")
    }
  })

  test("4 of another device that has the same signing key", () => {
    expect(verdict({ device: brazil.id })).toBe("ERR_UNTRUSTED")
  })

  test("4 under another prekey's id", () => {
    expect(verdict({ id: prekeyOf(singapore, "one-time", 1).statement.id })).toBe("ERR_UNTRUSTED")
  })

  test("4 past its time, or of a longer life than any prekey has", () => {
    const { nbf } = statement
    expect(verdict({ exp: nowSeconds })).toBe("none")
    expect(verdict({ exp: nowSeconds - 1 })).toBe("ERR_UNTRUSTED")
    expect(verdict({ exp: nbf + fixed.rotatingPrekeySeconds })).toBe("none")
    expect(verdict({ exp: nbf + fixed.rotatingPrekeySeconds + 1 })).toBe("ERR_UNTRUSTED")
  })

  test("4 whose key is no key", () => {
    const pk = statement.pk.subarray(1)
    expect(verdict({ pk, id: prekeyIdOf(pk) })).toBe("ERR_MALFORMED")
  })
})

describe("4 kind swap: a device refuses an envelope", () => {
  const input = messageOf({ recipients: [recipientOf(singapore)] })
  const openedAs = (deceit: Parameters<typeof sealDishonestly>[1]) =>
    open(openerOf(singapore, sealDishonestly(input, deceit)))

  test("4 sealed as if its one-time prekey were the rotating one", () => {
    expect(openedAs({ info: infoOf(live, singapore.id, statement.id, "rotating") })).toMatchObject({
      reason: "commitment",
    })
    expect(openedAs({ entry: (entry) => ({ ...entry, kind: "rotating" }) })).toMatchObject({ reason: "entry" })
  })

  test("4 sealed as if to another of its prekeys", () => {
    const other = randomOf("another id")(16) as PrekeyId
    expect(openedAs({ info: infoOf(live, singapore.id, other, "one-time") })).toMatchObject({ reason: "commitment" })
    expect(openedAs({ entry: (entry) => ({ ...entry, prekeyId: other }) })).toMatchObject({ reason: "entry" })
  })

  test("4 that names another prekey outside than the one it was sealed to", () => {
    const other = randomOf("another id")(16) as PrekeyId
    const result = openedAs({
      envelope: ({ recipient, encapsulation, context, padded }) =>
        writeEnvelope({ mailbox: recipient.mailbox, prekeyId: other }, encapsulation, context, padded),
    })
    expect(result).toMatchObject({ reason: "prekey" })
  })

  test("4 sealed to the key that a relay put in the place of the device's", () => {
    const relays = new KemKey(sha3(new Uint8Array(1)))
    const swapped = { ...recipientOf(singapore), prekey: { ...statement, pk: relays.publicKey } }
    const bytes = sealDishonestly(messageOf({ recipients: [swapped] }), {})
    expect(open(openerOf(singapore, bytes))).toMatchObject({ reason: "commitment" })
  })
})
