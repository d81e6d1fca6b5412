/** A fixed budget of fuzzing, the same inputs each time: more with `npm run fuzz -- --seconds N`. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { expect, test } from "vitest"

/** In a process of its own: V8's counters are those of a whole process, and want plain files. */
async function node(...args: readonly string[]): Promise<string> {
  // A decoder that allocates beyond reason ends the process.
  const options = ["--max-old-space-size=256", join(import.meta.dirname, args[0]!), ...args.slice(1)]
  // Code from the cache has fewer counters.
  const env = { ...process.env, NODE_DISABLE_COMPILE_CACHE: "1" }
  const outcome = await promisify(execFile)(process.execPath, options, { env }).catch(
    (error: { stdout: string }) => error,
  )
  return outcome.stdout
}

test("no decoder does with any input what it must not, in bounded steps and memory", { timeout: 300_000 }, async () => {
  const said = await node("run.ts", "--runs", "105", "--dry")
  expect(said.match(/^.*FOUND[^]*$/m)?.[0]).toBeUndefined()
  expect(said.match(/ runs in /g)?.length).toBeGreaterThan(20)
})

test("the fuzzer finds what lies behind three bytes, cut down to them: a throw, and too many steps", async () => {
  const found = (await node("planted.ts")).trim().split("\n").toSorted()
  expect(found).toEqual(["Va! TypeError: the planted fault", expect.stringMatching(/^Va\?.* steps; 100 are allowed$/)])
})
