/**
 * Everything about an evidence file that a computer can decide (SPEC, "Evidence files: verification"): first what each part
 * says by itself, then the log's part, asked at the moment of each signature, then the signatures. What follows for people
 * stands in `findings.ts`. Pure: no vault, no network, no clock.
 */
import { compare, hex } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { fixed } from "../../protocol/limits.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import { verifyCheckpoint, type OpenedCheckpoint } from "../../pki/checkpoint.ts"
import { verifyInclusion } from "../../pki/tree.ts"
import { sectionName, type Bundle, type SectionKind } from "./bundle.ts"
import { LogPart } from "./log-part.ts"
import { askForSender, isFuture, judgeMessage, readMessage } from "./messages.ts"
import type { Context, JudgedMessage, ReadMessage } from "./messages.ts"
import { askForSigner, judgeReceipt, judgeRelayReceipt, readReceipt } from "./receipts.ts"
import type { JudgedReceipt, JudgedRelayReceipt } from "./receipts.ts"
import { refuse, type EvidenceFailure, type EvidenceReason } from "./reasons.ts"

/** What holds, by the name of its section; and what does not. */
export interface Examined {
  readonly checkpoint: OpenedCheckpoint
  readonly messages: ReadonlyMap<string, ExaminedMessage>
  readonly receipts: ReadonlyMap<string, JudgedReceipt>
  readonly relayReceipts: ReadonlyMap<string, JudgedRelayReceipt>
  readonly failures: readonly EvidenceFailure[]
}

export interface ExaminedMessage extends JudgedMessage {
  /** By whose word, and since when at the latest, it was there: the earliest word of somebody else's. */
  readonly seen: Seen | undefined
}

export interface Seen {
  readonly seconds: number
  readonly by: "relay receipt" | "device receipt" | "officer receipt"
}

/** Throws `EvidenceError` if nothing in the file can be judged: `about` or `directory` fails, or the parts' order. */
export function examine(bundle: Bundle, anchor: TrustAnchor, nowSeconds: number): Examined {
  const context = openFrame(bundle, anchor, nowSeconds)
  refuseDisorder(bundle)
  const failures: EvidenceFailure[] = []

  const readMessages = judged(named("message", bundle.messages), failures, (part) => readMessage(part, context))
  refuseMessageDisorder([...readMessages.values()])
  const readReceipts = judged(named("receipt", bundle.receipts), failures, readReceipt)

  const senders = mapped(readMessages, askForSender)
  const signers = mapped(readReceipts, askForSigner)
  const log = LogPart.read(anchor, bundle.directory, [...senders.values(), ...signers.values()])
  if (typeof log === "string") return refuse("directory", log)

  const byId = new Map([...readMessages.values()].map((message) => [hex(message.header.messageId), message]))
  const receipts = judged(readReceipts, failures, (receipt, name) =>
    judgeReceipt(receipt, byId.get(receipt.messageId), signers.get(name)!.answer, log, context),
  )
  const receiptsOf = Map.groupBy(receipts.values(), ({ messageId }) => messageId)
  const relayReceipts = judged(named("relay-receipt", bundle.relayReceipts), failures, (part) => {
    const id = hex(part.message)
    return judgeRelayReceipt(part, byId.get(id), receiptsOf.get(id) ?? [], log, context)
  })
  const relayReceiptsOf = Map.groupBy(relayReceipts.values(), ({ part }) => hex(part.message))
  const messages = judged(readMessages, failures, (message, name): ExaminedMessage | EvidenceReason => {
    const id = hex(message.header.messageId)
    const seen = firstSeen(message, receiptsOf.get(id) ?? [], relayReceiptsOf.get(id) ?? [])
    const verdict = judgeMessage(message, senders.get(name)!.answer, log, context, seen?.seconds)
    return typeof verdict === "string" ? verdict : { ...verdict, seen }
  })
  return { checkpoint: context.checkpoint, messages, receipts, relayReceipts, failures }
}

/** The file's own claims about itself, and that its entries are in the log. */
function openFrame({ about, directory }: Bundle, anchor: TrustAnchor, nowSeconds: number): Context {
  const { origin, mode } = anchor.realm
  if (about.origin !== origin || about.mode !== mode) refuse("about", "realm") // defence: 14 evidence-realm
  const checkpoint = openCheckpoint(about.checkpoint, anchor, nowSeconds)
  const context = { anchor, about, checkpoint, nowSeconds }
  if (isFuture(about.time, context)) refuse("about", "future")
  const { size, root } = checkpoint
  for (const { index, bytes, proof } of directory)
    if (!verifyInclusion(bytes, index, size, root, proof)) refuse("directory", "inclusion") // defence: 15 evidence-inclusion
  return context
}

function openCheckpoint(note: Uint8Array, anchor: TrustAnchor, nowSeconds: number): OpenedCheckpoint {
  try {
    return verifyCheckpoint(note, anchor, nowSeconds)
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    return refuse("about", "checkpoint")
  }
}

/** One order and nothing twice: so there is one file for one set of parts, and nothing counts double. */
function refuseDisorder({ receipts, relayReceipts }: Bundle): void {
  for (const [kind, keys] of [
    ["receipt", receipts.map(({ signed }) => signed.bytes)],
    ["relay-receipt", relayReceipts.map(({ blind }) => blind)],
  ] as const)
    for (const [i, key] of keys.entries())
      if (i > 0 && compare(keys[i - 1]!, key) >= 0) refuse(sectionName(kind, i), "order")
}

function refuseMessageDisorder(messages: readonly ReadMessage[]): void {
  const ids = new Set(messages.map(({ header }) => hex(header.messageId)))
  const disorder = messages.findIndex((message, i) => i > 0 && byTime(messages[i - 1]!, message) >= 0)
  if (disorder >= 0 || ids.size < messages.length) refuse("contents", "order")
}

/** The order of a file's messages. */
function byTime({ header: a }: ReadMessage, { header: b }: ReadMessage): number {
  return a.created - b.created || compare(a.messageId, b.messageId)
}

/** The sender's own PoC cannot vouch for the sender's dates. */
function firstSeen(
  message: ReadMessage,
  receipts: readonly JudgedReceipt[],
  relayReceipts: readonly JudgedRelayReceipt[],
): Seen | undefined {
  const { header } = message
  const byReceipts = receipts
    .filter(({ poc }) => poc !== header.sender.poc) // defence: 15 evidence-own-word
    .map(({ part, time }): Seen => ({
      seconds: time,
      by: part.kind === "device-receipt" ? "device receipt" : "officer receipt",
    }))
  const byRelay = relayReceipts
    .filter(({ isTied, part }) => isTied && part.poc !== header.sender.poc) // defence: 15 evidence-tied
    .map(({ seenSeconds }): Seen => ({ seconds: seenSeconds, by: "relay receipt" }))
  return [...byRelay, ...byReceipts]
    .filter(({ seconds }) => isPossible(message, seconds)) // defence: 15 evidence-possible-time
    .toSorted((a, b) => a.seconds - b.seconds)[0]
}

/** Nothing about a message was there before the checkpoint that its header names; who says so has a wrong clock, or lies. */
export const isPossible = ({ cited }: ReadMessage, atSeconds: number): boolean =>
  atSeconds + fixed.clockSkewSecondsMax >= cited.cosignedAt

/** Keeps what holds under its name, and notes what fails. */
function judged<S, T extends object>(
  sections: Iterable<readonly [name: string, section: S]>,
  failures: EvidenceFailure[],
  judge: (section: S, name: string) => T | EvidenceReason,
): Map<string, T> {
  const kept = new Map<string, T>()
  for (const [name, section] of sections) {
    const verdict = judge(section, name)
    if (typeof verdict === "string") failures.push({ section: name, reason: verdict })
    else kept.set(name, verdict)
  }
  return kept
}

const named = <S>(kind: SectionKind, sections: readonly S[]): [name: string, section: S][] =>
  sections.map((section, i) => [sectionName(kind, i), section])

const mapped = <S, T>(all: ReadonlyMap<string, S>, change: (section: S) => T): Map<string, T> =>
  new Map([...all].map(([name, section]) => [name, change(section)]))
