import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { bitsOf, contentOf, der, derOid, positiveIntegerOf, readElements, tag, textOf, timeOf } from "../../pki/der.ts"
import { codeOf } from "../support/errors.ts"

const only = (text: string) => readElements(fromHex(text))[0]!
const time = (elementTag: number, text: string) => timeOf(readElements(der(elementTag, utf8(text)))[0]!)

describe("reading DER", () => {
  test("reads back what is written, at every length", () => {
    const lengths = fc.constantFrom(0, 1, 127, 128, 255, 256, 1000, 65_531)
    fc.assert(
      fc.property(fc.array(fc.record({ length: lengths, byte: fc.nat(255) }), { maxLength: 3 }), (parts) => {
        const contents = parts.map(({ length, byte }) => new Uint8Array(length).fill(byte))
        const bytes = contents.map((content) => der(tag.octetString, content))
        const whole = new Uint8Array(bytes.flatMap((x) => [...x]))
        const elements = readElements(whole)
        expect(elements.map(({ content }) => hex(content))).toEqual(contents.map(hex))
        expect(elements.map((x) => hex(x.bytes))).toEqual(bytes.map(hex))
      }),
      { numRuns: 30 },
    )
  })

  test.each([
    ["a length in long form that would be short", "04810101"],
    ["a length of two bytes that one would hold", `048200ff${"00".repeat(255)}`],
    ["an indefinite length", "30800000"],
    ["a length of three bytes", `0483010000${"00".repeat(65_536)}`],
    ["a length that is cut off", "0482"],
    ["no length", "04"],
    ["content that is cut off", "040200"],
    ["a tag of several bytes", "1f0100"],
  ])("refuses %s", (_, text) => {
    expect(codeOf(() => readElements(fromHex(text)))).toBe("ERR_MALFORMED")
  })

  test("one element, of the expected tag, with nothing after it", () => {
    expect(hex(contentOf(tag.octetString, fromHex("0401ff")))).toBe("ff")
    for (const text of ["", "0501ff", "0401ff00", "0401ff0401ff"])
      expect(
        codeOf(() => contentOf(tag.octetString, fromHex(text))),
        text,
      ).toBe("ERR_MALFORMED")
  })

  test("positive integers in the shortest form", () => {
    for (const text of ["020101", "02017f", "02020080", "02020100"]) expect(positiveIntegerOf(only(text))).toBeDefined()
    for (const text of ["0200", "020100", "020180", "02020001", "0202ff00", "030101"])
      expect(
        codeOf(() => positiveIntegerOf(only(text))),
        text,
      ).toBe("ERR_MALFORMED")
  })

  test("bit strings of whole bytes, and text in UTF-8", () => {
    expect(hex(bitsOf(only("030200ff")))).toBe("ff")
    for (const text of ["0300", "030201fe", "040200ff"])
      expect(
        codeOf(() => bitsOf(only(text))),
        text,
      ).toBe("ERR_MALFORMED")
    expect(textOf(only("0c02c3a9"))).toBe("é")
    for (const text of ["0c01ff", "160141"])
      expect(
        codeOf(() => textOf(only(text))),
        text,
      ).toBe("ERR_MALFORMED")
  })
})

describe("times", () => {
  test("agree with the calendar", () => {
    const moments = fc.integer({ min: 0, max: Date.UTC(2200, 0, 1) / 1000 - 1 })
    fc.assert(
      fc.property(moments, (seconds) => {
        const digits = new Date(seconds * 1000).toISOString().replaceAll(/[-:T]|\..*/g, "")
        const isShort = seconds < Date.UTC(2050, 0, 1) / 1000
        expect(time(isShort ? tag.utcTime : tag.generalizedTime, `${isShort ? digits.slice(2) : digits}Z`)).toBe(
          seconds,
        )
      }),
    )
  })

  test.each([
    "270229000000Z",
    "270001000000Z",
    "271301000000Z",
    "270100000000Z",
    "270101240000Z",
    "270101006000Z",
    "270101000060Z",
    "2701010000Z",
    "270101000000",
    "270101000000+0000",
    "270101000000.0Z",
    "600101000000Z",
  ])("refuses %s", (text) => {
    expect(codeOf(() => time(tag.utcTime, text))).toBe("ERR_MALFORMED")
  })

  test("the long form only from 2050 on", () => {
    expect(time(tag.generalizedTime, "20500101000000Z")).toBe(Date.UTC(2050, 0, 1) / 1000)
    expect(codeOf(() => time(tag.generalizedTime, "20491231235959Z"))).toBe("ERR_MALFORMED")
    expect(codeOf(() => time(tag.octetString, "270101000000Z"))).toBe("ERR_MALFORMED")
  })
})

test("object identifiers, with arcs of any size", () => {
  expect(hex(derOid("2.5.29.15"))).toBe("0603551d0f")
  expect(hex(derOid("1.2.840.10045.4.3.3"))).toBe("06082a8648ce3d040303")
  // ITU-T X.667: 2.25.<UUID f81d4fae-7dec-11d0-a765-00a0c91e6bf6>
  expect(hex(derOid("2.25.329800735698586629295641978511506172918"))).toBe(
    "06146983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776",
  )
})
