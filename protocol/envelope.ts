/**
 * The envelope: what a relay carries (SPEC, "Envelope").
 *
 *   0     1   version            envelopeVersion
 *   1     1   suite
 *   2    16   mailbox            where it goes
 *   18   16   prekey id          which secret opens it
 *   34   32   commitment         exported by the HPKE context: one key alone opens this envelope
 *   66 1120   encapsulation      X-Wing
 *   1186  …   ciphertext         the padded payload and the tag (16)
 *
 * The additional data of the AEAD is all bytes before the ciphertext.
 */
import type { DeviceId, Hash, MailboxId, PrekeyId, Realm } from "./address.ts"
import { concat, utf8 } from "./bytes.ts"
import { taggedHash } from "./hash.ts"
import type { HpkeContext } from "./hpke.ts"
import { paddedLengths } from "./padding.ts"
import type { PrekeyKind } from "./prekey.ts"
import { aeadTagBytes, kemCiphertextBytes, sha3 } from "./primitives.ts"

export const envelopeVersion = 1
export const suite = 1

const mailboxAt = 2
const prekeyIdAt = 18
const commitmentAt = 34
const encapsulationAt = 66
const ciphertextAt = encapsulationAt + kemCiphertextBytes

export const commitmentBytes = encapsulationAt - commitmentAt

/** Views into the envelope's bytes. */
export interface EnvelopeParts {
  readonly mailbox: MailboxId
  readonly prekeyId: PrekeyId
  readonly commitment: Uint8Array
  readonly encapsulation: Uint8Array
  readonly aad: Uint8Array
  readonly ciphertext: Uint8Array
}

/** `undefined` unless version, suite and length are ones that this version writes. */
export function parseEnvelope(bytes: Uint8Array): EnvelopeParts | undefined {
  if (!isWireSize(bytes.length)) return undefined // defence: 18 wire-size
  if (bytes[0] !== envelopeVersion || bytes[1] !== suite) return undefined // defence: 12 envelope-version
  return {
    mailbox: bytes.subarray(mailboxAt, prekeyIdAt) as MailboxId,
    prekeyId: bytes.subarray(prekeyIdAt, commitmentAt) as PrekeyId,
    commitment: bytes.subarray(commitmentAt, encapsulationAt),
    encapsulation: bytes.subarray(encapsulationAt, ciphertextAt),
    aad: additionalData(bytes.subarray(0, ciphertextAt)),
    ciphertext: bytes.subarray(ciphertextAt),
  }
}

/** Writes an envelope around an already padded payload. Call once per context. */
export function writeEnvelope(
  to: { readonly mailbox: MailboxId; readonly prekeyId: PrekeyId },
  encapsulation: Uint8Array,
  context: HpkeContext,
  padded: Uint8Array,
): Uint8Array {
  const outer = concat(
    Uint8Array.of(envelopeVersion, suite),
    to.mailbox,
    to.prekeyId,
    commitmentOf(context),
    encapsulation,
  )
  return concat(outer, context.seal(additionalData(outer), padded))
}

/** HPKE's info: an encapsulation for one device, key and kind is worthless for every other. */
export function infoOf(realm: Realm, device: DeviceId, prekeyId: PrekeyId, kind: PrekeyKind): Uint8Array {
  return taggedHash(
    "info",
    Uint8Array.of(suite),
    realm.mode, // defence: 14 info-mode
    realm.origin, // defence: 14 info-origin
    device, // defence: 1 info-device
    prekeyId, // defence: 4 info-prekey
    kind, // defence: 4 info-kind
  )
}

/** ChaCha20-Poly1305 commits to no key; this does. */
export const commitmentOf = (context: HpkeContext): Uint8Array => context.export(utf8("commit"), commitmentBytes)

export const envelopeDigest = (bytes: Uint8Array): Hash => sha3(bytes) as Hash

/** The closed set of an envelope's lengths, ascending. */
export const wireSizes: readonly number[] = paddedLengths.map((padded) => ciphertextAt + padded + aeadTagBytes)

export const isWireSize = (length: number): boolean => wireSizeSet.has(length)

const wireSizeSet = new Set(wireSizes)

const additionalData = (outer: Uint8Array): Uint8Array => outer // defence: 28 aad => const additionalData = (outer: Uint8Array): Uint8Array => outer.subarray(0, 0)
