/** A start long after the last one: what has expired is renewed by those who hold the keys, or it says what to do. */
import { spawnSync } from "node:child_process"
import { cpSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { endEverything, failure, jsonLines, mainFile, parsed, run, testFolder, valise, type Ended } from "./support.ts"

const inCi = process.env["CI"] === "true"
const canFake = spawnSync("faketime", ["--version"]).status === 0

const folder = testFolder()
const data = join(folder, "valise")
const copyOf = (name: string): string => {
  const copy = join(folder, name)
  cpSync(data, copy, { recursive: true })
  return copy
}

/** `valise …` at another time, e.g. `+100d`; its timers run as always. */
const later = (offset: string, args: string[]): Promise<Ended> =>
  run("faketime", ["-f", offset, process.execPath, mainFile, "--json", ...args], { maxMs: 170_000 })

const identity = (ended: Ended): unknown => {
  const { poc, device, officer } = parsed(ended)
  return { poc, device, officer }
}

let evidence: string

afterAll(endEverything)

describe.skipIf(!canFake && !inCi)("a start long after", () => {
  beforeAll(async () => {
    const first = await valise(["--data", data, "--json", "sandbox", "--once"], { maxMs: 170_000 })
    expect(first.code, first.err).toBe(0)
    evidence = String(jsonLines(first.out).at(-1)!["evidence"])
    const written = await valise([
      "--data",
      data,
      "--as",
      "ke/technical",
      "--json",
      "send",
      "--to",
      "sg/technical",
      "--subject",
      "never left",
      "--text",
      "a",
    ])
    expect(written.code, written.err).toBe(0)
  }, 180_000)

  test.each([
    ["100 days", "+100d"],
    ["14 months", "+426d"],
  ])(
    "%s: the same keys, everything renewed, a new case",
    async (name, offset) => {
      const copy = copyOf(name)
      const before = identity(await valise(["--data", copy, "--as", "br/technical", "--json", "whoami"]))
      const again = await later(offset, ["--data", copy, "sandbox", "--once"])
      expect(again.code, again.err).toBe(0)
      expect(jsonLines(again.out).at(-1)).toMatchObject({ event: "complete", ok: true })
      expect(identity(await later(offset, ["--data", copy, "--as", "br/technical", "whoami"]))).toEqual(before)
      const { messages } = parsed(await later(offset, ["--data", copy, "--as", "ke/technical", "sent"])) as unknown as {
        messages: { subject?: string; status: { state: string }[] }[]
      }
      // What could not leave in its time is said to be undelivered, and what was said before is still there.
      expect(messages.find(({ subject }) => subject === "never left")?.status).toMatchObject([{ state: "undelivered" }])
      expect(messages.filter(({ subject }) => subject?.startsWith("Beaconing"))).toHaveLength(2)
      const checked = await later(offset, ["verify", evidence, "--trust", join(data, "trust.txt")])
      expect(checked.code, checked.err).toBe(0)
    },
    180_000,
  )

  test("after the root's end, and with a clock that was set back: it says what to do, and changes nothing", async () => {
    const ended = await later("+25y", ["--data", data, "sandbox", "--once"])
    expect({ code: ended.code, out: ended.out }).toEqual({ code: 2, out: "" })
    expect(failure(ended)).toMatchObject({
      code: "ERR_USAGE",
      message: expect.stringContaining("root certificate") as string,
      hint: expect.stringContaining("--data") as string,
    })
    const early = await later("-2d", ["--data", data, "sandbox", "--once"])
    expect({ code: early.code, out: early.out }).toEqual({ code: 2, out: "" })
    expect(failure(early)).toMatchObject({
      code: "ERR_USAGE",
      message: expect.stringContaining("clock") as string,
      hint: expect.stringContaining("set the clock") as string,
    })
    const now = await valise(["--data", data, "--json", "sandbox", "--once"], { maxMs: 170_000 })
    expect(now.code, now.err).toBe(0)
  }, 180_000)
})
