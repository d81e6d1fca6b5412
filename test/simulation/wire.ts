/**
 * The network between devices and relay, at the seams where sockets are: `Transport` on one side, `Wire` on the other. As
 * with TCP, a connection delivers in order or ends; between connections everything can overtake everything.
 */
import { AsyncLocalStorage } from "node:async_hooks"
import { ValiseError, wireOfError, type ErrorCode } from "../../protocol/errors.ts"
import type { ChannelEvents, Transport } from "../../client-sdk/transport.ts"
import type { Relay } from "../../relay/relay.ts"
import type { Session, Wire } from "../../relay/session.ts"
import type { Chance } from "./chance.ts"
import type { VirtualTime } from "./time.ts"

export type Direction = "up" | "down"

/** The device whose message the relay is dealing with. */
export const asking = new AsyncLocalStorage<string>()

type Meddling = "replay" | "swap" | "alter"

export interface NetworkParts {
  readonly time: VirtualTime
  readonly chance: Chance
  /** Every message that is sent: what somebody on the network sees. */
  readonly seen: (device: string, direction: Direction, bytes: Uint8Array) => void
}

/** A relay that answers is reached so fast, one way. */
const latencyMs = { least: 1, most: 40 }
const slowMs = { least: 50, most: 4000 }
/** A dial into a partition fails after so long; a dead connection is found out by the relay's keep-alive. */
const dialMs = 3000
const keepAliveMs = 75_000

export class SimulatedNetwork {
  /** Where dials arrive; `undefined`: nobody listens. */
  relay: Relay | undefined
  /** Messages lost, in a hundred thousand; a loss ends the connection, because the rest cannot be delivered in order. */
  lossPer100000 = 0
  readonly slow = new Set<string>()
  readonly cutOff = new Set<string>()
  readonly parts: NetworkParts
  readonly #connections = new Set<Connection>()

  constructor(parts: NetworkParts) {
    this.parts = parts
  }

  /** @param isAlive of the process that dials */
  transportOf(device: string, isAlive: () => boolean): Transport {
    return {
      connect: (_url, events, signal) =>
        new Promise((resolve, reject) => {
          const { time, chance } = this.parts
          const isDown = this.cutOff.has(device)
          time.after(isDown ? dialMs : chance.between(latencyMs.least, latencyMs.most), () => {
            if (!isAlive()) return
            if (signal.aborted || isDown || this.cutOff.has(device) || !this.relay)
              return reject(new ValiseError("ERR_OFFLINE", "the relay cannot be reached"))
            const connection = new Connection(this, device, events, isAlive)
            this.#connections.add(connection)
            connection.accept(this.relay)
            resolve({
              send: (bytes) => isAlive() && connection.send("up", bytes),
              close: () => isAlive() && connection.endFrom("up", 1000),
              tlsCertificate: undefined,
            })
          })
        }),
    }
  }

  /** Ends this device's connections, or all; what is on its way is lost. */
  cut(device?: string): void {
    for (const connection of this.#connections)
      if (device === undefined || connection.device === device) connection.break()
  }

  /** A process has died: what it had sent arrives, nothing reaches it, and its peers find the connections closed. */
  hangUp(direction: Direction, device?: string): void {
    for (const connection of this.#connections)
      if (device === undefined || connection.device === device) connection.endFrom(direction, 1006)
  }

  /** The next message of this device's connection is replayed, swapped with the one after it, or altered. */
  meddle(device: string, direction: Direction, how: Meddling): void {
    for (const connection of this.#connections)
      if (connection.device === device) connection.pipes[direction].meddling = how
  }

  heal(device: string): void {
    this.cutOff.delete(device)
    for (const connection of this.#connections) if (connection.device === device) connection.flush()
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection)
  }

  delayMs(device: string): number {
    const { chance } = this.parts
    const { least, most } = this.slow.has(device) ? slowMs : latencyMs
    return chance.between(least, most)
  }
}

/** One direction of a connection. */
interface Pipe {
  /** Nothing arrives before what was sent before it. */
  freeAtMs: number
  bytesInFlight: number
  meddling: Meddling | undefined
  /** Held back to be swapped with the next. */
  held: Uint8Array | undefined
}

/** What waits while the device is cut off. */
type Arrival = () => void

class Connection implements Wire {
  readonly device: string
  readonly pipes: Record<Direction, Pipe> = { up: newPipe(), down: newPipe() }
  readonly #network: SimulatedNetwork
  readonly #events: ChannelEvents
  readonly #isAlive: () => boolean
  #session: Session | undefined
  #relay: Relay | undefined
  #waiting: Arrival[] = []
  /** Nothing arrives any more. */
  #isBroken = false
  #isOver = false

  constructor(network: SimulatedNetwork, device: string, events: ChannelEvents, isAlive: () => boolean) {
    this.#network = network
    this.device = device
    this.#events = events
    this.#isAlive = isAlive
  }

  accept(relay: Relay): void {
    this.#relay = relay
    this.#session = relay.accept(this, this.device)
  }

  // --- `Wire`, for the relay ---

  close(reason: ErrorCode | undefined): void {
    this.endFrom("down", reason ? wireOfError(reason) : 1000)
  }

  admitted(): void {}

  get unreadBytes(): number {
    return this.pipes.down.bytesInFlight
  }

  // --- both ---

  send(first: Direction | Uint8Array, second?: Uint8Array): void {
    const [direction, bytes] = second ? [first as Direction, second] : ["down" as const, first as Uint8Array]
    if (this.#isOver || (direction === "down" && !this.#isRelayAlive)) return
    const { parts, lossPer100000 } = this.#network
    const copy = bytes.slice()
    parts.seen(this.device, direction, copy)
    if (parts.chance.below(100_000) < lossPer100000) return this.break()
    for (const each of this.#meddled(direction, copy)) this.#carry(direction, each)
  }

  /** One end closes: the other hears of it after everything that was sent before. */
  endFrom(direction: Direction, code: number): void {
    if (this.#isOver) return
    const end = (): void => this.#end(code)
    if (this.#network.cutOff.has(this.device)) this.#network.parts.time.after(keepAliveMs, end)
    else this.#schedule(direction, end)
  }

  /** Both ends hear of it, but never from within what they are doing. */
  break(): void {
    this.#isBroken = true
    this.#network.parts.time.after(0, () => this.#end(1006))
  }

  /** What was held up by a partition goes on. */
  flush(): void {
    for (const arrival of this.#waiting.splice(0)) arrival()
  }

  #meddled(direction: Direction, bytes: Uint8Array): Uint8Array[] {
    const pipe = this.pipes[direction]
    const { held, meddling } = pipe
    pipe.held = undefined
    pipe.meddling = undefined
    if (held) return [bytes, held]
    if (meddling === "replay") return [bytes, bytes]
    if (meddling === "alter") return [bytes.with(bytes.length - 1, bytes.at(-1)! ^ 1)]
    if (meddling !== "swap") return [bytes]
    pipe.held = bytes
    return []
  }

  #carry(direction: Direction, bytes: Uint8Array): void {
    const pipe = this.pipes[direction]
    pipe.bytesInFlight += bytes.length
    this.#schedule(direction, () => {
      pipe.bytesInFlight -= bytes.length
      if (direction === "up" && this.#isRelayAlive) asking.run(this.device, () => this.#session!.message(bytes))
      if (direction === "down" && this.#isAlive()) this.#events.message(bytes)
      if (direction === "down" && pipe.bytesInFlight === 0 && this.#isRelayAlive) this.#session!.drained()
    })
  }

  #schedule(direction: Direction, arrival: Arrival): void {
    const { time } = this.#network.parts
    const pipe = this.pipes[direction]
    pipe.freeAtMs = Math.max(pipe.freeAtMs, time.nowMs + this.#network.delayMs(this.device))
    time.after(pipe.freeAtMs - time.nowMs, () => {
      if (this.#isOver || this.#isBroken) return
      if (this.#network.cutOff.has(this.device)) this.#waiting.push(arrival)
      else arrival()
    })
  }

  get #isRelayAlive(): boolean {
    return this.#session !== undefined && this.#network.relay === this.#relay
  }

  #end(code: number): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#network.forget(this)
    if (this.#isRelayAlive) this.#session!.ended()
    if (this.#isAlive()) this.#events.end(code)
  }
}

const newPipe = (): Pipe => ({ freeAtMs: 0, bytesInFlight: 0, meddling: undefined, held: undefined })
