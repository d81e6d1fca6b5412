/** A part of the seeds that `npm test` runs; the parts run beside each other. */
import { expect, test } from "vitest"
import { keepSeed, keptSeeds } from "./kept.ts"
import { commandFor, runSeed } from "./seed.ts"

const seedsInTest = 300
/** Each founds a network of its own, which takes as long as three seeds. */
const parts = 2
/** Seeds take about half a second each, the first one the founding too; a busy machine takes its time. */
const patienceMs = 240_000

/** @param part 0 or 1 */
export function simulate(part: number): void {
  const isOurs = (seed: number): boolean => seed % parts === part
  const seeds = [...keptSeeds(), ...Array.from({ length: seedsInTest }, (_, i) => i + 1)].filter(isOurs)
  test.each([...new Set(seeds)])(
    "seed %i keeps every promise",
    async (seed) => {
      const { failure } = await runSeed(seed)
      if (failure === undefined) return
      keepSeed(seed)
      expect.fail(`${failure}\nsee it again: ${commandFor(seed)}`)
    },
    patienceMs,
  )
}
