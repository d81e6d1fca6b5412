/** Virtual time: a row of timers. It moves when the next one is due, and not before all that the last one set off is done. */
import type { Clock } from "../../system/machine.ts"

interface Timer {
  readonly dueMs: number
  readonly number: number
  call: (() => void) | undefined
}

export class VirtualTime {
  /** Since the beginning of the simulation. */
  nowMs = 0
  /** Of it, so much was slept through. */
  sleptMs = 0
  #count = 0
  /** A binary heap: the next timer is first. */
  readonly #timers: Timer[] = []

  get awakeMs(): number {
    return this.nowMs - this.sleptMs
  }

  /** Calls once after `delayMs`; the result cancels. */
  after(delayMs: number, call: () => void): () => void {
    const timer: Timer = { dueMs: this.nowMs + Math.max(0, delayMs), number: this.#count++, call }
    this.#timers.push(timer)
    this.#rise(this.#timers.length - 1)
    return () => (timer.call = undefined)
  }

  /** Runs the next timer and everything that it sets off. `false` if it is due after `untilMs`: then the time is `untilMs`. */
  async step(untilMs: number): Promise<boolean> {
    for (;;) {
      const next = this.#timers[0]
      if (!next || next.dueMs > untilMs) break
      this.#takeFirst()
      if (!next.call) continue
      this.nowMs = Math.max(this.nowMs, next.dueMs)
      next.call()
      await settled()
      return true
    }
    this.nowMs = Math.max(this.nowMs, untilMs)
    return false
  }

  /** Everybody sleeps: what would have happened meanwhile happens at the end, once and in its order. */
  leap(ms: number): void {
    this.nowMs += ms
    this.sleptMs += ms
  }

  #takeFirst(): void {
    const last = this.#timers.pop()!
    if (this.#timers.length === 0) return
    this.#timers[0] = last
    this.#sink()
  }

  #rise(from: number): void {
    for (let i = from; i > 0;) {
      const parent = (i - 1) >> 1
      if (!isSooner(this.#timers[i]!, this.#timers[parent]!)) return
      this.#swap(i, parent)
      i = parent
    }
  }

  #sink(): void {
    for (let i = 0; ;) {
      const [left, right] = [2 * i + 1, 2 * i + 2]
      let soonest = i
      for (const child of [left, right])
        if (child < this.#timers.length && isSooner(this.#timers[child]!, this.#timers[soonest]!)) soonest = child
      if (soonest === i) return
      this.#swap(i, soonest)
      i = soonest
    }
  }

  #swap(a: number, b: number): void {
    const timer = this.#timers[a]!
    this.#timers[a] = this.#timers[b]!
    this.#timers[b] = timer
  }
}

/** Resolves when every promise that can go on has done so: nothing under test waits for anything but virtual time. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** One machine's time of day: it may be wrong and may jump. */
export class MachineClock {
  aheadMs = 0
  readonly #time: VirtualTime

  constructor(time: VirtualTime) {
    this.#time = time
  }

  /** For a process on this machine. @param isAlive timers of a process that has died call nobody */
  of(isAlive: () => boolean): Clock {
    return {
      now: () => beginningMs + this.#time.nowMs + this.aheadMs,
      monotonic: () => this.#time.nowMs,
      after: (delayMs, call) => this.#time.after(delayMs, () => isAlive() && call()),
    }
  }
}

/** When every simulation begins: 2027-01-15. */
const beginningMs = 1_800_000_000_000

/** Seconds since 1970 of the true time. */
export const trueSeconds = (time: VirtualTime): number => Math.floor((beginningMs + time.nowMs) / 1000)

function isSooner(a: Timer, b: Timer): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number)
}
