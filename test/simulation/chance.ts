/** Chance from a seed: the same seed and the same questions give the same answers, on every machine. */
import type { Random } from "../../system/machine.ts"

export class Chance implements Random {
  readonly #state: Uint32Array

  /** @param name so that each actor has a row of its own, which the others' questions do not disturb */
  constructor(seed: number, name: string) {
    const state = new Uint32Array(4)
    let hash = 0x811c9dc5 ^ seed
    for (let i = 0; i < 4; i++) {
      for (const character of `${seed}/${name}/${i}`) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193)
      state[i] = mixed(hash)
    }
    this.#state = state
  }

  bytes(length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i += 4) {
      const word = this.#next()
      for (let j = 0; j < 4 && i + j < length; j++) bytes[i + j] = word >>> (8 * j)
    }
    return bytes
  }

  /** 0 up to, and not including, `end`. */
  below(end: number): number {
    return this.#next() % end
  }

  between(least: number, most: number): number {
    return least + this.below(most - least + 1)
  }

  /** True in so many of a hundred cases. */
  percent(share: number): boolean {
    return this.below(100) < share
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }

  /** So many of them, in an order of its own. */
  some<T>(from: readonly T[], count: number): T[] {
    const left = [...from]
    return Array.from({ length: Math.min(count, left.length) }, () => left.splice(this.below(left.length), 1)[0]!)
  }

  /** xoshiro128**, by D. Blackman and S. Vigna. */
  #next(): number {
    const s = this.#state
    const result = Math.imul(rotated(Math.imul(s[1]!, 5), 7), 9)
    const t = s[1]! << 9
    s[2]! ^= s[0]!
    s[3]! ^= s[1]!
    s[1]! ^= s[2]!
    s[0]! ^= s[3]!
    s[2]! ^= t
    s[3] = rotated(s[3]!, 11)
    return result >>> 0
  }
}

const rotated = (word: number, by: number): number => (word << by) | (word >>> (32 - by))

/** The finaliser of MurmurHash3: names that differ in one letter give rows that have nothing in common. */
function mixed(word: number): number {
  let mix = word ^ (word >>> 16)
  mix = Math.imul(mix, 0x85ebca6b)
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2ae35)
  return (mix ^ (mix >>> 16)) >>> 0 || 1
}
