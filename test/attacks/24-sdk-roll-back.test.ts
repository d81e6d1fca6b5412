/** A vault that went back in time, or runs twice, is noticed: by itself, by the relay and by its peers. */
import { join } from "node:path"
import { afterEach, describe, expect, test } from "vitest"
import type { Incarnation } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { backupToFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { nodeRandom } from "../../system/node.ts"
import { copyVault, Inside, useDesks } from "../support/inside.ts"
import {
  arrived,
  day,
  eventually,
  noticed,
  notification,
  settled,
  soon,
  TestClock,
  TestNetwork,
} from "../support/network.ts"

const incarnationOf = (network: TestNetwork, path?: string): Promise<string> =>
  network.vault("kenya", (vault) => hex(vault.incarnation), 1, path)

describe("24 a copy of a vault", () => {
  let network: TestNetwork
  afterEach(() => network.close())

  const copyOf = (): string => join(network.folder, "kenya", "copy.vault")

  test("24 snapshot: the relay knows higher numbers, so the copy raises the alarm and starts anew", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    copyVault(network.vaultPath("kenya"), copyOf())
    const before = await incarnationOf(network)
    await network.shut(await network.poc("kenya"))
    expect(await incarnationOf(network)).toBe(before)
    const copy = await network.poc("kenya", { path: copyOf() })
    expect((await noticed(copy, "roll-back")).text).toMatch(/^this vault went back in time/)
    const singapore = await network.poc("singapore")
    const sent = singapore.send({ ...notification, to: ["ke/technical"] })
    await arrived(copy, sent.id)
    await settled(copy)
    await network.shut(copy)
    expect(await incarnationOf(network, copyOf())).not.toBe(before)
  })

  test("24 two copies at once: the one that is cut off says so", async () => {
    network = await TestNetwork.open({ members: ["kenya"] })
    await network.shut(await network.poc("kenya"))
    copyVault(network.vaultPath("kenya"), copyOf())
    const first = await network.poc("kenya")
    await network.poc("kenya", { path: copyOf(), ready: false })
    expect((await noticed(first, "roll-back")).text).toMatch(/^somebody else logged in at the relay as this device/)
  })

  test("24 a hostile relay: its refusals make the vault start anew once, not for ever", async () => {
    network = await TestNetwork.open({ members: ["kenya"], relay: "malicious" })
    const relay = network.malicious!
    relay.refuse("publish-prekeys", "ERR_PREKEYS_REFUSED")
    const before = await incarnationOf(network)
    const kenya = await network.poc("kenya", { ready: false })
    await noticed(kenya, "no-prekeys")
    // Not more often: the next wait could be longer than a test's patience.
    for (let i = 0; i < 3; i++) {
      relay.cut()
      await eventually(() => kenya.status.state !== "live")
      await eventually(() => kenya.status.state === "live")
    }
    expect(
      kenya
        .notices()
        .map(({ kind }) => kind)
        .toSorted(),
    ).toEqual(["no-prekeys", "roll-back"])
    expect(kenya.ready).toBe(false)
    expect(relay.askedFor("publish-prekeys")).toBeLessThan(4)
    await network.shut(kenya)
    const inside = await Inside.open(network, "kenya")
    expect(inside.journal("vault.incarnation")).toHaveLength(1)
    expect(hex(inside.home.vault.incarnation)).not.toBe(before)
    await inside.close()
  })

  test("24 a wrong clock: prekeys that are refused because of their dates are no reason to start anew", async () => {
    network = await TestNetwork.open({ members: ["kenya"] })
    const before = await incarnationOf(network)
    const clock = new TestClock()
    clock.aheadSeconds = 1800
    const kenya = await network.poc("kenya", { clock, ready: false })
    expect((await noticed(kenya, "no-prekeys")).text).toMatch(
      /its clock and this machine's differ by more than ten minutes/,
    )
    await network.shut(kenya)
    expect(await incarnationOf(network)).toBe(before)
    const right = await network.poc("kenya")
    expect(right.notices().map(({ kind }) => kind)).toEqual(["no-prekeys"])
  })

  test("24 a wrong clock: nor if it goes wrong while the line is up", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const before = await incarnationOf(network)
    const clock = new TestClock()
    const kenya = await network.poc("kenya", { clock })
    clock.aheadSeconds = 90_000
    kenya.send({ ...notification, to: ["sg/technical"] })
    await kenya.until(() => kenya.notices().find(({ text }) => text.includes("its clock and this machine's")), soon())
    await network.shut(kenya)
    expect(await incarnationOf(network)).toBe(before)
  })

  test("24 a wrong clock: nor if it is the relay's that goes wrong", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const before = await incarnationOf(network)
    const clock = new TestClock()
    const kenya = await network.poc("kenya", { clock })
    // A day later a new rotating key is due; to the relay, whose clock has stopped, it comes from the future.
    clock.aheadSeconds = day + 60
    clock.aheadMonotonicMs = 1000 * clock.aheadSeconds
    kenya.send({ ...notification, to: ["sg/technical"] })
    await kenya.until(() => kenya.notices().find(({ text }) => text.includes("its clock and this machine's")), soon())
    await network.shut(kenya)
    expect(await incarnationOf(network)).toBe(before)
  })

  test("24 restored backup: what was composed before goes out as a message of its own, and nobody is accused", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const offline = await network.poc("kenya", { connect: false })
    const sent = offline.send({ ...notification, to: ["sg/technical"] })
    await network.shut(offline)
    const path = join(network.folder, "kenya", "backup.vault")
    await network.vault("kenya", (vault) => backupToFile(vault, path))
    const singapore = await network.poc("singapore")
    const kenya = await network.poc("kenya")
    await kenya.message(sent.id).delivered("sg/technical", soon())
    await network.shut(kenya)
    const restored = await network.poc("kenya", { path })
    await singapore.until(() => (singapore.received().length === 2 ? true : undefined), soon())
    await settled(restored)
    const [one, other] = singapore.received()
    expect([one!.id, other!.subject]).toEqual([sent.id, one!.subject])
    expect(restored.sent().map(({ id }) => id)).toEqual([other!.id])
    expect(singapore.notices().map(({ kind }) => kind)).toEqual([])
  })
})

describe("24 a peer", () => {
  const desks = useDesks("kenya", "singapore")
  const incarnation = nodeRandom.bytes(16) as Incarnation
  const take = (n: number, from = incarnation): void => {
    const { kenya, singapore } = desks.at
    singapore.receive(
      kenya.forge("notification", singapore, desks.post.prekeyFor(singapore), {
        pairSequence: { incarnation: from, n },
      }),
    )
  }

  test("24 one number twice with different messages: the peer raises a roll-back alarm", () => {
    take(1)
    take(2)
    take(2)
    const text =
      "roll-back: ke/technical/baobab: a number of its sequence came twice with different messages: its vault may have gone back in time"
    expect(desks.at.singapore.notices()).toEqual([text])
    expect(desks.at.singapore.received()).toHaveLength(3)
  })

  test("24 numbers: a gap is told, late arrivals fill it, a new incarnation counts anew, and nothing of it is an alarm", () => {
    for (const n of [1, 5, 3, 2, 4, 6]) take(n)
    take(1, nodeRandom.bytes(16) as Incarnation)
    expect(desks.at.singapore.notices()).toEqual([
      "sequence-gap: ke/technical/baobab: 3 earlier message(s) of this device have not arrived (late, expired or dropped)",
    ])
  })

  test("24 numbers: a huge leap costs nothing, and what comes from before it is no alarm", () => {
    const before = performance.now()
    for (const n of [2 ** 48, 2 ** 48 - 64, 2 ** 48 - 65, 7]) take(n)
    expect(performance.now() - before).toBeLessThan(5000)
    expect(desks.at.singapore.notices().map((text) => text.split(":")[0])).toEqual(["sequence-gap"])
    const { missing } = desks.at.singapore.home.vault.read(
      (tx) => [...tx.list("counters", { prefix: "received:" })][0]![1],
    )
    expect(missing).toHaveLength(63)
  })

  test("24 numbers: a peer that begins ever new incarnations makes nothing grow", () => {
    for (let i = 0; i < 12; i++) take(1, nodeRandom.bytes(16) as Incarnation)
    expect(desks.at.singapore.home.vault.read((tx) => [...tx.list("counters", { prefix: "received:" })])).toHaveLength(
      8,
    )
  })
})
