/** A TCP socket that says exactly what a test wants, and reads HTTP and WebSocket answers by hand. */
import { connect, type Socket } from "node:net"
import { subprotocol } from "../../protocol/frames.ts"

/** How a stranger was sent away: an HTTP status, a WebSocket close code, or just the end of the connection. */
export interface Ending {
  readonly status?: number
  readonly code?: number
  readonly reason?: string
  readonly ms: number
}

export class RawSocket {
  readonly socket: Socket
  /** Resolves when the relay has ended the connection. */
  readonly ended: Promise<Ending>
  #received = Buffer.alloc(0)
  #wake = (): void => {}

  constructor(port: number) {
    const start = performance.now()
    this.socket = connect({ port, host: "127.0.0.1" })
    this.socket.on("error", () => {})
    this.socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk])
      this.#wake()
    })
    this.ended = new Promise((resolve) =>
      this.socket.on("close", () => {
        resolve({ ...endingOf(this.#received), ms: performance.now() - start })
        this.#wake()
      }),
    )
  }

  write(data: string | Uint8Array): this {
    this.socket.write(data)
    return this
  }

  /** Answers a close frame by ending, as an honest peer does. */
  endPolitely(): this {
    this.socket.on("data", () => {
      if (endingOf(this.#received).code !== undefined) this.socket.end()
    })
    return this
  }

  /** Resolves when the relay has taken the upgrade. */
  async upgraded(): Promise<this> {
    while (!this.#received.includes("\r\n\r\n") && !this.socket.destroyed)
      await new Promise<void>((resolve) => (this.#wake = resolve))
    return this
  }

  /** The opcode of the relay's first WebSocket frame. */
  async firstFrame(): Promise<number> {
    const at = this.#received.indexOf("\r\n\r\n") + 4
    while (this.#received.length === at) await new Promise<void>((resolve) => (this.#wake = resolve))
    return this.#received[at]! & 15
  }

  get received(): Buffer {
    return this.#received
  }
}

/** A correct upgrade request; each override replaces a line, `undefined` takes it out, an array repeats it. */
export function upgradeRequest(
  port: number,
  overrides: Record<string, string | readonly string[] | undefined> = {},
  requestLine = "GET / HTTP/1.1",
): string {
  const headers: Record<string, string | readonly string[] | undefined> = {
    Host: `127.0.0.1:${port}`,
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": subprotocol,
    ...overrides,
  }
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one) => `${name}: ${one}`),
  )
  return [requestLine, ...lines, "", ""].join("\r\n")
}

export const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9 } as const

/** A masked WebSocket frame. `claims`: the length it states, if another than it has. */
export function wsFrame(
  opcode: number,
  payload: Uint8Array,
  options: { readonly fin?: boolean; readonly claims?: number; readonly rsv?: number; readonly masked?: boolean } = {},
): Uint8Array {
  const { fin = true, claims = payload.length, rsv = 0, masked = true } = options
  const head = Buffer.alloc(10)
  head[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode
  head[1] = (masked ? 0x80 : 0) | 127
  head.writeBigUInt64BE(BigInt(claims), 2)
  const mask = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const short = claims < 126 ? Buffer.from([head[0], (masked ? 0x80 : 0) | claims]) : undefined
  const body = masked ? payload.map((byte, i) => byte ^ mask[i % 4]!) : payload
  return Buffer.concat([short ?? head, mask, body])
}

function endingOf(received: Buffer): Omit<Ending, "ms"> {
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(received.toString("latin1"))?.[1] ?? Number.NaN)
  const bodyAt = received.indexOf("\r\n\r\n") + 4
  if (status !== 101) return Number.isNaN(status) ? {} : { status }
  for (let at = bodyAt; at + 2 <= received.length;) {
    const opcode = received[at]! & 15
    const short = received[at + 1]! & 127
    const headLength = short === 126 ? 4 : 2
    const length = short === 126 ? received.readUInt16BE(at + 2) : short
    const payload = received.subarray(at + headLength, at + headLength + length)
    if (opcode === opcodes.close) return { code: payload.readUInt16BE(0), reason: payload.subarray(2).toString() }
    at += headLength + length
  }
  return {}
}
