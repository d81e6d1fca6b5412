/**
 * Inputs on file, one a line in base64. `corpus/` holds what coverage chose and may be made anew; `regressions/` holds
 * what once found a fault and is kept for good.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const folder = import.meta.dirname

/** Larger ones stay out of the repository; they are found again. */
const storedBytesMax = 3000
const storedMax = 60

export function known(target: string): Uint8Array[] {
  return [...read(join(folder, "regressions"), target), ...read(join(folder, "corpus"), target)]
}

export function saveCorpus(target: string, corpus: readonly Uint8Array[]): void {
  const small = corpus.filter(({ length }) => length <= storedBytesMax)
  write(join(folder, "corpus"), target, small.toSorted((a, b) => a.length - b.length).slice(0, storedMax))
}

/** Adds a finding. @returns the file */
export function saveRegression(target: string, input: Uint8Array): string {
  const place = join(folder, "regressions")
  return write(place, target, [...read(place, target), input])
}

function read(place: string, target: string): Uint8Array[] {
  const path = join(place, `${target}.txt`)
  if (!existsSync(path)) return []
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1)
  return lines.map((line) => new Uint8Array(Buffer.from(line, "base64")))
}

function write(place: string, target: string, inputs: readonly Uint8Array[]): string {
  mkdirSync(place, { recursive: true })
  const path = join(place, `${target}.txt`)
  const lines = [...new Set(inputs.map((input) => `${Buffer.from(input).toString("base64")}\n`))]
  writeFileSync(path, lines.join(""))
  return path
}
