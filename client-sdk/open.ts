/** Opens a PoC's vault and puts the real machine, disk and wire under it: the SDK's one place that chooses implementations. */
import { ValiseError } from "../protocol/errors.ts"
import { DirectoryClient } from "../pki/directory-client.ts"
import type { Machine } from "../system/machine.ts"
import { nodeHttp } from "../system/node-http.ts"
import { nodeMachine } from "../system/node.ts"
import { homeSchema } from "./collections.ts"
import { Home } from "./home.ts"
import { Poc } from "./poc.ts"
import { wsTransport } from "./transport-ws.ts"
import { watchRestoration } from "./standing.ts"
import { passphraseSecret } from "./vault/argon2-node.ts"
import { readKeyFile } from "./vault/key-file.ts"
import { tryAcquireLine } from "./vault/line.ts"
import type { UnlockSecret } from "./vault/lock.ts"
import { openVaultFile } from "./vault/storage-sqlite.ts"
import { Vault } from "./vault/vault.ts"

export interface OpenOptions {
  /** Path of the vault's file. */
  readonly vault: string
  /** One of the two. */
  readonly passphrase?: string
  readonly keyFile?: string
  /** Where the relay is reached; by default at the addresses that the directory lists. */
  readonly relay?: string
  /** Where the directory's service is reached: it tells of a relay that this vault does not know yet. */
  readonly directory?: string
  /** An officer to unlock at once; without a title the vault's first one. */
  readonly officer?: { readonly title?: string; readonly passphrase?: string; readonly keyFile?: string }
  /** `false`: work on the vault only, without talking to the relay. */
  readonly connect?: boolean
  readonly machine?: Machine
}

/**
 * Throws `ERR_VAULT`, `ERR_PASSPHRASE`, `ERR_VAULT_TAMPERED`. Several processes may open one vault: one of them talks to
 * the relay, the others see what it does and take over when it ends.
 */
export async function openPoc(options: OpenOptions): Promise<Poc> {
  const machine = options.machine ?? nodeMachine
  const storage = openVaultFile(options.vault)
  let vault
  try {
    vault = await Vault.open(storage, secretOf(options), machine, homeSchema)
  } catch (error) {
    storage.close()
    throw error
  }
  let poc: Poc | undefined
  try {
    const home = new Home(vault, machine)
    watchRestoration(home)
    poc = new Poc({
      home,
      transport: wsTransport,
      url: options.relay,
      directoryLog: options.directory === undefined ? undefined : new DirectoryClient(options.directory, nodeHttp).log,
      acquireLine: () => tryAcquireLine(options.vault),
    })
    if (options.officer) await poc.unlockOfficer(secretOf(options.officer), options.officer.title)
    if (options.connect !== false) poc.connect()
    return poc
  } catch (error) {
    await (poc ?? vault).close()
    throw error
  }
}

/** Throws `ERR_USAGE` unless exactly one of the two is given, `ERR_PASSPHRASE` if the key file cannot be used. */
export function secretOf(from: { readonly passphrase?: string; readonly keyFile?: string }): UnlockSecret {
  if (from.passphrase !== undefined && from.keyFile === undefined) return passphraseSecret(from.passphrase)
  if (from.keyFile !== undefined && from.passphrase === undefined) return readKeyFile(from.keyFile)
  throw new ValiseError("ERR_USAGE", "give a passphrase or a key file")
}
