/**
 * Enrolment at the PoC: keys are made here and never leave. What goes to the directory is public: keys, each with its own
 * signature that it belongs to this PoC (`member`), and manifests signed by the PoC's key.
 */
import { deviceIdOf, mailboxOf, officerIdOf, type PocAddress, type Realm } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import {
  coSignManifest,
  manifestHash,
  signManifest,
  signMember,
  type CoSignature,
  type Manifest,
  type ManifestDevice,
  type ManifestOfficer,
  type OfficerRight,
} from "../protocol/manifest.ts"
import { seedBytes, SigningKey, wipe } from "../protocol/primitives.ts"
import type { Signed } from "../protocol/statement.ts"
import { readTrustFile } from "../pki/anchor.ts"
import { seconds, type Machine } from "../system/machine.ts"
import { homeSchema, type HomeVault } from "./collections.ts"
import { pocKeyName } from "./home.ts"
import { madeKey } from "./own-entries.ts"
import type { UnlockSecret } from "./vault/lock.ts"
import { sealOfficerKey, sealPocKey, unlockPocKey } from "./vault/officer-key.ts"
import type { VaultStorage } from "./vault/storage.ts"
import { Vault } from "./vault/vault.ts"

export interface NewDevice {
  readonly poc: PocAddress
  /** The host of the relay that keeps its mailbox, as the directory lists it. */
  readonly relay: string
  readonly realm: Realm
}

/** Makes a vault with a new device in it; `trustDirectory` comes next. Throws as `Vault.create` does. */
export async function createDevice(
  storage: VaultStorage,
  secret: UnlockSecret,
  machine: Machine,
  { poc, relay, realm }: NewDevice,
): Promise<HomeVault> {
  const vault = await Vault.create(storage, secret, machine, homeSchema, { poc, realm })
  const deviceSeed = machine.random.bytes(seedBytes)
  const key = new SigningKey(deviceSeed)
  const device = deviceIdOf(poc, key.publicKey)
  key.erase()
  vault.transaction((tx) => {
    tx.put("identity", "self", { poc, device, deviceSeed, relay, mailbox: mailboxOf(device, relay), trust: "" })
    tx.appendJournal({ event: "enrolled", details: { device: hex(device) } })
  })
  return vault
}

/** Anchors the vault in a directory. Throws what `readTrustFile` throws, `ERR_UNTRUSTED` if it is another realm's. */
export function trustDirectory(vault: HomeVault, trust: string): void {
  const { identity, realm } = identityOf(vault)
  const named = readTrustFile(trust).realm
  const isOurs = named.origin === realm.origin && named.mode === realm.mode
  if (!isOurs) throw new ValiseError("ERR_UNTRUSTED", "this trust file is of another directory") // defence: 14 own-realm
  vault.transaction((tx) => tx.put("identity", "self", { ...identity, trust }))
}

/** This vault's device, as a manifest lists it. */
export function deviceRow(vault: HomeVault): ManifestDevice {
  const { identity, realm } = identityOf(vault)
  const key = new SigningKey(identity.deviceSeed)
  const row: ManifestDevice = {
    device: identity.device,
    key: key.publicKey,
    relay: identity.relay,
    mailbox: identity.mailbox,
    rights: ["send", "receive"],
    member: signMember(key, realm, identity.poc),
  }
  key.erase()
  return row
}

/** Makes an officer's key in this vault, under a secret of its holder; the row is for the next manifest. */
export async function createOfficer(
  vault: HomeVault,
  machine: Machine,
  officer: { readonly title: string; readonly rights: readonly OfficerRight[]; readonly secret: UnlockSecret },
): Promise<ManifestOfficer> {
  const { identity, realm } = identityOf(vault)
  const seed = machine.random.bytes(seedBytes)
  const key = new SigningKey(seed)
  const id = officerIdOf(identity.poc, key.publicKey)
  const locked = await sealOfficerKey(officer.secret, id, seed, machine.random)
  const row: ManifestOfficer = {
    officer: id,
    key: key.publicKey,
    title: officer.title,
    rights: officer.rights,
    member: signMember(key, realm, identity.poc),
  }
  wipe(seed)
  key.erase()
  vault.transaction((tx) => tx.put("keys", hex(id), { title: officer.title, locked }))
  return row
}

export interface PocPublicKey {
  readonly key: Uint8Array
  /** The key's own signature that it belongs to this PoC: the proof of possession in a nomination. */
  readonly member: Uint8Array
}

/** Makes the PoC's key, which signs manifests and is certified by the directory, under a secret of its own. */
export async function createPocKey(vault: HomeVault, machine: Machine, secret: UnlockSecret): Promise<PocPublicKey> {
  const { identity, realm } = identityOf(vault)
  const seed = machine.random.bytes(seedBytes)
  const key = new SigningKey(seed)
  const locked = await sealPocKey(secret, identity.poc, seed, machine.random)
  const made = { key: key.publicKey, member: signMember(key, realm, identity.poc) }
  wipe(seed)
  key.erase()
  vault.transaction((tx) => {
    tx.put("keys", pocKeyName, { title: "key of the PoC", locked })
    tx.put("made", madeKey.pocKey(made.key), { at: seconds(machine.clock) })
  })
  return made
}

/** Runs `use` with the PoC's key and erases it afterwards. Throws `ERR_PASSPHRASE` or `ERR_NOT_FOUND`. */
export async function withPocKey<T>(
  vault: HomeVault,
  secret: UnlockSecret,
  use: (key: SigningKey, poc: PocAddress, realm: Realm) => T,
): Promise<T> {
  const { identity, realm } = identityOf(vault)
  const row = vault.read((tx) => tx.get("keys", pocKeyName))
  if (!row) throw new ValiseError("ERR_NOT_FOUND", "the PoC's key is not in this vault")
  const seed = await unlockPocKey(secret, identity.poc, row.locked)
  const key = new SigningKey(seed)
  wipe(seed)
  try {
    return use(key, identity.poc, realm)
  } finally {
    key.erase()
  }
}

export interface NextManifest {
  readonly signed: Signed
  /** By this vault's device: devices that are new in it are used at once. */
  readonly coSignatures: readonly CoSignature[]
}

/**
 * Signs the PoC's next manifest: the first one, or the successor of `previous`. It lasts as long as is allowed.
 * Throws `ERR_PASSPHRASE`, `ERR_NOT_FOUND`, or what `readManifest` throws.
 */
export async function nextManifest(
  vault: HomeVault,
  secret: UnlockSecret,
  machine: Pick<Machine, "clock">,
  previous: { readonly manifest: Manifest; readonly bytes: Uint8Array } | undefined,
  content: { readonly devices: readonly ManifestDevice[]; readonly officers: readonly ManifestOfficer[] },
): Promise<NextManifest> {
  const created = seconds(machine.clock)
  const signed = await withPocKey(vault, secret, (key, poc, realm) =>
    signManifest(key, realm, {
      v: 1,
      poc,
      version: previous ? previous.manifest.version + 1 : 1,
      previous: previous ? manifestHash(previous.bytes) : null,
      created,
      expires: created + fixed.manifestSecondsMax,
      devices: content.devices,
      officers: content.officers,
    }),
  )
  vault.transaction((tx) => tx.put("made", madeKey.manifest(signed.bytes), { at: created }))
  const { identity, realm } = identityOf(vault)
  const key = new SigningKey(identity.deviceSeed)
  const coSignatures = previous ? [coSignManifest(key, realm, identity.device, signed.bytes)] : []
  key.erase()
  return { signed, coSignatures }
}

/** Throws `ERR_VAULT`. */
export function identityOf(vault: HomeVault) {
  const identity = vault.read((tx) => tx.get("identity", "self"))
  if (!identity) throw new ValiseError("ERR_VAULT", "this vault holds no device yet", { hint: "enrol it first" })
  return { identity, realm: vault.about.realm }
}
