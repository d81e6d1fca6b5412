/** One seed from beginning to end. */
import { createHash } from "node:crypto"
import { Chance } from "./chance.ts"
import { checkEnding, comeToRest } from "./ending.ts"
import { Faults } from "./faults.ts"
import { People } from "./people.ts"
import { Broken } from "./truth.ts"
import { foundedNetwork, World } from "./world.ts"

export interface Outcome {
  readonly seed: number
  readonly trace: readonly string[]
  /** SHA-256 of the trace. */
  readonly fingerprint: string
  /** What was broken, and where in the trace. */
  readonly failure?: string
}

export async function runSeed(seed: number): Promise<Outcome> {
  const chance = new Chance(seed, "seed")
  const everybody = ["ke-1", "ke-2", "sg", "br", "fr", "ng"]
  const world = await World.open(seed, await foundedNetwork(), everybody.slice(0, chance.between(4, 6)))
  const failure = await failureOf(world, chance)
  const trace = world.trace
  const fingerprint = createHash("sha256").update(trace.join("\n")).digest("hex")
  return { seed, trace, fingerprint, ...(failure && { failure }) }
}

async function failureOf(world: World, chance: Chance): Promise<string | undefined> {
  let crash: unknown
  const onCrash = (error: unknown): void => void (crash ??= error)
  process.on("unhandledRejection", onCrash)
  process.on("uncaughtException", onCrash)
  try {
    const people = new People(world)
    const faults = new Faults(world)
    const storyMs = chance.between(40, 80) * 1000
    people.begin()
    faults.begin(storyMs)
    await world.run(storyMs)
    people.end()
    await faults.end()
    await comeToRest(world)
    checkEnding(world)
  } catch (error) {
    crash ??= error
  } finally {
    process.off("unhandledRejection", onCrash)
    process.off("uncaughtException", onCrash)
  }
  if (crash === undefined) return undefined
  if (crash instanceof Broken) return crash.message
  return `P8: something crashes: ${crash instanceof Error ? crash.stack : JSON.stringify(crash)}`
}

/** What somebody types to see it again. */
export const commandFor = (seed: number): string => `npm run simulate -- --seeds 1 --seed ${seed}`
