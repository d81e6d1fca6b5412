/** The fuzzer on a decoder with faults behind three bytes: blind changes alone would need some sixteen million runs. */
import { Chance } from "./chance.ts"
import { Coverage } from "./coverage.ts"
import { Fuzzer } from "./engine.ts"
import { bytes } from "./mutations.ts"

const coverage = new Coverage((url) => url === import.meta.url)
const target = {
  name: "planted",
  seeds: [new Uint8Array(3)],
  mutations: [bytes],
  stepsMax: { base: 100, perByte: 0 },
  check: planted,
}
const fuzzer = new Fuzzer(target, [], coverage, new Chance(1))
fuzzer.fuzz((runs) => runs > 100_000)
for (const { input, error } of fuzzer.findings) console.log(`${Buffer.from(input).toString()} ${String(error)}`)

function planted(input: Uint8Array): void {
  if (input[0] !== 0x56) return
  if (input[1] !== 0x61) return
  if (input[2] === 0x21) throw new TypeError("the planted fault")
  if (input[2] === 0x3f) for (let i = 0; i < 1000; i++) if (i % 2 === 0) continue
}
