/**
 * `npm run bench -- GROUP [--json]`: measures one group and keeps the result in `bench/results/`.
 * `--tiny` only shows that our side works: one short run, no peers, nothing kept.
 */
import { parseArgs } from "node:util"
import { keep, thisMachine, words, type Figure } from "./figures.ts"
import { relayGroup } from "./relay.ts"
import { scaleGroup } from "./scale.ts"
import { sealGroup } from "./seal.ts"

export interface Size {
  readonly tiny: boolean
  readonly runs: number
  /** Of one measurement of a rate. */
  readonly seconds: number
  /** Progress, for whoever waits. */
  readonly note: (line: string) => void
}

export interface Measured {
  readonly configuration: readonly string[]
  readonly figures: readonly Figure[]
}

const groups: Record<string, (size: Size) => Promise<Measured>> = {
  seal: sealGroup,
  relay: relayGroup,
  scale: scaleGroup,
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean" }, tiny: { type: "boolean" }, runs: { type: "string" } },
})
const [name = ""] = positionals
const group = groups[name]
if (!group || positionals.length > 1) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(groups).join("|")} [--json] [--tiny] [--runs N]\n`)
  process.exit(2)
}
const tiny = values.tiny === true
const measured = await group({
  tiny,
  runs: tiny ? 1 : Math.max(5, Number(values.runs ?? 5)),
  seconds: tiny ? 0.2 : 3,
  note: (line) => process.stderr.write(`${line}\n`),
})
const report = { bench: name, machine: thisMachine(), date: new Date().toISOString(), ...measured }
if (!tiny) keep(report)
process.stdout.write(`${values.json ? JSON.stringify(report) : words(report)}\n`)
