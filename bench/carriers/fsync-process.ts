/** Writes as much as an envelope and syncs it, a hundred times a second, until its input ends; then says how long each took. */
import { fdatasyncSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import { payloadBytes } from "./carrier.ts"

const file = openSync(join(process.argv[2]!, "fdatasync"), "w")
const bytes = new Uint8Array(payloadBytes).fill(7)
const took: number[] = []
const timer = setInterval(() => {
  const begin = performance.now()
  writeSync(file, bytes)
  fdatasyncSync(file)
  took.push(performance.now() - begin)
}, 10)
process.stdout.write("ready\n")
process.stdin.resume().once("end", () => {
  clearInterval(timer)
  process.stdout.write(`${JSON.stringify(took)}\n`)
})
