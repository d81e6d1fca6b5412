import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { decodeCode, encodeCode } from "../../pki/codes.ts"
import { readWords } from "../../protocol/words.ts"
import { codeOf } from "../support/errors.ts"

describe("codes", () => {
  const bytes = fc.constantFrom(5, 10, 20).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))

  test("survive being written down, in groups, in small letters, with the signs that look alike", () => {
    fc.assert(
      fc.property(bytes, (code) => {
        const text = encodeCode(code)
        expect(text).toMatch(/^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4})*$/)
        const scrawled = text.toLowerCase().replaceAll("-", " ").replaceAll("0", "o").replaceAll("1", "l")
        expect(decodeCode(scrawled, code.length)).toEqual(code)
      }),
    )
  })

  test("of another length, or with other signs, are none", () => {
    for (const text of ["", "7K2M", "7K2M-XQ9P-0000", "7K2M-XQ9U", "7K2M-XQ9ß"])
      expect(
        codeOf(() => decodeCode(text, 5)),
        text,
      ).toBe("ERR_INVITATION")
  })
})

test("words are read as people type them", () => {
  expect(readWords(" Falcon, rocket;PEPPER\npython ")).toEqual(["falcon", "rocket", "pepper", "python"])
})
