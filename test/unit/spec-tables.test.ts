/** The tables of SPEC.md against the exported constants: prose that nobody tests drifts away from the code. */
import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import { dispositions, messageTypes } from "../../client-sdk/api.ts"
import { terms } from "../../client-sdk/templates.ts"
import { releaseRight } from "../../client-sdk/content.ts"
import { envelopeVersion, suite } from "../../protocol/envelope.ts"
import { errorTable } from "../../protocol/errors.ts"
import { connectionVersion, frameTypes, subprotocol } from "../../protocol/frames.ts"
import { hashLabels } from "../../protocol/hash.ts"
import { chosen, fixed } from "../../protocol/limits.ts"
import { openReasons } from "../../protocol/open.ts"
import { statementLabels } from "../../protocol/statement.ts"

const spec = readFileSync(new URL("../../protocol/SPEC.md", import.meta.url), "utf8")

/** The text of one section, up to the next heading of the same or a higher level. */
function section(heading: string): string {
  const start = spec.indexOf(`\n${heading}\n`)
  expect(start, `section ${heading}`).toBeGreaterThan(-1)
  const level = heading.match(/^#+/)![0].length
  const rest = spec.slice(start + heading.length + 2)
  const end = rest.search(new RegExp(`^#{1,${level}} `, "m"))
  return end < 0 ? rest : rest.slice(0, end)
}

/** Rows of all tables in a section, cells trimmed of spaces and backquotes. */
function rows(heading: string): string[][] {
  return section(heading)
    .split("\n")
    .filter((line) => line.startsWith("|") && !line.startsWith("|---"))
    .map((line) =>
      line
        .slice(1, -1)
        .split(" | ")
        .map((cell) => cell.replaceAll("`", "").trim()),
    )
}

const within = (heading: string, name: string): string[] => rows(heading).find(([first]) => first === name) ?? []

describe("SPEC.md", () => {
  test("versions", () => {
    expect(within("## Versions", "connection version, subprotocol")[1]).toBe(`${connectionVersion}, ${subprotocol}`)
    expect(within("## Versions", "envelope version")[1]).toBe(String(envelopeVersion))
    expect(within("## Versions", "suite")[1]).toBe(String(suite))
  })

  test("limits", () => {
    const told = Object.fromEntries(
      rows("## Limits").flatMap(([name, value]) => (/^\d/.test(value!) ? [[name, Number(value)]] : [])),
    )
    expect(told).toEqual({ ...fixed, ...chosen })
  })

  test("every limit has a reason", () => {
    expect(rows("## Limits").filter(([, , reason]) => !reason)).toEqual([])
  })

  test("errors", () => {
    const told = Object.fromEntries(
      rows("## Errors").flatMap(([code, wire, retryable, exit]) =>
        code!.startsWith("ERR_")
          ? [[code, { ...(wire !== "" && { wire: Number(wire) }), retryable: retryable === "yes", exit: Number(exit) }]]
          : [],
      ),
    )
    expect(told).toEqual(errorTable)
  })

  test.each([...statementLabels, ...hashLabels])("label %s is named", (label) => {
    expect(spec).toContain(`\`${label}\``)
  })

  test("frames and their types", () => {
    for (const [name, type] of Object.entries(frameTypes)) {
      const hex = `0x${type.toString(16).padStart(2, "0")}`
      expect(
        spec.split("\n").some((line) => line.startsWith("|") && line.includes(name) && line.includes(hex)),
        `${name} ${hex}`,
      ).toBe(true)
    }
  })

  test("message types and the rights that release them", () => {
    const table = rows("### Types").filter(([first]) =>
      first!.split(", ").every((type) => (messageTypes as readonly string[]).includes(type)),
    )
    expect(table.flatMap(([types]) => types!.split(", ")).toSorted()).toEqual([...messageTypes].toSorted())
    for (const [types, , right] of table)
      for (const type of types!.split(", ")) {
        const released = releaseRight(type as (typeof messageTypes)[number])
        expect(right, type).toContain(released ?? "nobody")
      }
  })

  test("dispositions and the clause", () => {
    for (const disposition of dispositions) expect(section("## Messages")).toContain(`\`${disposition}\``)
    expect(section("## Messages").replaceAll(/\n> ?/g, " ").replaceAll(/\s+/g, " ")).toContain(terms)
  })

  test.each(openReasons)("reason %s for not opening is explained", (reason) => {
    expect(spec).toContain(`\`${reason}\``)
  })
})
