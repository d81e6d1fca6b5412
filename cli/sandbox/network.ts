/**
 * The sandbox's network: directory and relay on loopback sockets, the Secretariat's PoC and the agencies' PoCs, each with its
 * own vault and keys, all in one folder. A second start goes on with the same keys and history; what has expired is
 * renewed by those who hold the keys.
 */
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { openPoc, ValiseError, type Poc } from "../../client-sdk/index.ts"
import { nextManifest, withPocKey } from "../../client-sdk/enrol.ts"
import { Directory } from "../../directory/directory.ts"
import { serviceLog, type ServiceLog } from "../../directory/log.ts"
import type { Proposal } from "../../directory/proposals.ts"
import { serveDirectory } from "../../directory/server.ts"
import { fixed } from "../../protocol/limits.ts"
import { signMember } from "../../protocol/manifest.ts"
import { bodyStructures, entryStructure, signApproval } from "../../pki/entries.ts"
import { signPossession } from "../../pki/possession.ts"
import { lifetimeSecondsMax } from "../../pki/profile.ts"
import { readCertificate } from "../../pki/x509.ts"
import { parseRelayConfig } from "../../relay/config.ts"
import { relayLog } from "../../relay/log.ts"
import { seconds } from "../../system/machine.ts"
import { nodeMachine } from "../../system/node.ts"
import { deskSocket, serviceOn } from "../desk.ts"
import { findHome, type HomePlace } from "../homes.ts"
import { relayKey, startRelay as startRelayIn } from "../relay-serving.ts"
import { logDestination } from "../serving.ts"
import {
  addressOf,
  approvers,
  folderOf,
  makeHome,
  pocSecret,
  settleHome,
  withApprover,
  withVault,
  writeAddresses,
} from "./home.ts"
import { automaticTitle, cast, names, realm, relayHost, type Name } from "./agencies.ts"

/** What every system takes for the path of a socket. */
const socketPathMax = 100
const renewAheadSeconds = 30 * 86_400
/** No PoC takes so long to be ready; a slow machine gets its time. */
const readyMaxMs = 60_000
/** Brazil's second device is switched on for a moment when its prekeys near their end. */
const secondDeviceEveryMs = 10 * 86_400_000

export interface NetworkOptions {
  readonly folder: string
  /** 0: any free one. */
  readonly port: number
  readonly told: (words: string) => void
  readonly stop: AbortSignal
}

export class Network {
  readonly folder: string
  readonly pocs: Record<Name, Poc>
  readonly url: string
  /** Everything that must be closed, in reverse order. */
  readonly #opened: AsyncDisposableStack

  /** Makes the network if the folder has none, renews what has expired, and connects everybody. */
  static async open({ folder, port, told, stop }: NetworkOptions): Promise<Network> {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    await using opened = new AsyncDisposableStack()
    const directory = existsSync(join(folder, "trust.txt"))
      ? await Directory.open(join(folder, "directory"), nodeMachine)
      : await makeNetwork(folder, told)
    opened.defer(() => directory.close())
    await renew(folder, directory, told)
    const pocs: Partial<Record<Name, Poc>> = {}
    const source = directory.logSource()
    // One that is closed at this moment reads the log when it is back.
    const everybodyReads = (): void => Object.values(pocs).forEach((poc) => void poc.syncLog(source).catch(() => {}))
    const directoryUrl = await serveDirectoryIn(folder, directory, opened, everybodyReads)
    const url = await startRelay(folder, directory, port, opened)
    writeAddresses(folder, { directory: directoryUrl, relay: url })
    opened.defer(async () => {
      await Promise.all(Object.values(pocs).map((poc) => poc.close()))
    })
    for (const name of names) pocs[name] = await openAs(folder, name, url, undefined, false)
    await Promise.all(Object.values(pocs).map((poc) => switchOn(poc, directory, stop)))
    await switchOnForAMoment(folder, directory, url, stop)
    return new Network(folder, url, pocs as Record<Name, Poc>, opened.move())
  }

  private constructor(folder: string, url: string, pocs: Record<Name, Poc>, opened: AsyncDisposableStack) {
    this.folder = folder
    this.url = url
    this.pocs = pocs
    this.#opened = opened
  }

  get trustFile(): string {
    return join(this.folder, "trust.txt")
  }

  get relayFolder(): string {
    return join(this.folder, "relay")
  }

  get relayLogFile(): string {
    return relayLogFile(this.folder)
  }

  home(name: Name): HomePlace {
    return findHome({ as: `${cast[name].state}/${cast[name].role}`, data: this.folder })
  }

  /** Runs `act` while this PoC's own client is switched off. */
  async without<T>(name: Name, act: () => Promise<T>): Promise<T> {
    await this.pocs[name].close()
    try {
      return await act()
    } finally {
      this.pocs[name] = await openAs(this.folder, name, this.url)
    }
  }

  /** The automatic PoCs sign with the officer's key that is listed as automatic. */
  async becomeAutomatic(name: Name): Promise<void> {
    const keyFile = join(folderOf(this.folder, name), "automatic.key")
    await this.pocs[name].close()
    this.pocs[name] = await openAs(this.folder, name, this.url, { title: automaticTitle, keyFile })
  }

  async close(): Promise<void> {
    await this.#opened.disposeAsync()
  }
}

async function makeNetwork(folder: string, told: (words: string) => void): Promise<Directory> {
  // What an interrupted first start left behind is worth nothing: no key in it was ever listed.
  for (const part of ["directory", "pocs", "relay"]) rmSync(join(folder, part), { recursive: true, force: true })
  told(
    "Each agency makes its keys at its own desk; two officers of the Secretariat approve each entry in the public log.",
  )
  const { un, ...agencies } = cast
  const secretariat = await makeHome(folder, "un")
  const directory = await Directory.init(join(folder, "directory"), {
    ...nodeMachine,
    realm,
    secretariat: {
      agency: un.agency,
      organisation: un.organisation,
      ...secretariat.key,
      manifest: secretariat.manifest,
    },
  })
  const trust = directory.trustFile()
  mkdirSync(join(folder, "relay"), { recursive: true, mode: 0o700 })
  await listRelay(folder, directory)
  await settleHome(folder, "un", trust)
  for (const name of Object.keys(agencies) as (keyof typeof agencies)[]) {
    const { agency, organisation, role, state } = agencies[name]
    const { key, manifest } = await makeHome(folder, name)
    const nomination = { state, role, agency, organisation, ...key, isDefault: true, manifest }
    await approveByTwo(folder, directory, await directory.nominate(nomination))
    await settleHome(folder, name, trust)
  }
  writeFileSync(join(folder, "trust.txt"), trust)
  return directory
}

/** Two different officers sign at the Secretariat's desk; then the entry is logged. */
async function approveByTwo(folder: string, directory: Directory, proposal: Proposal): Promise<void> {
  for (const spec of approvers) {
    const approval = await withApprover(folder, spec, (officer, key) =>
      signApproval(key, realm, directory.approvalFor(proposal.id, officer)),
    )
    await directory.approve(proposal.id, approval)
  }
  await directory.issue(proposal.id)
}

async function listRelay(folder: string, directory: Directory): Promise<void> {
  const key = relayKey(join(folder, "relay"))
  const { publicKey } = key
  const member = signPossession(key, realm, { use: "relay", host: relayHost })
  key.erase()
  const proposal = await directory.listRelay({
    host: relayHost,
    urls: [],
    organisation: cast.un.organisation,
    key: publicKey,
    member,
  })
  await approveByTwo(folder, directory, proposal)
}

/** Certificates and manifests that have expired or soon will. Throws `ERR_USAGE` if this network has no future. */
async function renew(folder: string, directory: Directory, told: (words: string) => void): Promise<void> {
  const now = seconds(nodeMachine.clock)
  const soon = now + renewAheadSeconds
  refuseOldClock(directory, now)
  if ((await caEnds(directory)) < now + lifetimeSecondsMax.leaf) {
    if (readCertificate(directory.anchor.rootCertificate).notAfter < now + lifetimeSecondsMax.ca)
      throw new ValiseError("ERR_USAGE", "the root certificate of this sandbox's directory is too near its end", {
        hint: "a new root is a new network: choose another folder with --data",
      })
    await directory.renewCa()
    told("The directory's issuing CA was renewed under its root.")
  }
  const relay = directory.state.relay(relayHost)
  if (!relay || relay.notAfter < soon) {
    await listRelay(folder, directory)
    told("The relay's certificate was renewed.")
  }
  for (const name of names) {
    const poc = directory.state.poc(addressOf(name))
    if (!poc) continue
    if (poc.notAfter < soon) {
      const member = await withVault(folder, name, (vault) =>
        withPocKey(vault, pocSecret(folder, name), (key) => signMember(key, realm, poc.address)),
      )
      await approveByTwo(folder, directory, await directory.renewCertificate(poc.address, member))
      told(`${poc.address}: the entry was confirmed and its certificate renewed.`)
    }
    if (poc.manifest && poc.manifestBytes && poc.manifest.expires < soon) {
      const previous = { manifest: poc.manifest, bytes: poc.manifestBytes }
      const next = await withVault(folder, name, (vault) =>
        nextManifest(vault, pocSecret(folder, name), nodeMachine, previous, previous.manifest),
      )
      await directory.submitManifest(poc.address, next.signed, next.coSignatures)
      told(`${poc.address}: its manifest was about to expire and was renewed.`)
    }
  }
}

/** Keys and papers of the future are refused everywhere, so the story would only wait. */
function refuseOldClock(directory: Directory, now: number): void {
  const newest = Math.max(...directory.state.pocs().map((poc) => poc.manifest?.created ?? 0))
  if (newest <= now + fixed.clockSkewSecondsMax) return
  const date = new Date(newest * 1000).toISOString().slice(0, 10)
  throw new ValiseError("ERR_USAGE", `this machine's clock is behind: the sandbox was last renewed on ${date}`, {
    hint: "set the clock, or choose another folder with --data",
  })
}

/** When the newest issuing CA in the log ends, in seconds. */
async function caEnds(directory: Directory): Promise<number> {
  const entries = (await directory.logSource().entries(0, directory.state.size)).map((leaf) =>
    entryStructure.decode(leaf),
  )
  const newest = entries.findLast(({ kind }) => kind === "ca")
  return newest ? readCertificate(bodyStructures.ca.decode(newest.body).certificate).notAfter : 0
}

/** Serves the directory to commands in other terminals; its address. @param grown called when they have changed it */
async function serveDirectoryIn(
  folder: string,
  directory: Directory,
  opened: AsyncDisposableStack,
  grown: () => void,
): Promise<string> {
  const place = join(folder, "directory")
  const file = serviceLog(logDestination(join(folder, "directory.log")))
  const log: ServiceLog = {
    ...file,
    info: (event, fields) => {
      file.info(event, fields)
      if (event === "entry.logged") grown()
    },
  }
  const service = await serviceOn(place, directory, log)
  const desk = deskSocket(place)
  const server = await serveDirectory({
    service,
    host: "127.0.0.1",
    port: 0,
    proxies: [],
    // In a folder with a long way to it the sandbox does without a desk.
    ...(desk.length <= socketPathMax && { deskSocket: desk }),
    log,
  })
  opened.defer(() => server.close())
  return server.url
}

/** Starts the relay; what must be closed later goes onto the stack. Its address, e.g. `ws://127.0.0.1:4433/`. */
export async function startRelay(
  folder: string,
  directory: Directory,
  port: number,
  opened: AsyncDisposableStack,
): Promise<string> {
  const { server } = await startRelayIn(
    {
      folder: join(folder, "relay"),
      host: relayHost,
      anchor: directory.anchor,
      key: relayKey(join(folder, "relay")),
      source: directory.logSource(),
      configFor: () => parseRelayConfig({ port }),
      log: relayLog({ write: (line) => appendFileSync(relayLogFile(folder), line, { mode: 0o600 }) }),
      keepsLog: false,
    },
    opened,
  )
  return server.url
}

/** Resolves when peers can write to it. */
async function switchOn(poc: Poc, directory: Directory, stop: AbortSignal): Promise<void> {
  await poc.syncLog(directory.logSource())
  poc.connect()
  try {
    await poc.until(() => (poc.ready ? true : undefined), AbortSignal.any([stop, AbortSignal.timeout(readyMaxMs)]))
  } catch (cause) {
    if (stop.aborted || poc.status.state !== "elsewhere") throw cause
    throw new ValiseError("ERR_USAGE", `another process uses the vault of ${poc.whoami().poc} and talks for it`, {
      cause,
      hint: "end it (`valise inbox watch`, another sandbox), then start again",
    })
  }
}

/** Brazil's second device publishes its prekeys and is switched off again. */
async function switchOnForAMoment(folder: string, directory: Directory, url: string, stop: AbortSignal): Promise<void> {
  const home = folderOf(folder, "br")
  const poc = await openPoc({
    vault: join(home, "device-2.vault"),
    keyFile: join(home, "device-2.key"),
    relay: url,
    connect: false,
  })
  try {
    const lastOn = poc.lastReady()
    if (lastOn !== undefined && nodeMachine.clock.now() - lastOn * 1000 < secondDeviceEveryMs) return
    await switchOn(poc, directory, stop)
  } finally {
    await poc.close()
  }
}

function openAs(
  folder: string,
  name: Name,
  relay: string,
  officer: { title?: string; keyFile: string } = { keyFile: join(folderOf(folder, name), "officer.key") },
  connectNow = true,
): Promise<Poc> {
  const home = folderOf(folder, name)
  const title = officer.title ?? "duty officer (exercise)"
  return openPoc({
    vault: join(home, "device-1.vault"),
    keyFile: join(home, "device-1.key"),
    officer: { ...officer, title },
    relay,
    connect: connectNow,
  })
}

const relayLogFile = (folder: string): string => join(folder, "relay", "relay.log")
