/** Several devices and officers of one PoC: what one of them does, the others see. */
import { afterEach, describe, expect, test } from "vitest"
import { createDevice, createOfficer, trustDirectory } from "../../client-sdk/enrol.ts"
import { Home } from "../../client-sdk/home.ts"
import type { Poc } from "../../client-sdk/index.ts"
import {
  addOfficer,
  listDevice,
  makeOffer,
  membersOf,
  removeDevice,
  removeOfficer,
  type ManifestDesk,
} from "../../client-sdk/members.ts"
import { createKeyFile, readKeyFile } from "../../client-sdk/vault/key-file.ts"
import type { UnlockSecret } from "../../client-sdk/vault/lock.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { hex } from "../../protocol/bytes.ts"
import { deviceOfferStructure, trustHash, type DeviceOffer } from "../../pki/directory-api.ts"
import { nodeRandom } from "../../system/node.ts"
import {
  arrived,
  noticed,
  notification,
  realm,
  relayHost,
  settled,
  soon,
  TestNetwork,
  type Name,
} from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

const toSingapore = { ...notification, to: ["sg/technical"] }

describe("two devices of one PoC", () => {
  test("what one has acknowledged and answered, the other shows; the sender's second device sees both, too", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], devices: { kenya: 2, singapore: 2 } })
    const [kenya, second] = await Promise.all([network.poc("kenya"), network.poc("kenya", { device: 2 })])
    const [singapore, other] = await Promise.all([network.poc("singapore"), network.poc("singapore", { device: 2 })])
    const sent = kenya.send(toSingapore)
    const here = await arrived(singapore, sent.id)
    const there = await arrived(other, sent.id)
    here.acknowledge()
    const seen = await other.until(() => (there.view.acknowledged ? there.view : undefined), soon())
    expect([seen.acknowledged, seen.acknowledgedBy]).toEqual([here.view.acknowledged, "duty officer of singapore"])
    const answer = here.respond({ disposition: "acting" })
    const answered = await other.until(() => there.view.answered, soon())
    expect(answered).toMatchObject({ disposition: "acting", message: answer.id })
    expect(here.view.answered).toEqual(answered)

    const copy = await second.until(() => second.sent().find(({ id }) => id === sent.id), soon())
    const atSecond = await second.message(copy.id).responded("sg/technical", soon())
    expect(atSecond.acknowledged?.officer).toBe("duty officer of singapore")
    await second.until(() => second.message(copy.id).status()[0]!.devices.length === 2 || undefined, soon())
    expect(
      second
        .message(copy.id)
        .status()[0]!
        .devices.every(({ delivered }) => delivered),
    ).toBe(true)
    const all: Poc[] = [kenya, second, singapore, other]
    await Promise.all(all.map(settled))
    for (const poc of all) expect(poc.notices()).toEqual([])
  })

  test("the receipt of an officer who has left the duty since still counts", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const kenya = await network.poc("kenya")
    const singapore = await network.poc("singapore")
    const sent = kenya.send(toSingapore)
    const here = await arrived(singapore, sent.id)
    await sent.delivered("sg/technical", soon())
    await settled(kenya)
    await network.shut(kenya)
    here.acknowledge()
    await settled(singapore)
    await network.shut(singapore)
    network.clock.aheadSeconds += 60
    await network.changeManifest("singapore", () => ({ officers: [] }))
    const again = await network.poc("kenya")
    const { acknowledged } = await again.message(sent.id).acknowledged("sg/technical", soon())
    expect(acknowledged?.officer).toBe("duty officer of singapore")
    expect(again.notices()).toEqual([])
  })
})

const desk = (): ManifestDesk => ({
  log: network.directory.logSource(),
  submitManifest: (...given) => network.directory.submitManifest(...given),
})

/** Where the PoC's key is: the first device's vault, while no program has it open. */
async function atHome<T>(name: Name, act: (home: Home, secret: UnlockSecret) => Promise<T>): Promise<T> {
  const result = await network.vault(name, async (vault) => {
    const home = new Home(vault, network.machine)
    try {
      return await act(home, readKeyFile(network.keyPath(name, "poc")))
    } finally {
      home.close()
    }
  })
  await network.relayFollows()
  return result
}

/** A further device with an officer of its own, on its own machine; what it offers to the PoC. */
async function newDevice(name: Name, trust = network.trust): Promise<DeviceOffer> {
  const secret = createKeyFile(network.keyPath(name, "device-2"), nodeRandom)
  const storage = openVaultFile(network.vaultPath(name, 2), "create")
  const about = { poc: network.address(name), relay: relayHost, realm }
  const vault = await createDevice(storage, secret, network.machine, about)
  trustDirectory(vault, trust)
  const officer = { title: "deputy", rights: ["acknowledge", "release"] as const, secret }
  const offer = makeOffer(vault, [await createOfficer(vault, network.machine, officer)])
  await vault.close()
  return deviceOfferStructure.decode(offer)
}

describe("a second device", () => {
  test("is listed by the first one, gets the same mail at once, and its officer acknowledges for both", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const offer = await newDevice("singapore")
    const before = await network.poc("singapore", { device: 2, ready: false })
    await noticed(before, "not-listed")
    await network.shut(before)
    await atHome("singapore", (home, secret) => listDevice(home, secret, desk(), offer))
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    const second = await network.poc("singapore", { device: 2 })
    await second.unlockOfficer(readKeyFile(network.keyPath("singapore", "device-2")))
    expect(second.members()).toMatchObject({
      version: 2,
      devices: [{ here: false }, { here: true }],
      officers: [{ here: false }, { title: "deputy", here: true }],
    })
    const sent = kenya.send(toSingapore)
    const [here, there] = [await arrived(singapore, sent.id), await arrived(second, sent.id)]
    there.acknowledge()
    await sent.acknowledged("sg/technical", soon())
    await singapore.until(() => here.view.acknowledged, soon())
    expect(here.view.acknowledgedBy).toBe("deputy")
    expect(singapore.notices()).toEqual([])
  })

  test("that was shown another directory, or offers itself twice, is refused", async () => {
    network = await TestNetwork.open({ members: ["singapore"] })
    const offer = await newDevice("singapore")
    const elsewhere = { ...offer, trust: trustHash(new Uint8Array(1)) }
    await atHome("singapore", async (home, secret) => {
      await expect(listDevice(home, secret, desk(), elsewhere)).rejects.toMatchObject({ code: "ERR_UNTRUSTED" })
      await listDevice(home, secret, desk(), offer)
      await expect(listDevice(home, secret, desk(), offer)).rejects.toMatchObject({ code: "ERR_USAGE" })
      expect(membersOf(home).version).toBe(2)
    })
  })
})

describe("a device that is lost", () => {
  test("is let in, served and written to by nobody any more, and what waited for it is gone", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], devices: { singapore: 2 }, relay: "disk" })
    const kenya = await network.poc("kenya")
    const lost = await network.poc("singapore", { device: 2 })
    const { device: id } = lost.whoami()
    await network.shut(lost)
    const { device, mailbox } = await network.vault(
      "singapore",
      (vault) => vault.read((tx) => tx.get("identity", "self")!),
      2,
    )
    await network.shut(await network.poc("singapore"))
    const waiting = kenya.send(toSingapore)
    await waiting.accepted(soon())
    await settled(kenya)
    expect(await network.store.read(mailbox, 0, 10)).toHaveLength(1)
    expect(await network.store.countPrekeys(device)).toBeGreaterThan(0)

    await atHome("singapore", async (home, secret) => {
      const own = hex(home.identity.device)
      await expect(removeDevice(home, secret, desk(), own)).rejects.toMatchObject({ code: "ERR_USAGE" })
      await removeDevice(home, secret, desk(), id.slice(0, 8))
    })
    expect(await network.store.read(mailbox, 0, 10)).toEqual([])
    expect(await network.store.countPrekeys(device)).toBe(0)
    const thief = await network.poc("singapore", { device: 2, ready: false })
    await noticed(thief, "not-listed")
    expect(thief.ready).toBe(false)

    // Kenya has not looked at the log since: the relay's refusal makes it look.
    const next = kenya.send({ ...toSingapore, subject: "after the loss" })
    await next.accepted(soon())
    await settled(kenya)
    await kenya.syncLog()
    const last = kenya.send({ ...toSingapore, subject: "with the log" })
    expect(last.status()[0]!.devices.map(({ device }) => device)).not.toContain(id)
    const singapore = await network.poc("singapore")
    for (const { id } of [waiting, next, last]) await arrived(singapore, id)
    expect(await network.store.read(mailbox, 0, 10)).toEqual([])
  })
})

describe("the officer on duty", () => {
  test("changes: the next one signs, the one before does not, and what he has signed stands", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    const sent = kenya.send(toSingapore)
    ;(await arrived(singapore, sent.id)).acknowledge()
    await sent.acknowledged("sg/technical", soon())
    await settled(singapore)
    const secret = createKeyFile(network.keyPath("singapore", "night"), nodeRandom)
    await network.shut(singapore)
    await atHome("singapore", async (home, pocKey) => {
      const night = { title: "night duty", rights: ["acknowledge", "release"] as const, secret }
      await addOfficer(home, pocKey, desk(), night)
      await expect(addOfficer(home, pocKey, desk(), night)).rejects.toMatchObject({ code: "ERR_USAGE" })
      await removeOfficer(home, pocKey, desk(), "duty officer of singapore")
      expect(membersOf(home).officers.map(({ title }) => title)).toEqual(["night duty"])
      await expect(home.unlockOfficer(readKeyFile(network.keyPath("singapore", "officer")))).rejects.toThrow()
    })
    const again = await network.poc("singapore", { officer: false })
    await again.unlockOfficer(secret)
    await kenya.syncLog()
    const next = kenya.send(toSingapore)
    ;(await arrived(again, next.id)).acknowledge()
    expect((await next.acknowledged("sg/technical", soon())).acknowledged?.officer).toBe("night duty")
    expect(sent.status()[0]!.acknowledged?.officer).toBe("duty officer of singapore")
    for (const poc of [kenya, again]) expect(poc.notices()).toEqual([])
  })
})
