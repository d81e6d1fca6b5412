/** The directory's service on real sockets: one for everybody, and one file in its folder for the desk. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { createServer as createSecureServer } from "node:https"
import { rm } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { ValiseError } from "../protocol/errors.ts"
import { serviceLimits } from "../pki/directory-api.ts"
import { budgetName } from "../system/budget.ts"
import type { ServiceLog } from "./log.ts"
import type { Asker, Service } from "./service.ts"

export interface ServerOptions {
  readonly service: Service
  /** Where to listen; port 0 is any free one. */
  readonly host: string
  readonly port: number
  /** PEM; without it a proxy in front ends TLS, or nobody listens beyond this machine. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Addresses of proxies whose `X-Forwarded-For` names the asker. */
  readonly proxies: readonly string[]
  /** The desk's socket: whoever may open this file is the desk. Without it nobody is. */
  readonly deskSocket?: string
  readonly log: ServiceLog
}

export interface DirectoryServer {
  readonly url: string
  /** Answers what was asked, then closes every socket. */
  close(): Promise<void>
}

/** Resolves when both sockets listen. Throws `ERR_USAGE` if the port is taken. */
export async function serveDirectory(options: ServerOptions): Promise<DirectoryServer> {
  const { service, host, port, tls, proxies, deskSocket, log } = options
  const askerOf = (request: IncomingMessage): Asker => ({
    address: budgetName(request.socket.remoteAddress, forwardedFor(request), proxies),
  })
  const open = tls ? createSecureServer({ ...limits, ...tls, minVersion: "TLSv1.3" }) : createServer(limits)
  attach(open, service, askerOf)
  const servers = [open]
  if (deskSocket !== undefined) servers.push(await openDesk(service, deskSocket))
  try {
    await listening(open, { host, port })
  } catch (error) {
    servers[1]?.close()
    throw error
  }
  const bound = (open.address() as AddressInfo).port
  log.info("service.listening", { port: bound })
  return {
    url: `${tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${bound}/`,
    close: async () => {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
      await service.close()
      log.info("service.closed")
    },
  }
}

async function openDesk(service: Service, path: string): Promise<Server> {
  const desk = createServer(limits)
  attach(desk, service, () => "desk")
  // The folder's lock is held: a socket that lies there was left by a process that is no more.
  await rm(path, { force: true })
  await listening(desk, { path })
  return desk
}

/** A whole question over a slow line takes less; a stranger who sends half of one is cut off. */
const questionMaxMs = 15_000
const limits = {
  maxHeaderSize: 8 * 1024,
  headersTimeout: questionMaxMs,
  requestTimeout: questionMaxMs,
  connectionsCheckingInterval: 1000,
  keepAlive: false,
  keepAliveTimeout: 1,
} as const
/** Askers at the same time: some hundred States' clients in the same second. */
const connectionsMax = 512

function attach(server: Server, service: Service, askerOf: (request: IncomingMessage) => Asker): void {
  server.maxConnections = connectionsMax
  server.maxHeadersCount = 64
  server.maxRequestsPerSocket = 1
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    response.on("error", () => response.destroy())
    response.setHeader("connection", "close")
    read(request).then(
      async (body) => {
        const path = request.url!.split("?", 1)[0]!
        const answer = await service.answer(askerOf(request), request.method!, path, body)
        const headers = { "content-type": answer.type, "content-length": answer.body.length, ...harmless }
        response.writeHead(answer.status, headers).end(answer.body)
      },
      () => response.writeHead(413, { "content-length": 0 }).end(() => request.destroy()),
    )
  })
}

/** No browser takes it for a page, and nobody keeps it: the newest checkpoint counts. */
const harmless = { "x-content-type-options": "nosniff", "cache-control": "no-store" }

async function read(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > serviceLimits.questionBytesMax) throw new RangeError("the question is longer than it may be")
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function forwardedFor({ headers }: IncomingMessage): string | undefined {
  const value = headers["x-forwarded-for"]
  return Array.isArray(value) ? value.at(-1) : value
}

function listening(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const place = "port" in where ? `port ${where.port} of ${where.host}` : where.path
      reject(
        new ValiseError("ERR_USAGE", `the directory cannot listen on ${place}`, {
          cause,
          hint:
            "port" in where
              ? `${cause.code}: another program has it, this machine has no such address, or it is not for everybody (below 1024)`
              : `${cause.code}: the path of a socket has some 100 characters at most; choose another folder, or go nearer to it`,
        }),
      )
    })
    server.listen(where, resolve)
  })
}
