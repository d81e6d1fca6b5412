/** Seeds that failed once: every run tries them first, for good. */
import { readFileSync, writeFileSync } from "node:fs"

const place = new URL("kept-seeds.json", import.meta.url)

export const keptSeeds = (): number[] => JSON.parse(readFileSync(place, "utf8")) as number[]

export function keepSeed(seed: number): void {
  const seeds = new Set([...keptSeeds(), seed])
  writeFileSync(place, `${JSON.stringify([...seeds].toSorted((a, b) => a - b))}\n`)
}
