import { expect, test } from "vitest"
import { utf8 } from "../../protocol/bytes.ts"
import { hashLabels, taggedHash } from "../../protocol/hash.ts"
import { hex } from "../../protocol/bytes.ts"
import { sha3, SigningKey } from "../../protocol/primitives.ts"
import { signStatement, statementLabels, verifyStatement } from "../../protocol/statement.ts"
import { live } from "../support/sealing.ts"

const key = new SigningKey(sha3(utf8("a key that signs everything")))

test("13 cross-protocol: no two labels of statements verify for one another", () => {
  const bytes = utf8("the same bytes")
  for (const label of statementLabels) {
    const signed = signStatement(key, live, label, bytes)
    for (const other of statementLabels)
      expect(verifyStatement(key.publicKey, live, other, signed), `${label} as ${other}`).toBe(label === other)
  }
})

test("13 cross-protocol: what follows a label cannot make it another one", () => {
  for (const label of statementLabels)
    for (const other of statementLabels) {
      if (!other.startsWith(label) || other === label) continue
      const signed = signStatement(key, live, label, utf8(`${other.slice(label.length)}\0`))
      expect(verifyStatement(key.publicKey, live, other, { ...signed, bytes: utf8("") })).toBe(false)
    }
  const signed = signStatement(key, { origin: "a", mode: "live" }, "header", utf8(""))
  expect(verifyStatement(key.publicKey, { origin: "a", mode: "live" }, "header", signed)).toBe(true)
  expect(key.sign(utf8("valise/v1\0a\0live\0header\0"))).toEqual(signed.signature)
})

test("13 cross-protocol: no two labels of hashes, and no two ways to cut the same bytes, give one hash", () => {
  const hashes = hashLabels.map((label) => hex(taggedHash(label, "x")))
  expect(new Set(hashes).size).toBe(hashLabels.length)
  const cuts = [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"]].map((parts) =>
    hex(taggedHash("leaf", ...parts)),
  )
  expect(new Set(cuts).size).toBe(cuts.length)
})
