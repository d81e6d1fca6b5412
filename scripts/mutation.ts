/**
 * `npm run mutation [-- GROUP…]`: Stryker changes the sources of each group (test/mutation/groups.ts) one place at a time,
 * in a scratch copy, and counts the changes that no test notices. Fails where fewer than 80 % are noticed.
 * The survivors are printed; the whole report is `test/mutation/report/GROUP.json`.
 */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync, rmSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { groups } from "../test/mutation/groups.ts"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const home = join(root, "test", "mutation")
const stryker = join(home, "node_modules", "@stryker-mutator", "core", "bin", "stryker.js")

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !(name in groups))
if (unknown.length > 0) {
  console.error(`no group ${unknown.join(", ")}; there are ${Object.keys(groups).join(", ")}`)
  process.exit(2)
}

ensureStryker()
const rows = (wanted.length > 0 ? wanted : Object.keys(groups)).map(run)
console.table(Object.fromEntries(rows.map(({ name, ...row }) => [name, row])))
process.exitCode = rows.every(({ passed }) => passed) ? 0 : 1

/** Stryker has some hundred packages, which nothing else needs: they are installed here and not with the project. */
function ensureStryker(): void {
  if (existsSync(stryker)) return
  const npm = process.platform === "win32" ? "npm.cmd" : "npm"
  const done = spawnSync(npm, ["ci"], { cwd: home, stdio: "inherit", shell: process.platform === "win32" })
  if (done.status !== 0) process.exit(1)
}

interface Row {
  readonly name: string
  readonly mutants: number
  readonly killed: number
  readonly survived: number
  readonly score: string
  readonly passed: boolean
}

function run(name: string): Row {
  const report = join(home, "report", `${name}.json`)
  rmSync(report, { force: true })
  const done = spawnSync(process.execPath, [stryker, "run", join(home, "stryker.config.mjs")], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, VALISE_MUTATION: name },
  })
  const states = statesIn(report)
  const count = (...wantedStates: string[]): number => states.filter((state) => wantedStates.includes(state)).length
  // A change after which the code hangs is noticed; one that no test reaches is not.
  const killed = count("Killed", "Timeout")
  const survived = count("Survived", "NoCoverage")
  const mutants = killed + survived
  return {
    name,
    mutants,
    killed,
    survived,
    score: `${((100 * killed) / mutants).toFixed(1)} %`,
    passed: done.status === 0,
  }
}

function statesIn(report: string): string[] {
  if (!existsSync(report)) return []
  const { files } = JSON.parse(readFileSync(report, "utf8")) as {
    files: Record<string, { mutants: { status: string }[] }>
  }
  return Object.values(files).flatMap(({ mutants }) => mutants.map(({ status }) => status))
}
