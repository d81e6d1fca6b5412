/** Receipts of a device (*delivered*) and of an officer (*acknowledged*) (SPEC, "Receipts"). */
import { z } from "zod"
import {
  deviceIdOf,
  officerIdOf,
  shapes,
  type DeviceId,
  type Hash,
  type MessageId,
  type OfficerId,
  type PocAddress,
  type Realm,
} from "./address.ts"
import { equal } from "./bytes.ts"
import { ValiseError } from "./errors.ts"
import { prekeyKinds, type PrekeyKind } from "./prekey.ts"
import type { SigningKey } from "./primitives.ts"
import { growing, signStatement, verifyStatement, type Signed, type StatementLabel } from "./statement.ts"
import { structureOf, type Structure } from "./structure.ts"

/** Stands in every officer's receipt; there is no field that could say more. */
export const clause = "receipt does not indicate concurrence"

/** Decrypted, verified and archived by this device. */
export interface DeviceReceipt {
  readonly v: 1
  readonly poc: PocAddress
  readonly device: DeviceId
  readonly messageId: MessageId
  /** TH("header", …) of the header as received. */
  readonly header: Hash
  /** C, as this device computed it. */
  readonly content: Hash
  /** SHA3-256 of the whole envelope. */
  readonly digest: Hash
  /** Seconds, by the device's clock. */
  readonly time: number
  /** The kind of prekey that opened it. */
  readonly kind: PrekeyKind
  readonly crit?: readonly string[] | undefined
}

/** Seen by this officer, acting for this PoC. */
export interface OfficerReceipt {
  readonly v: 1
  readonly poc: PocAddress
  readonly officer: OfficerId
  readonly messageId: MessageId
  readonly header: Hash
  readonly content: Hash
  /** Seconds. */
  readonly time: number
  readonly clause: typeof clause
  readonly crit?: readonly string[] | undefined
}

/** What a sender remembers of a message; for a device's receipt also of the one envelope. */
export interface SentMessage {
  readonly messageId: MessageId
  readonly headerHash: Hash
  readonly contentHash: Hash
}
export interface SentEnvelope extends SentMessage {
  readonly device: DeviceId
  readonly digest: Hash
}

export function signDeviceReceipt(key: SigningKey, realm: Realm, receipt: DeviceReceipt): Signed {
  return signStatement(key, realm, "device-receipt", deviceReceipt.encode(receipt))
}

/** Throws `ERR_UNTRUSTED`, `ERR_MALFORMED` or `ERR_VERSION`. What it is a receipt for, `isDeliveryOf` says. */
export function readDeviceReceipt(publicKey: Uint8Array, realm: Realm, signed: Signed): DeviceReceipt {
  const receipt = read(publicKey, realm, "device-receipt", signed, deviceReceipt)
  if (!equal(receipt.device, deviceIdOf(receipt.poc, publicKey))) throw foreign() // defence: 15 device-id
  return receipt
}

export function signOfficerReceipt(key: SigningKey, realm: Realm, receipt: OfficerReceipt): Signed {
  return signStatement(key, realm, "officer-receipt", officerReceipt.encode(receipt))
}

/** Throws `ERR_UNTRUSTED`, `ERR_MALFORMED` or `ERR_VERSION`. What it is a receipt for, `isAcknowledgementOf` says. */
export function readOfficerReceipt(publicKey: Uint8Array, realm: Realm, signed: Signed): OfficerReceipt {
  const receipt = read(publicKey, realm, "officer-receipt", signed, officerReceipt)
  if (!equal(receipt.officer, officerIdOf(receipt.poc, publicKey))) throw foreign() // defence: 15 officer-id
  return receipt
}

/** Whether this device says that it opened this very envelope. */
export function isDeliveryOf(receipt: DeviceReceipt, sent: SentEnvelope): boolean {
  if (!isAbout(receipt, sent)) return false // defence: 15 delivered-message
  if (!equal(receipt.device, sent.device)) return false // defence: 15 delivered-device
  if (!equal(receipt.digest, sent.digest)) return false // defence: 15 delivered-envelope
  return true
}

/** Whether an officer of this PoC says that he or she saw this very message. */
export function isAcknowledgementOf(receipt: OfficerReceipt, poc: PocAddress, sent: SentMessage): boolean {
  if (!isAbout(receipt, sent)) return false // defence: 15 acknowledged-message
  if (receipt.poc !== poc) return false // defence: 15 acknowledged-poc
  return true
}

function isAbout(receipt: DeviceReceipt | OfficerReceipt, sent: SentMessage): boolean {
  if (!equal(receipt.messageId, sent.messageId)) return false // defence: 15 receipt-message-id
  if (!equal(receipt.header, sent.headerHash)) return false // defence: 15 receipt-header
  if (!equal(receipt.content, sent.contentHash)) return false // defence: 15 receipt-content
  return true
}

function read<T>(
  publicKey: Uint8Array,
  realm: Realm,
  label: StatementLabel,
  signed: Signed,
  structure: Structure<T>,
): T {
  if (!verifyStatement(publicKey, realm, label, signed)) throw foreign() // defence: 15 receipt-signature
  return structure.decode(signed.bytes)
}

const foreign = (): ValiseError => new ValiseError("ERR_UNTRUSTED", "a receipt is not by the key it names")

const about = {
  v: z.literal(1),
  poc: shapes.poc,
  messageId: shapes.messageId,
  header: shapes.hash,
  content: shapes.hash,
  time: shapes.seconds,
}
const deviceReceipt = structureOf<DeviceReceipt>(
  growing({ ...about, device: shapes.device, digest: shapes.hash, kind: z.enum(prekeyKinds) }),
)
const officerReceipt = structureOf<OfficerReceipt>(
  growing({ ...about, officer: shapes.officer, clause: z.literal(clause) }),
)
