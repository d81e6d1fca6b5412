/** Holds `docs/requirements.md` to what is there, and the non-goal: nothing has a field for a verdict on who is guilty. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { z } from "zod"
import { dispositions } from "../../client-sdk/api.ts"
import { templates } from "../../client-sdk/templates.ts"

const root = join(import.meta.dirname, "../..")
const read = (name: string): string => readFileSync(join(root, name), "utf8")

describe("docs/requirements.md", () => {
  const rows = read("docs/requirements.md")
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(1)
    .map((line) => line.split("|").map((cell) => cell.trim()))

  test("says of each requirement whether it is there, and names a test exactly if any of it is", () => {
    expect(rows.length).toBeGreaterThan(100)
    for (const [, must, there, , named] of rows) {
      expect(["yes", "part", "not yet"], must).toContain(there)
      expect(named === "", must).toBe(there === "not yet")
    }
  })

  test("names tests that exist", () => {
    const missing = rows
      .flatMap(([, , , , named]) => [...named!.matchAll(/`([^`]+)`/g)].map(([, name]) => `test/${name}.test.ts`))
      .filter((name) => !existsSync(join(root, name)))
    expect(missing).toEqual([])
  })
})

describe("no verdict", () => {
  const words = /attribut|culprit|guilt|perpetrat|blame|verdict|actor|suspect|responsib|state|country|origin/i
  const fieldsOf = (schema: unknown): string[] =>
    schema && typeof schema === "object"
      ? Object.entries(schema).flatMap(([name, value]) =>
          name === "properties" ? [...Object.keys(value as object), ...fieldsOf(value)] : fieldsOf(value),
        )
      : []

  test.each(Object.entries(templates))("template %s asks for none", (_, template) => {
    const fields = fieldsOf(z.toJSONSchema(template))
    expect(fields.length).toBeGreaterThan(0)
    expect(fields.filter((field) => words.test(field))).toEqual([])
  })

  test("no disposition is one", () => {
    expect(dispositions.filter((disposition) => words.test(disposition))).toEqual([])
  })

  test("README states it", () => {
    expect(read("README.md")).toMatch(/\*\*Non-goal:\*\*/)
  })
})
