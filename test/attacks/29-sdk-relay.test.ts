/** The SDK proves itself only to the relay that the directory lists under that host, for as long as it is certified. */
import { afterEach, expect, test } from "vitest"
import type { LinkStatus } from "../../client-sdk/index.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { nodeRandom } from "../../system/node.ts"
import { MaliciousRelay } from "../support/malicious-relay.ts"
import { day, realm, relayHost, soon, TestClock, TestNetwork } from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

const refused = (status: LinkStatus): true | undefined =>
  status.state === "offline" && status.reason === "ERR_UNTRUSTED" ? true : undefined

test("29 login: a relay whose certificate has run out is not logged in to", async () => {
  network = await TestNetwork.open({ members: ["kenya"], relay: "malicious" })
  await network.shut(await network.poc("kenya"))
  const before = network.malicious!.askedFor("sync-log")
  const clock = new TestClock()
  clock.aheadSeconds = 800 * day
  const kenya = await network.poc("kenya", { clock, ready: false })
  await kenya.until(() => refused(kenya.status), soon())
  expect(network.malicious!.askedFor("sync-log")).toBe(before)
})

test("29 login: nor is one that has another key than the directory lists under this host", async () => {
  network = await TestNetwork.open({ members: ["kenya"], relay: "none" })
  const impostor = await MaliciousRelay.start({
    realm,
    host: relayHost,
    key: new SigningKey(nodeRandom.bytes(32)),
    certificate: nodeRandom.bytes(200),
    directory: () => network.directory,
  })
  network.url = impostor.url
  const kenya = await network.poc("kenya", { ready: false })
  await kenya.until(() => refused(kenya.status), soon())
  expect(impostor.asked.size).toBe(0)
  await network.shut(kenya)
  await impostor.close()
})
