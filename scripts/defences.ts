/**
 * `npm run defences`: takes each marked defence out of a scratch copy, one at a time, and expects the attack tests of its
 * row to fail. A line ends with `// defence: ROW NAME` (the line goes) or `// defence: ROW NAME => CODE` (CODE stands in
 * its place). A defence whose removal no test notices, or after which the tests do not even load, is reported.
 *
 * Options: `--only TEXT` (row, name or file contains it), `--list`.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { availableParallelism, tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

interface Defence {
  readonly file: string
  readonly line: number
  readonly row: number
  readonly name: string
  readonly replacement: string | undefined
}

type Verdict = "guarded" | "unguarded" | "broken"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const folders = ["protocol", "pki", "directory", "relay", "client-sdk", "cli"]
const { values } = parseArgs({ options: { only: { type: "string" }, list: { type: "boolean" } } })

const wanted = values.only
const defences = folders
  .flatMap((folder) => sources(folder))
  .flatMap(defencesIn)
  .filter((defence) => wanted === undefined || describe(defence).includes(wanted))

if (values.list) {
  for (const defence of defences) console.log(describe(defence))
} else {
  const verdicts = await tryAll(defences)
  const guarded = verdicts.filter((verdict) => verdict === "guarded").length
  console.log(`\n${guarded} of ${defences.length} defences are guarded by a test that fails without them`)
  process.exitCode = guarded === defences.length && defences.length > 0 ? 0 : 1
}

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name))
}

function defencesIn(file: string): Defence[] {
  return readFileSync(join(root, file), "utf8")
    .split("\n")
    .flatMap((text, i) => {
      const match = /\/\/ defence: (\d+) ([a-z0-9-]+)(?: => (.+))?$/.exec(text)
      if (!match) return []
      return [{ file, line: i, row: Number(match[1]), name: match[2]!, replacement: match[3] }]
    })
}

function describe({ file, line, name, row }: Defence): string {
  return `row ${row} ${name} (${file}:${line + 1})`
}

async function tryAll(all: readonly Defence[]): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    const copy = scratchCopy()
    try {
      for (let i = next++; i < all.length; i = next++) {
        verdicts[i] = await judge(copy, all[i]!)
        console.log(`${verdicts[i] === "guarded" ? "ok  " : "FAIL"} ${verdicts[i]!.padEnd(9)} ${describe(all[i]!)}`)
      }
    } finally {
      rmSync(copy, { recursive: true, force: true })
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return verdicts
}

function scratchCopy(): string {
  const parent = mkdtempSync(join(tmpdir(), "valise-defences-"))
  const skipped = new Set(["node_modules", ".git", ".valise"])
  cpSync(root, parent, { recursive: true, filter: (from) => dirname(from) !== root || !skipped.has(basename(from)) })
  symlinkSync(join(root, "node_modules"), join(parent, "node_modules"))
  return parent
}

async function judge(copy: string, defence: Defence): Promise<Verdict> {
  const path = join(copy, defence.file)
  const whole = readFileSync(path, "utf8")
  const lines = whole.split("\n")
  lines[defence.line] = defence.replacement ?? ""
  writeFileSync(path, lines.join("\n"))
  try {
    const { failed, loaded } = await runTests(copy, `test/attacks/${String(defence.row).padStart(2, "0")}-`)
    if (!loaded) return "broken"
    return failed > 0 ? "guarded" : "unguarded"
  } finally {
    writeFileSync(path, whole)
  }
}

interface Result {
  readonly failed: number
  /** Whether every test file could be loaded: a defence whose removal breaks the code proves nothing. */
  readonly loaded: boolean
}

async function runTests(cwd: string, files: string): Promise<Result> {
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs")
  const report = join(cwd, "report.json")
  rmSync(report, { force: true })
  const arguments_ = [vitest, "run", "--reporter=json", `--outputFile=${report}`, files]
  const child = spawn(process.execPath, arguments_, { cwd, stdio: "ignore" })
  await new Promise((resolve) => child.once("close", resolve))
  try {
    const { numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8")) as {
      numFailedTests: number
      testResults: { assertionResults: unknown[] }[]
    }
    const loaded = testResults.length > 0 && testResults.every(({ assertionResults }) => assertionResults.length > 0)
    return { failed: numFailedTests, loaded }
  } catch {
    return { failed: 0, loaded: false }
  }
}
