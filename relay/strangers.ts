/**
 * Connections that have not logged in: how many there may be, how long, and from whom. They are counted from the TCP
 * connection on, so that half an HTTP request holds no more than half a login.
 */
import type { Socket } from "node:net"
import type { Chosen } from "../protocol/limits.ts"
import type { Clock } from "../system/machine.ts"

export class Strangers {
  readonly #clock: Clock
  readonly #limits: Chosen
  readonly #proxies: readonly string[]
  readonly #open = new Map<Socket, Stranger>()
  readonly #byAddress = new Map<string, number>()

  constructor(clock: Clock, limits: Chosen, proxies: readonly string[]) {
    this.#clock = clock
    this.#limits = limits
    this.#proxies = proxies
  }

  /**
   * `false`: there are too many, and nothing is remembered of this one.
   * @param expire called if it has not logged in when its time is up
   */
  admit(socket: Socket, expire: () => void): boolean {
    const address = plainAddress(socket.remoteAddress)
    const count = this.#byAddress.get(address) ?? 0
    const perAddress = this.#proxies.includes(address) ? this.#limits.strangersMax : this.#limits.strangersPerAddressMax
    if (this.#open.size >= this.#limits.strangersMax || count >= perAddress) return false
    this.#byAddress.set(address, count + 1)
    const cancel = this.#clock.after(this.#limits.strangerSecondsMax * 1000, () => this.#open.get(socket)?.expire())
    this.#open.set(socket, { address, cancel, expire })
    socket.once("close", () => this.release(socket))
    return true
  }

  /** What to do when the time is up, now that more is known. */
  onExpiry(socket: Socket, expire: () => void): void {
    const stranger = this.#open.get(socket)
    if (stranger) stranger.expire = expire
  }

  /** It has logged in, or is gone. */
  release(socket: Socket): void {
    const stranger = this.#open.get(socket)
    if (!stranger) return
    stranger.cancel()
    this.#open.delete(socket)
    const count = this.#byAddress.get(stranger.address)! - 1
    if (count > 0) this.#byAddress.set(stranger.address, count)
    else this.#byAddress.delete(stranger.address)
  }
}

interface Stranger {
  readonly address: string
  readonly cancel: () => void
  expire: () => void
}

/** The name under which a peer's budget is kept: its IPv4 address, or its IPv6 network, within which anyone has 2^64. */
export function budgetName(
  socketAddress: string | undefined,
  forwardedFor: string | undefined,
  proxies: readonly string[],
): string {
  const direct = plainAddress(socketAddress)
  const address = proxies.includes(direct) && forwardedFor ? forwardedFor.split(",").at(-1)!.trim() : direct
  return address.includes(":") ? networkOf(address) : address
}

/** IPv4 in IPv6 clothes (`::ffff:192.0.2.1`) is IPv4. */
const plainAddress = (address = "unknown"): string => address.replace(/^::ffff:(?=\d+\.)/, "")

/** The first 64 bits, as four groups of digits. */
function networkOf(address: string): string {
  const [head = "", tail] = address.split("::")
  const before = head === "" ? [] : head.split(":")
  const after = tail === undefined || tail === "" ? [] : tail.split(":")
  const groups = tail === undefined ? before : [...before, ...zeros(8 - before.length - after.length), ...after]
  return groups.slice(0, 4).join(":")
}

const zeros = (count: number): readonly string[] => Array.from({ length: Math.max(0, count) }, () => "0")
