/** What a person must know reaches one: entries about oneself, expiring papers, a stale log, a refused login. */
import { afterEach, describe, expect, test } from "vitest"
import { deviceRow, withPocKey } from "../../client-sdk/enrol.ts"
import { staleBanner } from "../../client-sdk/inbox.ts"
import type { Poc } from "../../client-sdk/index.ts"
import { replacedRetryMs } from "../../client-sdk/link.ts"
import { certificateWarningSeconds, manifestWarningSeconds, watchExpiry } from "../../client-sdk/standing.ts"
import { readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { backupToFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { hex } from "../../protocol/bytes.ts"
import { fixed } from "../../protocol/limits.ts"
import { manifestHash, signManifest, signMember, type Manifest } from "../../protocol/manifest.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { signRevocation } from "../../pki/entries.ts"
import { nodeRandom } from "../../system/node.ts"
import { copyVault, Inside, Post } from "../support/inside.ts"
import { deviceEntry } from "../support/manifests.ts"
import { arrived, day, noticed, notification, realm, soon, TestNetwork } from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

const toSingapore = { ...notification, to: ["sg/technical"] }
const kinds = (poc: Poc): string[] => poc.notices().map(({ kind }) => kind)
const newKey = (): SigningKey => new SigningKey(nodeRandom.bytes(32))

/** What a thief of the PoC's key signs: none of it is remembered in the vault. */
const stolen = <T>(use: (key: SigningKey) => T): Promise<T> =>
  network.vault("kenya", (vault) => withPocKey(vault, readKeyFile(network.keyPath("kenya", "poc")), use))

function following(change: (manifest: Manifest) => Partial<Manifest>): Manifest {
  const { manifest, manifestBytes } = network.directory.state.poc(network.address("kenya"))!
  const next = { ...manifest!, version: manifest!.version + 1, previous: manifestHash(manifestBytes!) }
  return { ...next, ...change(manifest!) }
}

describe("an entry about oneself that one did not make", () => {
  test("a device that a thief of the PoC's key lists is named, with the word that no device vouches for it", async () => {
    network = await TestNetwork.open({ members: ["kenya"] })
    const thief = deviceEntry(network.address("kenya"), newKey(), realm)
    const manifest = following(({ devices }) => ({ devices: [...devices, thief] }))
    await network.directory.submitManifest(
      network.address("kenya"),
      await stolen((key) => signManifest(key, realm, manifest)),
    )
    await network.relayFollows()
    const kenya = await network.poc("kenya")
    const { text } = await noticed(kenya, "own-entry")
    expect(text).toContain(`device ${hex(thief.device).slice(0, 8)} added`)
    expect(text).toContain("no device of this PoC vouches for it")
    await kenya.syncLog()
    expect(kinds(kenya)).toEqual(["own-entry"])
  })

  test("one's own manifest is none; to the PoC's other device it is the first one's doing", async () => {
    network = await TestNetwork.open({ members: ["kenya"], devices: { kenya: 2 } })
    const [kenya, second] = [await network.poc("kenya"), await network.poc("kenya", { device: 2 })]
    await network.shut(kenya)
    await network.changeManifest("kenya", () => ({ officers: [] }))
    const again = await network.poc("kenya")
    await Promise.all([again.syncLog(), second.syncLog()])
    expect(kinds(again)).toEqual([])
    expect(second.notices().map(({ text }) => text)).toEqual([
      expect.stringContaining(
        `officer "duty officer of kenya" removed (made at this PoC's device ${kenya.whoami().device.slice(0, 8)})`,
      ) as string,
    ])
  })

  test("a key that the operator and two officers certify in one's place", async () => {
    network = await TestNetwork.open({ members: ["kenya"] })
    const kenya = await network.poc("kenya", { connect: false })
    const key = newKey()
    const [state, role, agency] = kenya.whoami().poc.split("/") as [string, string, string]
    const member = signMember(key, realm, network.address("kenya"))
    const nomination = { state, role, agency, organisation: "Another", key: key.publicKey, member, isDefault: true }
    await network.approve(await network.directory.nominate(nomination))
    await kenya.syncLog(network.directory.logSource())
    expect(kenya.notices().map(({ text }) => text)).toEqual([expect.stringMatching(/^another key than this PoC's own/)])
  })

  test("a device that is ended in the log: the relay's refusal is told, and the log says why", async () => {
    network = await TestNetwork.open({ members: ["kenya"] })
    const kenya = await network.poc("kenya")
    const { device } = network.directory.state.poc(network.address("kenya"))!.manifest!.devices[0]!
    const target = { kind: "device", poc: network.address("kenya"), device } as const
    const said = { v: 1, target, reason: "superseded", text: "Gone.", effective: network.clock.seconds } as const
    await network.shut(kenya)
    await network.directory.revoke(
      await stolen((key) => signRevocation(key, realm, { ...said, requester: key.publicKey })),
    )
    await network.relayFollows()
    const again = await network.poc("kenya", { ready: false })
    expect((await noticed(again, "not-listed")).text).toMatch(/^the relay refuses this device/)
    await again.syncLog(network.directory.logSource())
    expect((await noticed(again, "own-entry")).text).toMatch(/^a device of this PoC was ended in the log/)
  })
})

describe("a log that is older than 72 hours", () => {
  test("shows beside what is opened, and in whoami", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "none" })
    const [kenya, singapore] = [await Inside.open(network, "kenya"), await Inside.open(network, "singapore")]
    const post = new Post().add(kenya, singapore)
    const to = [singapore.home.identity.poc]
    kenya.write("notification", to)
    expect(singapore.receive((await kenya.flush((device) => post.prekeyOf(device)))[0]!.bytes)).toBe("collected")
    kenya.write("notification", to)
    const before = singapore.received().map(({ banners }) => banners)
    network.clock.aheadSeconds = fixed.checkpointSecondsMax + 60
    await network.redate()
    await kenya.home.mirror.sync(network.directory.logSource())
    for (const { bytes } of await kenya.flush((device) => post.prekeyOf(device))) singapore.receive(bytes)
    const banners = singapore.received().map(({ banners }) => banners.includes(staleBanner))
    expect([before.flat().includes(staleBanner), banners]).toEqual([false, [false, true]])
    await Promise.all([kenya.close(), singapore.close()])
    const offline = await network.poc("singapore", { connect: false })
    expect(offline.whoami().log.stale).toBe(true)
    await offline.syncLog(network.directory.logSource())
    expect(offline.whoami().log.stale).toBe(false)
  })
})

describe("papers that expire", () => {
  test("a manifest is told of before its end, in its grace and after it; a certificate before its end and after it", async () => {
    network = await TestNetwork.open({ members: ["kenya"], relay: "none" })
    const { home } = await Inside.open(network, "kenya")
    const { manifest, notAfter } = home.mirror.state.poc(home.identity.poc)!
    const { expires } = manifest!
    const told = (atSeconds: number): string[] => {
      network.clock.aheadSeconds += atSeconds - home.now
      for (let i = 0; i < 2; i++) watchExpiry(home)
      return home.vault.read((tx) => [...tx.list("notices")].map(([, { text }]) => text))
    }
    expect(told(expires - manifestWarningSeconds - day)).toEqual([])
    expect(told(expires - manifestWarningSeconds + day)).toEqual([
      expect.stringMatching(/expires on .*: sign a new one/),
    ])
    expect(told(expires + day).slice(1)).toEqual([expect.stringMatching(/peers see a banner/)])
    expect(told(expires + fixed.manifestGraceSeconds + day).slice(2)).toEqual([expect.stringMatching(/nobody writes/)])
    expect(told(notAfter - certificateWarningSeconds - day)).toHaveLength(3)
    expect(told(notAfter - certificateWarningSeconds + day).slice(3)).toEqual([
      expect.stringMatching(/confirm the entry/),
    ])
    expect(told(notAfter + day).slice(4)).toEqual([expect.stringMatching(/certificate expired/)])
    home.close()
    await home.vault.close()
  })

  test("a PoC that is connected tells by itself", async () => {
    network = await TestNetwork.open({ members: ["kenya"] })
    network.clock.aheadSeconds = 75 * day
    await network.redate()
    const kenya = await network.poc("kenya")
    expect((await noticed(kenya, "manifest-expiring")).text).toContain("sign a new one")
  })
})

test("two running copies of one device leave each other minutes, and say so", async () => {
  network = await TestNetwork.open({ members: ["kenya"] })
  await network.shut(await network.poc("kenya"))
  const path = `${network.folder}/kenya/copy.vault`
  copyVault(network.vaultPath("kenya"), path)
  const first = await network.poc("kenya")
  const waits: number[] = []
  first.on((event) => {
    if (event.kind === "link" && event.status.state === "offline") waits.push(event.status.retryInMs)
  })
  await network.poc("kenya", { path, ready: false })
  await noticed(first, "roll-back")
  expect(waits).toHaveLength(1)
  expect(waits[0]).toBeGreaterThanOrEqual(replacedRetryMs / 2)
})

test("a message of a sender that has nothing to receive with is archived, and no receipt is written", async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "none" })
  await network.changeManifest("kenya", ({ devices }) => ({
    devices: devices.map((row) => ({ ...row, rights: ["send" as const] })),
  }))
  const [kenya, singapore] = [await Inside.open(network, "kenya"), await Inside.open(network, "singapore")]
  const post = new Post().add(kenya, singapore)
  const id = kenya.write("notification", [singapore.home.identity.poc])
  await post.carry()
  expect(singapore.received().map((row) => hex(row.id))).toEqual([id])
  expect([singapore.outbox.pending(), singapore.notices()]).toEqual([[], []])
  await Promise.all([kenya.close(), singapore.close()])
})

test("an officer who has left the duty signs no more: what he wrote is given up, and said to be", async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore"] })
  await network.shut(await network.poc("singapore"))
  const offline = await network.poc("kenya", { connect: false })
  const sent = offline.send(toSingapore)
  await network.shut(offline)
  await network.changeManifest("kenya", () => ({ officers: [] }))
  const kenya = await network.poc("kenya")
  await kenya.until(() => kenya.notices().find(({ text }) => text.includes("was given up")), soon())
  expect(sent.id.slice(0, 8)).toBe(kenya.notices()[0]!.text.slice(8, 16))
  expect(() => kenya.send(toSingapore)).toThrow(expect.objectContaining({ code: "ERR_NO_RIGHT" }))
})

test("what was written offline goes to the device that has taken the place of another", async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore"], devices: { singapore: 2 } })
  await network.changeManifest("singapore", ({ devices }) => ({ devices: devices.slice(0, 1) }))
  const offline = await network.poc("kenya", { connect: false })
  const sent = offline.send(toSingapore)
  await network.shut(offline)
  const row = await network.vault("singapore", deviceRow, 2)
  await network.changeManifest("singapore", () => ({ devices: [row] }))
  const other = await network.poc("singapore", { device: 2 })
  await network.poc("kenya")
  await arrived(other, sent.id)
})

test("a vault that was restored from a backup says so, once, and asks for what it cannot open any more", async () => {
  network = await TestNetwork.open({ members: ["kenya"] })
  const path = `${network.folder}/kenya/backup.vault`
  await network.vault("kenya", (vault) => backupToFile(vault, path))
  for (let i = 0; i < 2; i++) {
    const restored = await network.poc("kenya", { path, connect: false })
    expect(restored.notices().map(({ text }) => text)).toEqual([expect.stringMatching(/^this vault was restored/)])
    await network.shut(restored)
  }
  expect(kinds(await network.poc("kenya"))).toEqual([])
})

test("a notice stays in sight until a person has read it", async () => {
  network = await TestNetwork.open({ members: ["kenya"] })
  network.clock.aheadSeconds = 75 * day
  await network.redate()
  const kenya = await network.poc("kenya")
  const { id } = await noticed(kenya, "manifest-expiring")
  expect(kenya.notices().map(({ seen }) => seen)).toEqual([undefined])
  kenya.markSeen(id.slice(0, 4))
  expect(kenya.notices()[0]!.seen).toMatch(/^2/)
  expect(() => kenya.markSeen("zz")).toThrow(expect.objectContaining({ code: "ERR_NOT_FOUND" }))
})
