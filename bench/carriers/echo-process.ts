/** A plain `ws` server that sends back what it gets. */
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
server.on("connection", (socket) => {
  socket.on("error", () => undefined)
  socket.on("message", (data: Buffer) => socket.send(data))
})
server.on("listening", () => process.stdout.write(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/\n`))
