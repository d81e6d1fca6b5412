/** Opening an envelope: a checklist in the order of SPEC, "Opening". */
import type { DeviceId, Hash, OfficerId, PocAddress, PrekeyId, Realm } from "./address.ts"
import { equal } from "./bytes.ts"
import { commitmentOf, envelopeDigest, infoOf, isWireSize, parseEnvelope } from "./envelope.ts"
import { ValiseError } from "./errors.ts"
import {
  checkpointHash,
  decodeEntry,
  decodeHeader,
  encapsulationHash,
  headerHash as headerHashOf,
  headerNames,
  type Header,
  type PairSequence,
} from "./header.ts"
import { setupRecipient } from "./hpke.ts"
import { contentHash, leafHashesOf, unpackLeaves, type Deflate, type Leaf } from "./leaves.ts"
import { fixed } from "./limits.ts"
import { unpad } from "./padding.ts"
import { decodePayload } from "./payload.ts"
import type { PrekeyKind } from "./prekey.ts"
import { constantTimeEqual, type KemKey } from "./primitives.ts"
import { verifyStatement, type Signed } from "./statement.ts"

/** Why an envelope was not opened. For the local journal alone: outward, every one is the same refusal. */
export const openReasons = [
  "size", // a length that no envelope has
  "version", // an envelope, header or critical field of another version or suite
  "prekey", // sealed to a prekey that this device does not hold, or holds no longer
  "commitment", // sealed under another key, or for another device, kind or directory
  "aead", // altered on its way
  "padding",
  "payload", // not the one encoding of a payload, header and entry
  "mode", // live in an exercise, or the reverse
  "checkpoint", // not the checkpoint that the header names, or not validly cosigned
  "sender", // no such device or officer in the log, or without the right
  "revoked",
  "signature",
  "release", // the officer's signature is missing, false, or of an officer whom the header does not name
  "entry", // the header does not name this device, prekey and encapsulation as a recipient
  "leaves", // names, limits or streams
  "lifetime", // expires before it was created, or too long after
  "created", // in the future
  "expired",
  "replay", // opened before; found by the vault
  "equivocation", // opened before with another header or content; found by the vault
] as const
export type OpenReason = (typeof openReasons)[number]

/** The keys with which the header's sender signs, if the log says that it may; otherwise why not. */
export type JudgeResult =
  | {
      readonly ok: true
      readonly deviceKey: Uint8Array
      /** Present if the header names an officer. */
      readonly officerKey?: Uint8Array | undefined
      /** What the reader must be told, e.g. that the sender's manifest has expired. */
      readonly banners: readonly string[]
    }
  | {
      readonly ok: false
      readonly reason: OpenReason
      /** The checkpoint, validly cosigned, is ahead of one's own log: to be tried again after a sync. */
      readonly notYet?: boolean | undefined
    }

export interface OpenInput {
  readonly bytes: Uint8Array
  readonly realm: Realm
  readonly me: { readonly poc: PocAddress; readonly device: DeviceId }
  /** The one that the envelope names (`parseEnvelope`). */
  readonly prekey: { readonly id: PrekeyId; readonly kind: PrekeyKind; readonly key: KemKey }
  /** Certificate path, manifest, log position, revocation. Must not throw. */
  readonly judgeSender: (header: Header, checkpointNote: Uint8Array) => JudgeResult
  readonly nowSeconds: number
  readonly deflate: Deflate
}

export interface OpenedMessage {
  readonly ok: true
  readonly header: Header
  readonly headerSigned: Signed
  readonly release?: Signed | undefined
  readonly headerHash: Hash
  readonly contentHash: Hash
  readonly contentKey: Uint8Array
  readonly leaves: readonly Leaf[]
  readonly leafHashes: readonly Hash[]
  readonly digest: Hash
  readonly kind: PrekeyKind
  readonly pairSequence: PairSequence
  readonly entry: Uint8Array
  readonly index: number
  readonly path: readonly Uint8Array[]
  /** The checkpoint's signed note: a lower bound of the time of sending, and a view of the log to compare with. */
  readonly checkpoint: Uint8Array
  readonly banners: readonly string[]
}

export type Opened = OpenedMessage | { readonly ok: false; readonly reason: OpenReason; readonly notYet: boolean }

/**
 * Decrypts and verifies, up to and including the time window. The replay store and the archive are the caller's, and
 * so is erasing the prekey: only once the message is archived. Never throws, whatever the bytes.
 */
export function open(input: OpenInput): Opened {
  try {
    return openStrictly(input)
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    return refused(error.code === "ERR_VERSION" ? "version" : "payload")
  }
}

function openStrictly({ bytes, realm, me, prekey, judgeSender, nowSeconds, deflate }: OpenInput): Opened {
  const envelope = parseEnvelope(bytes)
  if (!envelope) return refused(isWireSize(bytes.length) ? "version" : "size")
  if (!equal(envelope.prekeyId, prekey.id)) return refused("prekey") // defence: 4 prekey-id-outside

  const context = setupRecipient(prekey.key, envelope.encapsulation, infoOf(realm, me.device, prekey.id, prekey.kind))
  if (!context) return refused("commitment")
  if (!constantTimeEqual(commitmentOf(context), envelope.commitment)) return refused("commitment") // defence: 7 commitment
  const padded = context.open(envelope.aad, envelope.ciphertext)
  if (!padded) return refused("aead")
  const body = unpad(padded)
  if (!body) return refused("padding")

  const { header: headerSigned, release: releaseSignature, checkpoint, ...payload } = decodePayload(body)
  const header = decodeHeader(headerSigned.bytes)
  if (header.mode !== realm.mode) return refused("mode") // defence: 14 header-mode
  if (!equal(checkpointHash(checkpoint), header.checkpoint)) return refused("checkpoint") // defence: 20 checkpoint-hash
  const sender = judgeSender(header, checkpoint)
  if (!sender.ok) return refused(sender.reason, sender.notYet)

  const signed = verifyStatement(sender.deviceKey, realm, "header", headerSigned)
  if (!signed) return refused("signature") // defence: 6 header-signature
  const release = releaseSignature && { bytes: headerSigned.bytes, signature: releaseSignature }
  const released = isReleased(header.sender.officer, sender.officerKey, realm, release)
  if (!released) return refused("release") // defence: 6 release-signature

  const { entry: entryBytes, index, path } = payload
  const entry = decodeEntry(entryBytes)
  if (entry.poc !== me.poc || !equal(entry.device, me.device)) return refused("entry") // defence: 1 entry-device
  if (!equal(entry.prekeyId, prekey.id) || entry.kind !== prekey.kind) return refused("entry") // defence: 4 entry-kind
  if (!equal(entry.enc, encapsulationHash(envelope.encapsulation))) return refused("entry") // defence: 3 entry-encapsulation
  if (!headerNames(header, entryBytes, index, path)) return refused("entry") // defence: 2 own-entry

  const { contentKey } = payload
  const leaves = unpackLeaves(payload.leaves, deflate)
  if (!leaves) return refused("leaves")
  const headerHash = headerHashOf(headerSigned.bytes)
  const leafHashes = leafHashesOf(contentKey, leaves)

  const { created, expires } = header
  if (expires <= created || expires - created > fixed.lifetimeSecondsMax) return refused("lifetime") // defence: 23 lifetime
  if (created > nowSeconds + fixed.clockSkewSecondsMax) return refused("created") // defence: 23 created-in-future
  if (expires < nowSeconds) return refused("expired") // defence: 23 expired

  return {
    ok: true,
    header,
    headerSigned,
    release,
    headerHash,
    contentHash: contentHash(headerHash, leafHashes),
    contentKey,
    leaves,
    leafHashes,
    digest: envelopeDigest(bytes),
    kind: prekey.kind,
    pairSequence: entry.pairSequence,
    entry: entryBytes,
    index,
    path,
    checkpoint,
    banners: sender.banners,
  }
}

/** Either nobody is named and nobody signed, or the officer named by the header signed its bytes. */
function isReleased(
  officer: OfficerId | undefined,
  officerKey: Uint8Array | undefined,
  realm: Realm,
  release: Signed | undefined,
): boolean {
  if (!officer || !release) return !officer && !release
  return officerKey !== undefined && verifyStatement(officerKey, realm, "release", release)
}

const refused = (reason: OpenReason, notYet = false): Opened => ({ ok: false, reason, notYet })
