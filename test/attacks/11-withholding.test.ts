/** No silent downgrade: keys that are withheld, drained or served again raise an alarm, and make nothing grow. */
import { afterEach, describe, expect, test } from "vitest"
import type { Incarnation } from "../../protocol/address.ts"
import { fixed } from "../../protocol/limits.ts"
import { signPrekey } from "../../protocol/prekey.ts"
import { KemKey } from "../../protocol/primitives.ts"
import { prekeyIdOf } from "../../protocol/address.ts"
import type { Signed } from "../../protocol/statement.ts"
import { oneTimeSecretsMax } from "../../client-sdk/prekeeper.ts"
import { nodeRandom } from "../../system/node.ts"
import { Inside, restarted, useDesks } from "../support/inside.ts"
import { arrived, eventually, noticed, notification, settled, soon, TestNetwork, day } from "../support/network.ts"

describe("11 withholding", () => {
  const desks = useDesks("kenya", "singapore")

  const later = (seconds: number): void => void (desks.network.clock.aheadSeconds += seconds)

  test("11 withholding: a rotating key although one-time keys were there raises an alarm, and the message says which it was", () => {
    const { kenya, singapore } = desks.at
    later(60)
    singapore.receive(kenya.forge("notification", singapore, desks.post.rotatingFor(singapore)))
    expect(singapore.notices()).toEqual([
      expect.stringMatching(/^withholding: ke\/technical\/baobab was served a rotating key although/),
    ])
    expect(singapore.received()[0]!.banners).toContain("sealed to a rotating prekey, not to a one-time key")
  })

  test("11 withholding: a rotating key when the pool is empty is how it should be", () => {
    const { kenya, singapore } = desks.at
    singapore.home.vault.transaction((tx) => {
      for (const [key, row] of tx.list("prekeys")) if (row.kind === "one-time") tx.delete("prekeys", key)
    })
    later(60)
    singapore.receive(kenya.forge("notification", singapore, desks.post.rotatingFor(singapore)))
    expect(singapore.notices()).toEqual([])
    expect(singapore.received()).toHaveLength(1)
  })

  test("11 stale rotating key: one that was superseded more than 48 hours ago raises an alarm", () => {
    const { kenya, singapore } = desks.at
    const old = desks.post.rotatingFor(singapore)
    later(day)
    singapore.publish()
    singapore.home.vault.transaction((tx) => {
      for (const [key, row] of tx.list("prekeys")) if (row.kind === "one-time") tx.delete("prekeys", key)
    })
    later(2 * day - 60)
    singapore.receive(kenya.forge("notification", singapore, old, { checkpoint: kenya.home.mirror.freshCheckpoint() }))
    expect(singapore.notices()).toEqual([])
    later(120)
    const checkpoint = singapore.received()[0]!.sealed!.checkpoint
    singapore.receive(kenya.forge("notification", singapore, old, { checkpoint }))
    expect(singapore.notices()).toEqual([
      expect.stringMatching(/^withholding: ke\/technical\/baobab was served an old rotating key/),
    ])
  })

  test("11 lost publication: what no relay confirmed for a new incarnation is made anew at once, but not without end", () => {
    const { prekeeper, home } = desks.at.singapore
    const offersRotating = (): boolean => {
      prekeeper.replenish(64)
      const batch = prekeeper.unpublished()
      if (batch) prekeeper.markSent(batch.ids)
      return batch?.rotating !== undefined
    }
    home.vault.startNewIncarnation()
    expect(Array.from({ length: 10 }, offersRotating)).toEqual([...Array(8).fill(true), false, false])
    home.vault.startNewIncarnation()
    expect(offersRotating()).toBe(true)
    prekeeper.confirmPublished([])
    expect(offersRotating()).toBe(false)
  })

  const sealsTo = async (prekey: Signed): Promise<number> => {
    const { kenya, singapore } = desks.at
    const before = new Set(kenya.outbox.pending())
    const id = kenya.write("notification", [singapore.home.identity.poc])
    const sealed = await kenya.flush(() => prekey)
    kenya.home.vault.transaction((tx) => tx.delete("outbox", id))
    expect(kenya.outbox.pending()).toEqual([...before])
    return sealed.length
  }

  test("11 older rotating key: a sender takes the newest it has seen, and none that is older", async () => {
    const { singapore } = desks.at
    const first = desks.post.rotatingFor(singapore)
    later(day)
    const second = singapore.publish().rotating!
    expect(await sealsTo(first)).toBe(1)
    expect(await sealsTo(second)).toBe(1)
    expect(await sealsTo(first)).toBe(0)
    expect(await sealsTo(second)).toBe(1)
    expect(desks.at.kenya.notices()).toEqual([expect.stringMatching(/^withholding: .* does not verify or is too old/)])
  })

  test("11 older rotating key: nor one of an incarnation that a newer one has followed", async () => {
    const { singapore } = desks.at
    const first = desks.post.rotatingFor(singapore)
    later(day)
    singapore.home.vault.startNewIncarnation()
    const second = singapore.publish().rotating!
    expect(await sealsTo(second)).toBe(1)
    expect(await sealsTo(first)).toBe(0)
  })

  test("11 bad prekey: one that is signed but no key holds up no program, and is asked for again", async () => {
    const { singapore } = desks.at
    const { identity, deviceKey, now, realm } = singapore.home
    const key = new KemKey(nodeRandom.bytes(32))
    const pk = new Uint8Array(key.publicKey.length).fill(255)
    const nonsense = signPrekey(deviceKey, realm, {
      v: 1,
      device: identity.device,
      incarnation: nodeRandom.bytes(16) as Incarnation,
      n: 1,
      kind: "one-time",
      id: prekeyIdOf(pk),
      suite: 1,
      nbf: now,
      exp: now + day,
      pk,
    })
    expect(await sealsTo(nonsense)).toBe(0)
    expect(desks.at.kenya.notices()).toEqual([expect.stringMatching(/^withholding/)])
    expect(await sealsTo(desks.post.prekeyFor(singapore))).toBe(1)
  })

  test("11 exhaustion: whoever drains the pool for ever makes the vault keep so many secrets and no more", async () => {
    const singapore = await restarted(desks.network, "singapore")
    const count = (): number =>
      singapore.home.vault.read((tx) => [...tx.list("prekeys")].filter(([, row]) => row.kind === "one-time").length)
    const often = oneTimeSecretsMax / fixed.oneTimePrekeys + 2
    for (let i = 0; i < often; i++) singapore.publish()
    expect(count()).toBe(oneTimeSecretsMax)
    await singapore.close()
  })
})

describe("11 withholding by the relay", () => {
  let network: TestNetwork
  afterEach(() => network.close())

  test("11 withholding: a relay that hands out rotating keys only is noticed by the recipient", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const [kenya, singapore] = await network.all()
    network.malicious!.withholdOneTimeKeys()
    network.clock.aheadSeconds += 60
    const sent = kenya!.send({ ...notification, to: ["sg/technical"] })
    const there = await arrived(singapore!, sent.id)
    expect((await noticed(singapore!, "withholding")).text).toMatch(/withheld by the relay, or drained by a PoC/)
    expect(there.view.banners).toEqual(["sealed to a rotating prekey, not to a one-time key"])
    expect(sent.status()[0]!.devices[0]!.prekey).toBe("rotating")
  })

  test("11 withholding: TLP:RED waits for a one-time key, and says so", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const [kenya, singapore] = await network.all()
    network.malicious!.withholdOneTimeKeys()
    const sent = kenya!.send({ ...notification, tlp: "RED", to: ["sg/technical"] })
    expect((await noticed(kenya!, "no-prekeys")).text).toMatch(/no one-time keys are left, and the message demands one/)
    expect(network.malicious!.submissions).toEqual([])
    expect([sent.status()[0]!.state, singapore!.received()]).toEqual(["waiting", []])
  })

  test("11 another device's prekey: it is refused, and the message waits for a right one", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore", "brazil"], relay: "malicious" })
    const [kenya, singapore] = await network.all()
    const { state } = network.directory
    const { device } = state.usableDevices(network.address("brazil"), network.clock.seconds)[0]!
    network.malicious!.servePrekeysOf(device)
    const sent = kenya!.send({ ...notification, to: ["sg/technical"] })
    await noticed(kenya!, "withholding")
    expect(network.malicious!.submissions).toEqual([])
    network.malicious!.behave()
    await network.shut(kenya!)
    const again = await network.poc("kenya")
    await again.message(sent.id).delivered("sg/technical", soon())
    await settled(singapore!)
  })

  test("11 exhaustion: a relay that says its pool is empty, again and again, keeps nobody busy", async () => {
    network = await TestNetwork.open({ members: ["kenya"], relay: "malicious" })
    const relay = network.malicious!
    const kenya = await network.poc("kenya")
    const storm = Date.now() + 2000
    while (Date.now() < storm) {
      relay.sayPoolHolds(0)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await eventually(() => relay.published.flatMap(({ oneTime }) => oneTime).length > 0)
    const published = relay.published.flatMap(({ oneTime }) => oneTime).length
    expect(published).toBeLessThanOrEqual(oneTimeSecretsMax)
    await network.shut(kenya)
    const inside = await Inside.open(network, "kenya")
    expect(inside.home.vault.read((tx) => tx.count("prekeys"))).toBeLessThanOrEqual(oneTimeSecretsMax + 2)
    await inside.close()
  })
})
