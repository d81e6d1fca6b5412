/** WebSocket transport of Node, and the only file of the SDK that imports `ws`. */
import { TLSSocket } from "node:tls"
import { WebSocket } from "ws"
import { ValiseError } from "../protocol/errors.ts"
import { subprotocol } from "../protocol/frames.ts"
import { chosen } from "../protocol/limits.ts"
import type { Channel, Transport } from "./transport.ts"

const options = {
  perMessageDeflate: false,
  maxPayload: chosen.frameBytesMax,
  handshakeTimeout: chosen.strangerSecondsMax * 1000,
  followRedirects: false,
  /** A relay that does not answer the close frame is not waited for longer, in milliseconds. */
  closeTimeout: 1000,
}

export const wsTransport: Transport = {
  connect(url, events, signal) {
    return new Promise<Channel>((resolve, reject) => {
      const socket = new WebSocket(url, subprotocol, options)
      const abort = (): void => socket.terminate()
      if (signal.aborted) abort()
      signal.addEventListener("abort", abort, { once: true })
      socket.binaryType = "nodebuffer"
      let tlsCertificate: Uint8Array | undefined
      socket.on("upgrade", ({ socket: line }) => {
        if (line instanceof TLSSocket) tlsCertificate = new Uint8Array(line.getPeerCertificate().raw)
      })
      socket.on("open", () => {
        signal.removeEventListener("abort", abort)
        resolve(channelOf(socket, tlsCertificate))
      })
      socket.on("message", (data, isBinary) => {
        if (isBinary && Buffer.isBuffer(data)) events.message(new Uint8Array(data.buffer, data.byteOffset, data.length))
        else socket.close(1003)
      })
      socket.on("error", (cause) => reject(offline(cause)))
      socket.on("close", (code) => {
        signal.removeEventListener("abort", abort)
        reject(offline(undefined))
        events.end(code)
      })
    })
  },
}

function channelOf(socket: WebSocket, tlsCertificate: Uint8Array | undefined): Channel {
  return {
    tlsCertificate,
    send: (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes, { binary: true })
    },
    close: () => socket.close(1000),
  }
}

const offline = (cause: unknown): ValiseError =>
  new ValiseError("ERR_OFFLINE", "the relay cannot be reached", {
    cause,
    hint: "messages stay in the outbox and go out when the relay is there again",
  })
