/** `close` ends timers and sockets, whatever the relay does: the process ends by itself. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createServer, type AddressInfo, type Server } from "node:net"
import { createHash } from "node:crypto"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterEach, expect, test } from "vitest"
import { subprotocol } from "../../protocol/frames.ts"
import { TestNetwork } from "../support/network.ts"

let network: TestNetwork
let server: Server | undefined
afterEach(async () => {
  server?.close()
  server = undefined
  await network.close()
})

const child = join(dirname(fileURLToPath(import.meta.url)), "sdk-close-child.ts")

/** How long the process lived after it had closed its PoC, in milliseconds. */
async function livesOn(relay: string, wait: "ready" | "moment"): Promise<number> {
  const args = [child, network.vaultPath("kenya"), network.keyPath("kenya", "device-1"), relay, wait]
  const running = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
  await once(running.stdout, "data")
  const closed = performance.now()
  const [code] = (await once(running, "exit")) as [number | null]
  expect(code).toBe(0)
  return performance.now() - closed
}

test("a PoC that is connected says bye and ends", async () => {
  network = await TestNetwork.open({ members: ["kenya"] })
  await network.shut(await network.poc("kenya", { connect: false }))
  expect(await livesOn(network.url, "ready")).toBeLessThan(2500)
})

const silent = (): Server => createServer((socket) => socket.on("error", () => undefined))
const deaf = (): Server =>
  createServer((socket) => {
    socket.on("error", () => undefined)
    socket.once("data", (request: Buffer) => {
      const [, key] = /sec-websocket-key: (\S+)/i.exec(request.toString())!
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
      const lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        `Sec-WebSocket-Accept: ${accept}`,
        `Sec-WebSocket-Protocol: ${subprotocol}`,
      ]
      socket.write(`${lines.join("\r\n")}\r\n\r\n`)
    })
  })

test.each([
  ["does not answer the upgrade", silent],
  ["upgrades and then says nothing, not even goodbye", deaf],
])("a PoC whose relay %s ends all the same", async (_, make) => {
  network = await TestNetwork.open({ members: ["kenya"], relay: "none" })
  await network.shut(await network.poc("kenya", { connect: false }))
  server = make().listen(0, "127.0.0.1")
  await once(server, "listening")
  expect(await livesOn(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`, "moment")).toBeLessThan(2500)
})
