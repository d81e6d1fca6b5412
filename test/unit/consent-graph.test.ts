/**
 * P9: nothing is presented as verified from S without S's attestation and every involved party's consent. Random sets of
 * papers with random defects, judged by `judgeForward` and by a model that knows neither bytes nor hashes: here a leaf's
 * hash is its name, salt and value, a digest is the paper itself, and the rule is one long sentence.
 */
import fc from "fast-check"
import { expect, test } from "vitest"
import type { Hash, PocAddress } from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { consentDigest, type RequestId } from "../../protocol/consent.ts"
import { judgeForward, type ForwardInput, type Paper } from "../../protocol/forward.ts"
import { leafHash } from "../../protocol/leaves.ts"
import type { OfficerRight } from "../../protocol/manifest.ts"
import { bytesOf, P, R, S, stranger as X, T } from "../support/papers.ts"

interface ModelLeaf {
  name: string
  salt: string
  value: string
}
interface Terms {
  request: string
  message: string
  header: string
  leaves: ModelLeaf[]
  sender: PocAddress
  forwarder: PocAddress
  thirdParty: PocAddress
  purpose: string
  tlp: string
  nbf: number
  exp: number
}
interface ModelPaper {
  from: PocAddress
  created: number
  rights: OfficerRight[]
  terms: Terms
}
/** Everything that T has, and the time. */
interface World {
  now: number
  me: PocAddress
  forward: { from: PocAddress; request: string; leaves: ModelLeaf[] }
  attestation: (ModelPaper & { listed: { poc: PocAddress; terms: Terms }[] }) | undefined
  consents: ModelPaper[]
  withdrawn: { from: PocAddress; request: string }[]
}

const involvedOf = (pocs: readonly PocAddress[]) => pocs.join(" ")

/** All in order, for this list of involved and these leaves. */
function honestWorld(involved: readonly PocAddress[], names: readonly string[]): World {
  const leaves = [...names, "involved"].toSorted().map((name) => ({
    name,
    salt: `salt ${name}`,
    value: name === "involved" ? involvedOf(involved) : `value of ${name}`,
  }))
  const terms = (nbf: number, exp: number): Terms => ({
    request: "q1",
    message: "m1",
    header: "h1",
    leaves: structuredClone(leaves),
    sender: S,
    forwarder: R,
    thirdParty: T,
    purpose: "why",
    tlp: "AMBER",
    nbf,
    exp,
  })
  const parties = involved.filter((poc) => poc !== S).toSorted()
  return {
    now: 100,
    me: T,
    forward: { from: R, request: "q1", leaves: structuredClone(leaves) },
    attestation: {
      from: S,
      created: 50,
      rights: ["attest"],
      terms: terms(50, 200),
      listed: parties.map((poc) => ({ poc, terms: terms(10, 90) })),
    },
    consents: parties.map((poc) => ({ from: poc, created: 20, rights: ["consent"], terms: terms(10, 90) })),
    withdrawn: [],
  }
}

/** One defect, or a harmless change; drawn, applied, and often combined with others. */
type Change = (world: World) => void

const pocs = [S, R, P, T, X] as const
const anyPoc = fc.constantFrom(...pocs)
const anyTime = fc.constantFrom(9, 10, 11, 49, 50, 51, 89, 90, 91, 99, 100, 101, 199, 200, 201)
const anyRequest = fc.constantFrom("q1", "q2")
const anyRights = fc.subarray(["consent", "attest", "release"] as const).map((rights) => [...rights])

const changeOfTerms: fc.Arbitrary<(terms: Terms) => void> = fc.oneof(
  anyRequest.map((request) => (t: Terms) => void (t.request = request)),
  fc.constantFrom("m1", "m2").map((message) => (t: Terms) => void (t.message = message)),
  fc.constantFrom("h1", "h2").map((header) => (t: Terms) => void (t.header = header)),
  anyPoc.map((poc) => (t: Terms) => void (t.sender = poc)),
  anyPoc.map((poc) => (t: Terms) => void (t.forwarder = poc)),
  anyPoc.map((poc) => (t: Terms) => void (t.thirdParty = poc)),
  fc.constantFrom("why", "because").map((purpose) => (t: Terms) => void (t.purpose = purpose)),
  fc.constantFrom("AMBER", "CLEAR").map((tlp) => (t: Terms) => void (t.tlp = tlp)),
  fc.tuple(anyTime, anyTime).map(
    ([nbf, exp]) =>
      (t: Terms) =>
        void Object.assign(t, { nbf, exp }),
  ),
  fc.nat(3).map((i) => (t: Terms) => void t.leaves.splice(i, 1)),
  fc.nat(3).map((i) => (t: Terms) => alterLeaf(t.leaves, i)),
)

const changes: fc.Arbitrary<Change> = fc.oneof(
  anyTime.map((now) => (w: World) => void (w.now = now)),
  anyPoc.map((me) => (w: World) => void (w.me = me)),
  anyPoc.map((from) => (w: World) => void (w.forward.from = from)),
  anyRequest.map((request) => (w: World) => void (w.forward.request = request)),
  fc.nat(3).map((i) => (w: World) => void w.forward.leaves.splice(i, 1)),
  fc.nat(3).map((i) => (w: World) => alterLeaf(w.forward.leaves, i)),
  fc.constantFrom("body", "involved").map((name) => (w: World) => {
    w.forward.leaves = w.forward.leaves.filter((leaf) => leaf.name !== name)
    w.forward.leaves.push({
      name,
      salt: `salt ${name}`,
      value: name === "involved" ? involvedOf([S]) : `value of ${name}`,
    })
  }),
  fc.constant((w: World) => void (w.attestation = undefined)),
  anyPoc.map((from) => (w: World) => void (w.attestation && (w.attestation.from = from))),
  anyTime.map((created) => (w: World) => void (w.attestation && (w.attestation.created = created))),
  anyRights.map((rights) => (w: World) => void (w.attestation && (w.attestation.rights = rights))),
  changeOfTerms.map((change) => (w: World) => w.attestation && change(w.attestation.terms)),
  fc.nat(3).map((i) => (w: World) => void w.attestation?.listed.splice(i, 1)),
  fc.nat(3).map((i) => (w: World) => void w.consents.splice(i, 1)),
  fc.tuple(fc.nat(3), anyPoc).map(
    ([i, from]) =>
      (w: World) =>
        void (w.consents[i] && (w.consents[i].from = from)),
  ),
  fc.tuple(fc.nat(3), anyRights).map(
    ([i, rights]) =>
      (w: World) =>
        void (w.consents[i] && (w.consents[i].rights = rights)),
  ),
  fc.tuple(fc.nat(3), changeOfTerms).map(
    ([i, change]) =>
      (w: World) =>
        w.consents[i] && change(w.consents[i].terms),
  ),
  // S, dishonest, lists what was said: so that the consent itself must be judged.
  fc.tuple(fc.nat(3), changeOfTerms).map(([i, change]) => (w: World) => {
    const consent = w.consents[i]
    if (!consent || !w.attestation) return
    change(consent.terms)
    for (const row of w.attestation.listed) if (row.poc === consent.from) row.terms = structuredClone(consent.terms)
  }),
  // Everybody agrees on something else than was asked: then that is what is verified.
  changeOfTerms.map((change) => (w: World) => {
    for (const terms of allTerms(w)) change(terms)
  }),
  fc.tuple(anyPoc, anyRequest).map(
    ([from, request]) =>
      (w: World) =>
        void w.withdrawn.push({ from, request }),
  ),
  // A second paper of the same party, good or not.
  fc.tuple(fc.nat(3), changeOfTerms).map(([i, change]) => (w: World) => {
    const consent = structuredClone(w.consents[i])
    if (!consent) return
    change(consent.terms)
    w.consents.unshift(consent)
  }),
)

const worlds = fc
  .tuple(
    fc.constantFrom<PocAddress[]>([S], [S, R], [S, R, P], [R, P], [P, R, S, X]),
    fc.subarray(["indicators", "subject"], { minLength: 1 }),
    fc.oneof(fc.array(changes, { maxLength: 2 }), fc.array(changes, { maxLength: 6 })),
  )
  .map(([involved, names, list]) => {
    const world = honestWorld(involved, names)
    for (const change of list) change(world)
    return world
  })

test("P9: judgeForward and the model agree on every set of papers", () => {
  const seen = { verified: 0, unverified: 0, reasons: new Set<string>() }
  fc.assert(
    fc.property(worlds, (world) => {
      const result = judgeForward(inputOf(world))
      expect(result.verified).toBe(model(world))
      if (result.verified) {
        seen.verified++
        expect(result.leaves.map(({ name }) => name)).toEqual(world.forward.leaves.map(({ name }) => name))
      } else {
        seen.unverified++
        seen.reasons.add(result.reason)
      }
    }),
    { numRuns: 4000 },
  )
  // The generator must not have become idle: many of both, and nearly every reason.
  expect(seen.verified).toBeGreaterThan(400)
  expect(seen.unverified).toBeGreaterThan(400)
  expect(seen.reasons.size).toBeGreaterThanOrEqual(12)
})

/** The rule, read aloud. */
function model({ now, me, forward, attestation, consents, withdrawn }: World): boolean {
  if (!attestation || !wellFormed(attestation.terms, 366 * 86_400)) return false
  const { terms, listed } = attestation
  const isWithdrawn = (poc: PocAddress) => withdrawn.some((w) => w.from === poc && w.request === terms.request)
  const involvedShown = forward.leaves.find((leaf) => leaf.name === "involved")
  return (
    listed.every(({ poc }) => poc !== terms.sender) &&
    attestation.from === terms.sender &&
    attestation.rights.includes("attest") &&
    terms.thirdParty === me &&
    terms.nbf <= attestation.created &&
    now <= terms.exp &&
    !isWithdrawn(terms.sender) &&
    forward.from === terms.forwarder &&
    forward.request === terms.request &&
    forward.leaves.every((leaf) => terms.leaves.some((agreed) => same(agreed, leaf))) &&
    involvedShown !== undefined &&
    involvedShown.value
      .split(" ")
      .filter((poc) => poc !== terms.sender)
      .every(
        (poc) =>
          !isWithdrawn(poc as PocAddress) &&
          consents.some(
            (consent) =>
              consent.from === poc &&
              consent.rights.includes("consent") &&
              listed.some((row) => row.poc === poc && same(row.terms, consent.terms)) &&
              wellFormed(consent.terms, 14 * 86_400) &&
              same({ ...consent.terms, nbf: 0, exp: 0 }, { ...terms, nbf: 0, exp: 0 }) &&
              consent.terms.nbf <= attestation.created &&
              attestation.created <= consent.terms.exp,
          ),
      )
  )
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

function wellFormed(terms: Terms, secondsMax: number): boolean {
  const { sender, forwarder, thirdParty, leaves, nbf, exp } = terms
  const names = leaves.map(({ name }) => name)
  const distinct = sender !== forwarder && forwarder !== thirdParty && thirdParty !== sender
  return distinct && names.length >= 2 && names.includes("involved") && nbf <= exp && exp - nbf <= secondsMax
}

function alterLeaf(leaves: ModelLeaf[], i: number): void {
  const leaf = leaves[i]
  if (!leaf) return
  if (leaf.name === "involved") leaf.value = involvedOf([S])
  else leaf.value = "something else"
}

function* allTerms({ attestation, consents }: World): Generator<Terms> {
  if (attestation) yield attestation.terms
  for (const row of attestation?.listed ?? []) yield row.terms
  for (const { terms } of consents) yield terms
}

// From the model's papers to bytes; written by hand, since a dishonest party is not bound to our encoders.

function inputOf({ now, me, forward, attestation, consents, withdrawn }: World): ForwardInput {
  return {
    me,
    nowSeconds: now,
    forward: {
      from: forward.from,
      requestId: idOf(forward.request),
      leaves: forward.leaves.map(({ name, salt, value }) => ({
        name,
        salt: bytesOf(32, salt),
        value: valueOf(name, value),
      })),
    },
    attestation: attestation && {
      ...paperOf(attestation),
      bytes: encodeCbor({
        ...fieldsOf(attestation.terms),
        consents: attestation.listed.map(({ poc, terms }) => ({
          poc,
          digest: consentDigest(encodeCbor(fieldsOf(terms))),
        })),
      }),
    },
    consents: consents.map(paperOf),
    withdrawn: withdrawn.map(({ from, request }) => ({ from, requestId: idOf(request) })),
  }
}

const paperOf = ({ from, created, rights, terms }: ModelPaper): Paper => ({
  from,
  created,
  rights,
  bytes: encodeCbor(fieldsOf(terms)),
})

function fieldsOf(terms: Terms): object {
  const { request, message, header, leaves, ...rest } = terms
  return {
    v: 1,
    requestId: idOf(request),
    messageId: bytesOf(16, message),
    header: bytesOf(32, header),
    leaves: leaves.map(({ name, salt, value }) => ({ name, hash: hashOfLeaf(name, salt, value) })),
    ...rest,
  }
}

const idOf = (request: string): RequestId => bytesOf(16, request) as RequestId
const valueOf = (name: string, value: string): Uint8Array =>
  utf8(name === "involved" ? JSON.stringify(value.split(" ")) : value)
const hashOfLeaf = (name: string, salt: string, value: string): Hash =>
  leafHash(bytesOf(32, salt), name, valueOf(name, value))
