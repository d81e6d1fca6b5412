/** The relay's machine: its disk, its process, and what it does when it is not honest. */
import type { MailboxId, Realm } from "../../protocol/address.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import type { LogSource } from "../../pki/log-source.ts"
import { DirectoryMirror } from "../../relay/directory-mirror.ts"
import { silentLog, type RelayLog } from "../../relay/log.ts"
import { Relay } from "../../relay/relay.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { Chance } from "./chance.ts"
import { Hostile, type Pool, type StoreWitness } from "./hostile.ts"
import { MachineClock, type VirtualTime } from "./time.ts"
import type { SimulatedNetwork } from "./wire.ts"

export const relayHost = "relay.example"

export interface RelayAtRest {
  readonly disk: MemoryDisk
  /** Of its signing key. */
  readonly keySeed: Uint8Array
  readonly certificate: Uint8Array
  /** What a hostile relay remembers of prekeys; by device. */
  readonly pools: ReadonlyMap<string, Pool>
}

export interface RelayHostParts {
  readonly seed: number
  readonly time: VirtualTime
  readonly network: SimulatedNetwork
  readonly realm: Realm
  readonly anchor: TrustAnchor
  readonly log: () => LogSource
  readonly witness: StoreWitness
  readonly summon: (mailbox: MailboxId) => void
  readonly note: (who: string, what: string) => void
}

/** A sync of the relay's disk, in milliseconds: usually quick. */
const syncMs = { least: 1, most: 15, slowMost: 900 }

export class RelayHost {
  readonly clock: MachineClock
  readonly hostile: Hostile
  isSlowDisk = false
  readonly #atRest: RelayAtRest
  readonly disk: MemoryDisk
  readonly #parts: RelayHostParts
  readonly #chance: Chance
  #process: { isAlive: boolean; readonly store: MailboxStore; readonly mirror: DirectoryMirror } | undefined
  #starts = 0

  constructor(atRest: RelayAtRest, parts: RelayHostParts) {
    this.#atRest = atRest
    this.#parts = parts
    this.clock = new MachineClock(parts.time)
    this.#chance = new Chance(parts.seed, "relay's disk")
    this.disk = atRest.disk.copy((sync) => {
      const most = this.isSlowDisk ? syncMs.slowMost : syncMs.most
      parts.time.after(this.#chance.between(syncMs.least, most), sync)
    })
    const { seed, time, witness, summon } = parts
    this.hostile = new Hostile({
      chance: new Chance(seed, "hostile relay"),
      time,
      witness,
      pools: atRest.pools,
      summon,
    })
  }

  get isRunning(): boolean {
    return this.#process !== undefined
  }

  /** The store as it is now, for a look that no program has. */
  get store(): MailboxStore | undefined {
    return this.#process?.store
  }

  /** Resolves, in virtual time, when it listens. */
  async start(): Promise<void> {
    const { seed, realm, anchor, log: source, network, note } = this.#parts
    const { keySeed, certificate } = this.#atRest
    const life = { isAlive: true }
    const random = new Chance(seed, `relay/${this.#starts++}`)
    const clock = this.clock.of(() => life.isAlive)
    const store = this.disk.open()
    const log: RelayLog = { ...silentLog, fault: (error) => note("relay", `fault ${codeOf(error)}`) }
    const mirror = new DirectoryMirror({ anchor, host: relayHost, source: latest(source), clock, log })
    const relay = new Relay({
      realm,
      host: relayHost,
      key: this.hostile.keyInstead(keySeed),
      certificate: () => certificate,
      store: this.hostile.storeInstead(store),
      directory: this.hostile.directoryInstead(mirror),
      clock,
      random,
      log,
    })
    this.#process = Object.assign(life, { store, mirror })
    await mirror.follow((device, mailbox) => relay.deviceLeft(device, mailbox))
    if (!life.isAlive) return
    network.relay = relay
    note("relay", "starts")
  }

  /** Power is cut: what was not synced is lost or torn, and every connection ends. */
  crash(): void {
    this.disk.mend()
    if (!this.#process) return
    const { network, note } = this.#parts
    this.#process.isAlive = false
    this.#process.mirror.stop()
    this.#process = undefined
    network.relay = undefined
    const isTorn = this.#chance.percent(50)
    this.disk.crash((waiting) => (isTorn ? this.#chance.below(waiting + 1) : 0))
    note("relay", "crashes")
    network.hangUp("down")
  }

  /** From now on every sync fails, until it is started anew. */
  breakDisk(): void {
    this.disk.break()
  }
}

/** The directory may have been started anew since. */
const latest = (source: () => LogSource): LogSource => ({
  checkpoint: () => source().checkpoint(),
  entries: (from, max) => source().entries(from, max),
})

const codeOf = (error: unknown): string => (error instanceof Error && "code" in error ? String(error.code) : "?")
