/** One device of a PoC: a vault's file, a machine with a clock of its own, and the process that runs on it, or not. */
import type { PocAddress } from "../../protocol/address.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { homeSchema } from "../../client-sdk/collections.ts"
import { Home } from "../../client-sdk/home.ts"
import { Poc } from "../../client-sdk/poc.ts"
import type { UnlockSecret } from "../../client-sdk/vault/lock.ts"
import type { MemoryVaultFile } from "../../client-sdk/vault/storage-memory.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import { nodeDeflate } from "../../system/node.ts"
import { Chance } from "./chance.ts"
import { copyOf, CrashingStorage } from "./disk.ts"
import { MachineClock, settled, type VirtualTime } from "./time.ts"
import type { SimulatedNetwork } from "./wire.ts"

/** What of a device outlives its process; copied for every seed. */
export interface DeviceAtRest {
  readonly name: string
  readonly poc: PocAddress
  /** Hexadecimal, as the mailbox is. */
  readonly id: string
  readonly mailbox: string
  readonly file: MemoryVaultFile
  readonly secret: UnlockSecret
  /** Of the duty officer, who sits at this device. */
  readonly officerSecret: UnlockSecret | undefined
}

/** A device's file as it was, and what whoever follows it knew. */
export interface OldCopy {
  readonly file: MemoryVaultFile
  readonly journalSeen: number
  /** Keys of the records that the vault held. */
  readonly prekeys: ReadonlySet<string>
}

export interface DeviceParts {
  readonly seed: number
  readonly time: VirtualTime
  readonly network: SimulatedNetwork
  readonly note: (who: string, what: string) => void
}

interface Process {
  isAlive: boolean
  readonly storage: CrashingStorage
  readonly home: Home
  readonly poc: Poc
}

export class Device {
  readonly atRest: DeviceAtRest
  readonly clock: MachineClock
  readonly #parts: DeviceParts
  /** Commits of this process that are known to whoever follows its journal. */
  followed = 0
  /** Records of its journal that are known. */
  journalSeen = 0
  /** Since when it has talked to the relay without a break; `undefined` while it does not. */
  liveSinceMs: number | undefined
  #process: Process | undefined
  #starts = 0

  constructor(atRest: DeviceAtRest, parts: DeviceParts) {
    this.atRest = atRest
    this.#parts = parts
    this.clock = new MachineClock(parts.time)
  }

  get name(): string {
    return this.atRest.name
  }

  get id(): string {
    return this.atRest.id
  }

  get mailbox(): string {
    return this.atRest.mailbox
  }

  get isRunning(): boolean {
    return this.#process !== undefined
  }

  /** Whether all that it has committed is known. */
  get isFollowed(): boolean {
    return this.#process !== undefined && this.#process.storage.changes === this.followed
  }

  /** Whether its clock is so wrong that peers refuse what it dates. */
  get isSkewed(): boolean {
    return Math.abs(this.clock.aheadMs) > 300_000
  }

  get nowSeconds(): number {
    return Math.floor(this.clock.of(() => true).now() / 1000)
  }

  /** Throws unless it is running. */
  get poc(): Poc {
    return this.#process!.poc
  }

  get home(): Home {
    return this.#process!.home
  }

  get storage(): CrashingStorage {
    return this.#process!.storage
  }

  /** Messages that are on their way. */
  pending(): readonly string[] {
    return this.isRunning ? this.home.vault.read((tx) => [...tx.list("outbox")].map(([key]) => key)) : []
  }

  async start(): Promise<void> {
    const { seed, time, network, note } = this.#parts
    this.followed = -1
    const { file, secret, officerSecret, name } = this.atRest
    const life = { isAlive: true }
    const storage: CrashingStorage = new CrashingStorage(file, () => this.#died(life))
    const random = new Chance(seed, `${name}/${this.#starts++}`)
    const machine = { clock: this.clock.of(() => life.isAlive), random, deflate: nodeDeflate }
    const home = new Home(await Vault.open(storage, secret, machine, homeSchema), machine)
    const poc = new Poc({
      home,
      transport: network.transportOf(name, () => life.isAlive),
      url: "wss://relay.example/",
      acquireLine: () => ({ release: () => undefined }),
    })
    if (officerSecret) await poc.unlockOfficer(officerSecret)
    if (!life.isAlive) return
    this.#process = Object.assign(life, { storage, home, poc })
    note(name, "starts")
    poc.on((event) => {
      if (event.kind === "link") this.liveSinceMs = event.status.state === "live" ? time.nowMs : undefined
    })
    poc.connect()
  }

  /** The process is killed: its memory is gone, its file stays. */
  kill(): void {
    if (this.#process) this.#died(this.#process)
  }

  /** What a backup of the whole machine holds; `undefined` while it is off or something is not followed yet. */
  copy(): OldCopy | undefined {
    if (!this.isFollowed) return undefined
    const prekeys = this.home.vault.read((tx) => new Set([...tx.list("prekeys")].map(([key]) => key)))
    return { file: copyOf(this.atRest.file), journalSeen: this.journalSeen, prekeys }
  }

  /** The process is killed, and its disk is what it was. */
  putBack(old: OldCopy): void {
    this.kill()
    const { meta, records } = copyOf(old.file)
    const file = this.atRest.file
    file.meta.clear()
    file.records.clear()
    for (const [name, value] of meta) file.meta.set(name, value)
    for (const [place, record] of records) file.records.set(place, record)
    this.journalSeen = old.journalSeen
  }

  /** Ends it as a program does. */
  async close(): Promise<void> {
    const { poc } = this.#process!
    this.#process = undefined
    await poc.close()
    await settled()
  }

  /** What a person does here; a device that dies meanwhile or whose disk is full has not done it. */
  act(what: string, action: (poc: Poc) => void): boolean {
    if (!this.#process) return false
    try {
      action(this.#process.poc)
      this.#parts.note(this.name, what)
      return true
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
      this.#parts.note(this.name, `${what}: ${error.code}`)
      return false
    }
  }

  #died(life: { isAlive: boolean }): void {
    if (!life.isAlive) return
    life.isAlive = false
    const process = this.#process
    if (process === life) this.#process = undefined
    this.liveSinceMs = undefined
    process?.storage.crash()
    this.#parts.note(this.name, "dies")
    this.#parts.network.hangUp("up", this.name)
  }
}
