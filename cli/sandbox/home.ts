/** The homes of the sandbox's PoCs: vaults and key files as every PoC has them, in a folder each. */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { homeSchema, type HomeVault } from "../../client-sdk/collections.ts"
import {
  createDevice,
  createOfficer,
  createPocKey,
  deviceRow,
  nextManifest,
  trustDirectory,
  type PocPublicKey,
} from "../../client-sdk/enrol.ts"
import { createKeyFile, readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { unlockOfficerKey } from "../../client-sdk/vault/officer-key.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import type { OfficerId, PocAddress } from "../../protocol/address.ts"
import { fromHex } from "../../protocol/bytes.ts"
import type { ManifestDevice, ManifestOfficer, OfficerRight } from "../../protocol/manifest.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import type { Signed } from "../../protocol/statement.ts"
import { nodeMachine } from "../../system/node.ts"
import { findHome, sandboxHome, sandboxHomes, writeHome, type HomeFile } from "../homes.ts"
import { automaticTitle, cast, names, officerTitle, realm, relayHost, type Name } from "./agencies.ts"

const pocKeyFile = "poc.key"
const duty: readonly OfficerRight[] = ["acknowledge", "release", "consent", "attest"]

interface OfficerSpec {
  readonly title: string
  readonly rights: readonly OfficerRight[]
  readonly file: string
}

export const approvers: readonly OfficerSpec[] = [1, 2].map((n) => ({
  title: `approving officer ${n} (exercise)`,
  rights: ["approve"],
  file: `approving-${n}.key`,
}))

export const folderOf = (data: string, name: Name): string =>
  sandboxHome(data, `${cast[name].state}/${cast[name].role}`)

export const addressOf = (name: Name): PocAddress => {
  const { agency, role, state } = cast[name]
  return `${state}/${role}/${agency}` as PocAddress
}

export interface MadeHome {
  readonly key: PocPublicKey
  /** The PoC's first manifest. */
  readonly manifest: Signed
}

/** Makes every key of one PoC at its own desk. Throws if the folder has a home already. */
export async function makeHome(data: string, name: Name): Promise<MadeHome> {
  const folder = folderOf(data, name)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const vaults: HomeVault[] = []
  const devices: ManifestDevice[] = []
  const officers: ManifestOfficer[] = []
  try {
    for (let n = 1; n <= cast[name].devices; n++) {
      const secret = createKeyFile(join(folder, `device-${n}.key`), nodeMachine.random)
      const storage = openVaultFile(join(folder, `device-${n}.vault`), "create")
      const vault = await createDevice(storage, secret, nodeMachine, { poc: addressOf(name), relay: relayHost, realm })
      vaults.push(vault)
      devices.push(deviceRow(vault))
    }
    const first = vaults[0]!
    for (const { file, rights, title } of officersOf(name)) {
      const secret = createKeyFile(join(folder, file), nodeMachine.random)
      officers.push(await createOfficer(first, nodeMachine, { title, rights, secret }))
    }
    const secret = createKeyFile(join(folder, pocKeyFile), nodeMachine.random)
    const key = await createPocKey(first, nodeMachine, secret)
    const { signed } = await nextManifest(first, secret, nodeMachine, undefined, { devices, officers })
    return { key, manifest: signed }
  } finally {
    for (const vault of vaults) await vault.close()
  }
}

/** Gives the vaults their trust anchor, and the home its `home.json`. */
export async function settleHome(data: string, name: Name, trust: string): Promise<void> {
  for (let n = 1; n <= cast[name].devices; n++)
    await withVault(data, name, async (vault) => trustDirectory(vault, trust), n)
  writeHomeFile(data, name)
}

/** Where both are reached in this run of the sandbox. */
export interface Addresses {
  readonly directory: string
  readonly relay: string
}

/** Tells every home, also those of devices that were linked since, where directory and relay are now. */
export function writeAddresses(data: string, addresses: Addresses): void {
  for (const name of names) writeHomeFile(data, name, addresses)
  const own = new Set(names.map((name) => folderOf(data, name)))
  for (const folder of sandboxHomes(data)) {
    if (own.has(folder)) continue
    const { file } = findHome({ home: folder, data })
    writeHome({ folder, file: { ...file, ...addresses } })
  }
}

function writeHomeFile(data: string, name: Name, addresses?: Addresses): void {
  const file: HomeFile = {
    v: 1,
    poc: addressOf(name),
    vault: "device-1.vault",
    keyFile: "device-1.key",
    officerKeyFile: "officer.key",
    pocKeyFile,
    ...addresses,
  }
  writeHome({ folder: folderOf(data, name), file })
}

export async function withVault<T>(
  data: string,
  name: Name,
  use: (vault: HomeVault) => Promise<T>,
  device = 1,
): Promise<T> {
  const folder = folderOf(data, name)
  const storage = openVaultFile(join(folder, `device-${device}.vault`))
  const vault = await Vault.open(storage, readKeyFile(join(folder, `device-${device}.key`)), nodeMachine, homeSchema)
  try {
    return await use(vault)
  } finally {
    await vault.close()
  }
}

export const pocSecret = (data: string, name: Name) => readKeyFile(join(folderOf(data, name), pocKeyFile))

/** An approving officer of the Secretariat, at the Secretariat's own desk. */
export async function withApprover<T>(
  data: string,
  spec: OfficerSpec,
  use: (id: OfficerId, key: SigningKey) => T,
): Promise<T> {
  return withVault(data, "un", async (vault) => {
    const [id, row] = vault.read((tx) => [...tx.list("keys")]).find(([, { title }]) => title === spec.title)!
    const officer = fromHex(id) as OfficerId
    const seed = await unlockOfficerKey(readKeyFile(join(folderOf(data, "un"), spec.file)), officer, row.locked)
    const key = new SigningKey(seed)
    seed.fill(0)
    try {
      return use(officer, key)
    } finally {
      key.erase()
    }
  })
}

function officersOf(name: Name): readonly OfficerSpec[] {
  const officer = { title: officerTitle, rights: duty, file: "officer.key" }
  if (name === "un") return [officer, ...approvers]
  if (!cast[name].automatic) return [officer]
  return [officer, { title: automaticTitle, rights: duty, file: "automatic.key" }]
}
