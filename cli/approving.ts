/** What waits for approval, and an officer's approval of it, from his own home. */
import { approve, consider, type Considered } from "../client-sdk/approving.ts"
import { ValiseError } from "../protocol/errors.ts"
import { readWords } from "../protocol/words.ts"
import type { ProposalSummary, SubmittedAnswer } from "../pki/directory-api.ts"
import type { HomeOptions } from "./homes.ts"
import { unlockOfficer, withHome } from "./own-keys.ts"

export type ApproveOptions = HomeOptions & {
  readonly directory?: string
  /** As the other side read them out. */
  readonly words?: string
}

export interface Shown extends Considered {
  readonly proposal: ProposalSummary
}

export async function waitingProposals(options: ApproveOptions): Promise<readonly ProposalSummary[]> {
  return await withHome(options, (_, directory) => directory.proposals())
}

/** The proposal whose id begins so, compared with what was handed in. Throws `ERR_UNTRUSTED` if they differ. */
export async function showProposal(options: ApproveOptions, prefix: string): Promise<Shown> {
  return await withHome(options, async (home, directory) => {
    const proposal = found(await directory.proposals(), prefix)
    return { proposal, ...consider(await directory.proposal(proposal.id), home.realm) }
  })
}

/** Signs for exactly what was shown, if the words are those that the other side read out. */
export async function approveProposal(
  options: ApproveOptions & { readonly words: string },
  prefix: string,
): Promise<SubmittedAnswer> {
  return await withHome(options, async (home, directory, place) => {
    const { id } = found(await directory.proposals(), prefix)
    const proposal = await directory.proposal(id)
    const { words } = consider(proposal, home.realm)
    if (readWords(options.words).join() !== words.join())
      throw new ValiseError("ERR_UNTRUSTED", "these are not the words of this proposal", {
        hint: "do not approve it unless the other side reads out the same ten words",
      })
    await unlockOfficer(home, place)
    const { id: officer, key } = home.officerWith("approve")
    const by = { realm: home.realm, poc: home.identity.poc, key, officer }
    return await directory.approve(id, approve(proposal, by, home.now))
  })
}

function found(proposals: readonly ProposalSummary[], prefix: string): ProposalSummary {
  const fitting = proposals.filter(({ id }) => id.startsWith(prefix.toLowerCase()))
  if (fitting.length === 1) return fitting[0]!
  if (fitting.length > 1) throw new ValiseError("ERR_AMBIGUOUS", "more than one proposal begins so")
  throw new ValiseError("ERR_NOT_FOUND", "no such proposal waits", { hint: "valise directory approve lists them" })
}
