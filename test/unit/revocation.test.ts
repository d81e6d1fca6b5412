/** Revocations: who may ask for what, and what a reader makes of a message afterwards (SPEC, "Directory"). */
import { beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, OfficerId, PocAddress } from "../../protocol/address.ts"
import type { JudgeResult } from "../../protocol/open.ts"
import { certificateHash, revocationReasons, signRevocation, type RevocationTarget } from "../../pki/entries.ts"
import {
  day,
  deviceEntry,
  deviceKeyOf,
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
import { signingKeyOf } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const kenya = "ke/technical/baobab" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress
const two = ["first", "second"] as const
const theDevice = { kind: "device", poc: kenya, device: deviceOf(kenya) } as const
const theOfficer = { kind: "officer", poc: kenya, officer: officerOf(kenya) } as const

let authorities: Authorities
let directory: TestDirectory
beforeAll(async () => {
  authorities = await makeAuthorities()
})
beforeEach(async () => {
  directory = await TestDirectory.create(authorities)
  await directory.enrol(kenya)
  await directory.enrol(singapore)
  directory.time = start + day
})

describe("who may ask", () => {
  test("for a device or officer: its own key, or its PoC's; nobody else", () => {
    for (const stranger of [pocKeyOf(singapore), pocKeyOf(secretariat), deviceKeyOf(kenya, "second")])
      for (const target of [theDevice, theOfficer])
        expect(directory.revoke(target, stranger, {}, two)).toMatchObject({ reason: "not-entitled" })
    expect(directory.revoke(theDevice, officerKeyOf(kenya))).toMatchObject({ reason: "not-entitled" })
    directory.must(directory.revoke(theDevice, deviceKeyOf(kenya)))
    directory.must(directory.revoke(theOfficer, pocKeyOf(kenya)))
    expect(directory.state.device(deviceOf(kenya))).toBeUndefined()
    expect(directory.state.usableDevices(kenya, directory.time)).toEqual([])
  })

  test("for a State's certificate: its own key, and not the Secretariat with any number of officers", () => {
    const target = directory.certificateTarget(kenya)
    for (const other of [pocKeyOf(secretariat), pocKeyOf(singapore), deviceKeyOf(kenya)])
      expect(directory.revoke(target, other, {}, ["first", "second", "third"])).toMatchObject({
        reason: "not-entitled",
      })
    directory.must(directory.revoke(target, pocKeyOf(kenya)))
    expect(directory.state.poc(kenya)).toBeUndefined()
  })

  test("the slow way against a State's will is reserved", () => {
    const target = directory.certificateTarget(kenya)
    expect(directory.revoke(target, pocKeyOf(secretariat), { contested: true }, two)).toMatchObject({
      reason: "contested",
    })
  })

  test("for an officer of the Secretariat: that officer, or two with the Secretariat's key", () => {
    const target: RevocationTarget = { kind: "officer", poc: secretariat, officer: officerOf(secretariat, "third") }
    expect(directory.revoke(target, pocKeyOf(secretariat))).toMatchObject({ reason: "not-entitled" })
    directory.must(directory.revoke(target, pocKeyOf(secretariat), { reason: "officer-gone" }, two))
    const body = { v: 1, role: "legal" } as const
    expect(directory.log("role", body, ["first", "third"])).toMatchObject({ reason: "approval" })
    directory.must(directory.log("role", body, two))
    const own: RevocationTarget = { kind: "officer", poc: secretariat, officer: officerOf(secretariat, "second") }
    directory.must(directory.revoke(own, officerKeyOf(secretariat, "second")))
    expect(directory.log("role", { v: 1, role: "policy" }, two)).toMatchObject({ reason: "approval" })
  })

  test("for what the directory does not have: nobody", () => {
    const nothing: RevocationTarget[] = [
      { ...theDevice, device: deviceOf(kenya, "second") },
      { ...theOfficer, poc: singapore },
      { kind: "certificate", poc: kenya, certificate: certificateHash(new Uint8Array(1)) },
      { ...directory.certificateTarget(kenya), poc: singapore } as RevocationTarget,
      { kind: "device", poc: "nz/technical/kauri" as PocAddress, device: deviceOf(kenya) },
      { kind: "ca", certificate: certificateHash(new Uint8Array(1)) },
      { kind: "relay", host: "relay.example", certificate: certificateHash(new Uint8Array(1)) },
    ]
    for (const target of nothing) expect(directory.revoke(target, pocKeyOf(kenya))).toMatchObject({ reason: "unknown" })
  })

  test("with a signature of the key that it names", () => {
    const said = directory.revocationOf(theDevice, pocKeyOf(kenya))
    const statement = signRevocation(signingKeyOf("thief"), live, said)
    expect(directory.log("revocation", { v: 1, statement })).toMatchObject({ reason: "signature" })
  })

  test("from a moment that has come, and not before the certificate's time", () => {
    const { time } = directory
    expect(directory.revoke(theDevice, pocKeyOf(kenya), { effective: time + 601 })).toMatchObject({
      reason: "effective",
    })
    const target = directory.certificateTarget(kenya)
    expect(directory.revoke(target, pocKeyOf(kenya), { effective: start - 2 * day })).toMatchObject({
      reason: "effective",
    })
    directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { effective: time + 600 }))
  })
})

describe("what a message is worth afterwards", () => {
  const before = { created: start + 100 }
  const cited = () => directory.state.size

  test("nothing ended: it is believed, with the keys that sign it", () => {
    expect(judge({ ...before, created: start + 100, officer: officerOf(kenya) })).toEqual({
      ok: true,
      deviceKey: deviceKeyOf(kenya).publicKey,
      officerKey: officerKeyOf(kenya).publicKey,
      banners: [],
    })
  })

  test("from somebody who is not in the log, or lacks the right", () => {
    const refused = { ok: false, reason: "sender" }
    expect(judge({ poc: "nz/technical/kauri" as PocAddress })).toEqual(refused)
    expect(judge({ poc: singapore })).toEqual(refused)
    expect(judge({ device: deviceOf(kenya, "second") })).toEqual(refused)
    expect(judge({ officer: officerOf(kenya, "second") })).toEqual(refused)
    const mute = { ...deviceEntry(live, kenya), rights: ["receive"] as const }
    const clerk = officerEntry(live, kenya, "second", ["acknowledge"])
    directory.must(directory.logManifest(kenya, { officers: [officerEntry(live, kenya), clerk] }))
    expect(judge({ officer: officerOf(kenya, "second") })).toEqual(refused)
    directory.must(directory.logManifest(kenya, { devices: [mute] }))
    expect(judge({})).toEqual(refused)
  })

  test("citing a log that does not list its sender, is from after its own date, or is ahead of the reader's", () => {
    expect(judge({ cited: 4 })).toEqual({ ok: false, reason: "sender" })
    expect(judge({ cited: 5, created: start })).toMatchObject({ ok: true })
    directory.must(directory.logManifest(singapore))
    expect(judge({ created: start + day - 601 })).toEqual({ ok: false, reason: "checkpoint" })
    expect(judge({ created: start + day - 600 })).toMatchObject({ ok: true })
    expect(judge({ cited: cited() + 1 })).toEqual({ ok: false, reason: "checkpoint", notYet: true })
  })

  test.each(revocationReasons.filter((x) => x !== "compromise"))(
    "device or officer ended (%s): a banner if created and the cited log lie before",
    (reason) => {
      directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { reason }))
      expect(judge({ ...before, cited: 7 })).toMatchObject({ ok: true, banners: ["device-revoked"] })
      expect(judge({ ...before, cited: 8 })).toEqual({ ok: false, reason: "revoked" })
      expect(judge({ created: directory.time, cited: 7 })).toEqual({ ok: false, reason: "revoked" })
      directory.must(directory.revoke(theOfficer, officerKeyOf(kenya), { reason }))
      expect(judge({ ...before, cited: 7, officer: officerOf(kenya) })).toMatchObject({
        ok: true,
        banners: ["device-revoked", "officer-revoked"],
      })
    },
  )

  test("no longer in the manifest: the same", () => {
    directory.must(
      directory.logManifest(
        kenya,
        { devices: [deviceEntry(live, kenya, "second")], officers: [] },
        { coSigner: "first" },
      ),
    )
    expect(judge({ ...before, cited: 7, officer: officerOf(kenya) })).toMatchObject({
      ok: true,
      banners: ["device-removed", "officer-removed"],
    })
    expect(judge({ ...before, cited: 8 })).toEqual({ ok: false, reason: "sender" })
    expect(judge({ created: directory.time, cited: 7 })).toEqual({ ok: false, reason: "sender" })
  })

  test("a device that is listed again is a new one", () => {
    directory.must(directory.logManifest(kenya, { devices: [] }))
    directory.must(directory.logManifest(kenya, { devices: [deviceEntry(live, kenya)] }))
    expect(directory.state.device(deviceOf(kenya))).toMatchObject({ listedAt: 8, usableFrom: directory.time + day })
    expect(judge({ ...before, cited: 7 })).toEqual({ ok: false, reason: "sender" })
    expect(judge({ created: directory.time, cited: 9 })).toMatchObject({ ok: true, banners: ["device-new"] })
  })

  test("a revoked device stays ended, whatever later manifests list", () => {
    directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { reason: "superseded" }))
    directory.must(directory.logManifest(kenya))
    expect(directory.state.device(deviceOf(kenya))).toBeUndefined()
    directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { reason: "compromise" }))
    expect(directory.logManifest(kenya)).toMatchObject({ reason: "key-compromised" })
  })

  test("the PoC has left: what it sent before is believed, with a banner", () => {
    const target = directory.certificateTarget(kenya)
    directory.must(directory.revoke(target, pocKeyOf(kenya), { reason: "withdrawn" }))
    expect(judge({ ...before, cited: 7 })).toMatchObject({ ok: true, banners: ["certificate-revoked"] })
    expect(judge({ ...before, cited: 8 })).toEqual({ ok: false, reason: "revoked" })
    expect(judge({ created: directory.time, cited: 7 })).toEqual({ ok: false, reason: "revoked" })
  })

  test("certificate and manifest expire: what was created before is believed, with a banner", () => {
    const [expiry, lapse] = [start + 90 * day, start + 120 * day]
    expect(judge({ created: expiry, now: expiry + 1 })).toMatchObject({ ok: true, banners: ["manifest-expired"] })
    expect(judge({ created: lapse, now: lapse + 14 * day })).toMatchObject({ ok: true, banners: ["manifest-expired"] })
    expect(judge({ created: lapse + 1, now: lapse + 1 })).toEqual({ ok: false, reason: "sender" })
    directory.time = start + 300 * day
    directory.must(directory.logManifest(kenya))
    const end = start + 365 * day
    expect(judge({ created: end, now: end + 1 })).toMatchObject({ ok: true, banners: ["certificate-expired"] })
    expect(judge({ created: end + 1, now: end + 1 })).toEqual({ ok: false, reason: "sender" })
  })

  interface Change {
    readonly poc?: PocAddress
    readonly device?: DeviceId
    readonly officer?: OfficerId
    readonly created?: number
    readonly cited?: number
    readonly now?: number
  }

  function judge(change: Change): JudgeResult {
    const {
      poc = kenya,
      device = deviceOf(kenya),
      officer,
      created = directory.time,
      now = directory.time + 60,
    } = change
    const sender = { poc, device, ...(officer && { officer }) }
    return directory.state.judgeSender({ sender, created }, change.cited ?? cited(), now)
  }
})
