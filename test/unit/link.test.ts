/** The line's questions and answers, without a socket. */
import { expect, test } from "vitest"
import { RelayConnection } from "../../protocol/connection.ts"
import type { RelayFrame } from "../../protocol/frames.ts"
import { Link } from "../../client-sdk/link.ts"
import type { ChannelEvents, Transport } from "../../client-sdk/transport.ts"
import { nodeRandom } from "../../system/node.ts"
import { useDesks } from "../support/inside.ts"
import { welcome } from "../support/login.ts"
import { realm, relayHost } from "../support/network.ts"

const desks = useDesks("kenya")

/** A transport that hands over every answer before `send` returns. */
const prompt = (answer: (counter: number) => RelayFrame): Transport => ({
  connect: async (_url, events: ChannelEvents) => {
    const relay = new RelayConnection({
      realm,
      key: desks.network.relayKey,
      certificate: desks.network.directory.state.relay(relayHost)!.certificate,
      hosts: [relayHost],
      deviceKey: () => desks.at.kenya.home.deviceKey.publicKey,
      random: (length) => nodeRandom.bytes(length),
    })
    const send = (bytes: Uint8Array): void => {
      const event = relay.receive(bytes)
      if (event.type === "hello") events.message(relay.challenge())
      if (event.type === "proved") events.message(relay.send(welcome).bytes)
      if (event.type === "frame" && event.frame.type !== "bye") events.message(relay.send(answer(event.counter)).bytes)
    }
    return { send, close: () => undefined, tlsCertificate: undefined }
  },
})

test("an answer that is there at once reaches whoever asked", async () => {
  const { home } = desks.at.kenya
  let isLive = (): void => undefined
  const live = new Promise<void>((resolve) => (isLive = resolve))
  const nothing = (): void => undefined
  const transport = prompt((about) => ({ type: "prekeys", about, prekey: undefined }))
  const link = new Link(home, transport, "", { live: isLive, envelope: nothing, prekeysLow: nothing, status: nothing })
  link.start()
  await live
  expect(await link.fetchPrekey(home.identity.device)).toBeUndefined()
  link.stop()
})
