/** Makes a home: a folder with a vault, keys that never leave it, and `home.json`. Whole or not at all. */
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import type { HomeVault } from "../client-sdk/collections.ts"
import {
  createDevice,
  createOfficer,
  createPocKey,
  deviceRow,
  nextManifest,
  trustDirectory,
  type PocPublicKey,
} from "../client-sdk/enrol.ts"
import { passphraseSecret } from "../client-sdk/vault/argon2-node.ts"
import { createKeyFile } from "../client-sdk/vault/key-file.ts"
import { openVaultFile } from "../client-sdk/vault/storage-sqlite.ts"
import type { PocAddress, Realm } from "../protocol/address.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { ManifestOfficer, OfficerRight } from "../protocol/manifest.ts"
import type { Signed } from "../protocol/statement.ts"
import { nodeMachine } from "../system/node.ts"
import { writeHome, type HomeFile } from "./homes.ts"

export const dutyRights: readonly OfficerRight[] = ["acknowledge", "release", "consent", "attest"]

export interface NewHome {
  readonly poc: PocAddress
  readonly realm: Realm
  /** The host of the relay that will keep the device's mailbox. */
  readonly relay: string
  /** The trust file, unless the directory is yet to be made. */
  readonly trust?: string
  /** Opens the vault; a key file is made beside it otherwise. */
  readonly passphrase?: string
  readonly officer: { readonly title: string; readonly rights: readonly OfficerRight[] }
  /** Where the directory's service is reached. */
  readonly directory?: string
  /** Where the relay is reached, if not where the directory lists it. */
  readonly relayUrl?: string
}

export interface MadeHome {
  /** Where the home's files are until it is finished. */
  readonly folder: string
  readonly vault: HomeVault
  readonly officer: ManifestOfficer
  /** Makes the PoC's key and its first manifest, which lists these officers beside the home's own. */
  readonly becomePoc: (more?: readonly ManifestOfficer[]) => Promise<{ key: PocPublicKey; manifest: Signed }>
}

/** The result is that of `finish`; only then the home gets its name. Throws `ERR_USAGE` if there is something there. */
export async function makeHome<T>(path: string, home: NewHome, finish: (made: MadeHome) => Promise<T>): Promise<T> {
  const target = resolve(path)
  if (existsSync(target))
    throw new ValiseError("ERR_USAGE", `there is something at ${path} already`, { hint: "choose another folder" })
  const folder = `${target}.unfinished`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(dirname(target), { recursive: true })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  try {
    const result = await filled(folder, home, finish)
    renameSync(folder, target)
    return result
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

async function filled<T>(folder: string, home: NewHome, finish: (made: MadeHome) => Promise<T>): Promise<T> {
  const { random } = nodeMachine
  const secret =
    home.passphrase === undefined
      ? createKeyFile(join(folder, "device.key"), random)
      : passphraseSecret(home.passphrase)
  const vault = await createDevice(openVaultFile(join(folder, "device.vault"), "create"), secret, nodeMachine, home)
  try {
    if (home.trust !== undefined) trustDirectory(vault, home.trust)
    const officerSecret = createKeyFile(join(folder, "officer.key"), random)
    const officer = await createOfficer(vault, nodeMachine, { ...home.officer, secret: officerSecret })
    const result = await finish({
      folder,
      vault,
      officer,
      becomePoc: async (more = []) => {
        const pocSecret = createKeyFile(join(folder, "poc.key"), random)
        const key = await createPocKey(vault, nodeMachine, pocSecret)
        const listed = { devices: [deviceRow(vault)], officers: [officer, ...more] }
        const { signed } = await nextManifest(vault, pocSecret, nodeMachine, undefined, listed)
        return { key, manifest: signed }
      },
    })
    const file: HomeFile = {
      v: 1,
      poc: home.poc,
      vault: "device.vault",
      ...(home.passphrase === undefined && { keyFile: "device.key" }),
      officerKeyFile: "officer.key",
      ...(existsSync(join(folder, "poc.key")) && { pocKeyFile: "poc.key" }),
      ...(home.directory !== undefined && { directory: home.directory }),
      ...(home.relayUrl !== undefined && { relay: home.relayUrl }),
    }
    writeHome({ folder, file })
    return result
  } finally {
    await vault.close()
  }
}
