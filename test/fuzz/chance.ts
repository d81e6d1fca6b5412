/** Choices that depend on the seed alone. */
import { seededRandom } from "../fault/store-load.ts"

export class Chance {
  readonly #next: () => number

  constructor(seed: number) {
    this.#next = seededRandom(seed)
  }

  /** An integer from 0 to `end - 1`; 0 if there is none. */
  below(end: number): number {
    return Math.floor(this.#next() * end)
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }
}
