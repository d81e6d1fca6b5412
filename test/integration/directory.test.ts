import { mkdtemp, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { mailboxOf, officerIdOf, type PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { coSignManifest, manifestHash, signManifest, signMember, type Manifest } from "../../protocol/manifest.ts"
import type { SigningKey } from "../../protocol/primitives.ts"
import type { Signed } from "../../protocol/statement.ts"
import { Directory, type Nomination } from "../../directory/directory.ts"
import type { Founding } from "../../directory/founding.ts"
import type { Proposal } from "../../directory/proposals.ts"
import { readTrustFile } from "../../pki/anchor.ts"
import { openCheckpoint } from "../../pki/checkpoint.ts"
import { certificateHash, signApproval, signRevocation, type Revocation } from "../../pki/entries.ts"
import { describePolicy } from "../../pki/policy.ts"
import { signPossession } from "../../pki/possession.ts"
import { DirectoryState } from "../../pki/state.ts"
import { nodeRandom } from "../../system/node.ts"
import { day, deviceEntry, deviceKeyOf, deviceOf, officerEntry, officerKeyOf, pocKeyOf } from "../support/directory.ts"
import { live as realm } from "../support/sealing.ts"
import { signingKeyOf } from "../support/papers.ts"

const start = 1_800_000_000
const secretariat = "un/secretariat/valise" as PocAddress
const baobab = "ke/technical/baobab" as PocAddress

let folder: string
let now: number
let directory: Directory
const machine = {
  clock: { now: () => now * 1000, monotonic: () => now * 1000, after: () => () => {} },
  random: nodeRandom,
}

beforeEach(async () => {
  folder = join(await mkdtemp(join(tmpdir(), "valise-directory-")), "directory")
  now = start
  directory = await Directory.init(folder, founding())
})
afterEach(async () => {
  await directory.close()
  await rm(join(folder, ".."), { recursive: true, force: true })
})

function founding(officers = ["first", "second", "third"]): Founding {
  const key = pocKeyOf(secretariat)
  const listed = officers.map((name) => officerEntry(realm, secretariat, name, ["approve", "release"]))
  return {
    realm,
    ...machine,
    secretariat: {
      agency: "valise",
      organisation: "Secretariat of Tests",
      key: key.publicKey,
      member: signMember(key, realm, secretariat),
      manifest: signed(secretariat, { officers: listed, devices: [] }),
    },
  }
}

/** A PoC's manifest, signed by its key. */
function signed(poc: PocAddress, change: Partial<Manifest> = {}, key = pocKeyOf(poc)): Signed {
  const devices = [deviceEntry(realm, poc)]
  const officers = [officerEntry(realm, poc)]
  const times = { created: now, expires: now + 90 * day }
  return signManifest(key, realm, { v: 1, poc, version: 1, previous: null, ...times, devices, officers, ...change })
}

/** The PoC's next version, with what changes. */
function next(poc: PocAddress, change: Partial<Manifest>): Signed {
  const last = directory.state.poc(poc)!
  const { devices, officers, version } = last.manifest!
  return signed(poc, {
    devices,
    officers,
    version: version + 1,
    previous: manifestHash(last.manifestBytes!),
    ...change,
  })
}

function nomination(poc: PocAddress, change: Partial<Nomination> = {}, key = pocKeyOf(poc)): Nomination {
  const [state, role, agency] = poc.split("/") as [string, string, string]
  const entry = { state, role, agency, organisation: "Agency of Tests", isDefault: true }
  return {
    ...entry,
    key: key.publicKey,
    member: signMember(key, realm, poc),
    manifest: signed(poc, {}, key),
    ...change,
  }
}

const officer = (name: string) => officerIdOf(secretariat, officerKeyOf(secretariat, name).publicKey)
const approvalBy = (id: string, name: string) =>
  signApproval(officerKeyOf(secretariat, name), realm, directory.approvalFor(id, officer(name)))

async function approved(proposal: Proposal, ...names: string[]): Promise<number> {
  for (const name of names) await directory.approve(proposal.id, approvalBy(proposal.id, name))
  return await directory.issue(proposal.id)
}

async function enrol(poc: PocAddress, change: Partial<Nomination> = {}): Promise<number> {
  return await approved(await directory.nominate(nomination(poc, change)), "first", "second")
}

/** As somebody else sees it, from trust file and log alone. */
async function reader(): Promise<DirectoryState> {
  const anchor = readTrustFile(directory.trustFile())
  const source = directory.logSource()
  const { size, root } = openCheckpoint(await source.checkpoint(), anchor, now)
  const state = new DirectoryState(anchor)
  for (const leaf of await source.entries(0, size)) expect(state.apply(leaf)).toEqual({ counted: true })
  expect(state.rootAt(size)).toEqual(root)
  expect(size).toBe(directory.state.size)
  return state
}

const reopen = async () => {
  await directory.close()
  directory = await Directory.open(folder, machine)
}

describe("founding", () => {
  test("issuing CA, Secretariat and its officers are the first three entries; the trust file is enough to read them", async () => {
    const state = await reader()
    expect(state.size).toBe(3)
    expect(state.poc(secretariat)).toMatchObject({ secretariat: true, organisation: "Secretariat of Tests" })
    expect(state.poc(secretariat)!.manifest!.officers.map(({ title }) => title)).toHaveLength(3)
    expect(describePolicy(readTrustFile(directory.trustFile()).policy)).toBe("no witnesses: the operator's word only")
  })

  test("keys are their owner's only, the root apart from the others; nobody else's key is there", async () => {
    const mode = async (path: string) => ((await stat(join(folder, path))).mode & 0o777).toString(8)
    const names = await readdir(folder, { recursive: true, withFileTypes: true })
    for (const entry of names) {
      const path = join(entry.parentPath, entry.name)
      expect(await mode(path.slice(folder.length)), path).toBe(entry.isDirectory() ? "700" : "600")
    }
    expect(await readdir(join(folder, "root"))).toEqual(["issuer"])
    expect(await readdir(join(folder, "keys"))).toEqual(["ca", "log"])
  })

  test("a directory is made whole or not at all", async () => {
    const elsewhere = join(folder, "../other")
    // One officer cannot approve anything, so no reader would count this Secretariat's manifest.
    await expect(Directory.init(elsewhere, founding(["first"]))).rejects.toMatchObject({
      code: "ERR_UNTRUSTED",
      message: expect.stringContaining("approvers"),
    })
    expect(await readdir(join(folder, ".."))).toEqual(["directory"])
    await (await Directory.init(elsewhere, founding())).close()
  })

  test("a folder in use is not founded again; an open directory is not opened twice; an empty folder is none", async () => {
    await expect(Directory.init(folder, founding())).rejects.toMatchObject({ code: "ERR_USAGE" })
    await expect(Directory.open(folder, machine)).rejects.toMatchObject({ code: "ERR_USAGE" })
    await expect(Directory.open(join(folder, ".."), machine)).rejects.toMatchObject({ code: "ERR_NOT_FOUND" })
  })
})

describe("enrolment", () => {
  test("nominated, approved by two officers, issued: certificate and manifest are in the log, for every reader", async () => {
    const proposal = await directory.nominate(nomination(baobab))
    expect(directory.proposals()).toEqual([proposal])
    expect(directory.state.poc(baobab)).toBeUndefined()
    expect(await approved(proposal, "first", "third")).toBe(3)
    expect(directory.proposals()).toEqual([])
    const state = await reader()
    expect(state.size).toBe(5)
    expect(state.resolve("ke/technical")).toMatchObject({ address: baobab, organisation: "Agency of Tests" })
    expect(state.usableDevices(baobab, now)).toHaveLength(1)
  })

  test("one officer is not enough, nor the same one twice; then nothing is logged", async () => {
    const { id } = await directory.nominate(nomination(baobab))
    await directory.approve(id, approvalBy(id, "first"))
    await expect(directory.issue(id)).rejects.toMatchObject({
      code: "ERR_UNTRUSTED",
      hint: expect.stringContaining("two different officers"),
    })
    now += 1
    await expect(directory.approve(id, approvalBy(id, "first"))).rejects.toMatchObject({ code: "ERR_USAGE" })
    await expect(directory.issue(id)).rejects.toMatchObject({ code: "ERR_UNTRUSTED" })
    expect((await reader()).size).toBe(3)
  })

  test("an approval by a stranger, by an officer without the right, or of something else is none", async () => {
    const { id } = await directory.nominate(nomination(baobab))
    const other = await directory.nominate(nomination("sg/technical/merlion" as PocAddress))
    const terms = directory.approvalFor(id, officer("first"))
    const stranger = signApproval(signingKeyOf("stranger"), realm, terms)
    const exercise = signApproval(officerKeyOf(secretariat, "first"), { ...realm, mode: "exercise" }, terms)
    const nominee = signApproval(pocKeyOf(baobab), realm, { ...terms, poc: baobab, officer: undefined })
    for (const bad of [stranger, exercise, nominee, approvalBy(other.id, "first")])
      await expect(directory.approve(id, bad)).rejects.toMatchObject({ code: "ERR_NO_RIGHT" })
    expect(() => directory.approvalFor(id)).toThrow(expect.objectContaining({ code: "ERR_NO_RIGHT" }))
  })

  test("what readers would refuse is refused with its reason, and nothing is kept", async () => {
    await enrol(baobab)
    const size = directory.state.size
    const acacia = "ke/technical/acacia" as PocAddress
    const cases: [string, Nomination][] = [
      ["no State", nomination("zz/technical/baobab" as PocAddress)],
      ["no role of this directory", nomination("ke/legal/baobab" as PocAddress)],
      ["a second default", nomination(acacia)],
      ["another's key", nomination(acacia, { isDefault: false }, pocKeyOf(baobab))],
      ["a key that has not asked", nomination(acacia, { isDefault: false, member: new Uint8Array(64) })],
      ["another's manifest", nomination(acacia, { isDefault: false, manifest: signed(baobab) })],
      ["an organisation that a screen cannot show", nomination(acacia, { isDefault: false, organisation: "a\u202eb" })],
    ]
    for (const [what, bad] of cases)
      await expect(directory.nominate(bad), what).rejects.toMatchObject({
        code: expect.stringMatching(/^ERR_(UNTRUSTED|USAGE|MALFORMED)$/),
      })
    const { manifest: _, ...without } = nomination(acacia, { isDefault: false })
    await expect(directory.nominate(without)).rejects.toMatchObject({ code: "ERR_USAGE" })
    await expect(directory.nominate({ ...nomination(acacia), state: "KE" })).rejects.toMatchObject({
      code: "ERR_UNKNOWN_ADDRESS",
    })
    expect(directory.proposals()).toEqual([])
    expect(directory.state.size).toBe(size)
    await enrol(acacia, { isDefault: false })
    expect((await reader()).resolve("ke/technical").address).toBe(baobab)
  })

  test("if the first manifest has expired meanwhile, the certificate is not logged either", async () => {
    const short = signed(baobab, { expires: now + day })
    const { id } = await directory.nominate(nomination(baobab, { manifest: short }))
    now += 2 * day
    for (const name of ["first", "second"]) await directory.approve(id, approvalBy(id, name))
    await expect(directory.issue(id)).rejects.toMatchObject({ message: expect.stringContaining("manifest-dates") })
    expect(directory.state.poc(baobab)).toBeUndefined()
    await directory.withdraw(id)
    // Nothing of it has stayed: another agency can still become Kenya's first.
    await enrol("ke/technical/acacia" as PocAddress)
    expect((await reader()).pocs()).toHaveLength(2)
  })

  test("proposals and their approvals survive a restart; too old ones are forgotten", async () => {
    const { id } = await directory.nominate(nomination(baobab))
    expect((await directory.nominate(nomination(baobab))).id).not.toBe(id)
    await directory.approve(id, approvalBy(id, "first"))
    await reopen()
    expect(directory.proposals()).toHaveLength(2)
    await directory.approve(id, approvalBy(id, "second"))
    await directory.issue(id)
    expect((await reader()).poc(baobab)).toBeDefined()
    await reopen()
    expect(directory.proposals()).toHaveLength(1)
    now += 31 * day
    await reopen()
    expect(directory.proposals()).toEqual([])
    expect(() => directory.approvalFor(id, officer("first"))).toThrow(
      expect.objectContaining({ code: "ERR_NOT_FOUND" }),
    )
  })
})

describe("what a PoC does itself", () => {
  beforeEach(() => enrol(baobab))

  test("a new manifest; an older device vouches for a new one", async () => {
    const second = deviceEntry(realm, baobab, "second")
    const manifest = next(baobab, { devices: [deviceEntry(realm, baobab), second] })
    const vouched = [coSignManifest(deviceKeyOf(baobab), realm, deviceOf(baobab), manifest.bytes)]
    expect(await directory.submitManifest(baobab, manifest, vouched)).toEqual({ outcome: "logged", index: 5 })
    expect((await reader()).usableDevices(baobab, now)).toHaveLength(2)
    await expect(directory.submitManifest(baobab, manifest)).rejects.toMatchObject({
      message: expect.stringContaining("manifest-order"),
      hint: expect.stringContaining("version"),
    })
  })

  test("renewal: the PoC's own approval is the annual confirmation", async () => {
    now += 360 * day
    const proposal = await directory.renewCertificate(baobab, signMember(pocKeyOf(baobab), realm, baobab))
    await expect(directory.issue(proposal.id)).rejects.toMatchObject({ code: "ERR_UNTRUSTED" })
    const confirmation = signApproval(pocKeyOf(baobab), realm, directory.approvalFor(proposal.id))
    await directory.approve(proposal.id, confirmation)
    await directory.issue(proposal.id)
    const record = (await reader()).poc(baobab)!
    expect(record.notAfter).toBeGreaterThan(now + 390 * day)
    expect(record.organisation).toBe("Agency of Tests")
  })

  test("revocation by the holder's own key counts at once; nobody else's does", async () => {
    const { certificate } = directory.state.poc(baobab)!
    const target = { kind: "certificate", poc: baobab, certificate: certificateHash(certificate) } as const
    const statement = (key: SigningKey): Signed => {
      const revocation: Revocation = {
        v: 1,
        target,
        reason: "withdrawn",
        text: "Closed.",
        effective: now,
        requester: key.publicKey,
      }
      return signRevocation(key, realm, revocation)
    }
    await expect(directory.revoke(statement(signingKeyOf("stranger")))).rejects.toMatchObject({
      message: expect.stringContaining("not-entitled"),
    })
    // Nor can the Secretariat mute a State: it is refused at once, and there is nothing to approve.
    await expect(directory.revoke(statement(pocKeyOf(secretariat)))).rejects.toMatchObject({
      message: expect.stringContaining("not-entitled"),
    })
    expect(directory.proposals()).toEqual([])
    expect(directory.state.poc(baobab)).toBeDefined()

    expect(await directory.revoke(statement(pocKeyOf(baobab)))).toMatchObject({ outcome: "logged" })
    expect((await reader()).poc(baobab)).toBeUndefined()
  })

  test("a lost key: two officers approve the new one, which then signs the next manifest", async () => {
    const key = pocKeyOf(baobab, "second")
    const manifest = signed(
      baobab,
      { version: 2, previous: manifestHash(directory.state.poc(baobab)!.manifestBytes!) },
      key,
    )
    await approved(await directory.nominate(nomination(baobab, { manifest }, key)), "second", "third")
    const record = (await reader()).poc(baobab)!
    expect(hex(record.key)).toBe(hex(key.publicKey))
    expect(record.manifest!.version).toBe(2)
  })
})

describe("what the Secretariat does", () => {
  const host = "127.0.0.1:8443"
  const relayKey = signingKeyOf("relay")
  const relay = {
    host,
    urls: [`ws://${host}/`],
    organisation: "Operator of Tests",
    key: relayKey.publicKey,
    member: signPossession(relayKey, realm, { use: "relay", host }),
  }

  test("a relay is listed with two approvals, and ended with two", async () => {
    await approved(await directory.listRelay(relay), "first", "second")
    const listed = (await reader()).relay(host)!
    expect(listed).toMatchObject({ host, urls: relay.urls, key: relayKey.publicKey })
    const key = pocKeyOf(secretariat)
    const target = { kind: "relay", host, certificate: certificateHash(listed.certificate) } as const
    const asked = await directory.revoke(
      signRevocation(key, realm, {
        v: 1,
        target,
        reason: "withdrawn",
        text: "Moved.",
        effective: now,
        requester: key.publicKey,
      }),
    )
    if (asked.outcome !== "waiting") expect.fail()
    await approved(asked.proposal, "second", "third")
    expect((await reader()).relays()).toEqual([])
  })

  test("its own manifest is logged at once, unless it changes who may approve", async () => {
    const officers = ["first", "second", "third"].map((name) =>
      officerEntry(realm, secretariat, name, ["approve", "release"]),
    )
    expect(await directory.submitManifest(secretariat, next(secretariat, { officers }))).toMatchObject({
      outcome: "logged",
    })
    const fewer = next(secretariat, { officers: officers.slice(0, 2) })
    const asked = await directory.submitManifest(secretariat, fewer)
    if (asked.outcome !== "waiting") expect.fail()
    await approved(asked.proposal, "first", "second")
    expect((await reader()).poc(secretariat)!.manifest!.officers).toHaveLength(2)
    const { id } = await directory.nominate(nomination(baobab))
    const former = () =>
      signApproval(officerKeyOf(secretariat, "third"), realm, directory.approvalFor(id, officer("third")))
    await expect(directory.approve(id, former())).rejects.toMatchObject({ code: "ERR_NO_RIGHT" })
  })

  test("a role, and another default", async () => {
    const role = await directory.addRole("legal")
    const once = await directory.approve(role.id, approvalBy(role.id, "first"))
    expect(await directory.addRole("legal")).toEqual(once)
    await approved(once, "second")
    await enrol("ke/legal/cedar" as PocAddress)
    await enrol(baobab)
    const acacia = "ke/technical/acacia" as PocAddress
    await enrol(acacia, { isDefault: false })
    const { id } = await directory.makeDefault(acacia)
    await directory.approve(id, signApproval(pocKeyOf(baobab), realm, directory.approvalFor(id)))
    await directory.issue(id)
    expect((await reader()).resolve("ke/technical").address).toBe(acacia)
  })

  test("a new issuing CA needs the root; then leaves live their full time again", async () => {
    await rename(join(folder, "root"), join(folder, "../safe"))
    await expect(directory.renewCa()).rejects.toMatchObject({
      code: "ERR_NOT_FOUND",
      hint: expect.stringContaining("root"),
    })
    now += 4 * 366 * day + 200 * day
    await rename(join(folder, "../safe"), join(folder, "root"))
    const manifest = () => signed(baobab)
    const early = await directory.nominate(nomination(baobab, { manifest: manifest() }))
    await directory.withdraw(early.id)
    await directory.renewCa()
    await enrol(baobab, { manifest: manifest() })
    expect((await reader()).poc(baobab)!.notAfter).toBeGreaterThan(now + 390 * day)
    await reopen()
    await enrol("sg/technical/merlion" as PocAddress)
  })
})

describe("the folder", () => {
  test("a restart on the same folder goes on with the same keys and history", async () => {
    await enrol(baobab)
    const trust = directory.trustFile()
    await reopen()
    expect(directory.trustFile()).toBe(trust)
    expect(await readFile(join(folder, "trust"), "utf8")).toBe(trust)
    expect(directory.state.poc(baobab)).toBeDefined()
    await enrol("sg/technical/merlion" as PocAddress)
    expect((await reader()).pocs()).toHaveLength(3)
  })

  test("a clock that jumps back stops nothing: the log's time never falls", async () => {
    await enrol(baobab)
    now -= 5
    await directory.submitManifest(baobab, next(baobab, { expires: now + 30 * day }))
    expect((await reader()).poc(baobab)!.manifest!.version).toBe(2)
  })

  test("changes submitted together are logged one after the other", async () => {
    const names = ["ke", "sg", "br", "fr"].map((state) => `${state}/technical/one` as PocAddress)
    const indexes = await Promise.all(names.map((poc) => enrol(poc)))
    expect(indexes.toSorted((a, b) => a - b)).toEqual([3, 5, 7, 9])
    expect((await reader()).pocs()).toHaveLength(5)
  })

  test("a disk that fails: refused, and again refused, until the directory is opened anew; nothing is lost", async () => {
    await enrol(baobab)
    await rename(join(folder, "log"), join(folder, "../log"))
    await writeFile(join(folder, "log"), "in the way")
    for (const expires of [now + 30 * day, now + 30 * day, now + 31 * day])
      await expect(directory.submitManifest(baobab, next(baobab, { expires }))).rejects.toMatchObject({
        code: "ERR_DISK",
      })
    await rm(join(folder, "log"))
    await rename(join(folder, "../log"), join(folder, "log"))
    await expect(directory.addRole("legal")).rejects.toMatchObject({ code: "ERR_DISK" })
    await reopen()
    await directory.submitManifest(baobab, next(baobab, { expires: now + 30 * day }))
    expect((await reader()).poc(baobab)!.manifest!.version).toBe(2)
  })

  test("a mailbox follows from device and relay, so a manifest that names another is never logged", async () => {
    await enrol(baobab)
    const device = { ...deviceEntry(realm, baobab), mailbox: mailboxOf(deviceOf(baobab), "elsewhere.example") }
    expect(() => next(baobab, { devices: [device] })).toThrow(expect.objectContaining({ code: "ERR_UNTRUSTED" }))
  })
})
