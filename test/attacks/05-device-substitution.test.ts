/** The issuing CA, or more of the Secretariat, tries to put a device of its own in a State's place. */
import { beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { encodeBody, encodeEntry, subjectOf, type BodyOf } from "../../pki/entries.ts"
import {
  day,
  deviceEntry,
  deviceOf,
  makeAuthorities,
  officerEntry,
  officerKeyOf,
  pocKeyOf,
  secretariat,
  start,
  TestDirectory,
  type Authorities,
} from "../support/directory.ts"
import { signingKeyOf } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const kenya = "ke/technical/baobab" as PocAddress
const rogue = "ke/technical/rogue" as PocAddress
const thief = signingKeyOf("thief")
const two = ["first", "second"] as const
const ownDevice = { devices: [deviceEntry(live, kenya, "rogue")], officers: [] }

let authorities: Authorities
let directory: TestDirectory
let certificate: BodyOf<"certificate">
beforeAll(async () => {
  authorities = await makeAuthorities()
})
beforeEach(async () => {
  directory = await TestDirectory.create(authorities)
  await directory.enrol(kenya)
  certificate = await directory.certificateBody(kenya, { key: thief })
})

/** Whoever writes to Kenya now reaches Kenya's own device. */
const expectKenyaItself = (at = directory.time) => {
  expect(directory.state.resolve("ke/technical").key).toEqual(pocKeyOf(kenya).publicKey)
  expect(directory.state.usableDevices(kenya, at).map(({ device }) => device)).toEqual([deviceOf(kenya)])
}

describe("5 device substitution by the CA", () => {
  test("5 device substitution by the CA: a certificate that the CA alone made does not count", () => {
    expect(directory.log("certificate", certificate)).toMatchObject({ reason: "not-approved" })
    const own = directory.approveAs(kenya, "certificate", certificate, thief)
    expect(directory.log("certificate", certificate, [own])).toMatchObject({ reason: "approval" })
    expect(directory.logManifest(kenya, ownDevice, { key: thief })).toMatchObject({ reason: "manifest" })
    expectKenyaItself()
  })

  test("5 device substitution by the CA: one officer, even twice, is not two", () => {
    expect(directory.log("certificate", certificate, ["first"])).toMatchObject({ reason: "not-approved" })
    const again = directory.approve("certificate", certificate, "first", { created: start - 1 })
    expect(directory.log("certificate", certificate, ["first", again])).toMatchObject({ reason: "not-approved" })
    expectKenyaItself()
  })

  test("5 device substitution by the CA: officers without the right, or of another PoC, approve nothing", () => {
    const officer = { key: officerKeyOf(kenya), id: directory.state.poc(kenya)!.manifest!.officers[0]!.officer }
    const foreign = directory.approveAs(kenya, "certificate", certificate, officer.key)
    expect(directory.log("certificate", certificate, ["first", foreign])).toMatchObject({ reason: "approval" })
    const clerk = officerEntry(live, secretariat, "clerk", ["release"])
    const { officers } = directory.state.poc(secretariat)!.manifest!
    directory.must(directory.logManifest(secretariat, { officers: [...officers, clerk] }))
    const byClerk = directory.approve("certificate", certificate, "clerk" as "first")
    expect(directory.log("certificate", certificate, ["first", byClerk])).toMatchObject({ reason: "approval" })
    expectKenyaItself()
  })

  test("5 device substitution by the CA: approvals of one entry do not approve another", async () => {
    const honest = await directory.certificateBody("sg/technical/merlion" as PocAddress)
    const approvals = two.map((officer) => directory.approve("certificate", honest, officer))
    expect(directory.log("certificate", certificate, approvals)).toMatchObject({ reason: "approval" })
    const subject = subjectOf("manifest", encodeBody("certificate", certificate))
    const otherKind = two.map((x) => directory.approve("certificate", certificate, x, { kind: "manifest", subject }))
    expect(directory.log("certificate", certificate, otherKind)).toMatchObject({ reason: "approval" })
    expectKenyaItself()
  })

  test("5 device substitution by the CA: an approval is by whom it says", () => {
    const { officers } = directory.state.poc(secretariat)!.manifest!
    for (const change of [{ officer: officers[1]!.officer }, { poc: kenya }, { officer: undefined }]) {
      const claimed = directory.approve("certificate", certificate, "first", change)
      expect(directory.log("certificate", certificate, [claimed, "second"])).toMatchObject({ reason: "approval" })
    }
    expectKenyaItself()
  })

  test("5 device substitution by the CA: an approval counts once, within its time", () => {
    directory.must(directory.log("role", { v: 1, role: "legal" }, two))
    const approvals = two.map((officer) => directory.approve("default", { v: 1, poc: kenya }, officer))
    const write = () => encodeEntry({ kind: "default", time: directory.time, body: { v: 1, poc: kenya }, approvals })
    expect(directory.append(write())).toMatchObject({ reason: "repeated" }) // judged, and not used up
    for (const change of [{ expires: start - 60, created: start - 120 }, { created: start + 601 }]) {
      const wrong = two.map((officer) => directory.approve("certificate", certificate, officer, change))
      expect(directory.log("certificate", certificate, wrong)).toMatchObject({ reason: "approval" })
    }
    expectKenyaItself()
  })

  test("5 device substitution by the CA: what two officers once approved is not approved again by itself", async () => {
    const relay = await directory.relayBody("relay.example")
    const approvals = two.map((officer) => directory.approve("relay", relay, officer))
    directory.must(directory.log("relay", relay, approvals))
    expect(directory.log("relay", await directory.relayBody("relay.example"), approvals)).toMatchObject({
      reason: "approval",
    })
    // The one case in which the same words could count twice: handing over, back, and over again.
    const acacia = "ke/technical/acacia" as PocAddress
    await directory.enrol(acacia, false)
    const to = (poc: PocAddress): BodyOf<"default"> => ({ v: 1, poc })
    const over = directory.approveAs(kenya, "default", to(acacia))
    directory.must(directory.log("default", to(acacia), [over]))
    directory.must(directory.log("default", to(kenya), [directory.approveAs(acacia, "default", to(kenya))]))
    expect(directory.log("default", to(acacia), [over])).toMatchObject({ reason: "approval" })
    expectKenyaItself()
  })

  test("5 device substitution by the CA: a relay that nobody approved is not listed", async () => {
    expect(directory.log("relay", await directory.relayBody("relay.example"))).toMatchObject({ reason: "not-approved" })
    expect(directory.state.relay("relay.example")).toBeUndefined()
  })

  test("5 device substitution by CA and officers together: visible in the log, and of no use for a day", () => {
    directory.must(directory.log("certificate", certificate, two))
    directory.must(directory.logManifest(kenya, ownDevice, { key: thief }))
    expect(directory.state.poc(kenya)?.key).toEqual(thief.publicKey) // what Kenya's own client raises the alarm about
    expect(directory.state.usableDevices(kenya, start + day - 1)).toEqual([])
  })

  test("5 device substitution by CA and officers together: they cannot hand a State's mail to another PoC", async () => {
    await directory.enrol(rogue, false)
    expect(directory.log("default", { v: 1, poc: rogue }, two)).toMatchObject({ reason: "not-approved" })
    const isDefault = await directory.certificateBody("ke/technical/rogue-too" as PocAddress)
    expect(directory.log("certificate", isDefault, two)).toMatchObject({ reason: "default" })
    expectKenyaItself()
  })

  test("5 device substitution by a thief of the PoC's key: its device waits a day, and cannot vouch for another", () => {
    const { devices } = directory.state.poc(kenya)!.manifest!
    directory.must(directory.logManifest(kenya, { devices: [...devices, ...ownDevice.devices] }))
    expectKenyaItself(start + day - 1)
    const more = { devices: [...devices, ...ownDevice.devices, deviceEntry(live, kenya, "another")] }
    directory.must(directory.logManifest(kenya, more, { coSigner: "rogue" }))
    expectKenyaItself(start + day - 1)
  })

  test("5 device substitution by a thief of the Secretariat's key: it cannot name officers who approve, nor end them", () => {
    const { officers } = directory.state.poc(secretariat)!.manifest!
    const own = [officerEntry(live, secretariat, "x", ["approve"]), officerEntry(live, secretariat, "y", ["approve"])]
    for (const changed of [own, [...officers, ...own], officers.slice(1)])
      expect(directory.logManifest(secretariat, { officers: changed })).toMatchObject({ reason: "not-approved" })
    const target = directory.certificateTarget(secretariat)
    directory.must(directory.revoke(target, pocKeyOf(secretariat), { effective: start - day }))
    expect(directory.log("certificate", certificate)).toMatchObject({ reason: "not-approved" })
    directory.must(directory.log("role", { v: 1, role: "legal" }, two))
    expectKenyaItself()
  })
})
