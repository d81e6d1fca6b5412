/** What the vault keeps of a request for consent, and how it reads: for people, for the rules, and paper by paper. */
import type { Hash } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import {
  decodeAttestation,
  decodeConsent,
  decodeConsentRefusal,
  decodeConsentRequest,
  decodeConsentWithdrawal,
  decodeForward,
  decodeInvolved,
  decodeUseReceipt,
  type ConsentScope,
  type RequestId,
} from "../protocol/consent.ts"
import { ValiseError } from "../protocol/errors.ts"
import { judgeForward, type ForwardJudgement, type HeldMessage, type Paper } from "../protocol/forward.ts"
import { leafHashesOf, type Leaf } from "../protocol/leaves.ts"
import { fixed } from "../protocol/limits.ts"
import type { ConsentView, MessageType } from "./api.ts"
import type { ConsentRecord, MessageRecord, Reader } from "./collections.ts"
import { leafNamed } from "./content.ts"
import { iso, type Home } from "./home.ts"

export function consentView(tx: Reader, home: Home, row: ConsentRecord): ConsentView {
  const record = tx.get("messages", hex(row.scope.messageId))
  const consented = [...new Set(row.consents.map(({ from }) => from))]
  const { forwarder, leaves, messageId, purpose, sender, thirdParty, tlp } = row.scope
  return {
    requestId: hex(row.requestId),
    message: hex(messageId),
    role: row.role,
    sender,
    forwarder,
    thirdParty,
    leaves: leaves.map(({ name }) => name).filter((name) => name !== "involved"),
    purpose,
    tlp,
    involved: row.involved,
    consented,
    refused: row.refused,
    withdrawn: row.withdrawn,
    attested: row.attested,
    mine: row.mine,
    state: stateOf(row, record !== undefined && home.now > row.asked + fixed.consentSeconds),
    forwarded: row.forwarded,
    ...(row.used !== undefined && { used: iso(row.used) }),
  }
}

function stateOf(row: ConsentRecord, late: boolean): ConsentView["state"] {
  if (row.withdrawn.length > 0) return "withdrawn"
  if (row.refused.length > 0) return "refused"
  if (row.attested) return "granted"
  return late ? "expired" : "open"
}

/** What this vault holds of a message, for the rules. Throws `ERR_USAGE` for a message that is not sealed yet. */
export function heldMessage(record: MessageRecord): HeldMessage {
  if (!record.sealed) throw new ValiseError("ERR_USAGE", "the message has not been sealed yet")
  const involved = leafNamed(record.leaves, "involved")
  const hashes = leafHashesOf(record.contentKey, record.leaves)
  return {
    messageId: record.id,
    sender: record.from,
    headerHash: record.sealed.headerHash,
    contentHash: record.sealed.contentHash,
    leaves: record.leaves.map(({ name }, i) => ({ name, hash: hashes[i] as Hash })),
    involved: involved ? decodeInvolved(involved) : [],
  }
}

export function emptyRecord(scope: ConsentScope, role: ConsentRecord["role"], asked: number): ConsentRecord {
  return {
    requestId: scope.requestId,
    role,
    scope,
    involved: [],
    asked,
    mine: "nothing",
    consents: [],
    refused: [],
    withdrawn: [],
    attestations: [],
    attested: false,
    forwarded: false,
  }
}

/** Whether a message of this type carries what it must: papers that cannot be read are not even archived. */
export function isWellFormed(type: MessageType, leaves: readonly Leaf[]): boolean {
  const decode = papers[type]
  if (!decode) return true
  const bytes = leafNamed(leaves, "statement")
  try {
    return bytes !== undefined && decode(bytes) !== undefined
  } catch {
    return false
  }
}

const papers: Partial<Record<MessageType, (bytes: Uint8Array) => unknown>> = {
  "consent-request": decodeConsentRequest,
  consent: decodeConsent,
  "consent-refusal": decodeConsentRefusal,
  "consent-withdrawal": decodeConsentWithdrawal,
  attestation: decodeAttestation,
  attested: decodeConsentWithdrawal,
  forward: decodeForward,
  "use-receipt": decodeUseReceipt,
}

/** The request that a paper of an involved PoC speaks of. */
export function requestNamed(record: MessageRecord): RequestId | undefined {
  const bytes = leafNamed(record.leaves, "statement")
  if (!bytes) return undefined
  if (record.type === "consent") return decodeConsent(bytes).requestId
  if (record.type === "consent-refusal") return decodeConsentRefusal(bytes).requestId
  return record.type === "consent-withdrawal" ? decodeConsentWithdrawal(bytes).requestId : undefined
}

/** T's judgement of a forward, as of now. @param row of its request, if any paper of it has arrived */
export function judgementOf(home: Home, record: MessageRecord, row: ConsentRecord | undefined): ForwardJudgement {
  const forward = { ...decodeForward(leafNamed(record.leaves, "statement")!), from: record.from }
  const judge = (attestation: Paper | undefined): ForwardJudgement =>
    judgeForward({
      me: home.identity.poc,
      nowSeconds: home.now,
      forward,
      attestation,
      consents: row?.consents ?? [],
      withdrawn: row ? withdrawnOf(row) : [],
    })
  const judgements = (row?.attestations ?? []).map(judge)
  return judgements.find(({ verified }) => verified) ?? judgements[0] ?? judge(undefined)
}

/** As `forward.ts` takes them. */
export const withdrawnOf = (row: ConsentRecord) => row.withdrawn.map((from) => ({ from, requestId: row.requestId }))
