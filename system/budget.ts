/** Counts of what somebody did in the current window of time; in memory only, gone with the window. */
import type { Clock } from "./machine.ts"

export class Budget {
  readonly #clock: Clock
  readonly #max: number
  readonly #windowMs: number
  readonly #used = new Map<string, number>()
  #endsAt = 0

  /** @param max allowed to each name per window */
  constructor(clock: Clock, max: number, windowMs: number) {
    this.#clock = clock
    this.#max = max
    this.#windowMs = windowMs
  }

  /** Takes one from what `name` has left. 0: granted; otherwise the seconds until asking again makes sense. */
  take(name: string): number {
    const now = this.#clock.monotonic()
    if (now >= this.#endsAt) {
      this.#used.clear()
      this.#endsAt = now + this.#windowMs
    }
    const used = this.#used.get(name) ?? 0
    if (used >= this.#max) return Math.ceil((this.#endsAt - now) / 1000)
    if (used === 0 && this.#used.size >= namesMax) return Math.ceil((this.#endsAt - now) / 1000)
    this.#used.set(name, used + 1)
    return 0
  }
}

/** IPv6 in its longest form: what a careless proxy passes on is a stranger's text, up to 8 KB of it. */
const addressCharactersMax = 45
/** Addresses are a stranger's to choose: so many of them are remembered per window, some 10 MB. */
const namesMax = 100_000

/** The name under which a peer's budget is kept: its IPv4 address, or its IPv6 network, within which anyone has 2^64. */
export function budgetName(
  socketAddress: string | undefined,
  forwardedFor: string | undefined,
  proxies: readonly string[],
): string {
  const direct = plainAddress(socketAddress)
  const told = proxies.includes(direct) && forwardedFor ? forwardedFor.split(",").at(-1)!.trim() : direct
  const address = told.slice(0, addressCharactersMax)
  return address.includes(":") ? networkOf(address) : address
}

/** IPv4 in IPv6 clothes (`::ffff:192.0.2.1`) is IPv4. */
export const plainAddress = (address = "unknown"): string => address.replace(/^::ffff:(?=\d+\.)/, "")

/** The first 64 bits, as four groups of digits. */
function networkOf(address: string): string {
  const [head = "", tail] = address.split("::")
  const before = head === "" ? [] : head.split(":")
  const after = tail === undefined || tail === "" ? [] : tail.split(":")
  const groups = tail === undefined ? before : [...before, ...zeros(8 - before.length - after.length), ...after]
  return groups.slice(0, 4).join(":")
}

const zeros = (count: number): readonly string[] => Array.from({ length: Math.max(0, count) }, () => "0")
