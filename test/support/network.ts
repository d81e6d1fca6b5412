/** A whole small network in one process: real directory, relay on a loopback socket, PoCs with vaults in a temporary folder. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Writable } from "node:stream"
import type { Hash, PocAddress, Realm } from "../../protocol/address.ts"
import { signManifest, signMember, type Manifest, type OfficerRight } from "../../protocol/manifest.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { signApproval } from "../../pki/entries.ts"
import { signPossession } from "../../pki/possession.ts"
import { Directory } from "../../directory/directory.ts"
import type { Proposal } from "../../directory/proposals.ts"
import { homeSchema, type HomeVault } from "../../client-sdk/collections.ts"
import {
  createDevice,
  createOfficer,
  createPocKey,
  deviceRow,
  nextManifest,
  trustDirectory,
} from "../../client-sdk/enrol.ts"
import { openPoc, type Message, type Notice, type Poc } from "../../client-sdk/index.ts"
import { createKeyFile, readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import { parseRelayConfig } from "../../relay/config.ts"
import { DirectoryMirror } from "../../relay/directory-mirror.ts"
import { relayLog } from "../../relay/log.ts"
import { Relay } from "../../relay/relay.ts"
import { serveRelay, type RelayServer } from "../../relay/server.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import type { Clock, Machine } from "../../system/machine.ts"
import { nodeClock, nodeDeflate, nodeRandom } from "../../system/node.ts"
import { officerEntry, officerKeyOf, officerOf, pocKeyOf } from "./directory.ts"
import { MaliciousRelay } from "./malicious-relay.ts"

export const realm: Realm = { origin: "directory.example", mode: "exercise" }
export const relayHost = "relay.example"
export const day = 86_400

/** Real time and real timers; what it says can be moved. */
export class TestClock implements Clock {
  /** How far the time of day is ahead of the machine's, in seconds. */
  aheadSeconds = 0
  /** How far the time since the start is ahead, in milliseconds; timers do not run faster for it. */
  aheadMonotonicMs = 0

  now(): number {
    return nodeClock.now() + this.aheadSeconds * 1000
  }

  monotonic(): number {
    return nodeClock.monotonic() + this.aheadMonotonicMs
  }

  after(delayMs: number, call: () => void): () => void {
    return nodeClock.after(delayMs, call)
  }

  get seconds(): number {
    return Math.floor(this.now() / 1000)
  }
}

export interface Member {
  readonly address: PocAddress
  readonly devices: number
  readonly rights?: readonly OfficerRight[]
}

/** Invented agencies; tests take those that they need. */
export const members = {
  kenya: { address: "ke/technical/baobab" as PocAddress, devices: 1 },
  singapore: { address: "sg/technical/merlion" as PocAddress, devices: 1 },
  brazil: { address: "br/technical/ipe" as PocAddress, devices: 1 },
  france: { address: "fr/technical/chene" as PocAddress, devices: 1 },
} as const satisfies Record<string, Member>
export type Name = keyof typeof members

export interface NetworkOptions {
  readonly members?: readonly Name[]
  /** PoCs with more than one device. */
  readonly devices?: Partial<Record<Name, number>>
  readonly rights?: Partial<Record<Name, readonly OfficerRight[]>>
  /** `none`: PoCs that are driven by hand (`inside.ts`) need no sockets. */
  readonly relay?: "memory" | "disk" | "malicious" | "none"
  readonly inFront?: InFront
}

/** How the relay is reached over TLS. */
export interface InFront {
  readonly tlsCertificateHash?: Hash
  /** What clients write in the header `Host`. */
  readonly hosts: string[]
  /** If TLS ends at the relay itself. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

export interface OpenAs {
  readonly device?: number
  /** Unlock the officer; the default. */
  readonly officer?: boolean
  readonly connect?: boolean
  /** Another address than the relay's own. */
  readonly relay?: string
  /** Another file than the member's vault: a copy of it. */
  readonly path?: string
  /** A clock of its own instead of the network's. */
  readonly clock?: Clock
  /** Wait until peers can write to it; the default when it connects. */
  readonly ready?: boolean
}

const duty: readonly OfficerRight[] = ["acknowledge", "release", "consent", "attest"]
const secretariat = "un/secretariat/valise" as PocAddress
const patience = 20_000

export class TestNetwork {
  readonly folder = mkdtempSync(join(tmpdir(), "valise-network-"))
  readonly clock = new TestClock()
  /** Set if the relay is the malicious one. */
  malicious: MaliciousRelay | undefined
  url = ""
  trust = ""
  #directory: Directory | undefined
  #relay:
    | {
        readonly server: RelayServer
        readonly mirror: DirectoryMirror
        readonly store: MailboxStore
        readonly follow: () => Promise<void>
        readonly close: () => Promise<void>
      }
    | undefined
  /** Counts from the relay's next start. */
  inFront: InFront | undefined
  readonly relayKey = new SigningKey(nodeRandom.bytes(32))
  readonly #options: NetworkOptions
  readonly #opened = new Set<Poc>()

  static async open(options: NetworkOptions = {}): Promise<TestNetwork> {
    const network = new TestNetwork(options)
    try {
      await network.#make()
      return network
    } catch (error) {
      await network.close()
      throw error
    }
  }

  constructor(options: NetworkOptions) {
    this.#options = options
    this.inFront = options.inFront
  }

  get directory(): Directory {
    return this.#directory!
  }

  get machine(): Machine {
    return { clock: this.clock, random: nodeRandom, deflate: nodeDeflate }
  }

  address(name: Name): PocAddress {
    return members[name].address
  }

  vaultPath(name: Name, device = 1): string {
    return join(this.folder, name, `device-${device}.vault`)
  }

  keyPath(name: Name, which: string): string {
    return join(this.folder, name, `${which}.key`)
  }

  /** Opens this member's vault as a program does; closed with the network unless the test closes it. */
  async poc(name: Name, options: OpenAs = {}): Promise<Poc> {
    const { device = 1, officer = true, connect = true, clock = this.clock, ready = connect } = options
    const poc = await openPoc({
      vault: options.path ?? this.vaultPath(name, device),
      keyFile: this.keyPath(name, `device-${device}`),
      ...(officer && device === 1 && { officer: { keyFile: this.keyPath(name, "officer") } }),
      relay: options.relay ?? this.url,
      machine: { ...this.machine, clock },
      connect: false,
    })
    this.#opened.add(poc)
    if (poc.whoami().log.size === 0) await poc.syncLog(this.directory.logSource())
    if (connect) poc.connect()
    if (ready) await poc.until(() => (poc.ready ? true : undefined), AbortSignal.timeout(patience))
    return poc
  }

  /** All members of the network, open and ready, in the order in which they were named. */
  async all(): Promise<Poc[]> {
    return await Promise.all(this.#names().map((name) => this.poc(name)))
  }

  /** Closes it as a program does. */
  async shut(poc: Poc): Promise<void> {
    this.#opened.delete(poc)
    await poc.close()
  }

  /** The vault itself, for a look that no program has. Nothing else of this member should be writing. */
  async vault<T>(name: Name, look: (vault: HomeVault) => T | Promise<T>, device = 1, path?: string): Promise<T> {
    const storage = openVaultFile(path ?? this.vaultPath(name, device))
    const vault = await Vault.open(
      storage,
      readKeyFile(this.keyPath(name, `device-${device}`)),
      this.machine,
      homeSchema,
    )
    try {
      return await look(vault)
    } finally {
      await vault.close()
    }
  }

  /** Logs this member's next manifest. */
  async changeManifest(
    name: Name,
    change: (manifest: Manifest) => Partial<Pick<Manifest, "devices" | "officers">>,
  ): Promise<void> {
    const { manifest, manifestBytes } = this.directory.state.poc(this.address(name))!
    const content = { devices: manifest!.devices, officers: manifest!.officers, ...change(manifest!) }
    const next = await this.vault(name, (vault) =>
      nextManifest(
        vault,
        readKeyFile(this.keyPath(name, "poc")),
        this.machine,
        { manifest: manifest!, bytes: manifestBytes! },
        content,
      ),
    )
    await this.directory.submitManifest(this.address(name), next.signed, next.coSignatures)
    await this.relayFollows()
  }

  /** Dates the log's checkpoint anew, as the directory does every few minutes. */
  async redate(): Promise<void> {
    await this.#directory!.close()
    this.#directory = await Directory.open(join(this.folder, "directory"), this.machine)
    await this.relayFollows()
  }

  /** The relay takes over what is new in the log, and forgets devices that have left. */
  async relayFollows(): Promise<void> {
    await this.#relay?.follow()
  }

  /** What the relay keeps. */
  get store(): MailboxStore {
    return this.#relay!.store
  }

  async stopRelay(): Promise<void> {
    await this.#relay?.close()
    this.#relay = undefined
    await this.malicious?.close()
    this.malicious = undefined
  }

  async close(): Promise<void> {
    for (const poc of this.#opened) await poc.close()
    this.#opened.clear()
    await this.stopRelay()
    await this.#directory?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #names(): readonly Name[] {
    return this.#options.members ?? ["kenya", "singapore", "brazil"]
  }

  async #make(): Promise<void> {
    const key = pocKeyOf(secretariat)
    const approvers = ["first", "second"].map((name) => officerEntry(realm, secretariat, name, ["approve", "release"]))
    this.#directory = await Directory.init(join(this.folder, "directory"), {
      ...this.machine,
      realm,
      secretariat: {
        agency: "valise",
        organisation: "Secretariat of Tests",
        key: key.publicKey,
        member: signMember(key, realm, secretariat),
        manifest: signManifest(key, realm, {
          v: 1,
          poc: secretariat,
          version: 1,
          previous: null,
          created: this.clock.seconds,
          expires: this.clock.seconds + 90 * day,
          devices: [],
          officers: approvers,
        }),
      },
    })
    this.trust = this.#directory.trustFile()
    const { publicKey } = this.relayKey
    const member = signPossession(this.relayKey, realm, { use: "relay", host: relayHost })
    await this.approve(
      await this.#directory.listRelay({
        host: relayHost,
        urls: [],
        organisation: "Relay of Tests",
        key: publicKey,
        member,
      }),
    )
    for (const name of this.#names()) await this.#enrol(name)
    if (this.#options.relay !== "none") await this.#startRelay()
  }

  /** Both officers of the Secretariat sign, and it is logged. */
  async approve(proposal: Proposal): Promise<void> {
    for (const name of ["first", "second"]) {
      const approval = this.directory.approvalFor(proposal.id, officerOf(secretariat, name))
      await this.directory.approve(proposal.id, signApproval(officerKeyOf(secretariat, name), realm, approval))
    }
    await this.directory.issue(proposal.id)
  }

  async #enrol(name: Name): Promise<void> {
    const poc = this.address(name)
    const [state, role, agency] = poc.split("/") as [string, string, string]
    mkdirSync(join(this.folder, name), { mode: 0o700 })
    const vaults: HomeVault[] = []
    for (let n = 1; n <= (this.#options.devices?.[name] ?? members[name].devices); n++) {
      const secret = createKeyFile(this.keyPath(name, `device-${n}`), nodeRandom)
      const storage = openVaultFile(this.vaultPath(name, n), "create")
      vaults.push(await createDevice(storage, secret, this.machine, { poc, relay: relayHost, realm }))
    }
    const first = vaults[0]!
    const rights = this.#options.rights?.[name] ?? duty
    const officerSecret = createKeyFile(this.keyPath(name, "officer"), nodeRandom)
    const officer = await createOfficer(first, this.machine, {
      title: `duty officer of ${name}`,
      rights,
      secret: officerSecret,
    })
    const secret = createKeyFile(this.keyPath(name, "poc"), nodeRandom)
    const key = await createPocKey(first, this.machine, secret)
    const { signed } = await nextManifest(first, secret, this.machine, undefined, {
      devices: vaults.map(deviceRow),
      officers: [officer],
    })
    await this.approve(
      await this.directory.nominate({
        state,
        role,
        agency,
        organisation: `Agency ${name}`,
        ...key,
        isDefault: true,
        manifest: signed,
      }),
    )
    for (const vault of vaults) {
      trustDirectory(vault, this.trust)
      await vault.close()
    }
  }

  async #startRelay(): Promise<void> {
    const { certificate } = this.directory.state.relay(relayHost)!
    const [key, host] = [this.relayKey, relayHost]
    if (this.#options.relay === "malicious") {
      this.malicious = await MaliciousRelay.start({ realm, host, key, certificate, directory: () => this.directory })
      this.url = this.malicious.url
      return
    }
    const log = relayLog(new Writable({ write: (_chunk, _encoding, done) => done() }))
    const mirror = new DirectoryMirror({
      anchor: this.directory.anchor,
      host,
      source: {
        checkpoint: () => this.directory.logSource().checkpoint(),
        entries: (from, max) => this.directory.logSource().entries(from, max),
      },
      clock: this.clock,
      log,
    })
    const store =
      this.#options.relay === "disk" ? await openSegmentStore(join(this.folder, "relay")) : new MemoryDisk().open()
    const { clock } = this
    const { tlsCertificateHash, hosts = [], tls } = this.inFront ?? {}
    const about = { realm, host, key, certificate: () => certificate }
    const parts = { ...about, store, directory: mirror, clock, random: nodeRandom, log }
    const relay = new Relay({ ...parts, ...(tlsCertificateHash && { tlsCertificateHash: () => tlsCertificateHash }) })
    const follow = (): Promise<void> => mirror.follow((device, mailbox) => relay.deviceLeft(device, mailbox))
    await follow()
    const server = await serveRelay({
      relay,
      config: parseRelayConfig({ port: this.#port(), hosts }),
      clock,
      log,
      ...(tls && { tls }),
    })
    this.url = server.url
    const close = async (): Promise<void> => {
      mirror.stop()
      await server.close()
      await store.close()
    }
    this.#relay = { server, mirror, store, follow, close }
  }

  /** A relay that is started again listens where it did. */
  #port(): number {
    return this.url === "" ? 0 : Number(new URL(this.url).port)
  }

  async startRelay(): Promise<void> {
    await this.#startRelay()
  }
}

/** What a test says unless it says something else. */
export const notification = {
  tlp: "AMBER",
  subject: "Beacons from your network",
  content: { summary: "A host beacons.", observed: "Every 47 seconds.", requestedAction: "investigate" },
} as const

export const indicators: Uint8Array = new TextEncoder().encode(
  JSON.stringify({
    type: "bundle",
    id: "bundle--00000000-0000-4000-8000-000000000001",
    objects: [{ type: "ipv4-addr", id: "ipv4-addr--00000000-0000-4000-8000-000000000002", value: "198.51.100.7" }],
  }),
)

export const soon = (): AbortSignal => AbortSignal.timeout(patience)

/** The message with this id, once it has arrived here. */
export function arrived(poc: Poc, id: string): Promise<Message> {
  return poc.until(() => (poc.received().some((view) => view.id === id) ? poc.message(id) : undefined), soon())
}

/** The first notice of this kind, once it is there. */
export function noticed(poc: Poc, kind: Notice["kind"]): Promise<Notice> {
  return poc.until(() => poc.notices().find((notice) => notice.kind === kind), soon())
}

/** Resolves when this is true of what a test controls itself, which tells nobody when it changes. */
export async function eventually(isTrue: () => boolean): Promise<void> {
  const until = Date.now() + patience
  while (!isTrue()) {
    if (Date.now() > until) throw new Error("it never came true")
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Resolves when this process of the PoC has nothing under way and nothing left to send. */
export const settled = (poc: Poc): Promise<void> => poc.drain(soon())
