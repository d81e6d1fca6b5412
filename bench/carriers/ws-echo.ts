/** What a WebSocket of the same library carries if nothing at all is done with it. */
import { once } from "node:events"
import { join } from "node:path"
import { WebSocket } from "ws"
import { Load, senders, serialOf, type Carrier } from "./carrier.ts"
import { startOurs, stop } from "./process.ts"

export async function openEcho(load: Load): Promise<Carrier> {
  const { child, line: url } = await startOurs(join(import.meta.dirname, "echo-process.ts"), [])
  const sockets = Array.from({ length: senders }, () => new WebSocket(url, { perMessageDeflate: false }))
  for (const socket of sockets) {
    socket.on("message", (data: Buffer) => {
      load.delivered(data)
      load.confirmed(serialOf(data))
    })
    await once(socket, "open")
  }
  return {
    name: "ws echo",
    configuration: `ws echo: ${senders} connections, perMessageDeflate off, every message sent back as it came`,
    send: ({ serial, bytes }) => sockets[serial % senders]!.send(bytes),
    close: async () => {
      for (const socket of sockets) socket.terminate()
      await stop(child)
    },
  }
}
