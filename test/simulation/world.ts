/** One seed's world: directory, relay and devices on virtual time, and somebody who sees everything and checks it. */
import { hex, utf8 } from "../../protocol/bytes.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { Chance } from "./chance.ts"
import { Device } from "./device.ts"
import { DirectoryHost } from "./directory-host.ts"
import { copyOf } from "./disk.ts"
import { found, realm, type NetworkAtRest } from "./founding.ts"
import { Journals } from "./journal.ts"
import { RelayHost } from "./relay-host.ts"
import { settled, VirtualTime } from "./time.ts"
import { Broken, Truth } from "./truth.ts"
import { SimulatedNetwork, type Direction } from "./wire.ts"

/** In every subject and text; nothing on the wire may hold it. */
export const canary = "canary-7c1e9d"

export class World {
  readonly seed: number
  readonly time = new VirtualTime()
  readonly network: SimulatedNetwork
  readonly devices: readonly Device[]
  readonly directory: DirectoryHost
  readonly truth: Truth
  readonly trace: string[] = []
  readonly atRest: NetworkAtRest
  readonly #chance: Chance
  readonly #journals: Journals
  readonly #canary = Buffer.from(utf8(canary))
  #relay: RelayHost | undefined
  #calmSinceMs: number | undefined
  #failure: Error | undefined

  /** @param names of the devices that take part */
  static async open(seed: number, atRest: NetworkAtRest, names?: readonly string[]): Promise<World> {
    const world = new World(seed, atRest, names)
    await world.directory.start()
    await world.relay.start()
    for (const device of world.devices) await device.start()
    await settled()
    return world
  }

  private constructor(seed: number, atRest: NetworkAtRest, names?: readonly string[]) {
    this.seed = seed
    this.atRest = atRest
    this.#chance = new Chance(seed, "world")
    const { time } = this
    const note = (who: string, what: string): void => this.note(who, what)
    const seen = (device: string, direction: Direction, bytes: Uint8Array): void => this.#seen(device, direction, bytes)
    this.network = new SimulatedNetwork({ time, chance: new Chance(seed, "network"), seen })
    const taking = atRest.devices.filter(({ name }) => !names || names.includes(name))
    this.devices = taking.map(
      (device) => new Device({ ...device, file: copyOf(device.file) }, { seed, time, network: this.network, note }),
    )
    this.directory = new DirectoryHost(atRest.folder.copy(), time, new Chance(seed, "directory"), note)
    this.truth = new Truth(this.devices, time, atRest.prekeys)
    const { anchor } = atRest
    this.#relay = new RelayHost(atRest.relay, {
      seed,
      time,
      network: this.network,
      realm,
      anchor,
      log: () => this.directory.log(),
      witness: this.truth,
      summon: (mailbox) => this.#summon(hex(mailbox)),
      note,
    })
    const relayKey = new SigningKey(atRest.relay.keySeed).publicKey
    const calmSinceMs = (): number | undefined => this.#calmSinceMs
    this.#journals = new Journals({ truth: this.truth, anchor, relayKey, time, calmSinceMs, note })
  }

  get relay(): RelayHost {
    return this.#relay!
  }

  device(name: string): Device {
    return this.devices.find((device) => device.name === name)!
  }

  /** This device's PoC renews its manifest, without `gone` if that is given. */
  async changeManifest(device: Device, gone: Device | undefined): Promise<void> {
    const secret = this.atRest.pocSecrets.get(device.atRest.poc)!
    const isLogged = await this.directory.changeManifest(device, secret, ({ devices }) => ({
      devices: devices.filter((row) => hex(row.device) !== gone?.id),
    }))
    if (isLogged && gone) this.truth.removed.set(gone.id, this.time.nowMs)
  }

  note(who: string, what: string): void {
    this.trace.push(`${this.time.nowMs} ${who} ${what}`)
  }

  /** For so long awake. Throws the first `Broken`, at the step that broke it. */
  async run(forMs: number, isDone: () => boolean = () => false): Promise<void> {
    const awakeUntilMs = this.time.awakeMs + forMs
    while (!isDone() && (await this.time.step(awakeUntilMs + this.time.sleptMs))) this.check()
    this.check()
  }

  check(): void {
    const isCalm = this.relay.isRunning && this.relay.hostile.isHonest && this.directory.isRunning
    this.#calmSinceMs = isCalm ? (this.#calmSinceMs ?? this.time.nowMs) : undefined
    for (const device of this.devices) {
      if (device.isSkewed) this.truth.skewedAtMs.set(device.id, this.time.nowMs)
      this.#journals.follow(device)
    }
    this.truth.catchUp()
    const failure = this.#failure ?? this.truth.failure
    if (failure) throw failure
  }

  requireStaleTold(): void {
    this.#journals.requireStaleTold()
  }

  /** The device at this mailbox connects anew, or is even started anew, and finds what waits for it. */
  #summon(mailbox: string): void {
    const device = this.devices.find((each) => each.mailbox === mailbox)
    if (!device?.isRunning) return
    if (this.#chance.percent(50)) return this.network.cut(device.name)
    device.kill()
    this.time.after(1000, () => void (device.isRunning || device.start()))
  }

  /** P4: nothing of what is said can be read on the wire. */
  #seen(device: string, direction: Direction, bytes: Uint8Array): void {
    this.trace.push(`${this.time.nowMs} ${device} ${direction} ${bytes[0]}`)
    if (Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes(this.#canary))
      this.#failure ??= new Broken("P4", `${device} sends ${direction} what can be read`)
  }
}

let founded: Promise<NetworkAtRest> | undefined

/** The founded network with everybody's prekeys at the relay; made once per process. */
export const foundedNetwork = (): Promise<NetworkAtRest> => (founded ??= foundAndConnect())

async function foundAndConnect(): Promise<NetworkAtRest> {
  const bare = await found()
  const world = await World.open(0, bare)
  for (const device of world.devices) await device.poc.syncLog(world.directory.log())
  await world.run(120_000, () => world.devices.every((device) => device.poc.ready))
  if (!world.devices.every((device) => device.poc.ready)) throw new Error("the network does not come up")
  for (const device of world.devices) await device.close()
  await world.run(10_000)
  return {
    ...bare,
    folder: world.directory.folder.copy(),
    relay: { ...bare.relay, disk: world.relay.disk.copy(), pools: world.relay.hostile.pools },
    devices: world.devices.map((device) => device.atRest),
    prekeys: world.truth.ownerOfPrekey,
  }
}
