/** A home's vault and the keys in it, for the verbs that sign statements rather than write messages. */
import { resolve } from "node:path"
import { homeSchema, type HomeVault } from "../client-sdk/collections.ts"
import { Home } from "../client-sdk/home.ts"
import { secretOf } from "../client-sdk/open.ts"
import { readKeyFile } from "../client-sdk/vault/key-file.ts"
import type { UnlockSecret } from "../client-sdk/vault/lock.ts"
import { openVaultFile } from "../client-sdk/vault/storage-sqlite.ts"
import { Vault } from "../client-sdk/vault/vault.ts"
import { ValiseError } from "../protocol/errors.ts"
import { DirectoryClient } from "../pki/directory-client.ts"
import { nodeHttp } from "../system/node-http.ts"
import { nodeMachine } from "../system/node.ts"
import { findHome, vaultSecret, type HomeOptions, type HomePlace } from "./homes.ts"

/** Closes the vault afterwards. Throws as `findHome` and `Vault.open` do. */
export async function withVault<T>(
  options: HomeOptions,
  use: (vault: HomeVault, place: HomePlace) => Promise<T>,
): Promise<T> {
  const place = findHome(options)
  const secret = secretOf(await vaultSecret(options, place))
  const storage = openVaultFile(resolve(place.folder, place.file.vault))
  let vault: HomeVault
  try {
    vault = await Vault.open(storage, secret, nodeMachine, homeSchema)
  } catch (error) {
    storage.close()
    throw error
  }
  try {
    return await use(vault, place)
  } finally {
    await vault.close()
  }
}

/** The opened home with its officer unlocked, and the directory's service; the log is brought up to date first. */
export async function withHome<T>(
  options: HomeOptions & { readonly directory?: string },
  use: (home: Home, directory: DirectoryClient, place: HomePlace) => Promise<T>,
): Promise<T> {
  return await withVault(options, async (vault, place) => {
    const home = new Home(vault, nodeMachine)
    try {
      const directory = directoryOf(options, place)
      await home.mirror.sync(directory.log)
      return await use(home, directory, place)
    } finally {
      home.close()
    }
  })
}

/** Throws `ERR_USAGE` if nobody says where it is. */
export function directoryOf(options: { readonly directory?: string }, { file }: HomePlace): DirectoryClient {
  const url = options.directory ?? file.directory
  if (url !== undefined) return new DirectoryClient(url, nodeHttp)
  throw new ValiseError("ERR_USAGE", "where is the directory?", { hint: "give --directory https://…" })
}

/** What unlocks the PoC's key. Throws `ERR_NOT_FOUND` if it is kept elsewhere. */
export function pocSecret({ folder, file }: HomePlace): UnlockSecret {
  if (file.pocKeyFile === undefined)
    throw new ValiseError("ERR_NOT_FOUND", "the PoC's key is not in this home", {
      hint: "do this in the home where the PoC was enrolled",
    })
  return readKeyFile(resolve(folder, file.pocKeyFile))
}

export async function unlockOfficer(home: Home, { folder, file }: HomePlace): Promise<void> {
  if (file.officerKeyFile === undefined)
    throw new ValiseError("ERR_NOT_FOUND", "there is no officer's key in this home")
  await home.unlockOfficer(readKeyFile(resolve(folder, file.officerKeyFile)))
}
