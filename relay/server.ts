/**
 * The relay on a real socket: HTTP/1.1, upgraded to WebSocket (`ws`) by an own handler. Everything a stranger can do
 * ends with a status or close code within bounded time and memory.
 */
import { createServer, STATUS_CODES, type IncomingMessage } from "node:http"
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { createSecureContext, TLSSocket } from "node:tls"
import { WebSocket, WebSocketServer } from "ws"
import { wireOfError, type ErrorCode } from "../protocol/errors.ts"
import { subprotocol } from "../protocol/frames.ts"
import { chosen, type Chosen } from "../protocol/limits.ts"
import { budgetName } from "../system/budget.ts"
import type { Clock } from "../system/machine.ts"
import { isLoopback, type RelayConfig } from "./config.ts"
import type { RelayLog } from "./log.ts"
import type { Relay } from "./relay.ts"
import type { Session, Wire } from "./session.ts"
import { Strangers } from "./strangers.ts"
import { judgeUpgrade } from "./upgrade.ts"

export interface RelayServer {
  readonly port: number
  /** e.g. `ws://127.0.0.1:4433/` */
  readonly url: string
  /** Drains the relay, then closes every socket. */
  close(): Promise<void>
}

export interface ServerParts {
  readonly relay: Relay
  readonly config: RelayConfig
  readonly clock: Clock
  readonly log: RelayLog
  readonly limits?: Chosen
  /** PEM. Without it a proxy in front ends TLS, or nobody listens beyond this machine. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

/** Resolves when the relay listens. */
export async function serveRelay({
  relay,
  config,
  clock,
  log,
  limits = chosen,
  tls,
}: ServerParts): Promise<RelayServer> {
  const strangers = new Strangers(clock, limits, config.proxies)
  const connections = new Set<Connection>()
  const strangerMs = limits.strangerSecondsMax * 1000
  const secureContext = tls && createSecureContext({ ...tls, minVersion: "TLSv1.3" })
  const http = createServer({
    maxHeaderSize: headerBytesMax,
    headersTimeout: strangerMs,
    requestTimeout: strangerMs,
    connectionsCheckingInterval: Math.min(1000, strangerMs / 4),
    keepAliveTimeout: 1,
  })
  http.maxHeadersCount = headersMax
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: limits.frameBytesMax,
    maxFragments: limits.messageFragmentsMax,
    maxBufferedChunks: limits.messageChunksMax,
    handleProtocols: () => subprotocol,
  })

  const admit = (socket: Socket, expire: () => void): boolean => {
    if (strangers.admit(socket, expire)) return true
    log.warn("connection.refused")
    socket.destroy()
    return false
  }
  /** The TCP connection beneath each TLS connection: it was counted before the handshake began. */
  const carriers = new WeakMap<Socket, Socket>()
  const listener = tls
    ? createTcpServer((socket) => {
        socket.on("error", () => socket.destroy())
        if (!admit(socket, () => socket.destroy())) return
        const secure = new TLSSocket(socket, { isServer: true, secureContext: secureContext! })
        carriers.set(secure, socket)
        secure.on("error", () => socket.destroy())
        secure.once("secure", () => http.emit("connection", secure))
      })
    : http
  http.on("connection", (socket) => {
    if (!carriers.has(socket)) admit(socket, () => refuse(socket, 408))
  })
  http.on("request", (_, response) => {
    response.writeHead(426, { connection: "close", upgrade: "websocket", "content-length": 0 }).end()
  })
  http.on("clientError", (error: NodeJS.ErrnoException, socket) => refuse(socket, statusOfClientError(error.code)))
  http.on("upgrade", (request, socket, head) => {
    socket.on("error", () => socket.destroy())
    const status = judgeUpgrade(request, { hosts, origins: config.origins })
    if (status !== undefined) {
      log.warn("connection.refused", { status })
      return refuse(socket, status)
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      const carrier = carriers.get(request.socket) ?? request.socket
      const connection = new Connection(ws, request.socket, carrier, { strangers, clock, limits })
      connections.add(connection)
      ws.once("close", () => connections.delete(connection))
      connection.begin(relay, budgetName(request.socket.remoteAddress, forwardedFor(request), config.proxies))
    })
  })

  await new Promise<void>((resolve, reject) => {
    listener.once("error", reject)
    listener.listen({ host: config.address, port: config.port }, resolve)
  })
  const { port } = listener.address() as AddressInfo
  const local = isLoopback(config.address) ? loopbackNames.map((name) => `${name}:${port}`) : []
  const hosts = [...config.hosts, ...local]
  const cancelKeepAlive = every(clock, limits.keepAliveSeconds * 1000, () => {
    for (const connection of connections) connection.checkAlive()
  })
  log.info("relay.listening", { port })

  return {
    port,
    url: `${tls ? "wss" : "ws"}://${config.address.includes(":") ? `[${config.address}]` : config.address}:${port}/`,
    close: async () => {
      const closed = new Promise<void>((resolve) => listener.close(() => resolve()))
      await relay.drain()
      cancelKeepAlive()
      await Promise.all([...connections].map((connection) => connection.gone))
      http.closeAllConnections()
      await closed
      log.info("relay.closed")
    },
  }
}

/** One WebSocket, joined with its session. */
class Connection implements Wire {
  /** Resolves when the socket is closed. */
  readonly gone: Promise<void>
  readonly #ws: WebSocket
  readonly #socket: Socket
  /** What strangers are counted by: beneath TLS, if there is TLS. */
  readonly #carrier: Socket
  readonly #parts: ConnectionParts
  #session: Session | undefined
  #isCorked = false
  #silentChecks = 0
  #strangerBytes = 0

  constructor(ws: WebSocket, socket: Socket, carrier: Socket, parts: ConnectionParts) {
    this.#ws = ws
    this.#socket = socket
    this.#carrier = carrier
    this.#parts = parts
    this.gone = new Promise((resolve) => ws.once("close", () => resolve()))
  }

  begin(relay: Relay, address: string): void {
    const session = relay.accept(this, address)
    this.#session = session
    this.#parts.strangers.onExpiry(this.#carrier, () => session.end("ERR_DEADLINE"))
    this.#socket.prependListener("data", this.#countStranger)
    this.#socket.on("drain", () => session.drained())
    // Faults of the WebSocket layer: ws closes with the code of RFC 6455 by itself.
    this.#ws.on("error", () => this.#terminateSoon())
    this.#ws.on("close", () => session.ended())
    for (const event of ["ping", "pong"] as const) this.#ws.on(event, () => (this.#silentChecks = 0))
    this.#ws.on("message", (data, isBinary) => {
      this.#silentChecks = 0
      if (isBinary && Buffer.isBuffer(data)) session.message(new Uint8Array(data.buffer, data.byteOffset, data.length))
      else session.end("ERR_PROTOCOL")
    })
  }

  send(bytes: Uint8Array): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return
    this.#cork()
    this.#ws.send(bytes, { binary: true })
  }

  close(reason: ErrorCode | undefined): void {
    this.#ws.close(reason ? wireOfError(reason) : 1000, reason ?? "")
    this.#terminateSoon()
  }

  admitted(): void {
    this.#socket.off("data", this.#countStranger)
    this.#parts.strangers.release(this.#carrier)
  }

  get unreadBytes(): number {
    return this.#ws.bufferedAmount
  }

  /** Called once per keep-alive interval. */
  checkAlive(): void {
    this.#silentChecks += 1
    if (this.#silentChecks > 2) this.#ws.terminate()
    else if (this.#silentChecks > 1 && this.#ws.readyState === WebSocket.OPEN) this.#ws.ping()
  }

  readonly #countStranger = (chunk: Buffer): void => {
    this.#strangerBytes += chunk.length
    if (this.#strangerBytes > this.#parts.limits.strangerBytesMax) this.#session!.end("ERR_FRAME_TOO_LARGE")
  }

  /** All that is sent in one turn goes out in one write. */
  #cork(): void {
    if (this.#isCorked) return
    this.#isCorked = true
    this.#socket.cork()
    setImmediate(() => {
      this.#isCorked = false
      this.#socket.uncork()
    })
  }

  /** A peer that does not answer the close frame is not waited for. */
  #terminateSoon(): void {
    this.#parts.clock.after(closeGraceMs, () => this.#ws.terminate())
  }
}

interface ConnectionParts {
  readonly strangers: Strangers
  readonly clock: Clock
  readonly limits: Chosen
}

/** A request with its longest sensible headers. */
const headerBytesMax = 8 * 1024
const headersMax = 64
const closeGraceMs = 1000
const loopbackNames = ["127.0.0.1", "localhost", "[::1]"]

function refuse(socket: Duplex, status: number): void {
  if (!socket.writable) return void socket.destroy()
  const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, "Connection: close", "Content-Length: 0", "", ""]
  socket.end(lines.join("\r\n"), () => socket.destroy())
}

function statusOfClientError(code: string | undefined): number {
  if (code === "HPE_HEADER_OVERFLOW") return 431
  return code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400
}

function forwardedFor(request: IncomingMessage): string | undefined {
  const value = request.headers["x-forwarded-for"]
  return Array.isArray(value) ? value.at(-1) : value
}

function every(clock: Clock, intervalMs: number, call: () => void): () => void {
  let cancel = clock.after(intervalMs, function again() {
    call()
    cancel = clock.after(intervalMs, again)
  })
  return () => cancel()
}
