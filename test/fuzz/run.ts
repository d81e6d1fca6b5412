/**
 *   npm run fuzz -- [TARGET…] [--seconds N | --runs N] [--seed N] [--keep] [--dry]
 *
 * Fuzzes each target for its share of the seconds, or for so many runs. Findings go to `test/fuzz/regressions/`, where
 * every later run begins, unless it is `--dry`; `--keep` also makes `test/fuzz/corpus/` anew from what was reached. Exit 1
 * if there are findings.
 */
import { parseArgs } from "node:util"
import { Chance } from "./chance.ts"
import { known, saveCorpus, saveRegression } from "./corpus.ts"
import { Coverage } from "./coverage.ts"

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "60" },
    runs: { type: "string" },
    seed: { type: "string", default: "1" },
    keep: { type: "boolean", default: false },
    dry: { type: "boolean", default: false },
  },
})

/** Our own code, and the CBOR reader that it hands strangers' bytes to. */
const root = new URL("../../", import.meta.url).href
const isWatched = (url: string): boolean =>
  ["protocol", "pki", "relay", "directory", "client-sdk", "system"].some((folder) =>
    url.startsWith(`${root}${folder}/`),
  ) || url.includes("/node_modules/cborg/")

// Before the code is loaded that is to be watched: see `Coverage`.
const coverage = new Coverage(isWatched)
const { Fuzzer } = await import("./engine.ts")
const { targets } = await import("./targets.ts")

const unknown = positionals.filter((name) => !targets.some((target) => target.name === name))
if (unknown.length > 0) {
  console.error(`no target ${unknown.join(", ")}; there are: ${targets.map(({ name }) => name).join(", ")}`)
  process.exit(2)
}
const chosen = targets.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
const msPerTarget = (Number(values.seconds) * 1000) / chosen.length
const runsMax = values.runs === undefined ? Infinity : Number(values.runs)

let findings = 0
for (const target of chosen) {
  const start = performance.now()
  const fuzzer = new Fuzzer(target, known(target.name), coverage, new Chance(Number(values.seed)))
  const runsOfTarget = fuzzer.runs + runsMax / (target.cost ?? 1)
  fuzzer.fuzz((runs) => runs >= runsOfTarget || (runsMax === Infinity && performance.now() - start > msPerTarget))
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const memory = Math.round(process.memoryUsage().rss / 2 ** 20)
  const share = `${Math.round(fuzzer.stepsShare * 100)} % of the steps allowed`
  console.log(
    `${target.name.padEnd(18)} ${fuzzer.runs} runs in ${seconds} s, ${fuzzer.corpus.length} kept, ${share}, ${memory} MiB`,
  )
  for (const { input, error } of fuzzer.findings) {
    console.log(`FOUND in ${target.name}: ${String(error).slice(0, 300)}`)
    console.log(values.dry ? Buffer.from(input).toString("base64") : `kept in ${saveRegression(target.name, input)}`)
    if (error instanceof Error && error.cause instanceof Error) console.log(error.cause.stack)
  }
  findings += fuzzer.findings.length
  if (values.keep)
    saveCorpus(
      target.name,
      fuzzer.corpus.filter((input) => !target.seeds.includes(input)),
    )
}
process.exitCode = findings > 0 ? 1 : 0
