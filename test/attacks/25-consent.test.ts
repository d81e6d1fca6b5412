import { describe, expect, test } from "vitest"
import type { MessageId } from "../../protocol/address.ts"
import {
  attestationOf,
  consentDigest,
  consentFor,
  consentTo,
  encodeConsent,
  encodeInvolved,
  readSignedConsent,
  type Attestation,
  type ConsentScope,
  type ConsentTerms,
  type RequestId,
} from "../../protocol/consent.ts"
import {
  judgeForward,
  mayAttest,
  mayConsent,
  mayForward,
  type ForwardInput,
  type ForwardReason,
} from "../../protocol/forward.ts"
import type { Signed } from "../../protocol/statement.ts"
import { codeOf } from "../support/errors.ts"
import { leafHash } from "../../protocol/leaves.ts"
import { fixed } from "../../protocol/limits.ts"
import {
  allConsents,
  attestation,
  attestationPaper,
  bytesOf,
  consentPaper,
  consents,
  forwardInput,
  hashOf,
  held,
  listed,
  named,
  officerOf,
  P,
  R,
  request,
  S,
  saltFor,
  scope,
  shown,
  stranger,
  T,
  terms,
} from "../support/papers.ts"
import { live, nowSeconds } from "../support/sealing.ts"

const requestId = bytesOf(16, "another request") as RequestId
const forward = forwardInput().forward

/** Every way in which a paper can be for something else. */
const elsewhere: readonly (readonly [string, Partial<ConsentScope>])[] = [
  ["another leaf", { leaves: named("body", "involved") }],
  ["another content of the leaf", { leaves: [{ name: "indicators", hash: hashOf("other") }, ...named("involved")] }],
  ["fewer leaves", { leaves: named("involved", "type") }],
  ["another list of involved", { leaves: [...named("indicators"), { name: "involved", hash: hashOf("other") }] }],
  ["another message", { messageId: bytesOf(16, "another message") as MessageId }],
  ["another header", { header: hashOf("another header") }],
  ["another sender", { sender: stranger }],
  ["another forwarder", { forwarder: stranger }],
  ["another third party", { thirdParty: stranger }],
  ["another request", { requestId }],
  ["another purpose", { purpose: "Something else." }],
  ["another label", { tlp: "CLEAR" }],
  ["a condition that nobody else named", { condition: "only by telephone" } as Partial<ConsentScope>],
]

/** T's inputs if P's consent says this, and S lists it all the same. */
function withConsentOfP(said: ConsentTerms, change: Parameters<typeof consentPaper>[2] = {}): Partial<ForwardInput> {
  const paper = consentPaper(P, said, change)
  const list = [{ poc: P, digest: consentDigest(encodeConsent(said)) }, ...listed.filter(({ poc }) => poc !== P)]
  return { consents: [consentPaper(R), paper], attestation: attestationPaper({ ...attestation, consents: list }) }
}

describe("25 consent: what T does not present as verified", () => {
  const refused = (change: Partial<ForwardInput>, reason: ForwardReason) =>
    expect(judgeForward(forwardInput(change))).toEqual({ verified: false, reason })

  test("25 consent: with everything in order the leaves are verified from S", () => {
    const result = judgeForward(forwardInput())
    expect(result).toMatchObject({
      verified: true,
      sender: S,
      involved: [S, R, P],
      attestation: { purpose: request.purpose },
    })
    expect(result.verified && result.leaves.map(({ name }) => name)).toEqual(["involved", "indicators"])
  })

  test.each(elsewhere)("25 consent: P's consent for %s", (_, change) =>
    refused(withConsentOfP({ ...terms, ...change }), "consent-differs"),
  )

  test("25 consent: P's consent before, and after, its dates", () => {
    refused(withConsentOfP({ ...terms, nbf: nowSeconds + 1, exp: nowSeconds + 2 }), "consent-expired")
    refused(withConsentOfP({ ...terms, nbf: nowSeconds - 2, exp: nowSeconds - 1 }), "consent-expired")
    expect(judgeForward(forwardInput(withConsentOfP({ ...terms, nbf: nowSeconds, exp: nowSeconds })))).toMatchObject({
      verified: true,
    })
  })

  test("25 consent: no consent of P, one that somebody else handed on, one that no officer may give", () => {
    refused({ consents: [consentPaper(R)] }, "consent-missing")
    refused({ consents: [consentPaper(R), consentPaper(stranger)] }, "consent-missing")
    refused({ consents: [consentPaper(R), consentPaper(P, terms, { rights: [] })] }, "no-right")
    refused({ consents: [consentPaper(R), consentPaper(P, terms, { rights: ["attest", "release"] })] }, "no-right")
  })

  test("25 consent: a consent that S did not list, or listed as another's", () => {
    const later = consentTo(scope, nowSeconds + 60)
    refused({ consents: [consentPaper(R), consentPaper(P, later)] }, "consent-missing")
    const list = listed.filter(({ poc }) => poc !== P)
    refused({ attestation: attestationPaper({ ...attestation, consents: list }) }, "consent-missing")
  })

  test("25 consent: a withdrawn one, by P or by S; a stranger's withdrawal, or one of another request, changes nothing", () => {
    const { requestId: mine } = request
    refused({ withdrawn: [{ from: P, requestId: mine }] }, "withdrawn")
    refused({ withdrawn: [{ from: S, requestId: mine }] }, "withdrawn")
    const others = [
      { from: stranger, requestId: mine },
      { from: P, requestId },
      { from: S, requestId },
    ]
    expect(judgeForward(forwardInput({ withdrawn: others }))).toMatchObject({ verified: true })
  })

  test("25 consent: no attestation, garbage, somebody else's, or one that no officer may give", () => {
    refused({ attestation: undefined }, "no-attestation")
    refused({ attestation: attestationPaper(attestation, { bytes: Uint8Array.of(0xa0) }) }, "attestation-malformed")
    refused({ attestation: attestationPaper(attestation, { from: R }) }, "not-from-sender")
    refused({ attestation: attestationPaper(attestation, { rights: ["consent"] }) }, "no-right")
  })

  test("25 consent: an attestation to another third party, for another forwarder or for another request", () => {
    refused({ me: stranger }, "another-third-party")
    refused({ forward: { ...forward, from: stranger } }, "not-from-forwarder")
    refused({ forward: { ...forward, requestId } }, "another-request")
  })

  test("25 consent: an attestation before, and after, its dates", () => {
    refused({ nowSeconds: attestation.exp + 1 }, "attestation-expired")
    refused({ attestation: attestationPaper(attestation, { created: attestation.nbf - 1 }) }, "attestation-expired")
    expect(judgeForward(forwardInput({ nowSeconds: attestation.exp }))).toMatchObject({ verified: true })
  })

  test("25 consent: R withholds `involved`, or shrinks it to those who consented", () => {
    refused({ forward: { ...forward, leaves: shown("indicators") } }, "involved-not-shown")
    const shrunk = { name: "involved", value: encodeInvolved([S, R]), salt: saltFor("involved") }
    refused({ forward: { ...forward, leaves: [...shown("indicators"), shrunk] } }, "leaf-not-attested")
  })

  test("25 consent: an `involved` that is no list of PoCs is nobody's consent", () => {
    const value = new TextEncoder().encode("[]")
    const empty = { name: "involved", value, salt: saltFor("involved") }
    const hashes = [...named("indicators"), { name: "involved", hash: leafHash(empty.salt, "involved", empty.value) }]
    const said = attestationOf({ ...scope, leaves: hashes }, [], nowSeconds, nowSeconds + 1)
    refused(
      { attestation: attestationPaper(said), forward: { ...forward, leaves: [...shown("indicators"), empty] } },
      "involved-not-shown",
    )
  })

  test("25 consent: the attestation itself is for something else than the consents", () => {
    for (const change of elsewhere.map(([, x]) => x)) {
      const said = { ...attestation, ...change } as Attestation
      if (said.sender === S)
        expect(judgeForward(forwardInput({ attestation: attestationPaper(said) })).verified).toBe(false)
    }
  })
})

describe("25 consent: what an honest S, R and P refuse", () => {
  test("25 consent: P, and S, agree only to what they hold, asked by the forwarder itself", () => {
    const ask = (change: object, from = R, me = P) => mayConsent({ me, from, request: { ...request, ...change }, held })
    expect(ask({})).toEqual({ allowed: true })
    expect(ask({}, R, S)).toEqual({ allowed: true })
    const withoutSender = { ...held, involved: [R, P] }
    expect(mayConsent({ me: S, from: R, request, held: withoutSender })).toEqual({ allowed: true })
    expect(ask({}, stranger)).toEqual({ allowed: false, reason: "not-from-forwarder" })
    expect(ask({}, R, stranger)).toEqual({ allowed: false, reason: "not-involved" })
    const changes = elsewhere.map(([, x]) => x).filter((x) => "messageId" in x || "header" in x || "sender" in x)
    const misnamed = { leaves: [{ name: "indicators", hash: named("body")[0]!.hash }, ...named("involved")] }
    for (const change of [...changes, elsewhere[1]![1], elsewhere[3]![1], misnamed, { content: hashOf("other") }])
      expect(ask(change)).toEqual({ allowed: false, reason: "another-message" })
  })

  const rules = {
    mayAttest,
    mayForward: (input: ReturnType<typeof allConsents>) =>
      mayForward({ ...input, me: R, leaves: ["indicators", "involved"] }),
  }

  test.each(Object.entries(rules))("25 consent: %s wants every consent, to this, now", (_, rule) => {
    expect(rule(allConsents())).toMatchObject({ allowed: true })
    const refused = (change: Parameters<typeof allConsents>[0], reason: ForwardReason) =>
      expect(rule(allConsents(change))).toEqual({ allowed: false, reason })
    refused({ consents: [consentPaper(R)] }, "consent-missing")
    refused({ consents: [consentPaper(R), consentPaper(stranger)] }, "consent-missing")
    refused({ consents: [consentPaper(R), consentPaper(P, terms, { rights: [] })] }, "no-right")
    refused({ consents: [consentPaper(R), { ...consentPaper(P), bytes: Uint8Array.of(0) }] }, "consent-malformed")
    refused({ nowSeconds: terms.exp + 1 }, "consent-expired")
    refused({ withdrawn: [{ from: P, requestId: request.requestId }] }, "withdrawn")
    refused({ withdrawn: [{ from: S, requestId: request.requestId }] }, "withdrawn")
    refused({ held: { ...held, sender: stranger } }, "another-message")
    for (const [, change] of elsewhere)
      refused({ consents: [consentPaper(R), consentPaper(P, { ...terms, ...change })] }, "consent-differs")
  })

  test("25 consent: S's copy is signed by an officer of P, over just these bytes", () => {
    const { key } = officerOf(P)
    const copy = consentFor(S, terms, live, key) as Signed
    expect(readSignedConsent(key.publicKey, live, copy)).toEqual(terms)
    const bent = { ...copy, bytes: encodeConsent({ ...terms, thirdParty: stranger }) }
    for (const forged of [bent, consentFor(S, terms, live, officerOf(R).key) as Signed])
      expect(codeOf(() => readSignedConsent(key.publicKey, live, forged))).toBe("ERR_UNTRUSTED")
  })

  test("25 consent: one good consent is enough, whatever else came from the same PoC", () => {
    const stale = consentPaper(P, consentTo(scope, nowSeconds - fixed.consentSeconds - 1))
    expect(mayAttest(allConsents({ consents: [stale, ...consents] }))).toMatchObject({
      allowed: true,
      consents: listed,
    })
  })

  test("25 consent: only S attests, only the forwarder forwards, and never without `involved`", () => {
    expect(mayAttest(allConsents({ me: R }))).toEqual({ allowed: false, reason: "not-from-sender" })
    const names = ["indicators", "involved"]
    expect(mayForward({ ...allConsents({ me: T }), leaves: names })).toEqual({
      allowed: false,
      reason: "not-from-forwarder",
    })
    expect(mayForward({ ...allConsents({ me: R }), leaves: ["indicators"] })).toEqual({
      allowed: false,
      reason: "involved-not-shown",
    })
  })

  test("25 consent: if the sender narrowed `involved` to itself, its attestation is enough", () => {
    const alone = { name: "involved", value: encodeInvolved([S]), salt: saltFor("involved") }
    const hashes = [...named("indicators"), { name: "involved", hash: leafHash(alone.salt, "involved", alone.value) }]
    const narrowed = {
      ...held,
      involved: [S],
      leaves: [...held.leaves.filter((x) => x.name !== "involved"), hashes[1]!],
    }
    const narrow = { ...scope, leaves: hashes }
    const result = mayAttest(allConsents({ scope: narrow, held: narrowed, consents: [] }))
    expect(result).toEqual({ allowed: true, consents: [] })
    const said = attestationOf(narrow, [], nowSeconds, nowSeconds + 1)
    const shows = { ...forward, leaves: [...shown("indicators"), alone] }
    expect(
      judgeForward(forwardInput({ attestation: attestationPaper(said), forward: shows, consents: [] })),
    ).toMatchObject({
      verified: true,
      involved: [S],
    })
  })
})
