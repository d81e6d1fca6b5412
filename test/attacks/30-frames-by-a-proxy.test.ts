import { afterEach, describe, expect, test } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import type { AddressInfo } from "node:net"
import { encodeFrame, frameHeadBytes, subprotocol, type ClientFrame, type RelayFrame } from "../../protocol/frames.ts"
import { codeOf } from "../support/errors.ts"
import { ends, logIn, testDevice } from "../support/login.ts"
import { devices, envelopeTo, mailboxOfDevice, startRelay, stopRelays, TestClient } from "../support/relay.ts"

const { kenya, singapore } = devices
const collected = (sequence: number): ClientFrame => ({ type: "collected", sequences: [sequence] })
const notice: RelayFrame = { type: "notice", kind: "prekeys-low", count: 3 }

/** What a proxy hands to the relay and to the client instead of two honest frames. */
function tampering(frames: (first: Uint8Array, second: Uint8Array) => readonly Uint8Array[]) {
  const up = ends(testDevice("ke/technical/baobab"))
  logIn(up)
  const toRelay = frames(up.client.send(collected(1)).bytes, up.client.send(collected(2)).bytes)
  const down = ends(testDevice("ke/technical/baobab"))
  logIn(down)
  const toClient = frames(down.relay.send(notice).bytes, down.relay.send(notice).bytes)
  const outcome = (end: { receive(bytes: Uint8Array): unknown }, sent: readonly Uint8Array[]) =>
    sent.map((bytes) => codeOf(() => end.receive(bytes))).at(-1)
  return [outcome(up.relay, toRelay), outcome(down.client, toClient)]
}

const refused = ["ERR_FRAME_AUTHENTICATION", "ERR_FRAME_AUTHENTICATION"]

describe("30 frames by a proxy", () => {
  test("30 frame passed on as it is: accepted", () => {
    expect(tampering((first, second) => [first, second])).toEqual(["none", "none"])
  })

  test("30 frame replayed", () => {
    expect(tampering((first) => [first, first])).toEqual(refused)
  })

  test("30 frame replayed under the next counter", () => {
    expect(tampering((first, second) => [first, first.with(8, second[8]!)])).toEqual(refused)
  })

  test("30 frames reordered", () => {
    expect(tampering((_, second) => [second])).toEqual(refused)
  })

  test("30 frame dropped in the middle", () => {
    const { client, relay } = ends(testDevice("ke/technical/baobab"))
    logIn({ client, relay, device: testDevice("ke/technical/baobab"), seed: "ends" })
    relay.receive(client.send(collected(1)).bytes)
    client.send(collected(2))
    expect(codeOf(() => relay.receive(client.send(collected(3)).bytes))).toBe("ERR_FRAME_AUTHENTICATION")
  })

  test("30 frame injected or changed by someone without the key", () => {
    expect(tampering(() => [encodeFrame(new Uint8Array(32), 1, collected(9))])[0]).toBe("ERR_FRAME_AUTHENTICATION")
    expect(tampering((first) => [first.with(first.length - 1, first.at(-1)! ^ 1)])).toEqual(refused)
    expect(tampering((first) => [first.with(frameHeadBytes - 1, first[frameHeadBytes - 1]! ^ 1)])).toEqual(refused)
  })

  test("30 frame of another login of the same device", () => {
    const old = ends(testDevice("ke/technical/baobab"), { seed: "yesterday" })
    logIn(old)
    const recorded = old.client.send(collected(1)).bytes
    const now = ends(testDevice("ke/technical/baobab"), { seed: "today" })
    logIn(now)
    expect(codeOf(() => now.relay.receive(recorded))).toBe("ERR_FRAME_AUTHENTICATION")
  })

  test("30 frame sent back to the one who sent it", () => {
    const both = ends(testDevice("ke/technical/baobab"))
    logIn(both)
    both.client.send(collected(1))
    // The client expects the relay's second frame: the counter is right, the key is the other direction's.
    const second = both.client.send(collected(2)).bytes
    expect(codeOf(() => both.client.receive(second))).toBe("ERR_FRAME_AUTHENTICATION")
  })

  test("30 envelope exchanged inside a submit frame and inside a delivery", () => {
    const both = ends(testDevice("ke/technical/baobab"))
    logIn(both)
    const submit: ClientFrame = {
      type: "submit",
      mailbox: mailboxOfDevice(singapore),
      blind: new Uint8Array(32),
      envelope: envelopeTo(singapore),
    }
    const sent = both.client.send(submit).bytes
    expect(codeOf(() => both.relay.receive(sent.with(sent.length - 9, sent.at(-9)! ^ 1)))).toBe(
      "ERR_FRAME_AUTHENTICATION",
    )
    const again = ends(testDevice("ke/technical/baobab"))
    logIn(again)
    const delivery = again.relay.send({ type: "envelope", sequence: 1, minute: 2, envelope: submit.envelope }).bytes
    expect(codeOf(() => again.client.receive(delivery.with(delivery.length - 9, delivery.at(-9)! ^ 1)))).toBe(
      "ERR_FRAME_AUTHENTICATION",
    )
  })
})

describe("30 a proxy where TLS ends", () => {
  const proxies: WebSocketServer[] = []
  afterEach(async () => {
    for (const proxy of proxies.splice(0)) {
      for (const socket of proxy.clients) socket.terminate()
      proxy.close()
    }
    await stopRelays()
  })

  /** Passes messages on, except that the one with this number, upwards, becomes what `change` makes of it. */
  async function proxyTo(
    url: string,
    number: number,
    change: (bytes: Buffer) => readonly Uint8Array[],
  ): Promise<string> {
    const proxy = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => subprotocol })
    proxies.push(proxy)
    await new Promise((resolve) => proxy.once("listening", resolve))
    proxy.on("connection", (client) => {
      const relay = new WebSocket(url, subprotocol, { headers: { host: new URL(url).host } })
      const early: Uint8Array[] = []
      let count = 0
      client.on("message", (data: Buffer) => {
        for (const bytes of ++count === number ? change(data) : [data])
          if (relay.readyState === WebSocket.OPEN) relay.send(bytes)
          else early.push(bytes)
      })
      relay.on("open", () => early.forEach((bytes) => relay.send(bytes)))
      relay.on("message", (data: Buffer) => client.send(data))
      relay.on("close", (code, reason) => client.close(code, reason))
    })
    return `ws://127.0.0.1:${(proxy.address() as AddressInfo).port}/`
  }

  test("30 submission replayed by a proxy: the relay ends the connection and stores nothing twice", async () => {
    const { server, store } = await startRelay({ devices: [kenya, singapore] })
    // Hello, proof, then the first submission.
    const from = await TestClient.dial(await proxyTo(server.url, 3, (bytes) => [bytes, bytes]), kenya)
    from.submit(singapore)
    await expect(from.settled()).rejects.toThrow("4403 ERR_FRAME_AUTHENTICATION")
    expect((await store.inspect()).envelopes).toHaveLength(1)
  })

  test("30 submission changed by a proxy: nothing is stored", async () => {
    const { server, store } = await startRelay({ devices: [kenya, singapore] })
    const change = (bytes: Buffer) => [new Uint8Array(bytes).with(bytes.length - 1, bytes.at(-1)! ^ 1)]
    const from = await TestClient.dial(await proxyTo(server.url, 3, change), kenya)
    from.submit(singapore)
    await expect(from.settled()).rejects.toThrow("4403 ERR_FRAME_AUTHENTICATION")
    expect((await store.inspect()).envelopes).toEqual([])
  })
})
