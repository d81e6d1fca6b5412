/**
 * Connections that have not logged in: how many there may be, how long, and from whom. They are counted from the TCP
 * connection on, so that half an HTTP request holds no more than half a login.
 */
import type { Socket } from "node:net"
import type { Chosen } from "../protocol/limits.ts"
import { plainAddress } from "../system/budget.ts"
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
