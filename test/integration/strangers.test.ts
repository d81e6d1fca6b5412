import { once } from "node:events"
import { connect, createServer, type AddressInfo } from "node:net"
import { afterEach, describe, expect, test } from "vitest"
import { concat, utf8 } from "../../protocol/bytes.ts"
import { encodeLoginFrame, frameTypes, type LoginFrame } from "../../protocol/frames.ts"
import { chosen } from "../../protocol/limits.ts"
import { relayHost, testDevice } from "../support/login.ts"
import { opcodes, RawSocket, upgradeRequest, wsFrame } from "../support/raw-socket.ts"
import { devices, startRelay, stopRelays, TestClient, type TestRelay, type TestRelayOptions } from "../support/relay.ts"

afterEach(stopRelays)

const { kenya, singapore } = devices
const strangerSeconds = 0.5
/** From the deadline to the end of the socket: the close frame's grace, and a busy machine. */
const graceMs = 3000

async function start(options: TestRelayOptions = {}): Promise<TestRelay & { port: number }> {
  const relay = await startRelay({
    devices: [kenya, singapore],
    ...options,
    limits: { strangerSecondsMax: strangerSeconds, ...options.limits },
  })
  return { ...relay, port: relay.server.port }
}

/** The relay lives on: a device logs in, submits, and another gets it. */
async function stillServes({ dial }: TestRelay): Promise<void> {
  const [from, to] = [await dial(kenya), await dial(singapore)]
  from.submit(singapore)
  await from.next("accepted")
  await to.next("envelope")
  from.socket.terminate()
  to.socket.terminate()
}

const hello: LoginFrame = {
  type: "hello",
  kind: "device",
  nonce: new Uint8Array(32).fill(1),
  ephemeral: new Uint8Array(32).fill(9),
  host: relayHost,
}

describe("the HTTP request", () => {
  const cases: [string, number, (port: number) => string][] = [
    ["another host", 421, (port) => upgradeRequest(port, { Host: "relay.attacker.example" })],
    ["the right host on another port", 421, (port) => upgradeRequest(port, { Host: `127.0.0.1:${port + 1}` })],
    [
      "two hosts, the right one first",
      400,
      (port) => upgradeRequest(port, { Host: [`127.0.0.1:${port}`, "x.example"] }),
    ],
    [
      "two hosts, the right one last",
      400,
      (port) => upgradeRequest(port, { Host: ["x.example", `127.0.0.1:${port}`] }),
    ],
    ["no host", 400, (port) => upgradeRequest(port, { Host: undefined })],
    ["a web page's origin", 403, (port) => upgradeRequest(port, { Origin: "https://attacker.example" })],
    ["the opaque origin", 403, (port) => upgradeRequest(port, { Origin: "null" })],
    ["another subprotocol", 400, (port) => upgradeRequest(port, { "Sec-WebSocket-Protocol": "valise.v2" })],
    ["a choice of subprotocols", 400, (port) => upgradeRequest(port, { "Sec-WebSocket-Protocol": "valise.v1, chat" })],
    [
      "two subprotocol headers",
      400,
      (port) => upgradeRequest(port, { "Sec-WebSocket-Protocol": ["valise.v1", "chat"] }),
    ],
    ["no subprotocol", 400, (port) => upgradeRequest(port, { "Sec-WebSocket-Protocol": undefined })],
    ["HTTP/1.0", 505, (port) => upgradeRequest(port, {}, "GET / HTTP/1.0")],
    ["another path", 404, (port) => upgradeRequest(port, {}, "GET /admin HTTP/1.1")],
    ["another method", 405, (port) => upgradeRequest(port, {}, "POST / HTTP/1.1")],
    ["another upgrade", 400, (port) => upgradeRequest(port, { Upgrade: "h2c" })],
    ["a bad key", 400, (port) => upgradeRequest(port, { "Sec-WebSocket-Key": "short" })],
    ["another WebSocket version", 400, (port) => upgradeRequest(port, { "Sec-WebSocket-Version": "7" })],
    ["no upgrade at all", 426, (port) => `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`],
    ["headers without end", 431, (port) => `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX: ${"x".repeat(20_000)}`],
    ["no HTTP", 400, () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["HTTP/2", 400, () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ]

  test("is refused with a status for whatever is not exactly right", async () => {
    const relay = await start()
    for (const [name, status, request] of cases) {
      const ending = await new RawSocket(relay.port).write(request(relay.port)).ended
      expect(ending, name).toEqual({ status, ms: expect.any(Number) })
      expect(ending.ms, name).toBeLessThan(graceMs)
    }
    await stillServes(relay)
  })

  test("may name a configured host or origin", async () => {
    const relay = await start({ config: { hosts: ["relay.example"], origins: ["https://desk.example"] } })
    const request = upgradeRequest(relay.port, { Host: "Relay.Example", Origin: "https://desk.example" })
    const socket = await new RawSocket(relay.port).write(request).upgraded()
    expect(socket.received.toString()).toMatch(/^HTTP\/1\.1 101 [^]*Sec-WebSocket-Protocol: valise\.v1\r\n/)
    expect(socket.received.toString()).not.toMatch(/extensions/i)
    socket.socket.destroy()
  })

  test("half of it, and silence, ends in time", async () => {
    const relay = await start()
    const whole = upgradeRequest(relay.port)
    const parts = ["", "GET", whole.slice(0, 60), whole.slice(0, -2)]
    for (const { status, ms } of await Promise.all(parts.map((part) => new RawSocket(relay.port).write(part).ended))) {
      expect(status).toBe(408)
      expect(ms).toBeGreaterThan(strangerSeconds * 900)
      expect(ms).toBeLessThan(strangerSeconds * 1000 + graceMs)
    }
    await stillServes(relay)
  })
})

describe("before the login", () => {
  const cases: [string, number, string, Uint8Array][] = [
    ["garbage", 4400, "ERR_PROTOCOL", wsFrame(opcodes.binary, Uint8Array.of(2, 2, 3))],
    ["an empty message", 4400, "ERR_PROTOCOL", wsFrame(opcodes.binary, new Uint8Array(0))],
    ["a text message", 4400, "ERR_PROTOCOL", wsFrame(opcodes.text, utf8("hello"))],
    ["another version", 4402, "ERR_VERSION", binary(encodeLoginFrame(hello).with(1, 2))],
    ["submit-only", 4402, "ERR_VERSION", binary(encodeLoginFrame({ ...hello, kind: "submit-only" }))],
    ["another relay's name", 4401, "ERR_LOGIN", binary(encodeLoginFrame({ ...hello, host: "other.example" }))],
    ["a proof first", 4400, "ERR_PROTOCOL", binary(encodeLoginFrame(proof()))],
    ["a relay's frame", 4400, "ERR_PROTOCOL", binary(Uint8Array.of(frameTypes.challenge, ...new Uint8Array(200)))],
    ["hello twice", 4400, "ERR_PROTOCOL", concat(binary(encodeLoginFrame(hello)), binary(encodeLoginFrame(hello)))],
    ["a wrong proof", 4401, "ERR_LOGIN", concat(binary(encodeLoginFrame(hello)), binary(encodeLoginFrame(proof())))],
    ["a frame of a later state", 4400, "ERR_PROTOCOL", binary(Uint8Array.of(frameTypes.bye))],
    ["a long message", 4413, "ERR_FRAME_TOO_LARGE", binary(new Uint8Array(chosen.strangerBytesMax + 1))],
    [
      "many skipped messages",
      4413,
      "ERR_FRAME_TOO_LARGE",
      concat(...Array.from({ length: 900 }, () => binary(Uint8Array.of(0x70)))),
    ],
    [
      "a message longer than any",
      1009,
      "",
      wsFrame(opcodes.binary, new Uint8Array(10), { claims: chosen.frameBytesMax + 1 }),
    ],
    [
      "too many fragments",
      1008,
      "",
      concat(
        wsFrame(opcodes.binary, new Uint8Array(1), { fin: false }),
        ...Array.from({ length: 64 }, () => wsFrame(opcodes.continuation, new Uint8Array(1), { fin: false })),
      ),
    ],
    ["no mask", 1002, "", wsFrame(opcodes.binary, new Uint8Array(4), { masked: false })],
    ["reserved bits", 1002, "", wsFrame(opcodes.binary, new Uint8Array(4), { rsv: 4 })],
    ["a reserved opcode", 1002, "", wsFrame(3, new Uint8Array(4))],
  ]

  test("every wrong message ends with its code", async () => {
    const relay = await start()
    for (const [name, code, reason, bytes] of cases) {
      const socket = await new RawSocket(relay.port).write(upgradeRequest(relay.port)).upgraded()
      const { ms, ...ending } = await socket.endPolitely().write(bytes).ended
      expect(ending, name).toEqual({ code, reason })
      expect(ms, name).toBeLessThan(strangerSeconds * 1000 + graceMs)
    }
    await stillServes(relay)
  })

  test("half a message, half a login, pings without end: all end in time", async () => {
    const relay = await start()
    const starts: [string, Uint8Array][] = [
      ["nothing", new Uint8Array(0)],
      ["half a frame", binary(encodeLoginFrame(hello)).subarray(0, 20)],
      ["a fragment", wsFrame(opcodes.binary, new Uint8Array(9), { fin: false })],
      ["hello alone", binary(encodeLoginFrame(hello))],
      ["a ping", wsFrame(opcodes.ping, utf8("are you there"))],
    ]
    const endings = starts.map(async ([name, bytes]) => {
      const socket = await new RawSocket(relay.port).write(upgradeRequest(relay.port)).upgraded()
      return [name, await socket.write(bytes).ended] as const
    })
    for (const [name, { ms, ...ending }] of await Promise.all(endings)) {
      expect(ending, name).toEqual({ code: 4408, reason: "ERR_DEADLINE" })
      expect(ms, name).toBeLessThan(strangerSeconds * 1000 + graceMs)
    }
    await stillServes(relay)
  })

  test("a stranger that never reads and never closes is gone in time", async () => {
    const relay = await start()
    const socket = new RawSocket(relay.port).write(upgradeRequest(relay.port))
    await socket.upgraded()
    socket.socket.pause()
    socket.write(wsFrame(opcodes.text, utf8("hello")))
    const gone = new Promise((resolve) => socket.socket.once("close", resolve))
    setTimeout(() => socket.socket.resume(), 1500)
    await gone
    await stillServes(relay)
  })

  test("too many strangers of one address are turned away, and others are let in again when they are gone", async () => {
    const relay = await start({ limits: { strangersPerAddressMax: 3 } })
    const held = [1, 2, 3].map(() => new RawSocket(relay.port))
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.socket.once("connect", resolve))))
    const { status, ms } = await new RawSocket(relay.port).write(upgradeRequest(relay.port)).ended
    expect(status).toBeUndefined()
    expect(ms).toBeLessThan(graceMs)
    await Promise.all(held.map((socket) => socket.ended))
    await stillServes(relay)
  })

  test("an address has so many logins a minute; no signature is made beyond", async () => {
    const relay = await start({ limits: { loginsPerAddressPerMinute: 2 } })
    const [one, two] = [await relay.dial(kenya), await relay.dial(singapore)]
    await expect(relay.dial(kenya)).rejects.toThrow("4429 ERR_RATE_LIMITED")
    one.submit(singapore)
    await two.next("envelope")
  })

  test("behind a named proxy the forwarded address counts, otherwise the header counts for nothing", async () => {
    for (const proxies of [["127.0.0.1"], []]) {
      const relay = await start({ limits: { loginsPerAddressPerMinute: 1 }, config: { proxies } })
      const answerTo = async (address: string) => {
        const request = upgradeRequest(relay.port, { "X-Forwarded-For": `203.0.113.9, ${address}` })
        const socket = await new RawSocket(relay.port).write(request).upgraded()
        return socket.write(binary(encodeLoginFrame(hello))).firstFrame()
      }
      const { binary: challenged, close: refused } = opcodes
      expect(await answerTo("192.0.2.1")).toBe(challenged)
      expect(await answerTo("192.0.2.1")).toBe(refused)
      expect(await answerTo("192.0.2.2")).toBe(proxies.length > 0 ? challenged : refused)
      expect(await answerTo("2001:db8:0:1::1")).toBe(proxies.length > 0 ? challenged : refused)
      expect(await answerTo("2001:db8::1:2:3:4:5")).toBe(refused)
    }
  })
})

describe("after the login", () => {
  const misdeeds: [string, Closing, (client: TestClient) => void][] = [
    ["garbage", [4403, "ERR_FRAME_AUTHENTICATION"], (c) => c.socket.send(new Uint8Array(80).fill(3))],
    ["less than a frame's head", [4400, "ERR_PROTOCOL"], (c) => c.socket.send(new Uint8Array(5))],
    ["a text message", [4400, "ERR_PROTOCOL"], (c) => c.socket.send("hello")],
    ["a message longer than any", [1009, ""], (c) => c.socket.send(new Uint8Array(chosen.frameBytesMax + 1))],
    ["hello again", [4403, "ERR_FRAME_AUTHENTICATION"], (c) => c.socket.send(encodeLoginFrame(hello))],
  ]

  test("garbage ends the connection with its code", async () => {
    const relay = await start()
    for (const [name, [code, reason], misbehave] of misdeeds) {
      const client = await relay.dial(kenya)
      misbehave(client)
      expect(await client.closed, name).toEqual({ code, reason })
    }
    await stillServes(relay)
  })

  test("frames may arrive byte by byte", async () => {
    const proxy = await crumblingProxy()
    const config = { hosts: [`127.0.0.1:${proxy.port}`] }
    const { port } = await start({ config, limits: { messageChunksMax: chosen.frameBytesMax } })
    proxy.lead(port)
    const url = `ws://127.0.0.1:${proxy.port}/`
    const [from, to] = [await TestClient.dial(url, kenya), await TestClient.dial(url, singapore)]
    for (let i = 0; i < 3; i++) from.submit(singapore)
    for (let i = 0; i < 3; i++) expect((await to.next("envelope")).sequence).toBe(i + 1)
    await from.settled()
    from.socket.terminate()
    to.socket.terminate()
    proxy.close()
  })

  test("a login outlives the strangers' deadline, and more than their bytes", async () => {
    const relay = await start()
    const [from, to] = [await relay.dial(kenya), await relay.dial(singapore)]
    await new Promise((resolve) => setTimeout(resolve, strangerSeconds * 1000 + 200))
    for (let i = 0; i < 3; i++) {
      from.submit(singapore)
      await from.next("accepted")
      await to.next("envelope")
    }
  })

  test("a peer that has gone silent is cut; one that answers pings is not", async () => {
    const relay = await start({ limits: { keepAliveSeconds: 0.1 } })
    const [silent, answering] = [await relay.dial(kenya), await relay.dial(singapore)]
    silent.socket.pause()
    const other = await relay.dial(testDeviceOf(relay))
    other.submit(kenya)
    await other.next("accepted")
    await new Promise((resolve) => setTimeout(resolve, 800))
    silent.socket.resume()
    expect((await silent.closed).code).toBe(1006)
    other.submit(singapore)
    await answering.next("envelope")
  })
})

type Closing = readonly [code: number, reason: string]

function testDeviceOf({ directory }: TestRelay) {
  const device = testDevice("br/technical/ipe")
  directory.add(device)
  return device
}

/** Passes on one byte at a time, both ways. */
async function crumblingProxy() {
  let target = 0
  const proxy = createServer((near) => {
    const far = connect({ port: target, host: "127.0.0.1", noDelay: true })
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      // prettier-ignore
      from.on("data", (chunk: Buffer) => chunk.forEach((byte) => to.write(Uint8Array.of(byte))))
      from.on("error", () => {})
      from.on("close", () => to.destroy())
    }
  })
  proxy.listen(0, "127.0.0.1")
  await once(proxy, "listening")
  return {
    port: (proxy.address() as AddressInfo).port,
    lead: (port: number) => (target = port),
    close: () => proxy.close(),
  }
}

function binary(payload: Uint8Array): Uint8Array {
  return wsFrame(opcodes.binary, payload)
}

function proof(): LoginFrame {
  return { type: "proof", device: kenya.id, signature: new Uint8Array(64).fill(1) }
}
