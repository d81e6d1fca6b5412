import fc from "fast-check"
import { expect, test } from "vitest"
import { pad, paddedLength, paddedLengths, unpad } from "../../protocol/padding.ts"

test("what was padded is what comes out, in a length of the closed set", () => {
  fc.assert(
    fc.property(fc.nat(65_532), (length) => {
      const body = new Uint8Array(length).fill(7)
      const padded = pad(body)!
      expect(paddedLengths).toContain(padded.length)
      expect(unpad(padded)).toEqual(body)
    }),
  )
  expect(pad(new Uint8Array(65_533))).toBeUndefined()
})

test("padding has one form: whatever unpads is what pad makes of it", () => {
  const almost = fc.tuple(fc.nat(5000), fc.nat(9000), fc.nat(255), fc.constantFrom(4096, 4352, 8192, 8704, 5000, 3))
  fc.assert(
    fc.property(almost, ([length, at, byte, size]) => {
      const bytes = new Uint8Array(size)
      if (size >= 4) new DataView(bytes.buffer).setUint32(0, length)
      if (at < size) bytes[at] = byte
      const body = unpad(bytes)
      if (body) expect(pad(body)).toEqual(bytes)
    }),
  )
})

test("classes are Padmé's: the length's leading bits, as many as the exponent has", () => {
  for (let length = 4097; length <= 65_536; length += 13) {
    const padded = paddedLength(length)!
    const exponent = Math.floor(Math.log2(length))
    const dropped = exponent - (Math.floor(Math.log2(exponent)) + 1)
    expect(padded).toBe(Math.ceil(length / 2 ** dropped) * 2 ** dropped)
    expect(padded - length).toBeLessThan(length * 0.07)
  }
  expect([0, 4096, 4097, 65_536, 65_537].map(paddedLength)).toEqual([4096, 4096, 4352, 65_536, undefined])
})
