/** Options that several verbs take, checked. */
import { ValiseError } from "../protocol/errors.ts"

/** Throws `ERR_USAGE`. */
export function port(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0 || value > 65_535)
    throw new ValiseError("ERR_USAGE", "not a port", { hint: "a number from 0 to 65535; 0 is any free one" })
  return value
}

/** Throws `ERR_USAGE` for the sandbox's folder, which is also the default. */
export function folderGiven({ data }: { readonly data: string }, what: string): string {
  if (data !== sandboxFolder) return data
  throw new ValiseError("ERR_USAGE", `which folder holds the ${what}?`, { hint: "give --data DIR" })
}

const sandboxFolder = ".valise"
