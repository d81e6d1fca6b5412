/**
 * The manifest: the PoC-signed list of its devices and officers (SPEC, "Manifest"). What can be judged from it alone is
 * judged here; its place in the log, its certificate and the calendar are the directory's business.
 */
import { z } from "zod"
import {
  deviceIdOf,
  mailboxOf,
  officerIdOf,
  shapes,
  type DeviceId,
  type Hash,
  type MailboxId,
  type OfficerId,
  type PocAddress,
  type Realm,
} from "./address.ts"
import { equal, hex } from "./bytes.ts"
import { encodeCbor } from "./cbor.ts"
import { isSafeSigningKey } from "./edge-keys.ts"
import { ValiseError } from "./errors.ts"
import { taggedHash } from "./hash.ts"
import { fixed } from "./limits.ts"
import type { SigningKey } from "./primitives.ts"
import { growing, signStatement, verifyStatement, type Signed } from "./statement.ts"
import { structureOf, textShape } from "./structure.ts"

export const deviceRights = ["send", "receive"] as const
export const officerRights = ["acknowledge", "release", "consent", "attest", "approve"] as const
export type DeviceRight = (typeof deviceRights)[number]
export type OfficerRight = (typeof officerRights)[number]

export interface ManifestDevice {
  /** TH("device", poc, key) */
  readonly device: DeviceId
  /** Ed25519, 32 bytes; in no other place of the manifest. */
  readonly key: Uint8Array
  /** The host of the relay that keeps its mailbox. */
  readonly relay: string
  /** The first 16 bytes of TH("mailbox", device, relay) */
  readonly mailbox: MailboxId
  readonly rights: readonly DeviceRight[]
  /** The listed key's own signature, label `member`, over `memberStatement(poc, key)`. */
  readonly member: Uint8Array
}

export interface ManifestOfficer {
  /** TH("officer", poc, key) */
  readonly officer: OfficerId
  readonly key: Uint8Array
  /** The duty, e.g. "duty officer 2"; the holder's name stays at home. */
  readonly title: string
  readonly rights: readonly OfficerRight[]
  readonly member: Uint8Array
}

export interface Manifest {
  readonly v: 1
  readonly poc: PocAddress
  /** 1, 2, 3, … without a gap. */
  readonly version: number
  /** `manifestHash` of the version before; `null` in version 1 only. */
  readonly previous: Hash | null
  /** Seconds; `expires` is later than `created` by at most 90 days. */
  readonly created: number
  readonly expires: number
  readonly devices: readonly ManifestDevice[]
  readonly officers: readonly ManifestOfficer[]
  readonly crit?: readonly string[] | undefined
}

/** An older device of the PoC vouches for a manifest that adds devices; it travels beside the signed manifest. */
export interface CoSignature {
  readonly device: DeviceId
  /** Label `manifest`, over the same bytes as the PoC's own signature. */
  readonly signature: Uint8Array
}

export const coSignatureShape: z.ZodType<CoSignature> = z.strictObject({
  device: shapes.device,
  signature: shapes.signature,
})

/** Throws what `readManifest` would throw: nobody signs what nobody accepts. */
export function signManifest(pocKey: SigningKey, realm: Realm, manifest: Manifest): Signed {
  const signed = signStatement(pocKey, realm, "manifest", manifestStructure.encode(manifest))
  readManifest({ address: manifest.poc, key: pocKey.publicKey }, realm, signed)
  return signed
}

/**
 * Throws `ERR_UNTRUSTED`, `ERR_MALFORMED` or `ERR_VERSION`.
 * @param poc whose manifest it must be, with the key of its certificate
 */
export function readManifest(
  poc: { readonly address: PocAddress; readonly key: Uint8Array },
  realm: Realm,
  signed: Signed,
): Manifest {
  if (!verifyStatement(poc.key, realm, "manifest", signed)) throw refused("is not signed by its PoC") // defence: 31 manifest-signature
  const manifest = manifestStructure.decode(signed.bytes)
  if (manifest.poc !== poc.address) throw refused("is another PoC's") // defence: 31 manifest-poc
  const keys = [poc.key, ...manifest.devices.map((x) => x.key), ...manifest.officers.map((x) => x.key)]
  if (new Set(keys.map(hex)).size !== keys.length) throw refused("lists a key twice") // defence: 31 unique-keys
  for (const device of manifest.devices) judgeDevice(manifest.poc, realm, device)
  for (const officer of manifest.officers) judgeOfficer(manifest.poc, realm, officer)
  return manifest
}

/** What each listed key signs of itself: it belongs to this PoC, so no other PoC can list it. */
export const memberStatement = (poc: PocAddress, key: Uint8Array): Uint8Array => encodeCbor({ v: 1, poc, key })

export function signMember(key: SigningKey, realm: Realm, poc: PocAddress): Uint8Array {
  return signStatement(key, realm, "member", memberStatement(poc, key.publicKey)).signature
}

export const manifestHash = (bytes: Uint8Array): Hash => taggedHash("statement", bytes) as Hash

/** Whether `next` is the version that comes after `previous` (nothing, for a PoC's first). */
export function followsManifest(
  previous: { readonly manifest: Manifest; readonly bytes: Uint8Array } | undefined,
  next: Manifest,
): boolean {
  if (!previous) return next.version === 1
  const { manifest, bytes } = previous
  if (next.poc !== manifest.poc || next.version !== manifest.version + 1) return false
  return next.previous !== null && equal(next.previous, manifestHash(bytes))
}

export function coSignManifest(key: SigningKey, realm: Realm, device: DeviceId, bytes: Uint8Array): CoSignature {
  return { device, signature: signStatement(key, realm, "manifest", bytes).signature }
}

/**
 * Whether one of the PoC's older devices vouches for these manifest bytes, so that devices new in it are used at once.
 * @param older devices that senders use already; one that still waits vouches for none
 */
export function isCoSigned(
  realm: Realm,
  bytes: Uint8Array,
  coSignatures: readonly CoSignature[],
  older: readonly { readonly device: DeviceId; readonly key: Uint8Array }[],
): boolean {
  return coSignatures.some(({ device, signature }) => {
    const signer = older.find((x) => equal(x.device, device))
    return signer !== undefined && verifyStatement(signer.key, realm, "manifest", { bytes, signature })
  })
}

/** `grace`: peers still use it, with a banner, and its PoC is alarmed. */
export function manifestStanding(manifest: Manifest, nowSeconds: number): "current" | "grace" | "expired" {
  if (nowSeconds <= manifest.expires) return "current"
  return nowSeconds <= manifest.expires + fixed.manifestGraceSeconds ? "grace" : "expired"
}

/** Throws `ERR_UNTRUSTED` unless the row is that PoC's device, and has asked to be listed. */
export function judgeDevice(
  poc: PocAddress,
  realm: Realm,
  { device, key, relay, mailbox, member }: ManifestDevice,
): void {
  judgeKey(poc, realm, key, member)
  if (!equal(device, deviceIdOf(poc, key))) throw refused("lists a device id that is not its key's") // defence: 31 device-id
  if (!equal(mailbox, mailboxOf(device, relay))) throw refused("lists a mailbox that is not its device's") // defence: 31 mailbox
}

/** Throws `ERR_UNTRUSTED` unless the row is that PoC's officer, and has asked to be listed. */
export function judgeOfficer(poc: PocAddress, realm: Realm, { officer, key, member }: ManifestOfficer): void {
  judgeKey(poc, realm, key, member)
  if (!equal(officer, officerIdOf(poc, key))) throw refused("lists an officer id that is not its key's") // defence: 31 officer-id
}

function judgeKey(poc: PocAddress, realm: Realm, key: Uint8Array, member: Uint8Array): void {
  if (!isSafeSigningKey(key)) throw refused("lists a key of small or mixed order, or not in canonical form") // defence: 17 manifest-key
  const listing = { bytes: memberStatement(poc, key), signature: member }
  if (!verifyStatement(key, realm, "member", listing)) throw refused("lists a key that has not signed its listing") // defence: 31 member
}

const refused = (what: string): ValiseError => new ValiseError("ERR_UNTRUSTED", `the manifest ${what}`)

const rightsOf = <T extends string>(names: readonly T[]) =>
  z.array(z.enum(names)).refine((rights) => new Set(rights).size === rights.length)

/** One row, also on its way to the one who lists it. */
export const manifestDeviceShape = z.looseObject({
  device: shapes.device,
  key: shapes.signingKey,
  relay: shapes.host,
  mailbox: shapes.mailbox,
  rights: rightsOf(deviceRights),
  member: shapes.signature,
})

export const manifestOfficerShape = z.looseObject({
  officer: shapes.officer,
  key: shapes.signingKey,
  title: textShape(fixed.officerTitleCharactersMax),
  rights: rightsOf(officerRights),
  member: shapes.signature,
})

const manifestStructure = structureOf<Manifest>(
  growing({
    v: z.literal(1),
    poc: shapes.poc,
    version: shapes.counter.min(1),
    previous: shapes.hash.nullable(),
    created: shapes.seconds,
    expires: shapes.seconds,
    devices: z.array(manifestDeviceShape).max(fixed.devicesPerPocMax),
    officers: z.array(manifestOfficerShape).max(fixed.officersPerPocMax),
  }).refine(
    ({ version, previous, created, expires }) =>
      (version === 1) === (previous === null) && created < expires && expires - created <= fixed.manifestSecondsMax,
  ),
)
