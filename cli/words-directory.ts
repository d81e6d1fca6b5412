/** The directory's lists in words. */
import type { NominationAnswer, ProposalSummary } from "../pki/directory-api.ts"
import { safe, strong, table } from "./io.ts"

export const wordsLine = (words: readonly string[]): string => `words: ${strong(words.join(" "))}`

export function proposalsWords(proposals: readonly ProposalSummary[]): string {
  if (proposals.length === 0) return "nothing"
  return table(
    proposals.map(({ about, approvals, created, id, kind }) => [
      id.slice(0, 8),
      kind,
      safe(about),
      `${approvals} of 2 officers`,
      `since ${dateOf(created)}`,
    ]),
  )
}

export function nominationsWords(nominations: readonly NominationAnswer[]): string {
  if (nominations.length === 0) return "none"
  return table(
    nominations.map(({ expires, organisation, poc, state }) => [
      poc,
      safe(organisation),
      state,
      expires === undefined ? "" : `code until ${dateOf(expires)}`,
    ]),
  )
}

export const dateOf = (atSeconds: number): string => new Date(atSeconds * 1000).toISOString().slice(0, 10)
