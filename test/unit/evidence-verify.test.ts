import { expect, test } from "vitest"
import { describeEvidence } from "../../client-sdk/evidence/describe.ts"
import { kenyasCase, verified } from "../support/evidence.ts"

test("smoke", async () => {
  const { directory, bytes } = await kenyasCase()
  const report = verified(directory, bytes)
  console.log(bytes.length)
  console.log(describeEvidence(report))
  expect(report.verdict).toBe("verified")
})
