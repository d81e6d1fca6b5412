/** Why an evidence file is refused: a closed list (SPEC, "Evidence files"), and the one error that says so. */
import { ValiseError } from "../../protocol/errors.ts"

export const evidenceReasons = {
  "not-evidence": "this is not an evidence file",
  version: "it is of another version, or names something critical that is unknown here",
  "too-large": "it exceeds what an evidence file may hold",
  truncated: "the file ends before its end",
  trailing: "bytes follow where the file should end",
  altered: "its bytes are not those that the file's own hash stands for",
  malformed: "it is not in the one form that such a part has",
  order: "its parts are out of order, or one of them is there twice",
  realm: "it belongs to another directory, or to the other mode (live or exercise)",
  future: "it bears a time that lies in the future",
  checkpoint: "the log's checkpoint is not the one that is named, or is not validly signed and cosigned",
  history: "the checkpoint that the message names is not of the same log as the file's own: a split view",
  inclusion: "an entry is not in the log at the place that is claimed",
  entry: "an entry of the log does not count by the directory's rules",
  content: "the parts of the content do not fit",
  case: "it belongs to another case",
  lifetime: "the message expires before it was created, or too long after",
  sender: "the log does not list that device or officer as a sender at that time",
  "own-entry": "the header does not name the exporter's device as a recipient at that place",
  release: "the releasing officer's signature is missing, or is not by the officer whom the header names",
  "unknown-message": "it is about a message that the exporter has not sent, or that this file does not hold",
  header: "it is about another header of that message",
  "content-hash": "it is about another content than the one in this file",
  signer: "the log does not list that key, with that right, at that time",
  revoked: "the key was revoked, and nothing of somebody else's shows that it was used before",
  signature: "the signature is not by the key that the log lists",
  relay: "the log lists no such relay with a certificate valid at that time",
  "relay-receipt": "the relay's signature does not cover these bytes, mailbox and minute",
  mailbox: "the mailbox is not that device's at that relay",
  envelope: "that device's own receipt names other bytes",
} as const
export type EvidenceReason = keyof typeof evidenceReasons

export interface EvidenceFailure {
  /** A name of the table of contents, or `contents` or `end`: the file's first and last bytes. */
  readonly section: string
  readonly reason: EvidenceReason
}

/** Always `ERR_EVIDENCE`. Nothing of a file that fails is to be relied on. */
export class EvidenceError extends ValiseError {
  /** One per section that fails, the first one first; never empty. */
  readonly failures: readonly EvidenceFailure[]

  constructor(first: EvidenceFailure, ...more: readonly EvidenceFailure[]) {
    const others =
      more.length === 0 ? "" : `; ${more.length} further ${more.length === 1 ? "part fails" : "parts fail"}`
    super("ERR_EVIDENCE", `${first.section}: ${evidenceReasons[first.reason]} (${first.reason})${others}`, {
      hint: "rely on nothing in this file; ask for it again, unchanged, or ask the other participants for theirs",
    })
    this.failures = [first, ...more]
  }
}

export function refuse(section: string, reason: EvidenceReason): never {
  throw new EvidenceError({ section, reason })
}
