/** Deterministic CBOR (RFC 8949 §4.2.1), strict: whatever is not in the one canonical form is refused (SPEC, "Encodings"). */
import { encode, rfc8949EncodeOptions } from "cborg"
import type { z } from "zod"
import { readCbor } from "./cbor-read.ts"
import { ValiseError } from "./errors.ts"

/** Maps with text keys, arrays, text, byte strings, integers in ±2^53, booleans and null; floats and undefined are refused. */
export type CborValue =
  | string
  | number
  | boolean
  | null
  | Uint8Array
  | readonly CborValue[]
  | { readonly [key: string]: CborValue }

/** Properties whose value is `undefined` are left out, so optional fields can be given as they are. */
export function encodeCbor(value: object | CborValue): Uint8Array {
  return plain(encode(pruned(value), rfc8949EncodeOptions))
}

/** Throws `ERR_MALFORMED`, and nothing else, on any bytes that `encodeCbor` would not have written for this shape. */
export const decodeCbor = <T>(shape: z.ZodType<T>, bytes: Uint8Array): T => shaped(shape, decodeValue(bytes))

/** The same without a shape. */
export const decodeValue = (bytes: Uint8Array): unknown => read(bytes, nestingMax)

/** What was decoded, if it has this shape. Throws `ERR_MALFORMED`. */
export function shaped<T>(shape: z.ZodType<T>, value: unknown): T {
  const parsed = shape.safeParse(value)
  if (!parsed.success)
    throw new ValiseError("ERR_MALFORMED", "a structure has the wrong shape", { cause: parsed.error })
  return parsed.data
}

/**
 * For bytes that this program has encoded itself and nobody can have changed since, as a vault's records, in which a
 * peer's structure may lie a few levels deeper. Throws `ERR_MALFORMED`.
 */
export const decodeOwnCbor = <T>(shape: z.ZodType<T>, bytes: Uint8Array): T =>
  shaped(shape, read(bytes, 2 * nestingMax))

/** Arrays and maps around one item. Without a bound it would be the reader's stack that says what a log entry counts for. */
const nestingMax = 16

function read(bytes: Uint8Array, levels: number): unknown {
  try {
    return readCbor(plain(bytes), levels)
  } catch (cause) {
    throw new ValiseError("ERR_MALFORMED", "not deterministic CBOR", { cause })
  }
}

/** Node's `Buffer` is not quite a `Uint8Array`: its `slice` shares memory, and it compares as another type. */
const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)

function pruned(value: unknown): unknown {
  if (value instanceof Uint8Array || value === null || typeof value !== "object") {
    if (typeof value === "number" && !Number.isSafeInteger(value)) throw new TypeError("only integers are encoded")
    return value
  }
  if (Array.isArray(value)) return value.map(pruned)
  const out: Record<string, unknown> = {}
  for (const [key, item] of Object.entries(value)) if (item !== undefined) out[key] = pruned(item)
  return out
}
