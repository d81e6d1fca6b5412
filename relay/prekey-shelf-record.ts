/** A prekey as it lies on the shelf, with the checksum that says whether it is still what was written. */
import { hash } from "node:crypto"
import type { SQLOutputValue } from "node:sqlite"
import { concat, equal, utf8 } from "../protocol/bytes.ts"
import { deviceBytes } from "./store.ts"

export type PrekeyKind = "one-time" | "rotating"

export const prekeyTables = { "one-time": "one_time_prekey", rotating: "rotating_prekey" } as const

/** Names a prekey's statement and is its checksum. The statement is public, so a hash of it tells nothing new. */
export const prekeyDigest = (kind: PrekeyKind, device: Uint8Array, statement: Uint8Array): Uint8Array =>
  new Uint8Array(hash("sha256", concat(utf8(kind), device, statement), "buffer"))

/**
 * Against decay, not against attack: whoever can write the file can write checksums. `undefined` if it has decayed.
 * @param row columns `device`, `statement` and `digest` of a prekey table
 */
export function readPrekey(
  kind: PrekeyKind,
  { device, statement, digest }: Record<string, SQLOutputValue>,
): { readonly device: Uint8Array; readonly statement: Uint8Array } | undefined {
  if (!(device instanceof Uint8Array) || device.length !== deviceBytes) return undefined
  if (!(statement instanceof Uint8Array) || !(digest instanceof Uint8Array)) return undefined
  return equal(prekeyDigest(kind, device, statement), digest) ? { device, statement } : undefined
}
