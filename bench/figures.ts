/** What a bench prints: one figure per id, the median of several runs, with the machine that it was measured on. */
import { mkdirSync, writeFileSync } from "node:fs"
import { arch, cpus, release, totalmem } from "node:os"
import { join } from "node:path"

export interface Figure {
  readonly id: string
  /** The median of the runs. */
  readonly value: number
  readonly unit: string
  /** The same of what it is compared with: a peer, a bare system call, an empty mailbox. */
  readonly against?: number
  /** The median of the runs' own ratios, `value` to `against`: each pair was measured one after the other. */
  readonly ratio?: number
  readonly runs: number
  readonly min: number
  readonly max: number
}

export interface Report {
  readonly bench: string
  readonly machine: Machine
  readonly date: string
  /** How each side was set up, in words. */
  readonly configuration: readonly string[]
  readonly figures: readonly Figure[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly system: string
  readonly node: string
}

export const thisMachine = (): Machine => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  memoryGb: Math.round(totalmem() / 2 ** 30),
  system: `${process.platform} ${release()} ${arch()}`,
  node: process.version,
})

/** @param runs what each run measured; @param against what was measured beside it, run by run */
export function figure(id: string, unit: string, runs: readonly number[], against?: readonly number[]): Figure {
  const compared = against && {
    against: rounded(median(against)),
    ratio: rounded(median(runs.map((value, i) => value / against[i]!))),
  }
  return {
    id,
    value: rounded(median(runs)),
    unit,
    ...compared,
    runs: runs.length,
    min: rounded(Math.min(...runs)),
    max: rounded(Math.max(...runs)),
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The value that this share of the values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!
}

/** One file per bench, machine and day; the newest run of a day stands. */
export function keep(report: Report): void {
  const folder = join(import.meta.dirname, "results")
  mkdirSync(folder, { recursive: true })
  const name = `${report.bench}-${report.date.slice(0, 10)}.json`
  writeFileSync(join(folder, name), `${JSON.stringify(report, undefined, 2)}\n`)
}

export function words({ bench, machine, configuration, figures }: Report): string {
  const { cpu, cores, memoryGb, node } = machine
  const rows = [["figure", "value", "unit", "against", "ratio", "min", "max", "runs"]]
  for (const { id, value, unit, against, ratio, min, max, runs } of figures)
    rows.push([id, ...[value, unit, against ?? "", ratio ?? "", min, max, runs].map(String)])
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd(),
  )
  return [`${bench}: ${cpu}, ${cores} cores, ${memoryGb} GB, Node ${node}`, ...configuration, "", ...lines].join("\n")
}

const rounded = (value: number): number => Number(value.toPrecision(4))
