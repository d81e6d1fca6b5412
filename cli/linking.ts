/**
 * A second device of a PoC: it makes its keys, offers them under a short code, and waits until a device that holds the
 * PoC's key has listed it. The words on both screens name exactly what was offered, and the directory that was shown.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { setTimeout as after } from "node:timers/promises"
import { listDevice, makeOffer } from "../client-sdk/members.ts"
import { Mirror } from "../client-sdk/mirror.ts"
import type { DeviceId } from "../protocol/address.ts"
import { fromUtf8, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { readWords, verificationWords } from "../protocol/words.ts"
import { readTrustFile } from "../pki/anchor.ts"
import { decodeCode, encodeCode } from "../pki/codes.ts"
import { offerCodeBytes, serviceLimits, type DeviceOffer } from "../pki/directory-api.ts"
import { DirectoryClient } from "../pki/directory-client.ts"
import { nodeHttp } from "../system/node-http.ts"
import { nodeClock, nodeRandom } from "../system/node.ts"
import { comeOnLine, readDirectory } from "./enrolling.ts"
import { findHome, passphrase, sandboxHome, type HomeOptions } from "./homes.ts"
import { dutyRights, makeHome } from "./making.ts"
import { directoryOf, pocSecret, withHome, withVault } from "./own-keys.ts"

export interface LinkOptions extends HomeOptions {
  readonly poc: string
  /** In a sandbox its PoC's own home says where. */
  readonly directory?: string
  readonly officerTitle: string
}

export interface Offered {
  readonly code: string
  readonly words: readonly string[]
}

/** What was offered, until it is listed: the same keys at every repetition. */
const offerFile = "offer"
/** A person types the code and compares words meanwhile. */
const pauseMs = 1000

/**
 * The same command again goes on with the same keys, under another code.
 * @param told once the device waits under its code. Resolves when the log lists it: to whether peers can write to it by
 * now. Throws `ERR_ABORTED` or `ERR_TIMEOUT`.
 */
export async function linkDevice(options: LinkOptions, told: (offered: Offered) => void): Promise<boolean> {
  const home = options.as === undefined ? options.home : sandboxHome(options.data, options.as)
  if (home === undefined) throw new ValiseError("ERR_USAGE", "where shall the home be?", { hint: "give --home DIR" })
  if (!existsSync(resolve(home))) await begin(home, options)
  const pending = join(home, offerFile)
  if (!existsSync(pending))
    throw new ValiseError("ERR_USAGE", "this device is listed already", { hint: `valise --home ${home} whoami` })
  const offer = new Uint8Array(readFileSync(pending))
  const place = findHome(options)
  const client = directoryOf(options, place)
  const code = nodeRandom.bytes(offerCodeBytes)
  await client.offerDevice(code, offer)
  told({ code: encodeCode(code), words: verificationWords("device", offer) })
  await withVault(options, async (vault) => {
    const { device, trust } = vault.read((tx) => tx.get("identity", "self"))!
    await listed(new Mirror(vault, nodeClock, trust), client, device, options.stop)
  })
  rmSync(pending)
  return await comeOnLine(options)
}

async function begin(home: string, options: LinkOptions): Promise<void> {
  const { directory, relayUrl } = addressesOf(options)
  const client = new DirectoryClient(directory, nodeHttp)
  const trust = fromUtf8(await client.trustFile())
  const { address: poc, manifest } = (await readDirectory(client, trust)).resolve(options.poc)
  const relay = manifest?.devices[0]?.relay
  if (relay === undefined)
    throw new ValiseError("ERR_NOT_FOUND", `${poc} has no device yet`, { hint: "enrol its first one" })
  const given = options.passphraseFile === undefined ? undefined : await passphrase(options, poc)
  const { realm } = readTrustFile(trust)
  const officer = { title: options.officerTitle, rights: dutyRights }
  const made = { poc, realm, relay, trust, officer, directory }
  await makeHome(
    home,
    { ...made, ...(given !== undefined && { passphrase: given }), ...(relayUrl !== undefined && { relayUrl }) },
    async ({ folder, officer, vault }) =>
      writeFileSync(join(folder, offerFile), makeOffer(vault, [officer]), { mode: 0o600 }),
  )
}

/** Where directory and relay are reached: as given, or where they are for that PoC of the sandbox. */
function addressesOf({ as, data, directory, poc, relay }: LinkOptions): {
  readonly directory: string
  readonly relayUrl: string | undefined
} {
  const beside = as === undefined ? undefined : findHome({ as: poc, data }).file
  const url = directory ?? beside?.directory
  if (url !== undefined) return { directory: url, relayUrl: relay ?? beside?.relay }
  throw new ValiseError("ERR_USAGE", "where is the directory?", { hint: "give --directory https://…" })
}

async function listed(mirror: Mirror, client: DirectoryClient, device: DeviceId, stop: AbortSignal): Promise<void> {
  const giveUp = AbortSignal.timeout(serviceLimits.offerSeconds * 1000)
  while (!mirror.state.device(device)) {
    await after(pauseMs, undefined, { signal: AbortSignal.any([stop, giveUp]) }).catch((cause: unknown) => {
      const hint = "the same command goes on with it later, under another code"
      if (stop.aborted) throw new ValiseError("ERR_ABORTED", "the device is not listed yet", { cause, hint })
      throw new ValiseError("ERR_TIMEOUT", "nobody has listed the device in time", { cause, hint })
    })
    await mirror.sync(client.log).catch((error: unknown) => {
      if (!(error instanceof ValiseError && error.retryable)) throw error
    })
  }
}

export type ApproveDeviceOptions = HomeOptions & {
  readonly directory?: string
  /** As they stand on the new device's screen. */
  readonly words?: string
}

export interface ShownDevice {
  readonly device: string
  readonly officers: readonly string[]
  readonly words: readonly string[]
}

/** What waits under this code. */
export async function showOffer(options: ApproveDeviceOptions, code: string): Promise<ShownDevice> {
  return await withOffer(options, code, async ({ offer, words }) => shown(offer, words))
}

/** Lists the device, if the words are those on its screen. */
export async function approveOffer(
  options: ApproveDeviceOptions & { readonly words: string },
  code: string,
): Promise<ShownDevice> {
  return await withOffer(options, code, async ({ desk, home, offer, place, words }) => {
    if (readWords(options.words).join() !== words.join())
      throw new ValiseError("ERR_UNTRUSTED", "these are not the words of the device that waits under this code", {
        hint: "do not go on unless both screens show the same ten words",
      })
    await listDevice(home, pocSecret(place), desk, offer)
    return shown(offer, words)
  })
}

interface Waiting {
  readonly home: Parameters<Parameters<typeof withHome>[1]>[0]
  readonly desk: DirectoryClient
  readonly place: Parameters<Parameters<typeof withHome>[1]>[2]
  readonly offer: DeviceOffer
  readonly words: readonly string[]
}

async function withOffer<T>(
  options: ApproveDeviceOptions,
  code: string,
  use: (waiting: Waiting) => Promise<T>,
): Promise<T> {
  const decoded = decodeCode(code, offerCodeBytes)
  return await withHome(options, async (home, desk, place) => {
    const { bytes, offer } = await desk.fetchDevice(decoded, home.identity.poc, home.mirror.anchor)
    return await use({ home, desk, place, offer, words: verificationWords("device", bytes) })
  })
}

const shown = ({ device, officers }: DeviceOffer, words: readonly string[]): ShownDevice => ({
  device: hex(device.device),
  officers: officers.map(({ title }) => title),
  words,
})
