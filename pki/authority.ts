/**
 * Who has agreed that an entry shall count (SPEC, "Directory"): officers of the Secretariat, or the PoC that it
 * concerns.
 */
import type { Realm } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { taggedHash } from "../protocol/hash.ts"
import { fixed } from "../protocol/limits.ts"
import type { ManifestOfficer } from "../protocol/manifest.ts"
import { verifyStatement, type Signed } from "../protocol/statement.ts"
import { approvalStructure, subjectOf, type Approval, type EntryKind } from "./entries.ts"
import type { PocHistory } from "./poc-history.ts"

export interface Agreement {
  /** The key of the PoC concerned has signed. */
  readonly holder: boolean
  /** Two or more different officers of the Secretariat have signed. */
  readonly officers: boolean
}

export interface Proposal {
  readonly kind: EntryKind
  readonly body: Uint8Array
  /** The entry's. */
  readonly time: number
  readonly approvals: readonly Signed[]
}

export interface Approvers {
  readonly realm: Realm
  readonly secretariat: PocHistory | undefined
  /** The PoC that the entry concerns, if its own approval would do. */
  readonly holder: PocHistory | undefined
  /** Approvals that have made an entry count already. */
  readonly used: ReadonlySet<string>
}

/** `undefined` if even one of the approvals is not what it should be: an entry comes with good ones or none. */
export function agreementOn(proposal: Proposal, approvers: Approvers): Agreement | undefined {
  const candidates = [...officersOf(approvers.secretariat), ...holderOf(approvers.holder, proposal.time)]
  const agreed = new Map<string, Candidate>()
  for (const signed of proposal.approvals) {
    const candidate = candidates.find(({ key }) => verifyStatement(key, approvers.realm, "approval", signed))
    if (!candidate) return undefined
    if (approvers.used.has(approvalId(signed))) return undefined // defence: 5 approval-used-once
    if (!isApprovalOf(signed.bytes, proposal, candidate)) return undefined
    agreed.set(hex(candidate.key), candidate) // defence: 5 different-officers => agreed.set(approvalId(signed), candidate)
  }
  const officers = [...agreed.values()].filter(({ officer }) => officer).length
  return { holder: agreed.size > officers, officers: officers >= fixed.approvalsMin }
}

/** How an approval that has been used is remembered: the statement, whatever its signature's form. */
export const approvalId = ({ bytes }: Signed): string => hex(taggedHash("statement", bytes))

/**
 * Officers of the Secretariat with the right to approve: those of its last manifest, whatever its age and whatever
 * became of the Secretariat's own key. Only two of them can change who they are, so the thief of that key gains
 * nothing, and a new certificate for the Secretariat can always be approved.
 */
export function approvingOfficers(secretariat: PocHistory | undefined): readonly ManifestOfficer[] {
  return secretariat?.officers().filter(({ rights }) => rights.includes("approve")) ?? []
}

interface Candidate {
  readonly poc: string
  readonly key: Uint8Array
  readonly officer?: Uint8Array
}

function officersOf(secretariat: PocHistory | undefined): readonly Candidate[] {
  if (!secretariat) return []
  return approvingOfficers(secretariat).map(({ officer, key }) => ({ poc: secretariat.address, key, officer }))
}

function holderOf(holder: PocHistory | undefined, atSeconds: number): readonly Candidate[] {
  const certificate = holder?.isInForce(atSeconds) ? holder.certificate?.certificate : undefined
  return holder && certificate ? [{ poc: holder.address, key: certificate.publicKey }] : []
}

function isApprovalOf(bytes: Uint8Array, { kind, body, time }: Proposal, { poc, officer }: Candidate): boolean {
  let approval: Approval
  try {
    approval = approvalStructure.decode(bytes)
  } catch {
    return false
  }
  if (approval.poc !== poc || !equal(approval.officer ?? none, officer ?? none)) return false
  if (approval.kind !== kind || !equal(approval.subject, subjectOf(kind, body))) return false // defence: 5 approval-subject
  return time >= approval.created - fixed.clockSkewSecondsMax && time <= approval.expires
}

const none = new Uint8Array(0)
