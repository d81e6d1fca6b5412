import { expect, test } from "vitest"
import { utf8 } from "../../protocol/bytes.ts"
import { packLeaves, unpackLeaves } from "../../protocol/leaves.ts"
import { nodeDeflate } from "../../system/node.ts"
import { leaf } from "../support/sealing.ts"

const secret = leaf("body", "victim: Ministry of Salt, password hunter2-correct-horse. ".repeat(3))
const packedLengths = (guess: string): number[] =>
  packLeaves([leaf("quoted", guess), secret], nodeDeflate).map((packed) => packed.value.length)

test("33 chosen text beside a secret: what one State put into one leaf does not compress against another leaf", () => {
  const right = "password hunter2-correct-horse. ".repeat(3)
  const wrong = "password gnvcla3-mspudne-zkwtr. ".repeat(3)
  expect(packedLengths(right)).toEqual(packedLengths(wrong))
  const [, besideNothing] = packedLengths("")
  expect(packedLengths(right)[1]).toBe(besideNothing)
})

test("33 chosen text beside a secret: receipts and attachments are never deflated, and never inflated", () => {
  for (const name of ["receipt", "attachments"]) {
    const value = utf8("a".repeat(1000))
    expect(packLeaves([{ name, value }], nodeDeflate)).toEqual([{ name, deflated: false, value }])
    const deflated = { name, deflated: true, value: nodeDeflate.deflate(value) }
    expect(unpackLeaves([deflated], nodeDeflate)).toBeUndefined()
    expect(unpackLeaves([{ ...deflated, name: "body" }], nodeDeflate)).toEqual([{ name: "body", value }])
  }
})
