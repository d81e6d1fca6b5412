/** The life of a message between PoCs, over a real relay. */
import { afterEach, describe, expect, test } from "vitest"
import { arrived, indicators, notification, soon, TestNetwork } from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

describe("a message", () => {
  test("is accepted, delivered, acknowledged and answered", async () => {
    network = await TestNetwork.open()
    const [kenya, singapore] = (await network.all()) as [
      Awaited<ReturnType<TestNetwork["poc"]>>,
      Awaited<ReturnType<TestNetwork["poc"]>>,
    ]
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"], indicators })
    const accepted = await sent.accepted(soon())
    expect(accepted.every((row) => row.devices.every((device) => device.accepted?.relay === "relay.example"))).toBe(
      true,
    )
    await sent.delivered("br/technical", soon())
    const here = await arrived(singapore, sent.id)
    here.acknowledge()
    here.respond({ disposition: "acting" })
    await sent.acknowledged("sg/technical", soon())
    const { response } = await sent.responded("sg/technical", soon())
    expect(response?.disposition).toBe("acting")
  })
})
