/**
 * A small coverage-guided fuzzer: changes inputs that it knows, keeps each that reaches something new, and goes on from
 * those. The same seed and number of runs make the same inputs.
 */
import type { Chance } from "./chance.ts"
import type { Coverage } from "./coverage.ts"
import type { Mutation } from "./mutations.ts"

export interface Target {
  readonly name: string
  /** Real inputs, to begin with. */
  readonly seeds: readonly Uint8Array[]
  readonly mutations: readonly Mutation[]
  /** Hands the input to the decoders; throws if one of them does what it must not. */
  readonly check: (input: Uint8Array) => void
  /** Steps (see `Look`) that one input may cost: so many, and so many for each of its bytes. */
  readonly stepsMax: { readonly base: number; readonly perByte: number }
  /** How many runs of a usual target one of this takes; 1 unless given. */
  readonly cost?: number
}

export interface Finding {
  readonly input: Uint8Array
  readonly error: unknown
}

/** Inputs between two looks at the counters; a look takes as long as some ten of them. */
const batchSize = 24
/** No decoder gets more: the largest frame, with room. */
const inputBytesMax = 80 * 1024
const findingsMax = 5
/** On the busiest machine; the exact bound is that of the steps. */
const inputMsMax = 10_000

export class Fuzzer {
  readonly target: Target
  readonly corpus: Uint8Array[] = []
  readonly findings: Finding[] = []
  runs = 0
  /** The most that an input took of the steps that it may cost: 1 would be all. */
  stepsShare = 0
  readonly #coverage: Coverage
  readonly #chance: Chance

  constructor(target: Target, known: readonly Uint8Array[], coverage: Coverage, chance: Chance) {
    this.target = target
    this.#coverage = coverage
    this.#chance = chance
    coverage.look()
    for (const input of [...target.seeds, ...known]) this.#keepIfNew(input)
    if (this.corpus.length === 0) this.corpus.push(new Uint8Array(0))
  }

  /** Until it says stop, asked after each batch, or until there are findings enough. */
  fuzz(isOver: (runs: number) => boolean): void {
    while (!isOver(this.runs) && this.findings.length < findingsMax) {
      const batch = Array.from({ length: batchSize }, () => this.#next())
      for (const input of batch) this.#run(input)
      const together = this.#coverage.look()
      const stepsMax = batch.reduce((sum, input) => sum + this.#stepsMax(input), 0)
      if (!this.#coverage.isNew(together) && together.steps <= stepsMax) continue
      for (const input of batch) this.#keepIfNew(input)
      this.#coverage.add(together)
    }
  }

  #next(): Uint8Array {
    // Half of the time one of the newest: what was reached last is what leads on.
    const newest = this.corpus.slice(-8)
    const input = this.#chance.pick(this.#chance.oneIn(2) ? newest : this.corpus)
    const mutated = this.#chance.pick(this.target.mutations)(input, this.#chance, this.#chance.pick(this.corpus))
    return mutated.slice(0, inputBytesMax)
  }

  #keepIfNew(input: Uint8Array): void {
    this.#run(input)
    const look = this.#coverage.look()
    const most = this.#stepsMax(input)
    this.stepsShare = Math.max(this.stepsShare, look.steps / most)
    if (look.steps > most) this.#report(input, new Error(`${look.steps} steps; ${most} are allowed`))
    if (this.#coverage.add(look)) this.corpus.push(input)
  }

  #run(input: Uint8Array): void {
    this.runs += 1
    const start = performance.now()
    try {
      // Decoders return views; one that writes into its input must not spoil ours.
      this.target.check(input.slice())
      const ms = performance.now() - start
      if (ms > inputMsMax) this.#report(input, new Error(`took ${Math.round(ms)} ms`))
    } catch (error) {
      this.#report(input, error)
    }
  }

  /** Each fault once: by its message, with the numbers taken out. */
  #report(input: Uint8Array, error: unknown): void {
    const known = this.findings.some((finding) => nameOf(finding.error) === nameOf(error))
    if (!known) this.findings.push({ input: shrunk(input, error, this.target), error })
  }

  #stepsMax(input: Uint8Array): number {
    const { base, perByte } = this.target.stepsMax
    return base + perByte * input.length
  }
}

/** As much as possible cut out of it, while the same fault remains. */
function shrunk(input: Uint8Array, error: unknown, { check }: Target): Uint8Array {
  let smallest = input
  for (let size = Math.ceil(input.length / 2); size >= 1; size = Math.floor(size / 2))
    for (let at = 0; at < Math.min(smallest.length, 64 * size);) {
      const shorter = Uint8Array.from([...smallest.subarray(0, at), ...smallest.subarray(at + size)])
      if (faultOf(check, shorter) === nameOf(error)) smallest = shorter
      else at += size
    }
  return smallest
}

function faultOf(check: Target["check"], input: Uint8Array): string | undefined {
  try {
    check(input.slice())
    return undefined
  } catch (error) {
    return nameOf(error)
  }
}

const nameOf = (error: unknown): string => String(error).replaceAll(/\d+/g, "#")
