/** Public test vectors, read in place from `../shared/data/vectors`. In CI they must be there; elsewhere tests skip. */
import { existsSync, readFileSync } from "node:fs"

const folder = new URL("../../../shared/data/vectors/", import.meta.url)

/** True where the vectors are missing and may be: pass it to `describe.skipIf`. */
export const vectorsMissing = process.env["CI"] !== "true" && !existsSync(folder)

/** @param name e.g. `x-wing.json`. Throws if the file is missing. */
export function publicVectors(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8"))
}
