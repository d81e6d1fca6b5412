/** Deterministic CBOR (RFC 8949 §4.2.1), strict: whatever is not in the one canonical form is refused (SPEC, "Encodings"). */
import { decode as cborDecode, encode as cborEncode, rfc8949EncodeOptions } from "cborg"
import type { z } from "zod"
import { equal } from "./bytes.ts"
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
  return plain(cborEncode(pruned(value), rfc8949EncodeOptions))
}

/** Throws `ERR_MALFORMED`, and nothing else, on any bytes that `encodeCbor` would not have written for this shape. */
export const decodeCbor = <T>(shape: z.ZodType<T>, bytes: Uint8Array): T => shaped(shape, decodeValue(bytes))

/** What the bytes hold, of whatever shape. Throws `ERR_MALFORMED` on any bytes that `encodeCbor` would not have written. */
export function decodeValue(bytes: Uint8Array): unknown {
  try {
    const value: unknown = cborDecode(plain(bytes), strictDecoding)
    if (isNestedDeeper(value, nestingMax)) throw new TypeError("nested too deeply")
    if (!equal(encodeCbor(value as CborValue), bytes)) throw new TypeError("not in canonical form")
    return value
  } catch (cause) {
    throw new ValiseError("ERR_MALFORMED", "not deterministic CBOR", { cause })
  }
}

/** Throws `ERR_MALFORMED` if a decoded value has another shape. */
export function shaped<T>(shape: z.ZodType<T>, value: unknown): T {
  const parsed = shape.safeParse(value)
  if (!parsed.success)
    throw new ValiseError("ERR_MALFORMED", "a structure has the wrong shape", { cause: parsed.error })
  return parsed.data
}

/**
 * For bytes that this program has encoded itself and nobody can have changed since, as a vault's records: the check that
 * they are in canonical form, which costs as much as all the rest, is left out. Throws `ERR_MALFORMED`.
 */
export function decodeOwnCbor<T>(shape: z.ZodType<T>, bytes: Uint8Array): T {
  try {
    return shape.parse(cborDecode(plain(bytes), strictDecoding))
  } catch (cause) {
    throw new ValiseError("ERR_MALFORMED", "a structure has the wrong shape", { cause })
  }
}

/** Arrays and maps around one item. Without a bound it would be the reader's stack that says what a log entry counts for. */
const nestingMax = 16

function isNestedDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return false
  return levels === 0
    ? Object.keys(value).length > 0
    : Object.values(value).some((item) => isNestedDeeper(item, levels - 1))
}

const strictDecoding = {
  strict: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowInfinity: false,
  allowNaN: false,
  allowBigInt: false,
  coerceUndefinedToNull: false,
} as const

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
