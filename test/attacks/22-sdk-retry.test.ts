/** Resubmitting: the SDK's own retry repeats the blind and so the first minute; nobody else's bytes get an old date. */
import { afterEach, expect, test } from "vitest"
import { perDevice } from "../../client-sdk/collections.ts"
import { equal, hex } from "../../protocol/bytes.ts"
import { verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import { Inside } from "../support/inside.ts"
import { eventually, notification, soon, TestNetwork } from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

test("22 resubmission: when the relay's answer is lost, the same bytes go again under the same blind", async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
  const relay = network.malicious!
  const [kenya] = await network.all()
  relay.swallowAnswers(2)
  const sent = kenya!.send({ ...notification, to: ["sg/technical"] })
  await sent.accepted(soon())
  const { mailbox } = network.directory.state.usableDevices(network.address("singapore"), network.clock.seconds)[0]!
  const mine = relay.submissions.filter((submission) => equal(submission.mailbox, mailbox))
  expect(mine.length).toBeGreaterThanOrEqual(2)
  expect(new Set(mine.map(({ blind, bytes }) => `${hex(blind)} ${hex(bytes)}`)).size).toBe(1)
})

test("22 resubmission: after a restart too; every envelope has a blind of its own, and the receipt is kept with it", async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore", "brazil"], relay: "malicious" })
  const relay = network.malicious!
  const [kenya] = await network.all()
  relay.refuse("submit", "ERR_STORE_UNAVAILABLE")
  const to = ["sg/technical", "br/technical"]
  const sent = [1, 2].map((n) => kenya!.send({ ...notification, subject: `message ${n}`, to }))
  await eventually(() => relay.askedFor("submit") >= 4)
  await network.shut(kenya!)
  const inside = await Inside.open(network, "kenya")
  const before = inside.home.vault.read((tx) =>
    [...tx.list("outgoing")].flatMap(([, row]) => ("blind" in row ? [hex(row.blind)] : [])),
  )
  await inside.close()
  relay.behave()
  const again = await network.poc("kenya")
  for (const { id } of sent) await again.message(id).accepted(soon())
  const used = relay.submissions.filter(({ bytes }) => bytes.length > 0).map(({ blind }) => hex(blind))
  for (const blind of before) expect(used).toContain(blind)
  expect(new Set(before).size).toBe(4)
  await network.shut(again)
  const after = await Inside.open(network, "kenya")
  for (const { id } of sent)
    for (const { device, digest, mailbox } of after.record(id)!.devices!) {
      const { blind, receipt } = after.home.vault.read((tx) => tx.get("accepted", perDevice(id, device))!)
      const item = { blind, digest: digest!, mailbox }
      expect(verifyRelayReceipt(network.relayKey.publicKey, after.home.realm, receipt, item)).toBe(true)
    }
  await after.close()
})
