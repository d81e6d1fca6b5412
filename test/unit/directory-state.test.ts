/** The directory replayed from its log: what counts, what does not and why, and what readers then see (SPEC, "Directory"). */
import { randomBytes } from "node:crypto"
import fc from "fast-check"
import { beforeAll, beforeEach, describe, expect, test } from "vitest"
import { mailboxOf, type PocAddress, type PocName } from "../../protocol/address.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { fixed } from "../../protocol/limits.ts"
import { signManifest } from "../../protocol/manifest.ts"
import { issueCa, makeIssuerKey } from "../../pki/certificate.ts"
import { certificateHash, encodeEntry, signRevocation, type BodyOf } from "../../pki/entries.ts"
import { Replay } from "../../pki/replay.ts"
import { DirectoryState } from "../../pki/state.ts"
import { readCertificate } from "../../pki/x509.ts"
import { MerkleLog, verifyConsistency, verifyInclusion } from "../../pki/tree.ts"
import {
  day,
  deviceEntry,
  deviceKeyOf,
  deviceOf,
  issue,
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
import { codeOf } from "../support/errors.ts"
import { signingKeyOf } from "../support/papers.ts"
import { exercise, live } from "../support/sealing.ts"

const kenya = "ke/technical/baobab" as PocAddress
const acacia = "ke/technical/acacia" as PocAddress
const foreignAffairs = "ke/diplomatic/jamhuri" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress
const two = ["first", "second"] as const

let authorities: Authorities
let directory: TestDirectory
beforeAll(async () => {
  authorities = await makeAuthorities()
})
beforeEach(async () => {
  directory = await TestDirectory.create(authorities)
})

describe("the beginning of a directory", () => {
  test("root, issuing CA, the Secretariat and its officers", () => {
    const { state } = directory
    expect(state.refused()).toEqual([])
    expect(state.resolve("un/secretariat")).toMatchObject({ address: secretariat, secretariat: true, isDefault: true })
    expect(state.poc(secretariat)?.manifest?.officers).toHaveLength(3)
  })

  test("an issuing CA under another root, or an exercise's, does not count", async () => {
    const other = await makeAuthorities(live)
    const exercising = await makeAuthorities(exercise)
    expect(directory.log("ca", { v: 1, certificate: other.ca.certificate })).toMatchObject({
      reason: "certificate:authority-key-id",
    })
    expect(directory.log("ca", { v: 1, certificate: exercising.ca.certificate })).toMatchObject({
      reason: "certificate:issuer",
    })
    expect(directory.log("ca", { v: 1, certificate: authorities.ca.certificate })).toMatchObject({ reason: "repeated" })
  })

  test("the Secretariat names at least two officers who approve, before anything can be approved", async () => {
    const young = new TestDirectory(authorities)
    expect(young.log("certificate", await young.certificateBody(secretariat))).toMatchObject({ reason: "no-ca" })
    young.must(young.log("ca", { v: 1, certificate: authorities.ca.certificate }))
    young.must(young.log("certificate", await young.certificateBody(secretariat)))
    const officers = [officerEntry(live, secretariat, "first", ["approve"])]
    expect(young.logManifest(secretariat, { officers })).toMatchObject({ reason: "approvers" })
    expect(young.log("certificate", await young.certificateBody(kenya), two)).toMatchObject({ reason: "approval" })
    expect(young.log("certificate", await young.certificateBody(kenya))).toMatchObject({ reason: "not-approved" })
  })

  test("there is one Secretariat, and only it is the United Nations'", async () => {
    const second = "un/secretariat/other" as PocAddress
    const notOne = "un/technical/valise" as PocAddress
    for (const poc of [second, notOne])
      expect(await bodyAs(poc, "secretariat").then((body) => directory.log("certificate", body, two))).toMatchObject({
        reason: "address",
      })
    expect(directory.log("certificate", await bodyAs(second, "poc"), two)).toMatchObject({ reason: "address" })
  })
})

test("an officer of the Secretariat who was revoked may approve no more, whatever a manifest lists", () => {
  const officer = officerOf(secretariat, "third")
  const gone = { kind: "officer", poc: secretariat, officer } as const
  directory.must(directory.revoke(gone, officerKeyOf(secretariat, "third"), { reason: "officer-gone" }))
  const [first, second, third] = directory.state.poc(secretariat)!.manifest!.officers
  expect(directory.logManifest(secretariat, { officers: [first!, third!] })).toMatchObject({ reason: "approvers" })
  // To list that officer still, or no longer, changes nothing, so two others need not approve it.
  directory.must(directory.logManifest(secretariat, { officers: [first!, second!, third!] }))
  directory.must(directory.logManifest(secretariat, { officers: [first!, second!] }))
})

describe("enrolment", () => {
  test("with two officers' approvals, and usable at once with its first manifest", async () => {
    await directory.enrol(kenya)
    const { state } = directory
    expect(state.resolve("ke/technical").address).toBe(kenya)
    expect(state.resolve(kenya)).toMatchObject({
      name: { state: "ke", role: "technical", agency: "baobab" },
      organisation: "Agency of Tests",
      key: pocKeyOf(kenya).publicKey,
      notAfter: start + 365 * day,
      certificateIndex: 3,
      manifestIndex: 4,
      isDefault: true,
      secretariat: false,
    })
    expect(state.usableDevices(kenya, start)).toMatchObject([
      { device: deviceOf(kenya), usableFrom: start, listedAt: 4 },
    ])
    expect(state.device(deviceOf(kenya))).toMatchObject({ poc: kenya, relay: "relay.example" })
    expect(state.deviceOfMailbox(mailboxOf(deviceOf(kenya), "relay.example"))).toMatchObject({ poc: kenya })
    expect(state.pocs().map(({ address }) => address)).toEqual([secretariat, kenya])
  })

  test.each([
    ["a State that is no Member", "xx/technical/agency"],
    ["a role that is not in the directory", "ke/legal/agency"],
    ["the Secretariat's role for a State", "ke/secretariat/agency"],
  ])("not for %s", async (_, poc) => {
    expect(directory.log("certificate", await bodyAs(poc as PocAddress, "poc"), two)).toMatchObject({
      reason: "address",
    })
  })

  test("not with a certificate for another address, another use, or of another time", async () => {
    const body = await directory.certificateBody(kenya)
    expect(directory.log("certificate", { ...body, poc: acacia }, two)).toMatchObject({ reason: "certificate:subject" })
    const use = await issue(authorities, { use: "secretariat", poc: nameOf(kenya) }, pocKeyOf(kenya))
    expect(directory.log("certificate", { ...body, ...use }, two)).toMatchObject({ reason: "certificate:subject" })
    const early = await directory.certificateBody(kenya, { notBefore: start + 60 })
    expect(directory.log("certificate", early, two)).toMatchObject({ reason: "certificate:not-yet-valid" })
  })

  test("not for a key that has not asked, or that is somebody else's", async () => {
    await directory.enrol(kenya)
    const body = await directory.certificateBody(singapore)
    expect(directory.log("certificate", { ...body, member: new Uint8Array(64) }, two)).toMatchObject({
      reason: "possession",
    })
    const shared = await directory.certificateBody(singapore, { key: pocKeyOf(kenya) })
    expect(directory.log("certificate", shared, two)).toMatchObject({ reason: "key-used" })
    const relay = await directory.relayBody("relay.example", pocKeyOf(kenya))
    expect(directory.log("relay", relay, two)).toMatchObject({ reason: "key-used" })
  })

  test("a role can be added, by two officers", async () => {
    const legal = "ke/legal/sheria" as PocAddress
    expect(directory.log("role", { v: 1, role: "legal" }, ["first"])).toMatchObject({ reason: "not-approved" })
    directory.must(directory.log("role", { v: 1, role: "legal" }, two))
    await directory.enrol(legal)
    expect(directory.state.resolve("ke/legal").address).toBe(legal)
    for (const role of ["legal", "technical", "secretariat"])
      expect(directory.log("role", { v: 1, role }, two)).toMatchObject({ reason: "repeated" })
  })
})

describe("one default per State and role", () => {
  beforeEach(async () => directory.enrol(kenya))

  test("neither two nor none", async () => {
    expect(directory.log("certificate", await directory.certificateBody(acacia), two)).toMatchObject({
      reason: "default",
    })
    const none = await directory.certificateBody(foreignAffairs, { isDefault: false })
    expect(directory.log("certificate", none, two)).toMatchObject({ reason: "default" })
    await directory.enrol(acacia, false)
    await directory.enrol(foreignAffairs)
    expect(directory.state.resolve("ke/technical").address).toBe(kenya)
    expect(directory.state.resolve("ke/diplomatic").address).toBe(foreignAffairs)
    expect(directory.state.poc(acacia)?.isDefault).toBe(false)
  })

  test("handed over by the present default alone", async () => {
    await directory.enrol(acacia, false)
    const body: BodyOf<"default"> = { v: 1, poc: acacia }
    expect(directory.log("default", body, two)).toMatchObject({ reason: "not-approved" })
    expect(directory.log("default", body, [directory.approveAs(acacia, "default", body)])).toMatchObject({
      reason: "approval",
    })
    directory.must(directory.log("default", body, [directory.approveAs(kenya, "default", body)]))
    expect(directory.state.resolve("ke/technical").address).toBe(acacia)
    expect(directory.state.poc(kenya)?.isDefault).toBe(false)
    expect(directory.log("default", body)).toMatchObject({ reason: "repeated" })
    expect(directory.log("default", { v: 1, poc: singapore })).toMatchObject({ reason: "unknown" })
  })

  test("when the default has left, two officers or the next enrolment name another", async () => {
    await directory.enrol(acacia, false)
    directory.must(
      directory.revoke(directory.certificateTarget(kenya), pocKeyOf(kenya), { reason: "withdrawn", text: "Closed." }),
    )
    expect(hintOf("ke/technical")).toBe(`ke has ${acacia}`)
    directory.must(directory.log("default", { v: 1, poc: acacia }, two))
    expect(directory.state.resolve("ke/technical").address).toBe(acacia)
    expect(directory.log("default", { v: 1, poc: kenya }, two)).toMatchObject({ reason: "not-in-force" })
  })
})

describe("renewal", () => {
  const later = start + 350 * day
  beforeEach(async () => directory.enrol(kenya))

  test("by the holder's approval, also for a new key", async () => {
    directory.time = later
    const renewed = await renewal(kenya)
    expect(directory.log("certificate", renewed)).toMatchObject({ reason: "not-approved" })
    directory.must(directory.log("certificate", renewed, [directory.approveAs(kenya, "certificate", renewed)]))
    expect(directory.state.poc(kenya)?.notAfter).toBe(later + 365 * day)
    expect(directory.log("certificate", renewed)).toMatchObject({ reason: "repeated" })

    const key = pocKeyOf(kenya, "second")
    const rotated = await renewal(kenya, key)
    directory.must(directory.log("certificate", rotated, [directory.approveAs(kenya, "certificate", rotated)]))
    expect(directory.state.poc(kenya)?.key).toEqual(key.publicKey)
    expect(directory.logManifest(kenya)).toMatchObject({ reason: "manifest" })
    directory.must(directory.logManifest(kenya, {}, { key }))
  })

  test("not by the holder once the certificate has expired; then by two officers", async () => {
    directory.time = start + 366 * day
    const late = await renewal(kenya)
    expect(directory.log("certificate", late, [directory.approveAs(kenya, "certificate", late)])).toMatchObject({
      reason: "approval",
    })
    directory.must(directory.log("certificate", late, two))
  })

  test("of the Secretariat's own certificate, even after it has expired", async () => {
    directory.time = start + 500 * day
    const late = await renewal(secretariat)
    expect(directory.log("certificate", late)).toMatchObject({ reason: "not-approved" })
    directory.must(directory.log("certificate", late, two))
  })
})

describe("manifests", () => {
  beforeEach(async () => directory.enrol(kenya))
  const second = () => ({ devices: [deviceEntry(live, kenya), deviceEntry(live, kenya, "second")] })

  test("follow one another without a gap", () => {
    expect(directory.logManifest(kenya, { version: 1, previous: null })).toMatchObject({ reason: "manifest-order" })
    expect(directory.logManifest(kenya, { version: 3 })).toMatchObject({ reason: "manifest-order" })
    expect(directory.logManifest(kenya, { previous: new Uint8Array(32) as never })).toMatchObject({
      reason: "manifest-order",
    })
    directory.must(directory.logManifest(kenya))
    expect(directory.state.poc(kenya)?.manifest?.version).toBe(2)
  })

  test("are dated when they are logged", () => {
    const skew = fixed.clockSkewSecondsMax
    expect(directory.logManifest(kenya, { created: start + skew + 1 })).toMatchObject({ reason: "manifest-dates" })
    expect(directory.logManifest(kenya, { created: start - day, expires: start - 1 })).toMatchObject({
      reason: "manifest-dates",
    })
    directory.must(directory.logManifest(kenya, { created: start + skew }))
  })

  test("are for PoCs in the directory whose certificate holds", () => {
    expect(directory.logManifest(singapore)).toMatchObject({ reason: "unknown" })
    directory.time = start + 366 * day
    expect(directory.logManifest(kenya)).toMatchObject({ reason: "not-in-force" })
  })

  test("a device that no older one vouches for waits a day; one that is vouched for does not", () => {
    directory.must(directory.logManifest(kenya, second()))
    expect(usable(start)).toEqual([deviceOf(kenya)])
    expect(usable(start + day - 1)).toEqual([deviceOf(kenya)])
    expect(usable(start + day)).toEqual([deviceOf(kenya), deviceOf(kenya, "second")])
    const third = { devices: [...second().devices, deviceEntry(live, kenya, "third")] }
    directory.must(directory.logManifest(kenya, third, { coSigner: "first" }))
    expect(usable(start)).toHaveLength(3)
  })

  test("a device that still waits vouches for none", () => {
    directory.must(directory.logManifest(kenya, second()))
    const third = { devices: [...second().devices, deviceEntry(live, kenya, "third")] }
    directory.must(directory.logManifest(kenya, third, { coSigner: "second" }))
    expect(usable(start)).toEqual([deviceOf(kenya)])
  })

  test("a device that may receive only now waits like a new one, one that loses a right does not", () => {
    const sender = { ...deviceEntry(live, kenya, "second"), rights: ["send"] as const }
    directory.must(directory.logManifest(kenya, { devices: [deviceEntry(live, kenya), sender] }, { coSigner: "first" }))
    directory.time += day
    directory.must(directory.logManifest(kenya, second()))
    expect(usable(directory.time)).toEqual([deviceOf(kenya)])
    expect(usable(directory.time + day)).toHaveLength(2)
    const receiver = { ...deviceEntry(live, kenya), rights: ["receive"] as const }
    directory.must(directory.logManifest(kenya, { devices: [receiver] }))
    directory.must(directory.logManifest(kenya, { devices: [deviceEntry(live, kenya)] }))
    expect(usable(directory.time)).toEqual([deviceOf(kenya)])
  })

  test("hold until they expire, thirty days longer with a banner, then nobody seals to them", () => {
    const { state } = directory
    const [expiry, lapse] = [start + 90 * day, start + 120 * day]
    expect([usable(expiry).length, state.banners(kenya, expiry)]).toEqual([1, []])
    expect([usable(expiry + 1).length, state.banners(kenya, expiry + 1)]).toEqual([1, ["manifest-expired"]])
    expect(usable(lapse)).toHaveLength(1)
    expect(usable(lapse + 1)).toHaveLength(0)
    expect(state.banners(kenya, start + 366 * day)).toEqual(["certificate-expired", "manifest-expired"])
  })

  test("nobody seals to a PoC whose certificate has expired", () => {
    directory.time = start + 300 * day
    directory.must(directory.logManifest(kenya))
    expect(usable(start + 365 * day)).toHaveLength(1)
    expect(usable(start + 365 * day + 1)).toHaveLength(0)
  })

  const usable = (at: number) => directory.state.usableDevices(kenya, at).map(({ device }) => device)
})

describe("relays", () => {
  test("are listed with two officers' approvals, by host", async () => {
    const body = await directory.relayBody("127.0.0.1:8443")
    expect(directory.log("relay", body, ["first"])).toMatchObject({ reason: "not-approved" })
    directory.must(directory.log("relay", body, two))
    expect(directory.state.relay("127.0.0.1:8443")).toMatchObject({
      urls: ["wss://127.0.0.1:8443/"],
      key: signingKeyOf("127.0.0.1:8443").publicKey,
      notBefore: start - day,
      notAfter: start + 365 * day,
    })
    expect(directory.state.relay("127.0.0.1")).toBeUndefined()
    const another = { ...(await directory.relayBody("relay.example")), host: "relay.elsewhere.example" }
    expect(directory.log("relay", another, two)).toMatchObject({ reason: "certificate:subject" })
  })

  test("can have a new key, and be ended by their own or by the Secretariat with two officers", async () => {
    directory.must(directory.log("relay", await directory.relayBody("relay.example"), two))
    directory.must(directory.log("relay", await directory.relayBody("relay.example", signingKeyOf("new")), two))
    expect(directory.state.relays()).toMatchObject([{ host: "relay.example", key: signingKeyOf("new").publicKey }])
    const certificate = certificateHash(directory.state.relay("relay.example")!.certificate)
    const target = { kind: "relay", host: "relay.example", certificate } as const
    const secretariatKey = pocKeyOf(secretariat)
    expect(directory.revoke(target, secretariatKey)).toMatchObject({ reason: "not-entitled" })
    expect(directory.revoke(target, signingKeyOf("relay.example"))).toMatchObject({ reason: "not-entitled" })
    directory.must(directory.revoke(target, secretariatKey, { reason: "withdrawn" }, two))
    expect(directory.state.relay("relay.example")).toBeUndefined()
    expect(directory.revoke(target, signingKeyOf("new"))).toMatchObject({ reason: "unknown" })
  })

  test("a certificate that was replaced can be ended too: alone, or with all of its key if that is compromised", async () => {
    const listed = async (key: string) => {
      directory.must(directory.log("relay", await directory.relayBody("relay.example", signingKeyOf(key)), two))
      const certificate = certificateHash(directory.state.relay("relay.example")!.certificate)
      return { kind: "relay", host: "relay.example", certificate } as const
    }
    const [lost, old, replaced] = [await listed("lost"), await listed("new"), await listed("new")]
    await listed("new")
    directory.must(directory.revoke(lost, signingKeyOf("lost")))
    directory.must(directory.revoke(old, signingKeyOf("new"), { reason: "superseded" }))
    expect(directory.revoke(old, signingKeyOf("new"))).toMatchObject({ reason: "unknown" })
    expect(directory.state.relays()).toMatchObject([{ key: signingKeyOf("new").publicKey }])
    directory.must(directory.revoke(replaced, signingKeyOf("new")))
    expect(directory.state.relays()).toEqual([])
  })
})

describe("an issuing CA that is ended", () => {
  test("by the Secretariat with two officers: what it issued before stays, nothing new counts", async () => {
    await directory.enrol(kenya)
    const target = { kind: "ca", certificate: certificateHash(authorities.ca.certificate) } as const
    expect(directory.revoke(target, pocKeyOf(secretariat))).toMatchObject({ reason: "not-entitled" })
    directory.must(directory.revoke(target, pocKeyOf(secretariat), { effective: 0 }, two))
    expect(directory.state.resolve("ke/technical").address).toBe(kenya)
    expect(directory.log("certificate", await directory.certificateBody(singapore), two)).toMatchObject({
      reason: "no-ca",
    })
    expect(directory.log("ca", { v: 1, certificate: authorities.ca.certificate })).toMatchObject({ reason: "repeated" })
  })
})

describe("entries that do not count", () => {
  test("an earlier time than before, an unknown kind, a later version, an unknown critical field", () => {
    const role = encodeCbor({ v: 1, role: "legal" })
    const entry = { v: 1, kind: "role", time: start, body: role }
    expect(directory.append(encodeCbor({ ...entry, time: start - 1 }))).toMatchObject({ reason: "time" })
    expect(directory.append(encodeCbor({ ...entry, kind: "rule" }))).toMatchObject({ reason: "kind" })
    expect(directory.append(encodeCbor({ ...entry, kind: "toString" }))).toMatchObject({ reason: "kind" })
    expect(directory.append(encodeCbor({ ...entry, v: 2 }))).toMatchObject({ reason: "version" })
    expect(directory.append(encodeCbor({ ...entry, crit: ["x"], x: 1 }))).toMatchObject({ reason: "version" })
    const critical = { ...entry, body: encodeCbor({ v: 1, role: "legal", crit: ["x"], x: 1 }) }
    expect(directory.append(encodeCbor(critical))).toMatchObject({ reason: "version" })
    expect(directory.append(encodeCbor({ ...entry, unknown: 1 }))).toMatchObject({ reason: "not-approved" })
    const big = { ...entry, unknown: new Uint8Array(fixed.logEntryBytesMax) }
    expect(directory.append(encodeCbor(big))).toMatchObject({ reason: "malformed" })
  })

  test("an approval that is false spoils what needs none", async () => {
    await directory.enrol(kenya)
    const stranger = directory.approveAs(singapore, "role", { v: 1, role: "legal" })
    const target = { kind: "device", poc: kenya, device: deviceOf(kenya) } as const
    const statement = signRevocation(pocKeyOf(kenya), live, directory.revocationOf(target, pocKeyOf(kenya)))
    const manifest = signManifest(pocKeyOf(kenya), live, directory.manifestOf(kenya))
    expect(directory.log("revocation", { v: 1, statement }, [stranger])).toMatchObject({ reason: "approval" })
    expect(directory.log("manifest", { v: 1, poc: kenya, manifest }, [stranger])).toMatchObject({ reason: "approval" })
    const { publicKey } = await makeIssuerKey()
    const random = (length: number) => new Uint8Array(randomBytes(length))
    const times = { notBefore: start - day, notAfter: start + 900 * day }
    const ca = {
      v: 1,
      certificate: await issueCa({ realm: live, random, ...times, root: authorities.root, publicKey }),
    } as const
    expect(directory.log("ca", ca, [stranger])).toMatchObject({ reason: "approval" })
    directory.must(directory.log("ca", ca))
  })

  test("leave no trace but their leaf", async () => {
    const before = directory.state.pocs()
    directory.append(new Uint8Array(0))
    directory.log("certificate", await directory.certificateBody(kenya), ["first"])
    expect(directory.state.refused()).toEqual([
      { index: 3, reason: "malformed" },
      { index: 4, reason: "not-approved" },
    ])
    expect(directory.state.pocs()).toEqual(before)
    expect(directory.state.size).toBe(5)
    directory.must(directory.log("certificate", await directory.certificateBody(kenya), two))
  })

  test("nothing that a log can hold makes the replay throw", async () => {
    await directory.enrol(kenya)
    const honest = directory.leaves
    fc.assert(
      fc.property(
        fc.constantFrom(...honest),
        fc.array(fc.tuple(fc.nat(1300), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(1300)),
        (leaf, changes, cut) => {
          const bytes = Uint8Array.from(leaf)
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte
          directory.append(cut === null ? bytes : bytes.subarray(0, cut))
        },
      ),
      { numRuns: 300 },
    )
    fc.assert(
      fc.property(
        fc.constantFrom("ca", "certificate", "manifest", "relay", "revocation", "default", "role", "x"),
        fc.uint8Array({ maxLength: 80 }),
        (kind, body) => {
          expect(directory.append(encodeCbor({ v: 1, kind, time: start, body })).counted).toBe(false)
        },
      ),
    )
    expect(directory.state.resolve("ke/technical").address).toBe(kenya)
  })
})

describe("readers of one log", () => {
  test("come to one directory, and to the tree's roots and proofs", async () => {
    await directory.enrol(kenya)
    directory.log("role", { v: 1, role: "legal" })
    const again = new DirectoryState(directory.anchor)
    const tree = new MerkleLog()
    for (const leaf of directory.leaves) {
      again.apply(leaf)
      tree.append(leaf)
    }
    expect(again.pocs()).toEqual(directory.state.pocs())
    expect(again.refused()).toEqual(directory.state.refused())
    for (let size = 0; size <= tree.size; size++) expect(again.rootAt(size)).toEqual(tree.rootAt(size))
    const root = again.rootAt(6)
    expect(verifyInclusion(directory.leaves[3]!, 3, 6, root, again.inclusionProof(3, 6))).toBe(true)
    expect(verifyConsistency(2, again.rootAt(2), 6, root, again.consistencyProof(2, 6))).toBe(true)
  })

  test("do not start from a root that is not of the profile", () => {
    const rootCertificate = authorities.ca.certificate
    expect(codeOf(() => new DirectoryState({ ...directory.anchor, rootCertificate }))).toBe("ERR_UNTRUSTED")
    expect(codeOf(() => new DirectoryState({ ...directory.anchor, realm: exercise }))).toBe("ERR_UNTRUSTED")
  })
})

test("an excerpt of a log, without the default, still says what a PoC's keys are", async () => {
  await directory.enrol(kenya)
  await directory.enrol(acacia, false)
  const root = readCertificate(directory.anchor.rootCertificate)
  const entries = directory.leaves.map((leaf, index) => ({ leaf, index })).filter(({ index }) => index < 3 || index > 4)
  const count = (replay: Replay) => entries.map(({ leaf, index }) => replay.count(leaf, index))
  expect(count(new Replay(live, root))).toEqual([undefined, undefined, undefined, "default", "unknown"])
  const excerpt = new Replay(live, root, { excerpt: true })
  expect(count(excerpt)).toEqual(entries.map(() => undefined))
  expect(excerpt.pocs.get(acacia)?.device(deviceOf(acacia))?.record.key).toEqual(deviceKeyOf(acacia).publicKey)
})

describe("looking up", () => {
  test("what is not there: a hint that names what is", async () => {
    await directory.enrol(kenya)
    await directory.enrol(acacia, false)
    expect(hintOf("ke/tecnical")).toBe(`ke has ${kenya} (default), ${acacia}`)
    expect(hintOf("ke/technical/baobap")).toBe(`ke has ${kenya} (default), ${acacia}`)
    expect(hintOf("sg/technical")).toBe("sg has no PoC in the directory")
    expect(hintOf("xx/technical")).toMatch(/two-letter code/)
    expect(hintOf("Kenya")).toMatch(/state\/role\/agency/)
    expect(hintOf("KE/technical")).toMatch(/lower case/)
    expect(hintOf("")).toMatch(/state\/role\/agency/)
  })

  test("a PoC that has withdrawn is not there, nor are its devices", async () => {
    await directory.enrol(kenya)
    directory.must(directory.revoke(directory.certificateTarget(kenya), pocKeyOf(kenya), { reason: "withdrawn" }))
    const { state } = directory
    expect(state.poc(kenya)).toBeUndefined()
    expect(state.device(deviceOf(kenya))).toBeUndefined()
    expect(state.usableDevices(kenya, start)).toEqual([])
    expect(codeOf(() => state.resolve("ke/technical"))).toBe("ERR_UNKNOWN_ADDRESS")
    directory.must(directory.log("certificate", await directory.certificateBody(kenya), two))
    expect(state.resolve("ke/technical").address).toBe(kenya)
  })
})

test("an entry's writer refuses what no reader would take", () => {
  const write = (body: object) =>
    codeOf(() => encodeEntry({ kind: "relay", time: start, body: body as BodyOf<"relay"> }))
  const good = { v: 1, host: "relay.example", urls: [], certificate: new Uint8Array(1), member: new Uint8Array(64) }
  expect(write(good)).toBe("none")
  for (const host of [
    "Relay.example",
    "relay.example:0",
    "relay.example:99999",
    "a:b:c",
    "-x.example",
    "x".repeat(65),
    "",
  ])
    expect(write({ ...good, host }), host).toBe("ERR_MALFORMED")
  for (const url of ["http://relay.example/", "wss://relay.example", "wss://user@relay.example/"])
    expect(write({ ...good, urls: [url] }), url).toBe("ERR_MALFORMED")
})

test("an approval lives for thirty days at most, and a revocation's text is one visible line", () => {
  const body = { v: 1, role: "legal" } as const
  const approve = (expires: number) => codeOf(() => directory.approve("role", body, "first", { expires }))
  expect([start, start + 30 * day, start + 30 * day + 1].map(approve)).toEqual([
    "ERR_MALFORMED",
    "none",
    "ERR_MALFORMED",
  ])
  const target = { kind: "device", poc: kenya, device: deviceOf(kenya) } as const
  const say = (text: string) =>
    codeOf(() => signRevocation(pocKeyOf(kenya), live, directory.revocationOf(target, pocKeyOf(kenya), { text })))
  expect(["", "two\nlines", "x".repeat(501), "turned \u202e round"].map(say)).toEqual(Array(4).fill("ERR_MALFORMED"))
  expect(["x".repeat(500), "Потеряно в дороге"].map(say)).toEqual(["none", "none"])
})

const nameOf = (poc: PocAddress): PocName => {
  const [state, role, agency] = poc.split("/") as [string, string, string]
  return { state, role, agency }
}

/** As the issuing CA would make it, whatever the rules of the log say of the address. */
async function bodyAs(poc: PocAddress, use: "poc" | "secretariat"): Promise<BodyOf<"certificate">> {
  return { v: 1, use, poc, isDefault: true, ...(await issue(authorities, { use, poc: nameOf(poc) }, pocKeyOf(poc))) }
}

async function renewal(poc: PocAddress, key = pocKeyOf(poc)): Promise<BodyOf<"certificate">> {
  return await directory.certificateBody(poc, { key, notBefore: directory.time, notAfter: directory.time + 365 * day })
}

function hintOf(text: string): string | undefined {
  try {
    directory.state.resolve(text)
    return "found"
  } catch (error) {
    return (error as { readonly hint?: string }).hint
  }
}
