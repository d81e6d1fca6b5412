/** Round trips of every statement, and decoders that throw one kind of error only. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import {
  decodeAttestation,
  decodeConsent,
  decodeConsentRefusal,
  decodeConsentRequest,
  decodeConsentWithdrawal,
  decodeForward,
  decodeInvolved,
  decodeUseReceipt,
  encodeAttestation,
  encodeConsent,
  encodeConsentRefusal,
  encodeConsentRequest,
  encodeConsentWithdrawal,
  encodeForward,
  encodeInvolved,
  encodeUseReceipt,
} from "../../protocol/consent.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { fixed } from "../../protocol/limits.ts"
import { tlpLabels } from "../../protocol/tlp.ts"
import { codeOf } from "../support/errors.ts"
import { attestation, bytesOf, hashOf, named, P, R, request, S, shown, stranger, T, terms } from "../support/papers.ts"
import { nowSeconds } from "../support/sealing.ts"

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const name = fc.stringMatching(/^[a-z][A-Za-z0-9]{0,63}$/)
const poc = fc.stringMatching(/^[a-z]{2}\/[a-z][a-z0-9-]{0,8}\/[a-z0-9]{1,20}$/)
const text = fc.string({ unit: "binary", maxLength: fixed.purposeCharactersMax })
const seconds = fc.nat(2 ** 31)
const v = fc.constant(1)
const requestId = bytes(16)
/** A field of a later version, which must survive. */
const later = fc.option(fc.oneof(fc.nat(), fc.string(), bytes(3)), { nil: undefined })

const sortedBy =
  <T>(key: (item: T) => string) =>
  (items: readonly T[]): T[] =>
    items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1))
const leaves = fc
  .uniqueArray(fc.record({ name: name.filter((x) => x !== "involved"), hash: bytes(32) }), {
    minLength: 1,
    maxLength: 12,
    selector: (leaf) => leaf.name,
  })
  .map((list) => [...list, { name: "involved", hash: bytesOf(32, "involved") }])
  .map(sortedBy((leaf) => leaf.name))
const scope = fc
  .record({
    v,
    requestId,
    messageId: bytes(16),
    header: bytes(32),
    leaves,
    pocs: fc.uniqueArray(poc, { minLength: 3, maxLength: 3 }),
    purpose: text,
    tlp: fc.constantFrom(...tlpLabels),
    later,
  })
  .map(({ pocs: [sender, forwarder, thirdParty], ...rest }) => ({ ...rest, sender, forwarder, thirdParty }))
const dated = (secondsMax: number) =>
  fc.record({ nbf: seconds, length: fc.nat(secondsMax) }).map(({ nbf, length }) => ({ nbf, exp: nbf + length }))
const listed = fc
  .uniqueArray(fc.record({ poc, digest: bytes(32) }), { maxLength: 12, selector: (x) => x.poc })
  .map(sortedBy((x) => x.poc))
const forwarded = fc.uniqueArray(fc.record({ name, salt: bytes(32), value: fc.uint8Array({ maxLength: 80 }) }), {
  minLength: 2,
  maxLength: 12,
  selector: (leaf) => leaf.name,
})
const both = <A extends object, B extends object>(a: fc.Arbitrary<A>, b: fc.Arbitrary<B>) =>
  fc.tuple(a, b).map(([x, y]) => ({ ...x, ...y }))

interface Codec {
  readonly encode: (value: never) => Uint8Array
  readonly decode: (bytes: Uint8Array) => object
  readonly any: fc.Arbitrary<object>
}
const codecs: Record<string, Codec> = {
  "consent request": {
    encode: encodeConsentRequest,
    decode: decodeConsentRequest,
    any: both(scope, fc.record({ content: bytes(32) })),
  },
  consent: { encode: encodeConsent, decode: decodeConsent, any: both(scope, dated(fixed.consentSeconds)) },
  attestation: {
    encode: encodeAttestation,
    decode: decodeAttestation,
    any: both(both(scope, dated(fixed.attestationSecondsMax)), fc.record({ consents: listed })).filter((x) =>
      x.consents.every((consent) => consent.poc !== x.sender),
    ),
  },
  refusal: {
    encode: encodeConsentRefusal,
    decode: decodeConsentRefusal,
    any: fc.record({ v, requestId, reason: fc.option(text, { nil: undefined }), later }),
  },
  withdrawal: {
    encode: encodeConsentWithdrawal,
    decode: decodeConsentWithdrawal,
    any: fc.record({ v, requestId, later }),
  },
  forward: { encode: encodeForward, decode: decodeForward, any: fc.record({ v, requestId, leaves: forwarded, later }) },
  "use receipt": {
    encode: encodeUseReceipt,
    decode: decodeUseReceipt,
    any: fc.record({ v, requestId, time: seconds, later }),
  },
}

describe.each(Object.entries(codecs))("%s", (_, { encode, decode, any }) => {
  test("decodes to what was encoded, unknown fields and all, and back to the same bytes", () => {
    fc.assert(
      fc.property(any, (value) => {
        const written = encode(value as never)
        const read = decode(written)
        expect(written).toEqual(encodeCbor(value))
        expect(encodeCbor(read)).toEqual(written)
      }),
    )
  })

  test("throws a ValiseError, or reads the one encoding of something, whatever the bytes", () => {
    const flip = fc.record({
      value: any,
      at: fc.nat(),
      bit: fc.nat(7),
      cut: fc.nat(3),
      more: fc.uint8Array({ maxLength: 2 }),
    })
    fc.assert(
      fc.property(flip, fc.uint8Array(), ({ value, at, bit, cut, more }, garbage) => {
        const written = encode(value as never)
        written[at % written.length]! ^= 1 << bit
        for (const input of [garbage, Uint8Array.of(...written.subarray(0, written.length - cut), ...more)])
          if (decodes(decode, input)) expect(encodeCbor(decode(input))).toEqual(input)
      }),
    )
  })

  test("refuses another version and an unknown critical field", () => {
    fc.assert(
      fc.property(any, (value) => {
        expect(codeOf(() => decode(encodeCbor({ ...value, v: 2 })))).toBe("ERR_VERSION")
        expect(codeOf(() => decode(encodeCbor({ ...value, crit: ["surprise"] })))).toBe("ERR_VERSION")
        expect(codeOf(() => decode(encodeCbor({ ...value, crit: ["requestId"] })))).toBe("none")
      }),
      { numRuns: 20 },
    )
  })
})

test("a field that the reader does not know is kept up to sixteen arrays and maps deep, and refused beyond", () => {
  const nested = (levels: number): unknown => (levels === 0 ? 1 : [nested(levels - 1)])
  const withdrawal = (levels: number) => encodeCbor({ v: 1, requestId: new Uint8Array(16), later: nested(levels) })
  // The structure itself is one of them.
  expect(codeOf(() => decodeConsentWithdrawal(withdrawal(15)))).toBe("none")
  expect(codeOf(() => decodeConsentWithdrawal(withdrawal(16)))).toBe("ERR_MALFORMED")
  const deep = Uint8Array.from([0xa1, 0x61, 0x78, ...Array.from({ length: 60_000 }, () => 0x81), 1])
  expect(codeOf(() => decodeConsentWithdrawal(deep))).toBe("ERR_MALFORMED")
})

describe("what has no encoding", () => {
  const [indicators, involved] = named("indicators", "involved")
  const day = 86_400
  const ofTerms: Record<string, object> = {
    "leaves not sorted": { leaves: [involved, indicators] },
    "a leaf twice": { leaves: [indicators, indicators, involved] },
    "no `involved`": { leaves: named("indicators", "subject") },
    "`involved` alone": { leaves: [involved] },
    "65 leaves": {
      leaves: [...Array.from({ length: 64 }, (_, i) => ({ name: `a${100 + i}`, hash: hashOf("x") })), involved],
    },
    "a name that no leaf has": { leaves: [{ name: "Body", hash: hashOf("x") }, involved] },
    "a name of 65 letters": { leaves: [{ name: "a".repeat(65), hash: hashOf("x") }, involved] },
    "a short hash": { leaves: [{ ...indicators, hash: new Uint8Array(31) }, involved] },
    "a short request id": { requestId: new Uint8Array(15) },
    "sender and forwarder the same": { forwarder: S },
    "sender and third party the same": { thirdParty: S },
    "forwarder and third party the same": { thirdParty: R },
    "no address": { thirdParty: "FR/technical/chene" },
    "a purpose of 1001 characters": { purpose: "é".repeat(1001) },
    "a label of old": { tlp: "WHITE" },
    "a label as number": { tlp: 3 },
    "more than 14 days": { nbf: nowSeconds, exp: nowSeconds + 14 * day + 1 },
    "dates before all clocks": { nbf: -2, exp: -1 },
    "an end before its beginning": { nbf: nowSeconds, exp: nowSeconds - 1 },
  }
  test.each(Object.entries(ofTerms))("consent: %s", (_, change) => {
    expect(codeOf(() => encodeConsent({ ...terms, ...change }))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeConsent(encodeCbor({ ...terms, ...change })))).toBe("ERR_MALFORMED")
  })

  test("consent: half a surrogate pair, in text or in bytes", () => {
    expect(codeOf(() => encodeConsent({ ...terms, purpose: "\ud83d" }))).toBe("ERR_MALFORMED")
    const written = encodeConsent({ ...terms, purpose: "abc" })
    written.set([0xed, 0xa0, 0xbd], Buffer.from(written).indexOf("abc"))
    expect(codeOf(() => decodeConsent(written))).toBe("ERR_MALFORMED")
  })

  test("the largest of everything has one", () => {
    const list = Array.from({ length: 63 }, (_, i) => ({ name: `a${100 + i}`, hash: hashOf("x") }))
    const change = { leaves: [...list, involved!], purpose: "🌍".repeat(1000), exp: terms.nbf + 14 * day }
    expect(decodeConsent(encodeConsent({ ...terms, ...change }))).toEqual({ ...terms, ...change })
  })

  const ofAttestation: Record<string, object> = {
    "a PoC listed twice": { consents: [attestation.consents[0], attestation.consents[0]] },
    "PoCs not sorted": { consents: attestation.consents.toReversed() },
    "the sender among the consenting": { consents: [{ poc: S, digest: hashOf("x") }] },
    "more than a year": { exp: attestation.nbf + fixed.attestationSecondsMax + 1 },
    "no list": { consents: undefined },
    "two parties the same": { thirdParty: R },
  }
  test.each(Object.entries(ofAttestation))("attestation: %s", (_, change) =>
    expect(codeOf(() => decodeAttestation(encodeCbor({ ...attestation, ...change })))).toBe("ERR_MALFORMED"),
  )

  test("request: two parties the same, or no C", () => {
    for (const change of [{ thirdParty: R }, { content: undefined }])
      expect(codeOf(() => decodeConsentRequest(encodeCbor({ ...request, ...change })))).toBe("ERR_MALFORMED")
  })

  test("forward: one leaf, a leaf twice, a short salt", () => {
    const two = shown("indicators", "involved")
    for (const list of [two.slice(1), [...two, two[0]!], [two[0]!, { ...two[1]!, salt: new Uint8Array(16) }]])
      expect(codeOf(() => decodeForward(encodeCbor({ v: 1, requestId: request.requestId, leaves: list })))).toBe(
        "ERR_MALFORMED",
      )
  })

  test("refusal: a reason of 1001 characters", () => {
    const said = { v: 1 as const, requestId: request.requestId, reason: "x".repeat(1001) }
    expect(codeOf(() => encodeConsentRefusal(said))).toBe("ERR_MALFORMED")
  })
})

describe("leaf `involved`", () => {
  test("round trip", () => {
    for (const list of [[S], [S, R, P], [T, stranger]]) expect(decodeInvolved(encodeInvolved(list))).toEqual(list)
  })

  test.each([
    "",
    "[]",
    "{}",
    "null",
    '"ke/technical/baobab"',
    '["KE"]',
    "[1]",
    '["ke/technical/baobab"',
    '["ke/technical/baobab"]]',
    '["ke/technical/baobab","ke/technical/baobab"]',
    '\ufeff["ke/technical/baobab"]',
    '["ke\\/technical\\/Baobab"]',
  ])("refuses %j", (json) => expect(codeOf(() => decodeInvolved(new TextEncoder().encode(json)))).toBe("ERR_MALFORMED"))

  test("refuses more PoCs than an attestation can list, broken UTF-8 and any garbage", () => {
    const many = Array.from({ length: fixed.involvedMax + 1 }, (_, i) => `ke/technical/a${i}` as PocAddress)
    expect(codeOf(() => encodeInvolved(many))).toBe("ERR_MALFORMED")
    expect(decodeInvolved(encodeInvolved(many.slice(1)))).toHaveLength(fixed.involvedMax)
    expect(codeOf(() => decodeInvolved(Uint8Array.of(0x5b, 0xff, 0x5d)))).toBe("ERR_MALFORMED")
    fc.assert(fc.property(fc.uint8Array(), (garbage) => codeOf(() => decodeInvolved(garbage)) !== undefined))
  })

  test("an attestation that lists the most consents fits an envelope", () => {
    const consents = Array.from({ length: fixed.involvedMax }, (_, i) => ({
      poc: `zz/technical/an-agency-${1000 + i}` as PocAddress,
      digest: hashOf("x"),
    }))
    expect(encodeAttestation({ ...attestation, consents }).length).toBeLessThan(fixed.payloadBytesMax - 8192)
  })
})

function decodes(decode: (input: Uint8Array) => unknown, input: Uint8Array): boolean {
  try {
    decode(input)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(ValiseError)
    return false
  }
}
