/**
 * From a vault to an evidence file of one case. What a PoC can show depends on its part in the message: the sender shows
 * what its recipients and the relay signed; a recipient shows that the sender's device wrote to it, and not what
 * (docs/evidence.md).
 */
import type { PocAddress } from "../../protocol/address.ts"
import { compare, fromHex, hex } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { readCheckpoint } from "../../pki/checkpoint.ts"
import { MerkleLog } from "../../pki/tree.ts"
import { perDevice, type MessageRecord, type Reader, type SealedRecord } from "../collections.ts"
import type { Home } from "../home.ts"
import { isSpoken } from "../view.ts"
import { decodeBundle, encodeBundle, sectionName } from "./bundle.ts"
import type { Bundle, LoggedEntry, MessageSection, ReceiptSection, RelayReceiptSection, SectionKind } from "./bundle.ts"
import { examine } from "./examine.ts"
import { entriesFor } from "./log-part.ts"
import { EvidenceError, type EvidenceFailure } from "./reasons.ts"

/**
 * The evidence of a case, as one file. What no longer proves anything (its key was revoked since) is left out and counted.
 * Throws `ERR_NOT_FOUND` if nothing of the case was sent or received yet, `ERR_DIRECTORY_STALE` without a mirrored log,
 * `ERR_TOO_LARGE`, or `ERR_EVIDENCE` if nothing of it can be proved.
 * @param caseId hexadecimal
 */
export function bundleOf(tx: Reader, home: Home, caseId: string): Uint8Array {
  const messages = messagesOf(tx, caseId)
  // A recipient's own receipts are for the sender: in other hands they bind the recipient to a content that it may deny.
  const sent = messages.filter(({ direction }) => direction === "out") // defence: 22 receipts-for-the-sender => const sent = messages
  const receipts = sent
    .flatMap((message) => receiptsOf(tx, message))
    .toSorted((a, b) => compare(a.signed.bytes, b.signed.bytes))
  const relayReceipts = sent
    .flatMap((message) => relayReceiptsOf(tx, message))
    .toSorted((a, b) => compare(a.blind, b.blind))
  const involved = {
    pocs: new Set<PocAddress>([
      home.identity.poc,
      ...messages.map(({ from }) => from),
      ...receipts.map(({ poc }) => poc),
      ...relayReceipts.map(({ poc }) => poc),
    ]),
    hosts: new Set(relayReceipts.map(({ receipt }) => receipt.relay)),
  }
  const log = readLog(tx)
  const refused = new Set(home.mirror.state.refused().map(({ index }) => index))
  const counted = log.leaves.map((bytes, index) => ({ index, bytes })).filter(({ index }) => !refused.has(index))
  const whole: Bundle = {
    about: {
      ...home.realm,
      case: fromHex(caseId),
      exporter: home.identity.poc,
      time: home.now,
      leftOut: 0,
      trust: home.identity.trust,
      checkpoint: log.note,
    },
    directory: entriesFor(counted, involved).map(({ index, bytes }): LoggedEntry => ({
      index,
      bytes,
      proof: log.tree.inclusionProof(index, log.tree.size),
    })),
    messages: messages.map((message) => messageSection(message, message.sealed, log.tree)),
    receipts: receipts.map(({ kind, signed }): ReceiptSection => ({ kind, signed })),
    relayReceipts,
  }
  const bytes = encodeBundle(withoutWorthless(whole, home))
  decodeBundle(bytes)
  return bytes
}

type SealedMessage = MessageRecord & { readonly sealed: SealedRecord }

/** In the order of the file. What has not been sealed yet is no evidence of anything. */
function messagesOf(tx: Reader, caseId: string): SealedMessage[] {
  const found = [...tx.list("messages")]
    .map(([, row]) => row)
    .filter((row): row is SealedMessage => row.sealed !== undefined && isSpoken(row) && hex(row.case) === caseId)
  if (found.length === 0)
    throw new ValiseError("ERR_NOT_FOUND", "nothing of this case has been sent or received yet", {
      hint: "a message that still waits in the outbox is no evidence; export again once it has left",
    })
  return found.toSorted((a, b) => a.created - b.created || compare(a.id, b.id))
}

const receiptsOf = (tx: Reader, { id }: MessageRecord) =>
  [...tx.list("receipts", { prefix: `${hex(id)}:` })].map(([, row]) => row)

function relayReceiptsOf(tx: Reader, { id, devices = [] }: MessageRecord): RelayReceiptSection[] {
  return devices.flatMap(({ device, digest, mailbox, poc }) => {
    const accepted = tx.get("accepted", perDevice(hex(id), device))
    return accepted && digest ? [{ message: id, poc, device, mailbox, digest, ...accepted }] : []
  })
}

function messageSection(
  { direction, contentKey, leaves }: MessageRecord,
  sealed: SealedRecord,
  tree: MerkleLog,
): MessageSection {
  const { header, release, checkpoint, entry, index, path } = sealed
  const cited = readCheckpoint(checkpoint)
  if (!cited || cited.size > tree.size)
    throw new ValiseError("ERR_DIRECTORY_STALE", "the mirrored log is older than this case", {
      hint: "connect to the relay once",
    })
  const consistency = tree.consistencyProof(cited.size, tree.size)
  const parts = { header, release, checkpoint, consistency, contentKey, leaves }
  if (direction === "out") return { direction: "sent", ...parts }
  return { direction: "received", ...parts, entry: entry!, index: index!, path: path! }
}

interface MirroredLog {
  readonly note: Uint8Array
  readonly leaves: readonly Uint8Array[]
  readonly tree: MerkleLog
}

function readLog(tx: Reader): MirroredLog {
  const newest = tx.get("checkpoint", "newest")
  if (!newest)
    throw new ValiseError("ERR_DIRECTORY_STALE", "the directory has not been mirrored yet", {
      hint: "connect to the relay once",
    })
  const leaves = [...tx.list("log", { limit: newest.size })].map(([, { bytes }]) => bytes)
  const tree = new MerkleLog()
  for (const leaf of leaves) tree.append(leaf)
  return { note: newest.note, leaves, tree }
}

/** Nobody is given a file that fails: what would make it fail is left out, together with what is about it. */
function withoutWorthless(bundle: Bundle, home: Home): Bundle {
  const examined = examine(bundle, home.mirror.anchor, home.now)
  const [first, ...more] = examined.failures
  if (!first) return bundle
  const messages = kept("message", bundle.messages, examined.failures)
  if (messages.length === 0) throw new EvidenceError(first, ...more)
  const ids = new Set([...examined.messages.values()].map(({ header }) => hex(header.messageId)))
  const receiptIds = [...bundle.receipts.keys()].map((i) => examined.receipts.get(sectionName("receipt", i))?.messageId)
  const receipts = bundle.receipts.filter((_, i) => ids.has(receiptIds[i] ?? ""))
  const relayReceipts = kept("relay-receipt", bundle.relayReceipts, examined.failures).filter(({ message }) =>
    ids.has(hex(message)),
  )
  const leftOut = partsOf(bundle) - partsOf({ messages, receipts, relayReceipts })
  return { ...bundle, about: { ...bundle.about, leftOut }, messages, receipts, relayReceipts }
}

const partsOf = (x: Pick<Bundle, "messages" | "receipts" | "relayReceipts">): number =>
  x.messages.length + x.receipts.length + x.relayReceipts.length

function kept<T>(kind: SectionKind, sections: readonly T[], failures: readonly EvidenceFailure[]): T[] {
  const failed = new Set(failures.map(({ section }) => section))
  return sections.filter((_, i) => !failed.has(sectionName(kind, i)))
}
