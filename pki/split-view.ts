/** Comparing one's own view of the log with a checkpoint that a peer shows (SPEC, "Transparency log"). */
import { equal } from "../protocol/bytes.ts"
import { isSignedByLog, readCheckpoint } from "./checkpoint.ts"

/** The reader's mirror of the log, and the checkpoint note up to which it has been verified. */
export interface OwnView {
  readonly checkpoint: Uint8Array
  /** RFC 6962 root over the first `size` leaves of the mirror. */
  rootAt(size: number): Uint8Array
}

/**
 * - `agrees`: the peer's tree is the beginning of ours, or ours itself.
 * - `ahead`: the peer's tree is larger; sync, then judge again.
 * - `hearsay`: it differs, but the log's signature is not on it: the peer's word, evidence of nothing.
 * - `split`: the log has signed two histories. `evidence` holds both notes; with the mirrored leaves they convince anyone.
 */
export type ViewJudgement =
  | { readonly view: "agrees" | "ahead" | "hearsay" }
  | { readonly view: "split"; readonly evidence: readonly [own: Uint8Array, peers: Uint8Array] }

/** Never throws. @param peers the checkpoint note as the peer sent it. @param logKey the log's verifier key. */
export function judgeView(own: OwnView, peers: Uint8Array, logKey: string): ViewJudgement {
  const mine = readCheckpoint(own.checkpoint)
  const theirs = readCheckpoint(peers)
  if (!mine || !theirs || mine.origin !== theirs.origin) return { view: "hearsay" }
  const isOurPast = theirs.size <= mine.size
  if (isOurPast && equal(theirs.root, own.rootAt(theirs.size))) return { view: "agrees" } // defence: 20 compare => if (isOurPast) return { view: "agrees" }
  if (![own.checkpoint, peers].every((note) => isSignedByLog(note, logKey))) return { view: "hearsay" } // defence: 20 both-signed
  return isOurPast ? { view: "split", evidence: [own.checkpoint, peers] } : { view: "ahead" }
}
