/** What was signed in an exercise, or for another directory, is carried into the live log; all keys are the same. */
import { beforeAll, beforeEach, expect, test } from "vitest"
import type { PocAddress, Realm } from "../../protocol/address.ts"
import { signManifest } from "../../protocol/manifest.ts"
import { signApproval, signRevocation, encodeBody, subjectOf, type Approval, type BodyOf } from "../../pki/entries.ts"
import { signPossession } from "../../pki/possession.ts"
import { validateLeaf, validateRoot } from "../../pki/validator.ts"
import { readCertificate } from "../../pki/x509.ts"
import {
  deviceEntry,
  deviceOf,
  makeAuthorities,
  officerEntry,
  officerKeyOf,
  officerOf,
  pocKeyOf,
  secretariat,
  start,
  TestDirectory,
  type Authorities,
} from "../support/directory.ts"
import { exercise, live } from "../support/sealing.ts"

const kenya = "ke/technical/baobab" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress
const elsewhere: Realm = { origin: "elsewhere.example", mode: "live" }
const foreign = [
  ["an exercise", exercise],
  ["another directory", elsewhere],
] as const

let authorities: Authorities
let directory: TestDirectory
beforeAll(async () => {
  authorities = await makeAuthorities(live)
})
beforeEach(async () => {
  directory = await TestDirectory.create(authorities)
  await directory.enrol(kenya)
})

test.each(foreign)("14 live/exercise crossover: officers' approvals from %s", async (_, realm) => {
  const body = await directory.certificateBody(singapore)
  const approvals = (["first", "second"] as const).map((name) => {
    const key = officerKeyOf(secretariat, name)
    return signApproval(key, realm, { ...approvalOf(body), poc: secretariat, officer: officerOf(secretariat, name) })
  })
  expect(directory.log("certificate", body, approvals)).toMatchObject({ reason: "approval" })
  directory.must(directory.log("certificate", body, ["first", "second"]))
})

test.each(foreign)("14 live/exercise crossover: a PoC's own approval from %s", async (_, realm) => {
  const body = await directory.certificateBody(kenya)
  const approval = signApproval(pocKeyOf(kenya), realm, { ...approvalOf(body), poc: kenya })
  expect(directory.log("certificate", body, [approval])).toMatchObject({ reason: "approval" })
  directory.must(directory.log("certificate", body, [directory.approveAs(kenya, "certificate", body)]))
})

test.each(foreign)("14 live/exercise crossover: a manifest and its listed keys from %s", (_, realm) => {
  const listed = { devices: [deviceEntry(realm, kenya)], officers: [officerEntry(realm, kenya)] }
  const manifest = signManifest(pocKeyOf(kenya), realm, directory.manifestOf(kenya, listed))
  expect(directory.log("manifest", { v: 1, poc: kenya, manifest })).toMatchObject({ reason: "manifest" })
  directory.must(directory.logManifest(kenya))
})

test.each(foreign)("14 live/exercise crossover: a revocation from %s", (_, realm) => {
  const target = { kind: "device", poc: kenya, device: deviceOf(kenya) } as const
  const statement = signRevocation(pocKeyOf(kenya), realm, directory.revocationOf(target, pocKeyOf(kenya)))
  expect(directory.log("revocation", { v: 1, statement })).toMatchObject({ reason: "signature" })
  expect(directory.state.device(deviceOf(kenya))).toBeDefined()
})

test.each(foreign)("14 live/exercise crossover: a key's wish to be certified from %s", async (_, realm) => {
  const body = await directory.certificateBody(singapore)
  const subject = { use: "poc", poc: { state: "sg", role: "technical", agency: "merlion" } } as const
  const member = signPossession(pocKeyOf(singapore), realm, subject)
  expect(directory.log("certificate", { ...body, member }, ["first", "second"])).toMatchObject({ reason: "possession" })
})

test.each(foreign)("14 live/exercise crossover: certificates and the whole log of %s", async (_, realm) => {
  const there = await TestDirectory.create(await makeAuthorities(realm))
  await there.enrol(singapore)
  for (const leaf of there.leaves) expect(directory.append(leaf).counted).toBe(false)
  expect(directory.state.poc(singapore)).toBeUndefined()
  expect(validateRoot(there.anchor.rootCertificate, live)).toMatchObject({ ok: false, reason: "issuer" })
  const { certificate } = there.state.poc(singapore)!
  const subject = { use: "poc", poc: { state: "sg", role: "technical", agency: "merlion" } } as const
  const ca = readCertificate(authorities.ca.certificate)
  expect(validateLeaf(certificate, ca, live, subject, start)).toMatchObject({ ok: false, reason: "issuer" })
})

function approvalOf(body: BodyOf<"certificate">): Omit<Approval, "poc"> {
  const subject = subjectOf("certificate", encodeBody("certificate", body))
  return { v: 1, kind: "certificate", subject, created: start, expires: start + 60 }
}
