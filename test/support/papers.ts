/** One consented forwarding, whole and in order; tests change one thing and see it refused. */
import { officerIdOf, type Hash, type MessageId, type PocAddress } from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import {
  attestationOf,
  consentTo,
  encodeAttestation,
  encodeConsent,
  encodeInvolved,
  scopeOf,
  type Attestation,
  type ConsentRequest,
  type ConsentTerms,
  type ForwardedLeaf,
  type ListedConsent,
  type NamedHash,
  type RequestId,
} from "../../protocol/consent.ts"
import {
  mayAttest,
  type AllConsentsInput,
  type ForwardInput,
  type HeldMessage,
  type Paper,
} from "../../protocol/forward.ts"
import { taggedHash } from "../../protocol/hash.ts"
import { contentHash, leafHash, leafHashesOf, saltOf, type Leaf } from "../../protocol/leaves.ts"
import { shake256, SigningKey } from "../../protocol/primitives.ts"
import { nowSeconds } from "./sealing.ts"

export const S = "ke/technical/baobab" as PocAddress
export const R = "sg/technical/merlion" as PocAddress
export const P = "br/technical/jacaranda" as PocAddress
export const T = "fr/technical/chene" as PocAddress
export const stranger = "nz/technical/kauri" as PocAddress

export const signingKeyOf = (name: string): SigningKey => new SigningKey(shake256(32, utf8(`signing key: ${name}`)))
export const officerOf = (poc: PocAddress) => {
  const key = signingKeyOf(`officer of ${poc}`)
  return { key, id: officerIdOf(poc, key.publicKey) }
}
export const bytesOf = (length: number, name: string): Uint8Array => shake256(length, utf8(name))
export const hashOf = (name: string): Hash => bytesOf(32, name) as Hash

export const leaves: readonly Leaf[] = [
  { name: "type", value: utf8("notification") },
  { name: "involved", value: encodeInvolved([S, R, P]) },
  { name: "subject", value: utf8("Beacons from your network") },
  { name: "body", value: utf8('{"victim":"the ministry of salt"}') },
  { name: "indicators", value: utf8('{"type":"bundle","objects":["198.51.100.7"]}') },
]
export const contentKey: Uint8Array = bytesOf(32, "content key")
export const saltFor = (name: string): Uint8Array => saltOf(contentKey, name)

const messageId = bytesOf(16, "message") as MessageId
const headerHash = taggedHash("header", utf8("the header")) as Hash

/** The message as S, R and P hold it. */
export const held: HeldMessage = {
  messageId,
  sender: S,
  headerHash,
  contentHash: contentHash(headerHash, leafHashesOf(contentKey, leaves)),
  leaves: leaves.map(({ name, value }) => ({ name, hash: leafHash(saltFor(name), name, value) })),
  involved: [S, R, P],
}

/** Hashes of these leaves, as a request lists them. */
export const named = (...names: readonly string[]): NamedHash[] =>
  held.leaves.filter(({ name }) => names.includes(name)).toSorted((a, b) => (a.name < b.name ? -1 : 1))

export const request: ConsentRequest = {
  v: 1,
  requestId: bytesOf(16, "request") as RequestId,
  messageId,
  header: headerHash,
  content: held.contentHash,
  leaves: named("indicators", "involved"),
  sender: S,
  forwarder: R,
  thirdParty: T,
  purpose: "The same hosts beacon into two networks of our partner.",
  tlp: "AMBER",
}
export const scope = scopeOf(request)
export const terms: ConsentTerms = consentTo(scope, nowSeconds)

export const consentPaper = (from: PocAddress, said: ConsentTerms = terms, change: Partial<Paper> = {}): Paper => ({
  from,
  created: nowSeconds,
  rights: ["consent"],
  bytes: encodeConsent(said),
  ...change,
})
export const consents: readonly Paper[] = [consentPaper(R), consentPaper(P)]

/** What S and R decide upon. */
export const allConsents = (change: Partial<AllConsentsInput> = {}): AllConsentsInput => ({
  me: S,
  scope,
  held,
  consents,
  withdrawn: [],
  nowSeconds,
  ...change,
})

export const listed: readonly ListedConsent[] = listedBy(allConsents())
export const attestation: Attestation = attestationOf(scope, listed, nowSeconds, nowSeconds + 90 * 86_400)
export const attestationPaper = (said: Attestation = attestation, change: Partial<Paper> = {}): Paper => ({
  from: S,
  created: nowSeconds,
  rights: ["attest"],
  bytes: encodeAttestation(said),
  ...change,
})

export const shown = (...names: readonly string[]): ForwardedLeaf[] =>
  leaves.filter(({ name }) => names.includes(name)).map(({ name, value }) => ({ name, value, salt: saltFor(name) }))

/** What T judges. */
export const forwardInput = (change: Partial<ForwardInput> = {}): ForwardInput => ({
  me: T,
  nowSeconds,
  forward: { from: R, requestId: request.requestId, leaves: shown("indicators", "involved") },
  attestation: attestationPaper(),
  consents,
  withdrawn: [],
  ...change,
})

function listedBy(input: AllConsentsInput): readonly ListedConsent[] {
  const result = mayAttest(input)
  if (!result.allowed) throw new Error(result.reason)
  return result.consents
}
