/** C2SP tlog-checkpoint and tlog-cosignature v1: what the log says its tree is, and who vouches for it when (SPEC, "Transparency log"). */
import { base64, concat, equal, fromBase64, u64be, utf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { verifyRemembered } from "../protocol/good-signatures.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import {
  encodeNote,
  parseNote,
  parseVerifierKey,
  signaturesBy,
  verifierKey,
  type Note,
  type NoteSignature,
  type VerifierKey,
} from "./note.ts"
import { quorumTime, type WitnessPolicy } from "./policy.ts"

export interface Checkpoint {
  /** The log's name, which is also its key's name. */
  readonly origin: string
  /** Number of leaves. */
  readonly size: number
  /** RFC 6962 root over them, 32 bytes. */
  readonly root: Uint8Array
  /** Further lines; this directory writes none, and readers attach no meaning to them. */
  readonly extensions: readonly string[]
}

/** What makes a checkpoint trustworthy; a trust anchor has these two. */
export interface LogTrust {
  /** The log's verifier key, type 1, as text. */
  readonly logKey: string
  readonly policy: WitnessPolicy
}

export interface OpenedCheckpoint extends Checkpoint {
  /** Since when, at the latest, the quorum (with `quorum none`: the log) has vouched for this tree; in seconds. */
  readonly cosignedAt: number
}

/**
 * Opens a checkpoint that is to be relied on *now*: verified, and vouched for within `fixed.checkpointSecondsMax`.
 * Throws `ERR_MALFORMED`, `ERR_UNTRUSTED` or `ERR_DIRECTORY_STALE`.
 */
export function openCheckpoint(bytes: Uint8Array, trust: LogTrust, nowSeconds: number): OpenedCheckpoint {
  const opened = verifyCheckpoint(bytes, trust, nowSeconds)
  if (nowSeconds - opened.cosignedAt > fixed.checkpointSecondsMax) stale() // defence: 21 freshness
  return opened
}

/**
 * Verifies a checkpoint without asking how old it is: for one that travels in a message, where it is a lower bound of
 * time. Throws `ERR_MALFORMED` or `ERR_UNTRUSTED`.
 */
export function verifyCheckpoint(bytes: Uint8Array, trust: LogTrust, nowSeconds: number): OpenedCheckpoint {
  const note = parseNote(bytes)
  const checkpoint = parseCheckpointText(note.text)
  const log = parseVerifierKey(trust.logKey)
  const { logs, quorum } = trust.policy
  if (
    checkpoint.origin !== log.name ||
    (logs.length > 0 && !logs.some((listed) => equal(listed.publicKey, log.publicKey)))
  )
    untrusted("a checkpoint is of another log")
  requireLogSignature(note, log)
  const self = cosignerKeyOf(log)
  const timeOf = (key: VerifierKey): number | undefined => cosignatureTime(note, key, nowSeconds)
  // The log's own cosignature is its word twice, never a witness's.
  const witnessTime = (key: VerifierKey) => (equal(key.publicKey, log.publicKey) ? undefined : timeOf(key))
  const cosignedAt = quorum.kind === "none" ? timeOf(self) : quorumTime(quorum, witnessTime)
  if (cosignedAt === undefined)
    untrusted(
      quorum.kind === "none" ? "the log has not dated a checkpoint" : "too few witnesses have cosigned a checkpoint",
    )
  return { ...checkpoint, cosignedAt }
}

/** What a checkpoint note says, verified or not; `undefined` if the bytes are none. */
export function readCheckpoint(bytes: Uint8Array): Checkpoint | undefined {
  try {
    return parseCheckpointText(parseNote(bytes).text)
  } catch {
    return undefined
  }
}

/** Whether the log itself has signed this note; nothing about witnesses or age. */
export function isSignedByLog(bytes: Uint8Array, logKey: string): boolean {
  try {
    requireLogSignature(parseNote(bytes), parseVerifierKey(logKey))
    return true
  } catch {
    return false
  }
}

/** The checkpoint's text, which is what the log and every cosigner sign. */
export function checkpointText({ origin, size, root, extensions }: Checkpoint): string {
  return `${[origin, String(size), base64(root), ...extensions].join("\n")}\n`
}

/** Throws `ERR_MALFORMED` for a text that `checkpointText` would not have written. */
export function parseCheckpointText(text: string): Checkpoint {
  const [origin, size, root, ...extensions] = text.slice(0, -1).split("\n")
  const checkpoint = { origin: origin!, size: Number(size), root: rootOf(root), extensions }
  if (!text.endsWith("\n") || !Number.isSafeInteger(checkpoint.size) || !/^(0|[1-9][0-9]*)$/.test(size!))
    return malformed()
  return origin !== "" && extensions.every((line) => line !== "") ? checkpoint : malformed()
}

/** The log's checkpoint as published: its signature, and its own dated cosignature under the same name and key. */
export function signCheckpoint(key: SigningKey, tree: Omit<Checkpoint, "extensions">, nowSeconds: number): Uint8Array {
  const text = checkpointText({ ...tree, extensions: [] })
  const log = verifierKey(tree.origin, "ed25519", key.publicKey)
  const signature = { name: log.name, id: log.id, signature: key.sign(utf8(text)) }
  return encodeNote({ text, signatures: [signature, cosign(key, tree.origin, text, nowSeconds)] })
}

/** A tlog-cosignature v1: "at this time, this is the largest tree of this log that I have seen, and it has only grown". */
export function cosign(key: SigningKey, name: string, text: string, nowSeconds: number): NoteSignature {
  const { id } = verifierKey(name, "cosignature", key.publicKey)
  return { name, id, signature: concat(u64be(nowSeconds), key.sign(cosignedBytes(text, nowSeconds))) }
}

/** The log as its own cosigner: same name and key, type 4. The two signed texts differ in their first line. */
export const cosignerKeyOf = (log: VerifierKey): VerifierKey => verifierKey(log.name, "cosignature", log.publicKey)

function requireLogSignature(note: Note, log: VerifierKey): void {
  const signatures = signaturesBy(note, log)
  if (signatures.length === 0) untrusted("a checkpoint is not signed by the log")
  if (!signatures.every((signature) => verifyRemembered(log.publicKey, utf8(note.text), signature)))
    untrusted("the log's signature on a checkpoint does not verify")
}

/**
 * When this key last cosigned; `undefined` if it has not, or only in our future (one wrong clock must not stop a quorum).
 * A line that claims to be by the key and does not verify condemns the whole note.
 */
function cosignatureTime(note: Note, key: VerifierKey, nowSeconds: number): number | undefined {
  const times = signaturesBy(note, key).map((signature) => {
    if (signature.length !== 72) return untrusted("a cosignature has the wrong form")
    const time = Number(new DataView(signature.slice(0, 8).buffer).getBigUint64(0))
    if (!verifyRemembered(key.publicKey, cosignedBytes(note.text, time), signature.subarray(8)))
      return untrusted("a cosignature on a checkpoint does not verify")
    return time
  })
  const past = times.filter((time) => time <= nowSeconds + fixed.clockSkewSecondsMax)
  return past.length === 0 ? undefined : Math.max(...past)
}

const cosignedBytes = (text: string, seconds: number): Uint8Array => utf8(`cosignature/v1\ntime ${seconds}\n${text}`)

function rootOf(line: string | undefined): Uint8Array {
  try {
    const root = fromBase64(line ?? "")
    return root.length === 32 ? root : malformed()
  } catch (cause) {
    return malformed(cause)
  }
}

function malformed(cause?: unknown): never {
  throw new ValiseError("ERR_MALFORMED", "not a checkpoint", { cause })
}

function stale(): never {
  throw new ValiseError("ERR_DIRECTORY_STALE", "the newest known state of the directory is too old to rely on", {
    hint: "get a newer checkpoint from a relay or mirror, and check this machine's clock",
  })
}

function untrusted(message: string): never {
  throw new ValiseError("ERR_UNTRUSTED", message)
}
