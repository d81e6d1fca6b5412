/**
 * Strangers by the hundred, from many addresses of the loopback network, each again as soon as it was sent away. When it
 * is asked it says how often that happened to one of them on the average, for each of the things that they do.
 */
import { connect, type Socket } from "node:net"
import { concat, utf8 } from "../../protocol/bytes.ts"
import { encodeLoginFrame } from "../../protocol/frames.ts"
import { chosen } from "../../protocol/limits.ts"
import { keyOf, relayHost } from "../support/login.ts"
import { opcodes, upgradeRequest, wsFrame } from "../support/raw-socket.ts"
import { devices } from "../support/relay.ts"

const [port, count] = process.argv.slice(2).map(Number) as [number, number]

const upgrade = upgradeRequest(port)
const binary = (payload: Uint8Array): Uint8Array => wsFrame(opcodes.binary, payload)
const hello = binary(
  encodeLoginFrame({
    type: "hello",
    kind: "device",
    nonce: new Uint8Array(32).fill(1),
    ephemeral: new Uint8Array(32).fill(9),
    host: relayHost,
  }),
)
/** As dear to verify as a right one. */
const signature = keyOf("a stranger").sign(utf8("another transcript"))
const proof = binary(encodeLoginFrame({ type: "proof", device: devices.kenya.id, signature }))
const crumb = wsFrame(opcodes.continuation, Uint8Array.of(7), { fin: false })

const kinds: Readonly<Record<string, (socket: Socket) => void>> = {
  "nothing at all": () => {},
  "half a request": (socket) => socket.write(upgrade.slice(0, 90)),
  "another host": (socket) => socket.write(upgradeRequest(port, { Host: "relay.attacker.example" })),
  "a web page": (socket) => socket.write(upgradeRequest(port, { Origin: "https://attacker.example" })),
  "another protocol": (socket) => socket.write(upgradeRequest(port, { "Sec-WebSocket-Protocol": "chat" })),
  "half a frame": (socket) => socket.write(concat(utf8(upgrade), hello.subarray(0, 30))),
  "a large frame, begun": (socket) =>
    socket.write(
      concat(utf8(upgrade), wsFrame(opcodes.binary, new Uint8Array(3900), { claims: chosen.frameBytesMax })),
    ),
  "a frame too large": (socket) =>
    socket.write(concat(utf8(upgrade), wsFrame(opcodes.binary, new Uint8Array(9), { claims: 2 ** 40 }))),
  crumbs: (socket) =>
    socket.write(
      concat(
        utf8(upgrade),
        wsFrame(opcodes.binary, Uint8Array.of(7), { fin: false }),
        ...Array.from({ length: 500 }, () => crumb),
      ),
    ),
  "pings, answers unread": (socket) => {
    socket.pause()
    socket.write(upgrade)
    const ping = wsFrame(opcodes.ping, new Uint8Array(120))
    const timer = setInterval(() => socket.write(ping), 20)
    socket.once("close", () => clearInterval(timer))
    // A paused socket does not notice its end.
    setTimeout(() => socket.resume(), 4000)
  },
  "a login begun": (socket) => socket.write(concat(utf8(upgrade), hello)),
  "a false login": (socket) => socket.write(concat(utf8(upgrade), hello, proof)),
}

const ended = Object.fromEntries(Object.keys(kinds).map((name) => [name, 0]))
for (let i = 0; i < count; i++) {
  const names = Object.keys(kinds)
  again(names[i % names.length]!, `127.0.0.${2 + (i % 24)}`)
}
process.on("message", () =>
  process.send!(Object.values(ended).map((times) => (times * Object.keys(kinds).length) / count)),
)
process.once("disconnect", () => process.exit())

function again(name: string, localAddress: string): void {
  const socket = connect({ port, host: "127.0.0.1", localAddress })
  socket.on("error", () => {})
  socket.on("data", () => {})
  socket.once("connect", () => kinds[name]!(socket))
  socket.once("close", () => {
    ended[name]! += 1
    setTimeout(() => again(name, localAddress), 50)
  })
}
