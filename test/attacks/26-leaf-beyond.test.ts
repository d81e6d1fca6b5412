import { expect, test } from "vitest"
import { utf8 } from "../../protocol/bytes.ts"
import { judgeForward, mayForward } from "../../protocol/forward.ts"
import { allConsents, attestation, forwardInput, R, saltFor, shown } from "../support/papers.ts"

const { forward } = forwardInput()
const judge = (leaves: typeof forward.leaves) => judgeForward(forwardInput({ forward: { ...forward, leaves } }))

test("26 a leaf beyond the consent: T quarantines the whole forward, true though the leaf is", () => {
  expect(judge(forward.leaves).verified).toBe(true)
  for (const name of ["body", "subject", "type"])
    expect(judge([...forward.leaves, ...shown(name)])).toEqual({ verified: false, reason: "leaf-not-attested" })
})

test("26 a leaf beyond the consent: nor under the name, salt or value of one that was agreed to", () => {
  const [body] = shown("body")
  const [agreed] = shown("indicators")
  for (const leaf of [
    { ...body!, name: "indicators" },
    { ...agreed!, value: body!.value },
    { ...agreed!, salt: saltFor("body") },
    { ...agreed!, name: "body" },
    { ...agreed!, value: utf8("{}") },
  ])
    expect(judge([...shown("involved"), leaf])).toEqual({ verified: false, reason: "leaf-not-attested" })
})

test("26 a leaf beyond the consent: what T holds of the attestation does not open any other leaf", () => {
  const other = shown("body", "subject", "type").map(({ name }) => name)
  expect(attestation.leaves.map(({ name }) => name).filter((name) => other.includes(name))).toEqual([])
  expect(Object.keys(attestation)).not.toContain("content")
})

test("26 a leaf beyond the consent: an honest R refuses to show it", () => {
  const input = allConsents({ me: R })
  expect(mayForward({ ...input, leaves: ["indicators", "involved"] })).toEqual({ allowed: true })
  expect(mayForward({ ...input, leaves: ["indicators", "involved", "body"] })).toEqual({
    allowed: false,
    reason: "leaf-not-attested",
  })
})
