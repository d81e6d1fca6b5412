/** A growing structure's encoder and decoder that agree (SPEC, "Encodings"). */
import { z } from "zod"
import { encodeCbor } from "./cbor.ts"
import { ValiseError } from "./errors.ts"
import { decodeGrowing } from "./statement.ts"

export interface Structure<T> {
  /** Throws `ERR_MALFORMED` or `ERR_VERSION` for a value that `decode` would refuse: what nobody may read is not written. */
  readonly encode: (value: T) => Uint8Array
  /** Throws `ERR_MALFORMED`, or `ERR_VERSION` for another version or an unknown critical field; nothing else. */
  readonly decode: (bytes: Uint8Array) => T
}

/** @param shape made by `growing`, so that fields of later versions survive. */
export function structureOf<T extends { readonly crit?: readonly string[] | undefined }>(
  shape: z.ZodObject & z.ZodType<T>,
): Structure<T> {
  const decode = (bytes: Uint8Array): T => decodeGrowing<T>(shape, bytes)
  const encode = (value: T): Uint8Array => {
    if (!shape.safeParse(value).success) throw new ValiseError("ERR_MALFORMED", "a structure has the wrong shape")
    const bytes = encodeCbor(value)
    decode(bytes)
    return bytes
  }
  return { encode, decode }
}

/** Text for people: whole Unicode code points (no lone surrogates), at most so many. */
export const textShape = (charactersMax: number): z.ZodType<string> =>
  z.string().refine((text) => text.isWellFormed() && Array.from(text).length <= charactersMax)
