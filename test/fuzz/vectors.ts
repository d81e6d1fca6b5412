/** The project's vectors, as inputs to begin with. */
import { readFileSync } from "node:fs"
import { fromHex } from "../../protocol/bytes.ts"

export const vectors = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../protocol/vectors/${name}.json`, import.meta.url), "utf8")) as T

export const bytesOf = (...hexes: readonly string[]): Uint8Array[] => hexes.map(fromHex)
