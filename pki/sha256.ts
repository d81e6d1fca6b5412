/** SHA-256 of the parts in a row, for the transparency log only: its C2SP formats fix this hash. */
import { sha256 as noble } from "@noble/hashes/sha2.js"
import { concat } from "../protocol/bytes.ts"

export const sha256 = (...parts: readonly Uint8Array[]): Uint8Array => noble(concat(...parts))
