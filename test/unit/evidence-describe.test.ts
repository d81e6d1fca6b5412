import { beforeAll, expect, test } from "vitest"
import { describeEvidence } from "../../client-sdk/evidence/describe.ts"
import { verifyEvidence } from "../../client-sdk/evidence/verify.ts"
import { officerEntry } from "../support/directory.ts"
import {
  exported,
  homeOf,
  ke,
  kenyasCase,
  network,
  officerReceipt,
  outRecord,
  send,
  sg,
  verified,
} from "../support/evidence.ts"

let world: Awaited<ReturnType<typeof kenyasCase>>
beforeAll(async () => {
  world = await kenyasCase()
})

test("verified: what it proves and what not, to whom and by whose clock, in lines that fit a page", () => {
  const words = describeEvidence(verified(world.directory, world.bytes))
  expect(words.startsWith("VERIFIED.")).toBe(true)
  expect(words).toContain("proves to anyone: ")
  expect(words).toContain("does not prove ")
  expect(words).toContain(
    "made after 2027-01-15T08:59:00Z (log checkpoint); there by 2027-01-15T09:00:59Z (relay receipt)",
  )
  expect(words).toContain("EN 319 522: SubmissionAcceptance, ContentConsignment")
  expect(words).toContain("What no such file can show")
  for (const line of words.split("\n")) {
    expect(line.length).toBeLessThanOrEqual(120)
    expect(line).toBe(line.trimEnd())
  }
})

test("not anchored: says so first, and proves nothing", () => {
  const words = describeEvidence(verifyEvidence(world.bytes, undefined))
  expect(words.startsWith("CONSISTENT, NOT ANCHORED.")).toBe(true)
  expect(words).not.toContain("proves to")
  expect(words).not.toContain("EN 319 522")
})

test("an officer's title cannot command a terminal or turn the direction of writing", async () => {
  const directory = await network()
  const officer = { ...officerEntry(directory.authorities.realm, sg), title: "duty\u001b[2J officer\u202e" }
  directory.must(directory.logManifest(sg, { officers: [officer] }))
  const sent = send(directory, ke, [{ poc: sg }])
  const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], [officerReceipt(directory, sent, sg)]))
  const words = describeEvidence(verified(directory, bytes))
  expect(words).toContain("duty\\u{1b}[2J officer\\u{202e}")
  for (const character of ["\u001b", "\u202e"]) expect(words).not.toContain(character)
})
