/** A proxy on the SDK's line: what it repeats, swaps, alters or makes up ends the connection, and nothing of it counts. */
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { afterEach, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { subprotocol } from "../../protocol/frames.ts"
import { arrived, eventually, notification, settled, soon, TestNetwork } from "../support/network.ts"

type Frames = readonly Uint8Array[]
/** What becomes of the n-th message from the relay, counted from 0; 0 is the challenge. */
type Meddling = (frame: Uint8Array, n: number, before: Frames) => Frames

let network: TestNetwork
let proxy: WebSocketServer
afterEach(async () => {
  for (const client of proxy.clients) client.terminate()
  proxy.close()
  await network.close()
})

/** Joins each client with the relay; meddles with the first connection only. */
async function meddle(relay: string, meddling: Meddling): Promise<{ url: string; connections: () => number }> {
  let connections = 0
  proxy = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => subprotocol })
  await once(proxy, "listening")
  proxy.on("connection", (client) => {
    const isFirst = connections++ === 0
    const upstream = new WebSocket(relay, subprotocol, { perMessageDeflate: false })
    const early: Buffer[] = []
    const frames: Uint8Array[] = []
    client.on("message", (data: Buffer) =>
      upstream.readyState === WebSocket.OPEN ? upstream.send(data) : early.push(data),
    )
    upstream.on("open", () => early.forEach((data) => upstream.send(data)))
    upstream.on("message", (data: Buffer) => {
      const out = isFirst ? meddling(data, frames.length, frames) : [data]
      frames.push(data)
      for (const frame of out) client.send(frame)
    })
    client.on("close", () => upstream.terminate())
    upstream.on("close", () => client.terminate())
    upstream.on("error", () => undefined)
  })
  return { url: `ws://127.0.0.1:${(proxy.address() as AddressInfo).port}/`, connections: () => connections }
}

const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))

describe("30 frames by a proxy", () => {
  const verbs: readonly [string, Meddling][] = [
    ["repeats a frame", (frame, n) => (n === 1 ? [frame, frame] : [frame])],
    [
      "holds one frame back and delivers it after the next",
      (frame, n, before) => (n === 2 ? [] : n === 3 ? [frame, before[2]!] : [frame]),
    ],
    ["alters a frame", (frame, n) => [n === 2 ? flipped(frame, frame.length - 1) : frame]],
    ["alters a frame's MAC", (frame, n) => [n === 2 ? flipped(frame, 12) : frame]],
    ["makes a frame up", (frame, n) => (n === 2 ? [Uint8Array.from({ length: 90 }, () => 0x83), frame] : [frame])],
    ["drops a frame", (frame, n) => (n === 2 ? [] : [frame])],
  ]
  test.each(verbs)(
    "30 a proxy that %s: the connection ends, and the next one does all that was left",
    async (_, meddling) => {
      network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
      const singapore = await network.poc("singapore")
      const relay = network.url
      const { url, connections } = await meddle(relay, meddling)
      network.url = url
      const kenya = await network.poc("kenya", { ready: false })
      const reasons: string[] = []
      kenya.on(
        (event) => event.kind === "link" && event.status.state === "offline" && reasons.push(event.status.reason),
      )
      const sent = kenya.send({ ...notification, to: ["sg/technical"] })
      // Whatever the relay says next shows that a frame is missing.
      await eventually(() => reasons.length + network.malicious!.askedFor("sync-log") > 1)
      network.malicious!.sayPoolHolds(64)
      network.malicious!.behave()
      await sent.delivered("sg/technical", soon())
      await arrived(singapore, sent.id)
      await Promise.all([settled(kenya), settled(singapore)])
      expect(reasons).toEqual(["ERR_FRAME_AUTHENTICATION"])
      expect(connections()).toBe(2)
      expect(singapore.received()).toHaveLength(1)
      expect([...kenya.notices(), ...singapore.notices()]).toEqual([])
      network.url = relay
    },
  )
})
