/** What goes wrong in a seed, and when. Each fault ends by itself after a while, all of them with `end`. */
import { Chance } from "./chance.ts"
import type { Device } from "./device.ts"
import { verbs, type Verb } from "./hostile.ts"
import type { World } from "./world.ts"

export class Faults {
  readonly #world: World
  readonly #chance: Chance
  /** How to undo what has not ended yet. */
  readonly #open = new Set<() => void>()
  #isOver = false

  constructor(world: World) {
    this.#world = world
    this.#chance = new Chance(world.seed, "faults")
  }

  /** Draws faults for so long from now on. */
  begin(forMs: number): void {
    const names = Object.keys(this.#kinds)
    for (let i = this.#chance.between(2, 7); i > 0; i--)
      this.#world.time.after(this.#chance.below(forMs), () => this.#strike(this.#chance.pick(names)))
    // What is most likely to be wrong is looked for most often.
    if (this.#chance.percent(40)) this.#strike("relay turns hostile")
    if (this.#chance.percent(60)) this.#strike("device dies at a commit")
    if (this.#chance.percent(40)) this.#strike("device's disk full")
    // Not before it has something to forget.
    if (this.#chance.percent(30))
      this.#world.time.after(Math.floor(forMs / 3), () => this.#strike("a vault goes back in time"))
  }

  #strike(name: string): void {
    if (this.#isOver) return
    this.#world.note("fault", name)
    this.#kinds[name]!(this.#chance.pick(this.#world.devices))
  }

  /** Everything is as it should be, and everybody runs. */
  async end(): Promise<void> {
    this.#isOver = true
    for (const undo of this.#open) undo()
    this.#open.clear()
    const { devices, directory, network, relay } = this.#world
    relay.crash()
    relay.hostile.behave()
    for (const device of devices) network.heal(device.name)
    directory.crash(0)
    await directory.start()
    void relay.start()
    for (const device of devices)
      if (device.isRunning) device.storage.behave()
      else await device.start()
  }

  /** Ends it after a while, or with everything. */
  #for(leastSeconds: number, mostSeconds: number, undo: () => void): void {
    this.#open.add(undo)
    this.#world.time.after(this.#chance.between(leastSeconds, mostSeconds) * 1000, () => {
      if (this.#open.delete(undo)) undo()
    })
  }

  #sleep(leastHours: number, mostHours: number): void {
    this.#world.time.leap(this.#chance.between(leastHours, mostHours) * hourMs)
  }

  #restart(what: { readonly isRunning: boolean; start(): Promise<void> }): void {
    this.#world.time.after(this.#chance.between(100, 30_000), () => {
      if (!this.#isOver && !what.isRunning) void what.start()
    })
  }

  readonly #kinds: Readonly<Record<string, (device: Device) => void>> = {
    // --- the network ---
    "connection cut": ({ name }: Device) => this.#world.network.cut(name),
    partition: ({ name }: Device) => {
      this.#world.network.cutOff.add(name)
      this.#for(3, 70, () => this.#world.network.heal(name))
    },
    "slow line": ({ name }: Device) => {
      this.#world.network.slow.add(name)
      this.#for(10, 60, () => this.#world.network.slow.delete(name))
    },
    losses: () => {
      this.#world.network.lossPer100000 = this.#chance.between(500, 4000)
      this.#for(10, 60, () => (this.#world.network.lossPer100000 = 0))
    },
    "a meddling proxy": ({ name }: Device) => {
      const [direction, how] = [this.#chance.pick(["up", "down"] as const), this.#chance.pick(meddlings)]
      this.#world.network.meddle(name, direction, how)
    },
    // --- devices ---
    "device killed": (device: Device) => {
      device.kill()
      this.#restart(device)
    },
    "device dies at a commit": (device: Device) => {
      if (!device.isRunning) return
      device.storage.failCommit(this.#chance.pick(["crash before", "crash after"]), this.#chance.between(1, 40))
      const look = (): void => {
        if (this.#isOver) return
        if (device.isRunning) this.#world.time.after(1000, look)
        else this.#restart(device)
      }
      look()
    },
    "device's disk full": (device: Device) => {
      if (device.isRunning) device.storage.failCommit("refuse", this.#chance.between(1, 40))
    },
    "device's clock jumps": (device: Device) => {
      const isFar = this.#chance.percent(60)
      const most = isFar ? 2 * dayMs : 240_000
      device.clock.aheadMs = this.#chance.between(0, 2 * most) - most
      this.#for(10, 90, () => (device.clock.aheadMs = 0))
    },
    "a vault goes back in time": (device: Device) => {
      const { time, truth } = this.#world
      const old = device.copy()
      if (!old) return
      const opened = new Set(truth.opened.get(device.id))
      if (this.#chance.percent(50)) this.#sleep(24, 70)
      time.after(this.#chance.between(5000, 40_000), () => {
        const present = device.copy()
        if (this.#isOver || !present) return
        truth.noteWentBack(
          device,
          opened,
          [...present.prekeys].filter((prekey) => !old.prekeys.has(prekey)),
        )
        device.putBack(old)
        this.#world.note(device.name, "goes back in time")
        this.#restart(device)
      })
    },
    // --- the relay ---
    "relay crashes": () => {
      const { relay } = this.#world
      relay.crash()
      this.#restart(relay)
    },
    "relay's disk slow": () => {
      const { relay } = this.#world
      relay.isSlowDisk = true
      this.#for(5, 60, () => (relay.isSlowDisk = false))
    },
    "relay's disk breaks": () => {
      const { relay } = this.#world
      relay.disk.break()
      this.#for(3, 20, () => {
        relay.crash()
        this.#restart(relay)
      })
    },
    "relay's clock jumps": () => {
      const { clock } = this.#world.relay
      const jump = (aheadMs: number): void => {
        clock.aheadMs = aheadMs
        this.#world.truth.relayClockJumpedAtMs = this.#world.time.nowMs
      }
      jump(this.#chance.between(0, 2 * dayMs) - dayMs)
      this.#for(10, 60, () => jump(0))
    },
    "relay turns hostile": () => {
      const { relay } = this.#world
      for (const group of Object.values(verbs))
        for (const verb of this.#chance.some<Verb>(group, this.#chance.below(4))) {
          this.#world.note("hostile", verb)
          relay.hostile.begin(verb)
        }
      const end = (): void => {
        this.#world.requireStaleTold()
        relay.crash()
        relay.hostile.behave()
        this.#restart(relay)
      }
      if (!relay.hostile.freezes) return this.#for(20, 90, end)
      // Until what it shows is too old to be believed.
      this.#open.add(end)
      this.#world.time.after(this.#chance.between(1000, 10_000), () => {
        if (this.#isOver) return
        this.#sleep(73, 100)
        this.#for(50, 90, end)
      })
    },
    // --- the directory ---
    "directory crashes": () => {
      const { directory } = this.#world
      directory.crash(this.#chance.below(4))
      this.#world.time.after(this.#chance.between(1000, 20_000), () => {
        if (this.#isOver) return
        directory.crash(0)
        void directory.start()
      })
    },
    "a manifest changes": () => {
      const first = this.#world.devices.find(({ name }) => name === "ke-1")
      const second = this.#world.devices.find(({ name }) => name === "ke-2")
      if (first) void this.#world.changeManifest(first, this.#chance.percent(50) ? second : undefined)
    },
    // --- everybody ---
    "hours or days pass": () => this.#sleep(1, 100),
  }
}

const meddlings = ["replay", "swap", "alter"] as const
const hourMs = 3_600_000
const dayMs = 24 * hourMs
