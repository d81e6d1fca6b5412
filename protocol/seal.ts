/** Sealing: one message to many devices, one envelope for each (SPEC, "Sealing"). */
import type { DeviceId, Hash, MailboxId, MessageId, OfficerId, PocAddress, Realm } from "./address.ts"
import { compare, equal, hex } from "./bytes.ts"
import { infoOf, envelopeDigest, suite, writeEnvelope } from "./envelope.ts"
import { ValiseError } from "./errors.ts"
import { merkleTree } from "./hash.ts"
import {
  checkpointHash,
  encapsulationHash,
  encodeEntry,
  encodeHeader,
  headerHash as headerHashOf,
  type PairSequence,
} from "./header.ts"
import { setupSender, type HpkeContext } from "./hpke.ts"
import { contentHash, leafHashesOf, packLeaves, type Deflate, type Leaf } from "./leaves.ts"
import { fixed } from "./limits.ts"
import { pad } from "./padding.ts"
import { encodePayload } from "./payload.ts"
import type { PrekeyKind, PrekeyStatement } from "./prekey.ts"
import { kemCoinsBytes, type SigningKey } from "./primitives.ts"
import { signStatement, type Signed } from "./statement.ts"

/** A device to seal to. */
export interface Recipient {
  readonly poc: PocAddress
  readonly device: DeviceId
  readonly mailbox: MailboxId
  /** As `checkPrekey` gave it: nothing here looks at its signature or dates again. */
  readonly prekey: PrekeyStatement
  /** Given out in the transaction that writes the outbox. */
  readonly pairSequence: PairSequence
}

export interface SealInput {
  readonly realm: Realm
  readonly sender: { readonly poc: PocAddress; readonly device: DeviceId; readonly key: SigningKey }
  /** Who lets the message go; a message of the device itself (a receipt) has none. */
  readonly officer?: { readonly id: OfficerId; readonly key: SigningKey } | undefined
  readonly messageId: MessageId
  /** Seconds. */
  readonly created: number
  readonly expires: number
  /** The signed note of a cosigned checkpoint of the log, as its bytes. */
  readonly checkpoint: Uint8Array
  /** 32 random bytes, kept with the message: a resent message has the same, so its leaf hashes stay equal. */
  readonly contentKey: Uint8Array
  readonly leaves: readonly Leaf[]
  /** No device twice. */
  readonly recipients: readonly Recipient[]
  /** Unpredictable bytes: 64 for each encapsulation, then 16 for each entry's place. */
  readonly random: (length: number) => Uint8Array
  readonly deflate: Deflate
}

/** Everything but the envelopes, which are as many as the recipients and large: each is made when it is asked for. */
export interface Prepared {
  readonly header: Signed
  readonly release?: Signed | undefined
  readonly headerHash: Hash
  readonly contentHash: Hash
  readonly leafHashes: readonly Hash[]
  /** Of the i-th recipient: the same bytes whenever it is asked for. */
  readonly envelope: (i: number) => SealedEnvelope
}

export interface Sealed extends Omit<Prepared, "envelope"> {
  /** In the order of the recipients. */
  readonly envelopes: readonly SealedEnvelope[]
}

export interface SealedEnvelope {
  readonly device: DeviceId
  readonly mailbox: MailboxId
  readonly bytes: Uint8Array
  readonly digest: Hash
  readonly kind: PrekeyKind
  /** What the header commits to for this device: evidence of whom it was sealed to, and under which kind of key. */
  readonly entry: Uint8Array
  readonly index: number
  readonly path: readonly Uint8Array[]
}

/** `prepare`, and all envelopes. */
export function seal(input: SealInput): Sealed {
  const { envelope, ...prepared } = prepare(input)
  return { ...prepared, envelopes: input.recipients.map((_, i) => envelope(i)) }
}

/**
 * Signs the encapsulations, never the content (SPEC, "Why so").
 * Throws `ERR_CONTENT` or `ERR_TOO_LARGE` for leaves that do not fit (the first envelope may throw the latter, too),
 * `ERR_UNTRUSTED` for a malformed prekey and `ERR_USAGE` for recipients that do not.
 */
export function prepare(input: SealInput): Prepared {
  const { realm, sender, officer, recipients, checkpoint, contentKey, random } = input
  refuseUnfit(recipients)
  const packed = packLeaves(input.leaves, input.deflate)
  const setups = recipients.map((recipient) => encapsulateTo(realm, recipient, random(kemCoinsBytes)))
  const places = shuffledPlaces(recipients.length, random)
  const tree = merkleTree(ordered(setups, places).map((setup) => setup.entry))
  const headerBytes = encodeHeader({
    v: 1,
    suite,
    mode: realm.mode,
    messageId: input.messageId,
    sender: { poc: sender.poc, device: sender.device, officer: officer?.id },
    recipientsRoot: tree.root as Hash,
    recipientsCount: recipients.length,
    created: input.created,
    expires: input.expires,
    checkpoint: checkpointHash(checkpoint),
  })
  const header = signStatement(sender.key, realm, "header", headerBytes)
  const release = officer && signStatement(officer.key, realm, "release", headerBytes)
  const headerHash = headerHashOf(headerBytes)
  const leafHashes = leafHashesOf(contentKey, input.leaves)
  const envelope = (i: number): SealedEnvelope => {
    const { entry, encapsulation, context } = setups[i]!
    const index = places[i]!
    const path = tree.path(index)
    const payload = { header, release: release?.signature, checkpoint, entry, index, path, contentKey, leaves: packed }
    const padded = pad(encodePayload(payload))
    if (!padded) throw tooLarge()
    const { device, mailbox, prekey } = recipients[i]!
    const bytes = writeEnvelope({ mailbox, prekeyId: prekey.id }, encapsulation, context, padded)
    return { device, mailbox, bytes, digest: envelopeDigest(bytes), kind: prekey.kind, entry, index, path }
  }
  return { header, release, headerHash, contentHash: contentHash(headerHash, leafHashes), leafHashes, envelope }
}

/** An encapsulation to one device, the context that seals its one payload, and the entry that names both. */
export interface Setup {
  readonly encapsulation: Uint8Array
  readonly context: HpkeContext
  readonly entry: Uint8Array
}

/** @param coins 64 fresh random bytes. Throws `ERR_UNTRUSTED` if the prekey is not a key. */
export function encapsulateTo(realm: Realm, recipient: Recipient, coins: Uint8Array): Setup {
  const { poc, device, prekey, pairSequence } = recipient
  const { id: prekeyId, kind } = prekey
  const setup = setupSender(prekey.pk, infoOf(realm, device, prekeyId, kind), coins)
  if (!setup) throw new ValiseError("ERR_UNTRUSTED", "a prekey is malformed")
  const enc = encapsulationHash(setup.encapsulation)
  return { ...setup, entry: encodeEntry({ poc, device, prekeyId, kind, pairSequence, enc }) }
}

function refuseUnfit(recipients: readonly Recipient[]): void {
  if (recipients.length < 1 || recipients.length > fixed.recipientsMax)
    throw new ValiseError("ERR_USAGE", `a message goes to 1 to ${fixed.recipientsMax} devices`)
  if (new Set(recipients.map((recipient) => hex(recipient.device))).size < recipients.length)
    throw new ValiseError("ERR_USAGE", "a recipient device is listed twice")
  if (recipients.some((recipient) => !equal(recipient.device, recipient.prekey.device)))
    throw new ValiseError("ERR_UNTRUSTED", "a prekey is another device's")
}

/** The i-th recipient's place among the entries, so that a place tells nothing of the order in which they were named. */
function shuffledPlaces(count: number, random: (length: number) => Uint8Array): number[] {
  const lots = Array.from({ length: count }, (_, i) => ({ i, lot: random(16) }))
  lots.sort((a, b) => compare(a.lot, b.lot))
  const places: number[] = []
  for (const [place, { i }] of lots.entries()) places[i] = place
  return places
}

function ordered<T>(items: readonly T[], places: readonly number[]): T[] {
  const out: T[] = []
  for (const [i, item] of items.entries()) out[places[i]!] = item
  return out
}

const tooLarge = (): ValiseError =>
  new ValiseError("ERR_TOO_LARGE", `the message does not fit ${fixed.payloadBytesMax} bytes`, {
    hint: "send the largest part as an attachment",
  })
