/** Somebody has another's public key certified as a PoC's own, with the CA and two officers on its side. */
import { expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { makeAuthorities, pocKeyOf, TestDirectory } from "../support/directory.ts"

const kenya = "ke/technical/baobab" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress

test("31 a listed key that is another's: no certificate counts for a key that has not asked for that name", async () => {
  const directory = await TestDirectory.create(await makeAuthorities())
  const own = await directory.certificateBody(singapore)
  const others = await directory.certificateBody(kenya, { key: pocKeyOf(singapore) })
  // All that the thief has is what Singapore's key signed for Singapore.
  const body = { ...others, member: own.member }
  expect(directory.log("certificate", body, ["first", "second"])).toMatchObject({ reason: "possession" })
  directory.must(directory.log("certificate", own, ["first", "second"]))
  expect(directory.state.resolve("sg/technical").address).toBe(singapore)
})
