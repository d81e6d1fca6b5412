/** The reader of deterministic CBOR against another one: `cborg` decodes leniently, and what it reads must encode to the same bytes. */
import { decode } from "cborg"
import fc from "fast-check"
import { expect, test } from "vitest"
import { z } from "zod"
import { equal, fromHex, hex } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor, type CborValue } from "../../protocol/cbor.ts"

const refused = "refused"
const options = { strict: true, rejectDuplicateMapKeys: true, allowBigInt: false, allowUndefined: false }

const mine = (bytes: Uint8Array): unknown => attempt(() => decodeCbor(z.unknown(), bytes))

const theirs = (bytes: Uint8Array): unknown =>
  attempt(() => {
    const value: unknown = decode(bytes, options)
    return equal(encodeCbor(value as CborValue), bytes) ? value : refused
  })

function attempt(read: () => unknown): unknown {
  try {
    return read()
  } catch {
    return refused
  }
}

const { value } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, false),
    fc.maxSafeInteger(),
    fc.integer({ min: -300, max: 70_000 }),
    fc.string({ unit: "grapheme", maxLength: 40 }),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes)),
    fc.array(tie("value"), { maxLength: 30 }),
    fc.dictionary(fc.string({ maxLength: 30 }), tie("value"), { maxKeys: 8, noNullPrototype: true }),
  ),
}))

test("what is written is read, and the same by both", () => {
  fc.assert(
    fc.property(value, (written) => {
      const bytes = encodeCbor(written)
      expect(mine(bytes)).toEqual(theirs(bytes))
      expect(hex(encodeCbor(mine(bytes) as CborValue))).toBe(hex(bytes))
    }),
    { numRuns: 500 },
  )
})

test("damaged bytes are refused by both, or read as the same", () => {
  const damage = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom("set", "insert", "cut", "append"))
  fc.assert(
    fc.property(value, fc.array(damage, { minLength: 1, maxLength: 3 }), (written, damages) => {
      let bytes = [...encodeCbor(written)]
      for (const [place, byte, how] of damages) {
        const at = place % (bytes.length + 1)
        if (how === "set") bytes[Math.min(at, bytes.length - 1)] = byte
        else if (how === "insert") bytes.splice(at, 0, byte)
        else bytes = how === "cut" ? bytes.slice(0, at) : [...bytes, byte]
      }
      const damaged = Uint8Array.from(bytes)
      expect(mine(damaged)).toEqual(theirs(damaged))
    }),
    { numRuns: 3000 },
  )
})

test.each([
  ["a longer form than needed", "1817 190017 1a00000017 1b0000000000000017 5817 9817 b817"],
  ["indefinite lengths", "5f40ff 7f60ff 9fff bfff"],
  [
    "numbers that are not exact, or no integers",
    "1b0020000000000000 3b001fffffffffffff f90000 fa3f800000 fb3ff0000000000000",
  ],
  ["tags, undefined and other simple values", "c100 f7 e0 f820 ff"],
  ["keys out of order, twice, or no text", "a2616200616100 a2616100616100 a262616100616200 a10000 a14000"],
  ["text that is not UTF-8", "61ff 62c328 63eda080 6400000080"],
  ["a key that is no field", "a1695f5f70726f746f5f5f00 a1695f5f70726f746f5f5fa0"],
  ["what is cut off, or goes on", "18 1900 41 61 81 a1 a16161 0000"],
  ["more than sixteen levels", `${"81".repeat(17)}00 ${"a16161".repeat(17)}00`],
])("refused: %s", (_what, all) => {
  for (const each of all.trim().split(" ")) expect([each, mine(fromHex(each))]).toEqual([each, refused])
})

test("read: sixteen levels around something, and nothing within a seventeenth", () => {
  for (const each of [`${"81".repeat(16)}00`, `${"81".repeat(16)}80`]) expect(mine(fromHex(each))).not.toBe(refused)
})
