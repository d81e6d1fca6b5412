/**
 * Our side: a relay in a process of its own, and connections that log in, submit, take in, check and collect as a
 * device does. They know the digests of their envelopes beforehand, as an outbox does, and what arrives they compare
 * byte for byte with what was sent; that is all they spare themselves.
 */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import type { Socket } from "node:net"
import { join } from "node:path"
import { WebSocket } from "ws"
import type { Hash, MailboxId } from "../../protocol/address.ts"
import { ClientConnection } from "../../protocol/connection.ts"
import { subprotocol, type Received, type RelayFrame } from "../../protocol/frames.ts"
import { verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import { realm, relayCertificate, relayHost, relayKey, type TestDevice } from "../../test/support/login.ts"
import { Load, mailboxes, senders, serialOf, type Carrier, type Payload } from "./carrier.ts"
import { benchDevices, benchMailbox } from "./devices.ts"
import { corked, startOurs } from "./process.ts"

export interface Valise extends Carrier {
  readonly load: Load
}

export async function openValise(folder: string): Promise<Valise> {
  const devices = benchDevices(mailboxes + senders)
  const boxes = devices.map(benchMailbox)
  const load = new Load((bytes, mailbox) => {
    bytes.set([1, 1])
    bytes.set(boxes[mailbox]!, 2)
  })
  const digests = load.payloads.map(
    ({ bytes }) => new Uint8Array(createHash("sha3-256").update(bytes).digest()) as Hash,
  )
  const known: Known = {
    load,
    boxes,
    digestOf: (envelope) => {
      const { bytes } = load.payloads[serialOf(envelope)]!
      if (!bytes.equals(envelope)) throw new Error("another envelope arrived than was sent")
      return digests[serialOf(envelope)]!
    },
  }
  const script = join(import.meta.dirname, "relay-process.ts")
  const { child, line: url } = await startOurs(script, [folder, `${devices.length}`])
  const lines = await Promise.all(devices.map((device) => Line.open(url, device, known)))
  const sending = lines.slice(mailboxes)
  return {
    name: "Valise",
    configuration: `Valise: ${senders} senders, ${mailboxes} mailboxes with a connection each, logged in; submit, MAC, digest, fdatasync, signed receipt, deliver, collect, delete`,
    load,
    send: (payload) => sending[payload.serial % senders]!.submit(payload),
    close: async () => {
      await Promise.all(lines.map((line) => line.leave()))
      const ended = once(child, "exit")
      child.kill("SIGTERM")
      const [code] = (await ended) as [number | null]
      if (code !== 0) throw new Error("the relay did not end well, or kept what had been collected")
    },
  }
}

interface Known {
  readonly load: Load
  readonly boxes: readonly MailboxId[]
  readonly digestOf: (envelope: Uint8Array) => Hash
}

/** One device's connection. */
class Line {
  readonly #known: Known
  readonly #socket: WebSocket
  #carrier: Socket | undefined
  readonly #connection: ClientConnection
  readonly #submitted = new Map<number, { readonly payload: Payload; readonly blind: Uint8Array }>()
  #toCollect: number[] = []
  #receipts = 0
  #welcome: () => void = () => undefined

  static async open(url: string, device: TestDevice, known: Known): Promise<Line> {
    const line = new Line(url, device, known)
    await new Promise<void>((resolve, reject) => {
      line.#welcome = resolve
      line.#socket.once("close", (code) => reject(new Error(`the relay closed with ${code}`)))
    })
    return line
  }

  constructor(url: string, device: TestDevice, known: Known) {
    this.#known = known
    this.#socket = new WebSocket(url, subprotocol, { perMessageDeflate: false })
    this.#connection = new ClientConnection({
      realm,
      device: device.id,
      key: device.key,
      host: relayHost,
      judgeRelay: (certificate) => (Buffer.from(relayCertificate).equals(certificate) ? relayKey.publicKey : undefined),
      random: (length) => new Uint8Array(randomBytes(length)),
      hashOf: (envelope) => this.#known.digestOf(envelope),
    })
    this.#socket.on("upgrade", ({ socket }) => (this.#carrier = socket))
    this.#socket.on("open", () => this.#socket.send(this.#connection.hello()))
    this.#socket.on("message", (data: Buffer) => this.#take(data))
  }

  submit(payload: Payload): void {
    const blind = nextBlind()
    const mailbox = this.#known.boxes[payload.mailbox]!
    const { bytes, counter } = this.#connection.send({ type: "submit", mailbox, blind, envelope: payload.bytes })
    this.#submitted.set(counter, { payload, blind })
    this.#send(bytes)
  }

  /** The relay closes when it has dealt with all that was sent before. */
  async leave(): Promise<void> {
    const closed = once(this.#socket, "close")
    this.#collect()
    this.#send(this.#connection.send({ type: "bye" }).bytes)
    await closed
  }

  #take(data: Buffer): void {
    const event = this.#connection.receive(new Uint8Array(data.buffer, data.byteOffset, data.length))
    if (event.type === "proof") this.#socket.send(event.bytes)
    if (event.type !== "frame") return
    const { frame } = event
    if (frame.type === "welcome") this.#welcome()
    else if (frame.type === "accepted") this.#accepted(frame)
    else if (frame.type === "envelope") {
      this.#known.load.delivered(frame.envelope)
      if (this.#toCollect.push(frame.sequence) === 1) setTimeout(() => this.#collect(), collectAfterMs)
    } else throw new Error(`the relay says ${JSON.stringify(frame)}`)
  }

  #accepted({ batch, items }: Extract<Received<RelayFrame>, { type: "accepted" }>): void {
    for (const { about, index, minute, path } of items) {
      const { payload, blind } = this.#submitted.get(about)!
      this.#submitted.delete(about)
      if (this.#receipts++ % receiptsPerCheck === 0) {
        const digest = this.#known.digestOf(payload.bytes)
        const item = { blind, digest, mailbox: this.#known.boxes[payload.mailbox]! }
        const receipt = { relay: relayHost, batch, index, path, minute }
        if (!verifyRelayReceipt(relayKey.publicKey, realm, receipt, item)) throw new Error("a wrong receipt")
      }
      this.#known.load.confirmed(payload.serial)
    }
  }

  /** As a device: together, when its own transaction is durable. */
  #collect(): void {
    if (this.#toCollect.length === 0 || !this.#connection.may("collected")) return
    this.#send(this.#connection.send({ type: "collected", sequences: this.#toCollect }).bytes)
    this.#toCollect = []
  }

  #send(bytes: Uint8Array): void {
    corked(this.#carrier!)
    this.#socket.send(bytes)
  }
}

/** Drawn many at a time: one by one they cost more than what is measured. */
let blinds = randomBytes(0)
function nextBlind(): Uint8Array {
  if (blinds.length === 0) blinds = randomBytes(32 * 1024)
  const blind = new Uint8Array(blinds.subarray(0, 32))
  blinds = blinds.subarray(32)
  return blind
}

/** What a device's own durable transaction takes. */
const collectAfterMs = 5
/** A signature in so many is checked: the sender's processor is not what is measured. */
const receiptsPerCheck = 64
