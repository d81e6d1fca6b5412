/** A revoked key goes on signing, and dates what it signs as it likes. Judged when the message is opened. */
import { beforeAll, beforeEach, expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { certificateHash } from "../../pki/entries.ts"
import {
  day,
  deviceEntry,
  deviceKeyOf,
  deviceOf,
  makeAuthorities,
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
  directory.time = start + 10 * day
})

/** The oldest log that can be cited, and a date from long before anything was revoked. */
const backdated = { created: start + day, cited: 5 }

function judge({ created, cited }: { readonly created: number; readonly cited: number }, withOfficer = false) {
  const sender = { poc: kenya, device: deviceOf(kenya), ...(withOfficer && { officer: officerOf(kenya) }) }
  return directory.state.judgeSender({ sender, created }, cited, directory.time + 60)
}

test("21 backdating with a revoked key: a compromised device's message is refused, whatever date and log it cites", () => {
  expect(judge(backdated)).toMatchObject({ ok: true })
  directory.must(directory.revoke(theDevice, deviceKeyOf(kenya), { reason: "compromise" }))
  expect(judge(backdated)).toEqual({ ok: false, reason: "revoked" })
})

test("21 backdating with a revoked key: a release by a compromised officer likewise", () => {
  expect(judge(backdated, true)).toMatchObject({ ok: true })
  directory.must(directory.revoke(theOfficer, officerKeyOf(kenya), { reason: "compromise" }))
  expect(judge(backdated, true)).toEqual({ ok: false, reason: "revoked" })
  expect(judge(backdated)).toMatchObject({ ok: true })
})

test("21 backdating with a revoked key: compromise found later outranks an ordinary end", () => {
  directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { reason: "superseded" }))
  expect(judge(backdated)).toMatchObject({ ok: true, banners: ["device-revoked"] })
  directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { reason: "compromise" }))
  expect(judge(backdated)).toEqual({ ok: false, reason: "revoked" })
})

test("21 backdating with a revoked key: a device that was put out of service needs an old date and an old log", () => {
  directory.must(directory.revoke(theDevice, pocKeyOf(kenya), { reason: "withdrawn" }))
  const size = directory.state.size
  expect(judge({ created: start + day, cited: size })).toEqual({ ok: false, reason: "revoked" })
  expect(judge({ created: directory.time, cited: size - 1 })).toEqual({ ok: false, reason: "revoked" })
  expect(judge({ created: directory.time + 30, cited: size })).toEqual({ ok: false, reason: "revoked" })
})

test("21 backdating: no message is older than the log that it cites", () => {
  directory.must(directory.logManifest(kenya))
  expect(judge({ created: directory.time - 601, cited: directory.state.size })).toEqual({
    ok: false,
    reason: "checkpoint",
  })
})

test("21 revocation: what a stolen PoC key signed since the stated moment is taken back, what followed from it too", async () => {
  const honest = directory.state.poc(kenya)!
  const theft = directory.time
  directory.time = theft + day
  const rogue = [...honest.manifest!.devices, deviceEntry(live, kenya, "rogue")]
  directory.must(directory.logManifest(kenya, { devices: rogue }))
  const thief = signingKeyOf("thief")
  const rotated = await directory.certificateBody(kenya, { key: thief })
  directory.must(directory.log("certificate", rotated, [directory.approveAs(kenya, "certificate", rotated)]))
  directory.must(directory.logManifest(kenya, { devices: rogue.slice(1) }, { key: thief }))
  const rogueMessage = { sender: { poc: kenya, device: deviceOf(kenya, "rogue") }, created: directory.time }
  directory.time += 2 * day
  expect(directory.state.judgeSender(rogueMessage, directory.state.size, directory.time)).toMatchObject({ ok: true })

  const target = { kind: "certificate", poc: kenya, certificate: certificateHash(honest.certificate) } as const
  directory.must(directory.revoke(target, pocKeyOf(kenya), { reason: "compromise", effective: theft }))
  expect(directory.state.judgeSender(rogueMessage, directory.state.size, directory.time)).toEqual({
    ok: false,
    reason: "sender",
  })
  expect(directory.logManifest(kenya, {}, { key: thief })).toMatchObject({ reason: "not-in-force" })
  // Logged before the stated moment: the manifest, and what its device sent until then.
  expect(judge(backdated)).toMatchObject({ ok: true, banners: ["certificate-revoked"] })
  expect(judge({ created: theft, cited: 5 })).toEqual({ ok: false, reason: "revoked" })

  const again = await directory.certificateBody(kenya, { key: pocKeyOf(kenya, "second") })
  const old = await directory.certificateBody(kenya)
  expect(directory.log("certificate", old, ["first", "second"])).toMatchObject({ reason: "key-compromised" })
  directory.must(directory.log("certificate", again, ["first", "second"]))
  expect(directory.state.poc(kenya)?.manifest).toEqual(honest.manifest)
  directory.must(directory.logManifest(kenya, {}, { key: pocKeyOf(kenya, "second") }))
})

test("21 revocation: nobody else can end a State's PoC, its devices or its officers", () => {
  const strangers = [pocKeyOf(secretariat), pocKeyOf(singapore), officerKeyOf(secretariat), signingKeyOf("thief")]
  for (const target of [directory.certificateTarget(kenya), theDevice, theOfficer])
    for (const stranger of strangers)
      expect(directory.revoke(target, stranger, {}, ["first", "second", "third"])).toMatchObject({
        reason: "not-entitled",
      })
  expect(directory.state.usableDevices(kenya, directory.time)).toHaveLength(1)
})
