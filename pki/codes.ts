/** Codes that people carry: Crockford's base 32, which has no letters that look or sound like another sign. */
import { ValiseError } from "../protocol/errors.ts"

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/** In groups of four signs, e.g. `7K2M-XQ9P`. @param bytes a multiple of five of them, so that no bits are left over */
export function encodeCode(bytes: Uint8Array): string {
  let bits = ""
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0")
  const signs = bits.match(/.{5}/g)!.map((five) => alphabet[Number.parseInt(five, 2)]!)
  return signs
    .join("")
    .match(/.{1,4}/g)!
    .join("-")
}

/** Takes small letters, `O` for `0`, `I` and `L` for `1`, and any separators. Throws `ERR_INVITATION` for what cannot be such a code. */
export function decodeCode(text: string, length: number): Uint8Array {
  const plain = text.toUpperCase().replaceAll(/[\s-]/g, "").replaceAll("O", "0").replaceAll(/[IL]/g, "1")
  const values = Array.from(plain, (sign) => alphabet.indexOf(sign))
  if (values.length * 5 !== length * 8 || values.includes(-1))
    throw new ValiseError("ERR_INVITATION", "this is not a code of that kind", {
      hint: `it has ${(length * 8) / 5} letters and digits; compare it with the one that you were given`,
    })
  const bits = values.map((value) => value.toString(2).padStart(5, "0")).join("")
  return Uint8Array.from(bits.match(/.{8}/g)!, (eight) => Number.parseInt(eight, 2))
}
