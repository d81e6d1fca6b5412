/** Counts of what somebody did in the current window of time; in memory only, gone with the window. */
import type { Clock } from "../system/machine.ts"

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

/** Addresses are a stranger's to choose: so many of them are remembered per window, some 10 MB. */
const namesMax = 100_000
