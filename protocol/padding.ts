/** Padding: an envelope's length tells a size class, nothing finer (SPEC, "Padding"). */
import { concat, u32be } from "./bytes.ts"
import { fixed } from "./limits.ts"

/** `u32be(length of body) ‖ body ‖ zeros`, to the padded length; `undefined` if it exceeds the largest payload. */
export function pad(body: Uint8Array): Uint8Array | undefined {
  const length = lengthBytes + body.length
  const padded = paddedLength(length)
  return padded === undefined ? undefined : concat(u32be(body.length), body, new Uint8Array(padded - length))
}

/** The body; `undefined` unless these are the very bytes that `pad` makes of it. */
export function unpad(padded: Uint8Array): Uint8Array | undefined {
  if (padded.length < lengthBytes) return undefined
  const length = lengthBytes + new DataView(padded.buffer, padded.byteOffset).getUint32(0)
  // A length beyond the end has a larger class, or none.
  if (paddedLength(length) !== padded.length) return undefined // defence: 16 least-class
  if (padded.subarray(length).some((byte) => byte !== 0)) return undefined // defence: 18 zero-padding
  return padded.subarray(lengthBytes, length)
}

/** 4096 if `length` fits, else Padmé (at most 7 % more), else `undefined`. */
export function paddedLength(length: number): number | undefined {
  if (length <= fixed.payloadBytesMin) return fixed.payloadBytesMin // defence: 16 smallest-class
  const exponent = 31 - Math.clz32(length)
  const significantBits = 32 - Math.clz32(exponent)
  const step = 2 ** (exponent - significantBits)
  const padded = Math.ceil(length / step) * step // defence: 16 size-classes => const padded = length * (step / step)
  return padded <= fixed.payloadBytesMax ? padded : undefined
}

/** The closed set of padded lengths, ascending. */
export const paddedLengths: readonly number[] = allPaddedLengths()

function allPaddedLengths(): number[] {
  const lengths: number[] = []
  for (let next = paddedLength(0); next !== undefined; next = paddedLength(next + 1)) lengths.push(next)
  return lengths
}

const lengthBytes = 4
