/**
 * The rules of consent-gated forwarding (SPEC, "Consent"): when an involved party may consent, S attest and R forward, and
 * when T presents leaves as verified from S. Pure: every rule is a function of opened papers and a time.
 */
import type { Hash, MessageId, PocAddress } from "./address.ts"
import { equal } from "./bytes.ts"
import {
  consentDigest,
  decodeAttestation,
  decodeConsent,
  decodeInvolved,
  sameScope,
  scopeOf,
  type Attestation,
  type ConsentRequest,
  type ConsentScope,
  type Forward,
  type ForwardedLeaf,
  type ListedConsent,
  type NamedHash,
  type RequestId,
} from "./consent.ts"
import { leafHash, type Leaf } from "./leaves.ts"
import type { OfficerRight } from "./manifest.ts"

/** A consent or attestation as it was opened from its sealed message (or kept, if it is one's own). */
export interface Paper {
  /** The PoC whose device sealed it. */
  readonly from: PocAddress
  /** Seconds: `created` of its header. */
  readonly created: number
  /** What that PoC's manifest allowed the officer who released it; empty if no officer did. */
  readonly rights: readonly OfficerRight[]
  readonly bytes: Uint8Array
}

export interface Withdrawn {
  readonly from: PocAddress
  readonly requestId: RequestId
}

/** A message as a participant's own archive holds it. */
export interface HeldMessage {
  readonly messageId: MessageId
  readonly sender: PocAddress
  readonly headerHash: Hash
  readonly contentHash: Hash
  readonly leaves: readonly NamedHash[]
  readonly involved: readonly PocAddress[]
}

/** Why something is not allowed or not verified. The list is closed. */
export const forwardReasons = [
  /** The paper came from somebody else than its role in the request says. */
  "not-from-forwarder",
  "not-from-sender",
  /** The papers name another third party. */
  "another-third-party",
  "another-request",
  /** The request does not describe the message that is held: another message, header, content or leaf. */
  "another-message",
  "not-involved",
  /** A leaf is shown that was not agreed to, or not with this content. */
  "leaf-not-attested",
  "involved-not-shown",
  "no-attestation",
  "attestation-malformed",
  "attestation-expired",
  /** An involved PoC's consent is not there (or not the one that S attested). */
  "consent-missing",
  "consent-malformed",
  /** A consent says something else than what was asked or attested. */
  "consent-differs",
  "consent-expired",
  /** No officer with the right to consent, or to attest, released the paper. */
  "no-right",
  "withdrawn",
] as const
export type ForwardReason = (typeof forwardReasons)[number]

export interface Denied {
  readonly allowed: false
  readonly reason: ForwardReason
}

/** The rule of an involved party and of S: it agrees only to what it holds itself, asked for by the forwarder itself. */
export function mayConsent(input: {
  readonly me: PocAddress
  readonly from: PocAddress
  readonly request: ConsentRequest
  readonly held: HeldMessage
}): { readonly allowed: true } | Denied {
  const { me, from, request, held } = input
  if (from !== request.forwarder) return denied("not-from-forwarder") // defence: 25 request-from
  if (!describes(request, held)) return denied("another-message") // defence: 25 request-describes
  if (!equal(request.content, held.contentHash)) return denied("another-message") // defence: 25 request-content
  if (me !== request.sender && !held.involved.includes(me)) return denied("not-involved")
  return { allowed: true }
}

export interface AllConsentsInput {
  readonly me: PocAddress
  readonly scope: ConsentScope
  readonly held: HeldMessage
  readonly consents: readonly Paper[]
  readonly withdrawn: readonly Withdrawn[]
  readonly nowSeconds: number
}

/** S's rule: it attests what it wrote itself, last, when every consent is there. The result goes into `attestationOf`. */
export function mayAttest(
  input: AllConsentsInput,
): { readonly allowed: true; readonly consents: readonly ListedConsent[] } | Denied {
  if (input.me !== input.scope.sender) return denied("not-from-sender")
  return allConsents(input)
}

/** R's rule: it forwards what it holds, when every consent is there; `leaves` are the names it would show. */
export function mayForward(
  input: AllConsentsInput & { readonly leaves: readonly string[] },
): { readonly allowed: true } | Denied {
  if (input.me !== input.scope.forwarder) return denied("not-from-forwarder")
  const agreed = new Set(input.scope.leaves.map(({ name }) => name))
  if (!input.leaves.every((name) => agreed.has(name))) return denied("leaf-not-attested") // defence: 26 forward-leaves
  if (!input.leaves.includes("involved")) return denied("involved-not-shown")
  const result = allConsents(input)
  return result.allowed ? { allowed: true } : result
}

export interface ForwardInput {
  /** T's own address. */
  readonly me: PocAddress
  readonly nowSeconds: number
  readonly forward: Pick<Forward, "requestId" | "leaves"> & { readonly from: PocAddress }
  readonly attestation: Paper | undefined
  readonly consents: readonly Paper[]
  readonly withdrawn: readonly Withdrawn[]
}

export type ForwardJudgement =
  | {
      readonly verified: true
      readonly sender: PocAddress
      readonly involved: readonly PocAddress[]
      readonly leaves: readonly Leaf[]
      readonly attestation: Attestation
    }
  | { readonly verified: false; readonly reason: ForwardReason }

/**
 * T's rule: the leaves are *verified from S*, all of them, or *unverified: the forwarder's word only*. Never throws.
 * Judge again whenever a paper arrives: what is unverified now may be verified later, and a withdrawal ends it.
 */
export function judgeForward(input: ForwardInput): ForwardJudgement {
  const { me, nowSeconds, forward, attestation: paper, withdrawn } = input
  if (!paper) return unverified("no-attestation")
  const attestation = decoded(decodeAttestation, paper.bytes)
  if (!attestation) return unverified("attestation-malformed")
  if (paper.from !== attestation.sender) return unverified("not-from-sender") // defence: 25 attestation-from
  if (attestation.thirdParty !== me) return unverified("another-third-party") // defence: 25 third-party
  if (forward.from !== attestation.forwarder) return unverified("not-from-forwarder") // defence: 25 forward-from
  if (!equal(forward.requestId, attestation.requestId)) return unverified("another-request") // defence: 25 forward-request
  if (paper.created < attestation.nbf) return unverified("attestation-expired") // defence: 25 attestation-early
  if (nowSeconds > attestation.exp) return unverified("attestation-expired") // defence: 25 attestation-late
  if (isWithdrawn(withdrawn, attestation.sender, attestation)) return unverified("withdrawn") // defence: 25 attestation-withdrawn
  if (!paper.rights.includes("attest")) return unverified("no-right") // defence: 25 attestation-right
  if (!forward.leaves.every((leaf) => isAttested(leaf, attestation))) return unverified("leaf-not-attested") // defence: 26 leaf-beyond
  const involved = involvedAmong(forward.leaves)
  if (!involved) return unverified("involved-not-shown") // defence: 25 involved-shown => if (!involved) return verified(attestation, [], forward.leaves)
  const attested = input.consents.filter((consent) => isListed(consent, attestation)) // defence: 25 consent-listed => const attested = input.consents
  const consents = consentsOfAll(involved, attestation, attested, withdrawn, paper.created)
  if (!Array.isArray(consents)) return unverified(consents) // defence: 25 every-consent
  return verified(attestation, involved, forward.leaves)
}

function allConsents(
  input: AllConsentsInput,
): { readonly allowed: true; readonly consents: readonly ListedConsent[] } | Denied {
  const scope = scopeOf(input.scope)
  if (!describes(scope, input.held)) return denied("another-message") // defence: 25 scope-describes
  if (isWithdrawn(input.withdrawn, scope.sender, scope)) return denied("withdrawn") // defence: 25 sender-withdrawn
  const consents = consentsOfAll(input.held.involved, scope, input.consents, input.withdrawn, input.nowSeconds)
  return Array.isArray(consents) ? { allowed: true, consents } : denied(consents)
}

/**
 * The comparison that S, R and T share: of every involved PoC but S, a consent from that very PoC, released by an officer
 * with that right, to this very scope, valid at this time, not withdrawn. Else the first reason why not.
 */
function consentsOfAll(
  involved: readonly PocAddress[],
  scope: ConsentScope,
  papers: readonly Paper[],
  withdrawn: readonly Withdrawn[],
  atSeconds: number,
): ListedConsent[] | ForwardReason {
  const consents: ListedConsent[] = []
  for (const poc of involved.toSorted()) {
    if (poc === scope.sender) continue
    if (isWithdrawn(withdrawn, poc, scope)) return "withdrawn" // defence: 25 consent-withdrawn
    const own = papers.filter((paper) => paper.from === poc) // defence: 25 consent-from => const own = papers
    const flaws = own.map((paper) => flawOf(paper, scope, atSeconds))
    const good = own[flaws.indexOf(undefined)]
    if (!good) return flaws[0] ?? "consent-missing"
    consents.push({ poc, digest: consentDigest(good.bytes) })
  }
  return consents
}

function flawOf(paper: Paper, scope: ConsentScope, atSeconds: number): ForwardReason | undefined {
  const consent = decoded(decodeConsent, paper.bytes)
  if (!consent) return "consent-malformed"
  if (!sameScope(consent, scope)) return "consent-differs" // defence: 25 consent-scope
  if (atSeconds < consent.nbf || atSeconds > consent.exp) return "consent-expired" // defence: 25 consent-dates
  if (!paper.rights.includes("consent")) return "no-right" // defence: 25 consent-right
  return undefined
}

/** Whether the scope tells the truth about a message that is held, as far as it goes. */
function describes(scope: ConsentScope, held: HeldMessage): boolean {
  if (scope.sender !== held.sender) return false // defence: 25 held-sender
  if (!equal(scope.messageId, held.messageId)) return false // defence: 25 held-message-id
  if (!equal(scope.header, held.headerHash)) return false // defence: 25 held-header
  return scope.leaves.every((asked) => held.leaves.some((leaf) => sameLeaf(leaf, asked))) // defence: 25 held-leaves => return true
}

/** @param scope whose request the withdrawal must name */
const isWithdrawn = (withdrawn: readonly Withdrawn[], poc: PocAddress, scope: ConsentScope): boolean =>
  withdrawn.some(({ from, requestId }) => from === poc && equal(requestId, scope.requestId))

const isListed = (consent: Paper, attestation: Attestation): boolean =>
  attestation.consents.some(({ poc, digest }) => poc === consent.from && equal(digest, consentDigest(consent.bytes)))

const isAttested = ({ name, salt, value }: ForwardedLeaf, attestation: Attestation): boolean =>
  attestation.leaves.some((leaf) => sameLeaf(leaf, { name, hash: leafHash(salt, name, value) }))

const sameLeaf = (a: NamedHash, b: NamedHash): boolean => a.name === b.name && equal(a.hash, b.hash)

function involvedAmong(leaves: readonly Leaf[]): PocAddress[] | undefined {
  const leaf = leaves.find(({ name }) => name === "involved")
  return leaf && decoded(decodeInvolved, leaf.value)
}

function decoded<T>(decode: (bytes: Uint8Array) => T, bytes: Uint8Array): T | undefined {
  try {
    return decode(bytes)
  } catch {
    return undefined
  }
}

const denied = (reason: ForwardReason): Denied => ({ allowed: false, reason })
const unverified = (reason: ForwardReason): ForwardJudgement => ({ verified: false, reason })

function verified(
  attestation: Attestation,
  involved: readonly PocAddress[],
  shown: readonly ForwardedLeaf[],
): ForwardJudgement {
  const leaves = shown.map(({ name, value }) => ({ name, value }))
  return { verified: true, sender: attestation.sender, involved, leaves, attestation }
}
