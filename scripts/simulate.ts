/**
 * `npm run simulate -- --seeds N [--seed S]`: N seeds of the deterministic simulation (test/simulation/), from S on, after
 * those that failed before. A failing seed prints its own command and joins them. `--trace` prints what happened, too.
 */
import { fork } from "node:child_process"
import { availableParallelism } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { keepSeed, keptSeeds } from "../test/simulation/kept.ts"
import { commandFor, runSeed, type Outcome } from "../test/simulation/seed.ts"

const options = { seeds: { type: "string" }, seed: { type: "string" }, trace: { type: "boolean" } } as const

if (process.send) process.on("message", (seed: number) => void runSeed(seed).then((outcome) => process.send!(outcome)))
else await main()

async function main(): Promise<void> {
  const { values } = parseArgs({ options })
  const [count, first] = [whole(values.seeds ?? "300"), whole(values.seed ?? "1")]
  const isOne = count === 1 && values.seed !== undefined
  const fresh = Array.from({ length: count }, (_, i) => first + i)
  const seeds = isOne ? fresh : [...new Set([...keptSeeds(), ...fresh])]
  let failed = 0
  await inChildren(seeds, ({ seed, failure, trace, fingerprint }) => {
    if (values.trace) console.log(trace.join("\n"))
    if (isOne && failure === undefined) console.log(`seed ${seed} keeps every promise; trace ${fingerprint}`)
    if (failure === undefined) return
    failed++
    keepSeed(seed)
    console.log(`seed ${seed} ${failure}\n  see it again: ${commandFor(seed)} --trace`)
  })
  if (!isOne) console.log(`${seeds.length - failed} of ${seeds.length} seeds keep every promise`)
  process.exitCode = failed === 0 ? 0 : 1
}

async function inChildren(seeds: readonly number[], done: (outcome: Outcome) => void): Promise<void> {
  const left = [...seeds]
  const work = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const child = fork(fileURLToPath(import.meta.url))
      const next = (): void => {
        const seed = left.shift()
        if (seed === undefined) child.disconnect()
        else child.send(seed)
      }
      child.on("message", (outcome: Outcome) => {
        done(outcome)
        next()
      })
      child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error("a child process failed"))))
      next()
    })
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), seeds.length) }, work))
}

function whole(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  console.error("--seeds and --seed want a whole number from 1")
  return process.exit(2)
}
