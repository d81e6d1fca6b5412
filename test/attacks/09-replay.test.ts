/** A message counts once: whoever sends its bytes again, whenever, and whatever the clock says. */
import { describe, expect, test } from "vitest"
import type { MessageId } from "../../protocol/address.ts"
import { hex, utf8 } from "../../protocol/bytes.ts"
import { fixed } from "../../protocol/limits.ts"
import { nodeRandom } from "../../system/node.ts"
import { restarted, useDesks, type Inside } from "../support/inside.ts"
import { arrived, eventually, notification, settled, TestNetwork } from "../support/network.ts"

describe("9 replay", () => {
  const desks = useDesks("kenya", "singapore", "brazil")

  const receipts = (desk: Inside): number => desk.outbox.pending().length

  test("9 replay: the same bytes again are dropped without a word, with one receipt for both", () => {
    const { kenya, singapore } = desks.at
    for (const prekey of [desks.post.prekeyFor(singapore), desks.post.rotatingFor(singapore)]) {
      const before = singapore.received().length
      const bytes = kenya.forge("notification", singapore, prekey)
      for (let i = 0; i < 3; i++) expect(singapore.receive(bytes)).toBe("collected")
      expect(singapore.received()).toHaveLength(before + 1)
      expect(receipts(singapore)).toBe(before + 1)
    }
    expect(singapore.notices().filter((text) => !text.startsWith("withholding"))).toEqual([])
    expect(singapore.journal("equivocation")).toEqual([])
  })

  test("9 replay: after a restart, at the expiry edge, a day later, and with the clock set back", async () => {
    const { kenya, singapore } = desks.at
    const { clock } = desks.network
    const lifetime = 3600
    const created = kenya.home.now
    const bytes = kenya.forge("notification", singapore, desks.post.rotatingFor(singapore), {
      expires: created + lifetime,
    })
    singapore.receive(bytes)
    const again = await restarted(desks.network, "singapore")
    /** Messages in the archive, receipts that were given, and alarms of a second message under the same id. */
    const replayed = (): number[] => {
      again.prekeeper.erase(again.home.now)
      again.receive(bytes)
      return [again.received().length, receipts(again), again.journal("equivocation").length]
    }
    expect(replayed()).toEqual([1, 1, 0])
    const moments = [lifetime - 1, lifetime, lifetime + 1, lifetime + fixed.replayGraceSeconds + 60, -3600, 60]
    for (const seconds of moments) {
      clock.aheadSeconds = seconds
      expect([seconds, replayed()]).toEqual([seconds, [1, 1, 0]])
    }
    expect(again.home.vault.read((tx) => tx.count("replay"))).toBe(1)
    // Only when the prekey that opens it is gone, too, may the entry go.
    clock.aheadSeconds = fixed.rotatingPrekeySeconds + fixed.lifetimeSecondsMax + 3600
    expect(replayed()).toEqual([1, 1, 0])
    expect(again.home.vault.read((tx) => [tx.count("replay"), tx.count("prekeys")])).toEqual([0, 0])
    clock.aheadSeconds = 0
    expect(replayed()).toEqual([1, 1, 0])
    await again.close()
  })

  test("9 replay: an id that another sender uses again takes no message's place", () => {
    const { kenya, singapore, brazil } = desks.at
    const messageId = nodeRandom.bytes(16) as MessageId
    const said = (text: string) => ({ messageId, leaves: [{ name: "subject", value: utf8(text) }] })
    singapore.receive(kenya.forge("notification", singapore, desks.post.prekeyFor(singapore), said("Kenya's")))
    singapore.receive(brazil.forge("notification", singapore, desks.post.prekeyFor(singapore), said("Brazil's")))
    expect(singapore.record(hex(messageId))!.from).toBe(kenya.home.identity.poc)
    expect(singapore.received().map(({ from }) => from)).toEqual([kenya, brazil].map((desk) => desk.home.identity.poc))
    expect(singapore.notices()).toEqual([])
  })

  test("9 replay: nor does it take the place of what the reader itself wrote", async () => {
    const { kenya, singapore } = desks.at
    const id = kenya.write("notification", [singapore.home.identity.poc])
    await desks.post.carry()
    const messageId = kenya.record(id)!.id
    kenya.receive(singapore.forge("notification", kenya, desks.post.prekeyFor(kenya), { messageId }))
    expect(kenya.record(id)!.direction).toBe("out")
    expect(kenya.received()).toHaveLength(1)
    expect(kenya.home.vault.read((tx) => [...tx.list("receipts")]).map(([, { kind }]) => kind)).toEqual([
      "device-receipt",
    ])
  })
})

test("9 replay: a relay that delivers twice, and once more after a reconnection, is dealt with in silence", async () => {
  const network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
  try {
    const [kenya, singapore] = await network.all()
    network.malicious!.duplicate()
    const sent = kenya!.send({ ...notification, to: ["sg/technical"] })
    await arrived(singapore!, sent.id)
    const { mailbox } = network.directory.state.usableDevices(network.address("singapore"), network.clock.seconds)[0]!
    network.malicious!.replay(mailbox)
    network.malicious!.cut()
    network.malicious!.replay(mailbox)
    await eventually(() => network.malicious!.waitingFor(mailbox) === 0)
    await settled(singapore!)
    expect(singapore!.received()).toHaveLength(1)
    expect(singapore!.notices()).toEqual([])
  } finally {
    await network.close()
  }
})
