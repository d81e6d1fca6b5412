/**
 * The SDK's inside without a connection: its outbox and inbox on one vault, driven by hand. Also the desk of a dishonest
 * peer, who has real keys and seals what no honest program would.
 */
import { copyFileSync, existsSync } from "node:fs"
import { afterAll, beforeAll, beforeEach } from "vitest"
import type { DeviceId, Incarnation, MailboxId, MessageId, PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import type { Leaf } from "../../protocol/leaves.ts"
import { checkPrekey } from "../../protocol/prekey.ts"
import type { RelayReceipt } from "../../protocol/relay-receipt.ts"
import { seal, type Recipient, type Sealed } from "../../protocol/seal.ts"
import type { Signed } from "../../protocol/statement.ts"
import { homeSchema, perDevice, type MessageRecord } from "../../client-sdk/collections.ts"
import type { JournalDetails } from "../../client-sdk/vault/journal.ts"
import type { MessageType } from "../../client-sdk/api.ts"
import { Consents } from "../../client-sdk/consents.ts"
import { frameLeaves, type Frame } from "../../client-sdk/content.ts"
import { Home } from "../../client-sdk/home.ts"
import { Inbox, type Outcome } from "../../client-sdk/inbox.ts"
import { Outbox } from "../../client-sdk/outbox.ts"
import { Prekeeper } from "../../client-sdk/prekeeper.ts"
import { Receipts } from "../../client-sdk/receipts.ts"
import { readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { MemoryVaultFile, MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import type { VaultStorage } from "../../client-sdk/vault/storage.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import type { Machine } from "../../system/machine.ts"
import { nodeRandom } from "../../system/node.ts"
import { TestNetwork, type Name } from "./network.ts"

export interface InsideOptions {
  readonly device?: number
  /** Another storage than the member's vault file: a copy of it. */
  readonly storage?: VaultStorage
  readonly machine?: Machine
}

/** What a dishonest peer may choose; all else is as an honest one does it. */
export interface Forgery {
  readonly messageId?: MessageId
  readonly case?: Uint8Array
  readonly to?: readonly PocAddress[]
  readonly leaves?: readonly Leaf[]
  /** Instead of the frame's leaves and `leaves`. */
  readonly allLeaves?: readonly Leaf[]
  readonly created?: number
  readonly expires?: number
  readonly contentKey?: Uint8Array
  readonly checkpoint?: Uint8Array
  readonly pairSequence?: { readonly incarnation: Incarnation; readonly n: number }
  /** `false`: nobody releases it. */
  readonly officer?: boolean
  readonly inReplyTo?: Frame["inReplyTo"]
  readonly involved?: readonly PocAddress[]
}

export class Inside {
  readonly home: Home
  readonly outbox: Outbox
  readonly consents: Consents
  readonly inbox: Inbox
  readonly prekeeper: Prekeeper
  readonly incarnation = nodeRandom.bytes(16) as Incarnation

  static async open(network: TestNetwork, name: Name, options: InsideOptions = {}): Promise<Inside> {
    const { device = 1, machine = network.machine } = options
    const storage = options.storage ?? openVaultFile(network.vaultPath(name, device))
    const secret = readKeyFile(network.keyPath(name, `device-${device}`))
    const home = new Home(await Vault.open(storage, secret, machine, homeSchema), machine)
    if (device === 1) await home.unlockOfficer(readKeyFile(network.keyPath(name, "officer")))
    if (home.mirror.size === 0) await home.mirror.sync(network.directory.logSource())
    return new Inside(home)
  }

  constructor(home: Home) {
    this.home = home
    this.outbox = new Outbox(home)
    const receipts = new Receipts(home, this.outbox)
    this.consents = new Consents(home, this.outbox)
    this.inbox = new Inbox(home, this.outbox, receipts, this.consents)
    this.prekeeper = new Prekeeper(home)
  }

  get mailbox(): MailboxId {
    return this.home.identity.mailbox
  }

  receive(bytes: Uint8Array): Outcome {
    return this.inbox.receive(bytes)
  }

  /** Makes prekeys, counts them as published, and gives them out: one-time keys first. */
  publish(): { readonly oneTime: Signed[]; readonly rotating: Signed | undefined } {
    this.prekeeper.replenish(0)
    const oneTime: Signed[] = []
    let rotating: Signed | undefined
    for (let batch = this.prekeeper.unpublished(); batch; batch = this.prekeeper.unpublished()) {
      this.prekeeper.markSent(batch.ids)
      this.prekeeper.confirmPublished(batch.ids)
      oneTime.push(...batch.oneTime)
      rotating = batch.rotating ?? rotating
    }
    return { oneTime, rotating }
  }

  /** Seals what the outbox holds and gives the envelopes; `prekeyOf` plays the relay. */
  async flush(
    prekeyOf: (device: DeviceId) => Signed | undefined,
  ): Promise<{ mailbox: string; bytes: Uint8Array; type: MessageType }[]> {
    const sealed: { mailbox: string; bytes: Uint8Array; type: MessageType }[] = []
    const never = new Promise<RelayReceipt>(() => undefined)
    for (const key of this.outbox.pending()) {
      await this.outbox.fetchPrekeys(key, { fetchPrekey: async (device) => prekeyOf(device), submit: () => never })
      this.outbox.sealIfReady(key)
      this.home.vault.transaction((tx) => {
        const row = tx.get("outbox", key)
        const type = tx.get("messages", key)!.type
        if (row?.state !== "sealed") return
        for (const { device, mailbox } of tx.get("messages", key)!.devices!) {
          const place = perDevice(key, device)
          const outgoing = tx.get("outgoing", place)
          if (outgoing && "bytes" in outgoing) sealed.push({ mailbox: hex(mailbox), bytes: outgoing.bytes, type })
          tx.delete("outgoing", place)
        }
        tx.delete("outbox", key)
      })
    }
    return sealed
  }

  /** Composes a message as the public object would. */
  write(type: MessageType, to: readonly PocAddress[], leaves: readonly Leaf[] = [], more: Partial<Frame> = {}): string {
    const frame: Frame = { type, case: nodeRandom.bytes(16), to, ...more }
    const all = [...frameLeaves(frame), ...leaves]
    const said = { type, case: frame.case, to, leaves: all, copyToOwnDevices: false }
    return hex(this.home.vault.transaction((tx) => this.outbox.compose(tx, said)))
  }

  record(id: string): MessageRecord | undefined {
    return this.home.vault.read((tx) => tx.get("messages", id))
  }

  /** What has been received, oldest first. */
  received(): MessageRecord[] {
    return this.home.vault
      .read((tx) => [...tx.list("messages")].map(([, row]) => row))
      .filter(({ direction }) => direction === "in")
      .toSorted((a, b) => a.order - b.order)
  }

  /** Kinds and texts of the notices, oldest first. */
  notices(): string[] {
    return this.home.vault.read((tx) => [...tx.list("notices")].map(([, { kind, text }]) => `${kind}: ${text}`))
  }

  journal(event: string): readonly JournalDetails[] {
    return this.home.vault.read((tx) =>
      [...tx.journal()].filter((record) => record.event === event).map(({ details }) => details),
    )
  }

  // --- the dishonest peer ---

  /** To one device, under this prekey. */
  forge(type: MessageType, to: Inside, prekey: Signed, forgery: Forgery = {}): Uint8Array {
    return this.forgeTo(type, [{ to, prekey }], forgery).envelopes[0]!.bytes
  }

  /** To several, in one message; `random` so that two of them can have one header. */
  forgeTo(
    type: MessageType,
    recipients: readonly { readonly to: Inside; readonly prekey: Signed }[],
    forgery: Forgery = {},
    random = (length: number) => nodeRandom.bytes(length),
  ): Sealed {
    const { deviceKey, identity, machine, mirror, now, officer, realm } = this.home
    const pocs = forgery.to ?? recipients.map(({ to }) => to.home.identity.poc)
    const frame: Frame = {
      type,
      case: forgery.case ?? nodeRandom.bytes(16),
      to: pocs,
      ...(forgery.involved && { involved: forgery.involved }),
      ...(forgery.inReplyTo && { inReplyTo: forgery.inReplyTo }),
    }
    const created = forgery.created ?? now
    return seal({
      realm,
      sender: { poc: identity.poc, device: identity.device, key: deviceKey },
      ...(forgery.officer !== false && officer && { officer: { id: officer.id, key: officer.key } }),
      messageId: forgery.messageId ?? (nodeRandom.bytes(16) as MessageId),
      created,
      expires: forgery.expires ?? created + 86_400,
      checkpoint: forgery.checkpoint ?? mirror.freshCheckpoint(),
      contentKey: forgery.contentKey ?? nodeRandom.bytes(32),
      leaves: forgery.allLeaves ?? [...frameLeaves(frame), ...(forgery.leaves ?? [])],
      recipients: recipients.map(({ to, prekey }) => this.#recipient(to, prekey, forgery)),
      random,
      deflate: machine.deflate,
    })
  }

  #recipient(to: Inside, prekey: Signed, { pairSequence }: Forgery): Recipient {
    const { device, mailbox, poc } = to.home.identity
    const listed = to.home.mirror.state.device(device)!
    const statement = checkPrekey(this.home.realm, { id: device, signingKey: listed.key }, prekey, this.home.now)
    const next = { incarnation: nodeRandom.bytes(16) as Incarnation, n: 1 }
    return { poc, device, mailbox, prekey: statement, pairSequence: pairSequence ?? next }
  }

  async close(): Promise<void> {
    this.home.close()
    await this.home.vault.close()
  }
}

/** The member's vault as it stands on the disk now, opened as after a crash. */
export async function restarted(network: TestNetwork, name: Name): Promise<Inside> {
  return Inside.open(network, name, { storage: new MemoryVaultStorage(snapshot(network.vaultPath(name))()) })
}

/** Members of a network without a relay, each with its vault open, and the post between them. */
export interface Desks<N extends Name> {
  readonly network: TestNetwork
  readonly post: Post
  readonly at: Readonly<Record<N, Inside>>
}

/** For the tests of one file or `describe`: made once, and before each test as it was at first, with the clock set right. */
export function useDesks<N extends Name>(...names: readonly N[]): Desks<N> {
  const desks = {} as { network: TestNetwork; post: Post; at: Record<N, Inside> }
  let rewind: (() => void)[] = []
  beforeAll(async () => {
    desks.network = await TestNetwork.open({ members: names, relay: "none" })
    const rows = await Promise.all(names.map(async (name) => [name, await Inside.open(desks.network, name)] as const))
    desks.at = Object.fromEntries(rows) as Record<N, Inside>
    desks.post = new Post().add(...rows.map(([, desk]) => desk))
    rewind = rows.map(([, desk]) => rewinder(desk))
  })
  beforeEach(() => {
    desks.network.clock.aheadSeconds = 0
    for (const go of rewind) go()
  })
  afterAll(async () => {
    for (const desk of Object.values<Inside>(desks.at)) await desk.close()
    await desks.network.close()
  })
  return desks
}

/** An envelope on its way, and what is in it. */
export interface Posted {
  readonly to: Inside
  readonly type: MessageType
  readonly bytes: Uint8Array
}

/** Carries envelopes between insides as an honest relay would, at once. */
export class Post {
  readonly #desks = new Map<string, Inside>()
  readonly #pools = new Map<string, { oneTime: Signed[]; rotating: Signed | undefined }>()

  add(...desks: readonly Inside[]): this {
    for (const desk of desks) {
      this.#desks.set(hex(desk.mailbox), desk)
      this.#pools.set(hex(desk.home.identity.device), desk.publish())
    }
    return this
  }

  /** The next prekey of this device: one-time keys first. */
  prekeyOf(device: DeviceId): Signed | undefined {
    const pool = this.#pools.get(hex(device))
    return pool?.oneTime.shift() ?? pool?.rotating
  }

  prekeyFor(desk: Inside): Signed {
    return this.prekeyOf(desk.home.identity.device)!
  }

  rotatingFor(desk: Inside): Signed {
    return this.#pools.get(hex(desk.home.identity.device))!.rotating!
  }

  /** Until nothing is on its way. What `catches` says yes to is not delivered but given back, in order. */
  async carry(catches: (posted: Posted) => boolean = () => false): Promise<Posted[]> {
    const caught: Posted[] = []
    for (;;) {
      const posted: Posted[] = []
      for (const desk of this.#desks.values())
        for (const { bytes, mailbox, type } of await desk.flush((device) => this.prekeyOf(device)))
          if (this.#desks.has(mailbox)) posted.push({ to: this.#desks.get(mailbox)!, type, bytes })
      if (posted.length === 0) return caught
      for (const one of posted) {
        if (catches(one)) caught.push(one)
        else one.to.receive(one.bytes)
      }
    }
  }
}

/** A vault as it stands on the disk, to be opened in memory as often as a test likes. */
export function snapshot(path: string): () => MemoryVaultFile {
  const storage = openVaultFile(path)
  const disk = storage.read((rows) => {
    const file = new MemoryVaultFile()
    for (const name of ["header", "head"] as const) file.meta.set(name, rows.meta(name)!)
    for (const { collection, id } of rows.entries())
      file.records.set(hex(collection) + hex(id), rows.record(collection, id)!)
    return file
  })
  storage.close()
  return () => {
    const file = new MemoryVaultFile()
    for (const [name, value] of disk.meta) file.meta.set(name, value)
    for (const [place, record] of disk.records) file.records.set(place, record)
    return file
  }
}

/** Puts the vault back to what it held when this was called; quicker than opening a copy, which replays the log. */
export function rewinder({ home }: Inside): () => void {
  const names = ["messages", "outbox", "receipts", "consents", "notices", "prekeys", "replay", "counters"] as const
  const before = names.map((name) => ({ name, rows: home.vault.read((tx) => [...tx.list(name)]) }))
  return () =>
    home.vault.transaction((tx) => {
      for (const { name, rows } of before) {
        for (const [key] of tx.list(name)) tx.delete(name, key)
        for (const [key, value] of rows) tx.put(name, key, value)
      }
    })
}

/** Copies a vault file that nobody has open. */
export function copyVault(from: string, to: string): void {
  for (const end of ["", "-wal", "-shm"]) if (existsSync(from + end)) copyFileSync(from + end, to + end)
}
