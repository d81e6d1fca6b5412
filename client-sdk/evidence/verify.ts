/** Judging an evidence file: offline, from the file and the reader's own trust file alone (SPEC, "Evidence files"). */
import { hex } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { readTrustFile, type TrustAnchor } from "../../pki/anchor.ts"
import { describePolicy } from "../../pki/policy.ts"
import { decodeBundle, type About, type Bundle } from "./bundle.ts"
import { examine, type Examined } from "./examine.ts"
import { findingsOf, unanchored, utc, type Finding } from "./findings.ts"
import { EvidenceError, refuse } from "./reasons.ts"

/** Plain data: goes into JSON as it is. There is no report of a file that fails: it proves nothing. */
export interface EvidenceReport {
  /** Only `verified` is success: the other means that the file fits together, and that anybody could have made it. */
  readonly verdict: "verified" | "consistent, not anchored"
  readonly directory: {
    readonly origin: string
    readonly mode: "live" | "exercise"
    /** Of the log, when it was exported. */
    readonly size: number
    readonly asOf: string
    /** What its checkpoint is worth. */
    readonly witnesses: string
  }
  /** The file's own word. */
  readonly about: {
    readonly case: string
    readonly exporter: string
    readonly exported: string
    readonly leftOut: number
  }
  readonly findings: readonly Finding[]
  /** What no such file can show. */
  readonly caveats: readonly string[]
}

export interface VerifyOptions {
  /** Without it, no time counts as lying in the future. */
  readonly nowSeconds?: number
}

/**
 * Throws `EvidenceError` (`ERR_EVIDENCE`), which names section and check, if anything at all in the file does not hold.
 * @param anchor from the reader's own trust file; without it the report is "consistent, not anchored" at best, for which
 *   a command ends with `ERR_NOT_ANCHORED`
 */
export function verifyEvidence(
  bytes: Uint8Array,
  anchor: TrustAnchor | undefined,
  { nowSeconds = endOfTime }: VerifyOptions = {},
): EvidenceReport {
  const bundle = decodeBundle(bytes)
  const trusted = anchor ?? claimedAnchor(bundle.about)
  const examined = examine(bundle, trusted, nowSeconds)
  const [first, ...more] = examined.failures
  if (first) throw new EvidenceError(first, ...more)
  const findings = findingsOf(bundle, examined)
  return {
    verdict: anchor ? "verified" : "consistent, not anchored", // defence: 15 evidence-not-anchored => verdict: "verified",
    directory: {
      ...trusted.realm,
      size: examined.checkpoint.size,
      asOf: utc(examined.checkpoint.cosignedAt),
      witnesses: describePolicy(trusted.policy),
    },
    about: {
      case: hex(bundle.about.case),
      exporter: bundle.about.exporter,
      exported: utc(bundle.about.time),
      leftOut: bundle.about.leftOut,
    },
    findings: anchor ? findings : findings.map(unanchored),
    caveats: caveatsOf(bundle, examined, trusted),
  }
}

/** For whoever exports: what handing the file out does. */
export function exportWarning(bytes: Uint8Array): string | undefined {
  const { receipts, relayReceipts } = decodeBundle(bytes)
  if (relayReceipts.length > 0) return "with this, the content becomes provable to whoever gets it"
  if (receipts.length > 0)
    return "with this, it becomes provable to whoever gets it that the recipients received this content"
  return undefined
}

/** What the file itself says should be trusted: good for finding contradictions, for nothing else. */
function claimedAnchor(about: About): TrustAnchor {
  try {
    return readTrustFile(about.trust)
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    return refuse("about", "malformed")
  }
}

function caveatsOf(
  { about, receipts, relayReceipts }: Bundle,
  { checkpoint }: Examined,
  anchor: TrustAnchor,
): string[] {
  const asOf = `${checkpoint.size} entries, ${utc(checkpoint.cosignedAt)}`
  const noWitnesses = "No witnesses: that everybody sees the same log is the operator's word only."
  return [
    `That no key was revoked, here or since, no file can show. It holds a part of the directory's log (of ${asOf}) that its exporter chose: ask the directory, or a mirror of the whole log.`,
    "A file shows what its exporter put into it. What else was said in the case it does not show.",
    "Who exported it, when, and what belongs to the case is the file's own word: it is not signed as a whole.",
    "Messages are deniable by design: a sender signs that it wrote, never what. What was said is proved by the receipts of those who received it, to their charge and never to the sender's.",
    "Devices, officers and relays sign by their own clocks.",
    ...(anchor.policy.quorum.kind === "none" ? [noWitnesses] : []),
    ...(about.leftOut > 0
      ? [`Its exporter left out ${about.leftOut} parts that no longer prove anything, such as those of revoked keys.`]
      : []),
    ...(receipts.length + relayReceipts.length > 0
      ? ["With this file, what its receipts sign is provable to whoever gets it: hand it on with care."]
      : []),
  ]
}

/** Seconds; the last moment that a file can name. */
const endOfTime = 2 ** 40
