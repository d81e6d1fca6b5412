/** The simulator itself: that it repeats, and that a worker's seeds do not depend on those before them. */
import { execFileSync } from "node:child_process"
import { join } from "node:path"
import { expect, test } from "vitest"
import { Chance } from "./chance.ts"
import { runSeed } from "./seed.ts"
import { VirtualTime } from "./time.ts"

/** A seed takes about half a second; a machine with much else to do takes its time. */
const patienceMs = 240_000
const program = join(import.meta.dirname, "../../scripts/simulate.ts")

test(
  "the same seed gives the same trace, byte for byte",
  async () => {
    for (const seed of [1, 4]) {
      const [first, second] = [await runSeed(seed), await runSeed(seed)]
      expect(first.trace.length).toBeGreaterThan(100)
      expect(second.trace.join("\n")).toBe(first.trace.join("\n"))
    }
  },
  patienceMs,
)

test(
  "and so it does in another process, with other certificates",
  async () => {
    const { trace } = await runSeed(2)
    const printed = execFileSync(process.execPath, [program, "--seeds", "1", "--seed", "2", "--trace"], {
      encoding: "utf8",
    })
    expect(printed.split("\n").slice(0, trace.length)).toEqual(trace)
  },
  patienceMs,
)

test("chance repeats, and each name has a row of its own", () => {
  const row = (seed: number, name: string): string => Buffer.from(new Chance(seed, name).bytes(32)).toString("hex")
  expect(row(1, "relay")).toBe(row(1, "relay"))
  expect(new Set([row(1, "relay"), row(2, "relay"), row(1, "relay2"), row(12, "relay")]).size).toBe(4)
})

test("virtual time calls timers in order, and those of a sleep at its end", async () => {
  const time = new VirtualTime()
  const called: string[] = []
  const note = (name: string) => () => void called.push(`${name} at ${time.nowMs}`)
  time.after(30, note("late"))
  time.after(10, note("early"))
  time.after(10, note("next"))
  time.after(20, note("never"))()
  while (await time.step(15));
  time.leap(100)
  while (await time.step(1000));
  expect(called).toEqual(["early at 10", "next at 10", "late at 115"])
})
