/** Several devices and officers of one PoC: what one of them does, the others see. */
import { afterEach, describe, expect, test } from "vitest"
import type { Poc } from "../../client-sdk/index.ts"
import { arrived, notification, settled, soon, TestNetwork } from "../support/network.ts"

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
