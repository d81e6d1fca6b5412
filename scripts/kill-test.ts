/**
 * Kills relay and clients at random moments under load, for as long as you like, and says what was lost or doubled.
 *
 *   node scripts/kill-test.ts --rounds 500 [--seed N] [--keep]
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { runKills } from "../test/fault/relay-client-kill-run.ts"

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "100" }, seed: { type: "string" }, keep: { type: "boolean" } },
})
const seed = Number(values.seed ?? Date.now() % 1_000_000)
const folder = mkdtempSync(join(tmpdir(), "valise-kills-"))
console.log(`seed ${seed}, files in ${folder}`)
const outcome = await runKills({
  folder: join(folder, "network"),
  rounds: Number(values.rounds),
  seed,
  roundsMaxMs: Number.POSITIVE_INFINITY,
  told: (words) => console.log(words),
})
const { accepted, composed, faults, kills, rounds } = outcome
console.log(
  `${rounds} rounds, ${kills} kills, ${composed} messages written, ${accepted} accepted, ${faults.length} faults`,
)
for (const fault of faults) console.log(`FAULT ${fault}`)
if (!values.keep && faults.length === 0) rmSync(folder, { recursive: true, force: true })
process.exitCode = faults.length === 0 ? 0 : 1
