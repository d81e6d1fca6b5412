/**
 * A relay that logs devices in honestly, for it has the relay's key, and then misbehaves as a test tells it to: one verb
 * per attack. Without any of them it is a plain relay in memory.
 */
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { WebSocketServer, type WebSocket } from "ws"
import type { DeviceId, MailboxId, Realm } from "../../protocol/address.ts"
import { concat, equal, hex } from "../../protocol/bytes.ts"
import { RelayConnection } from "../../protocol/connection.ts"
import { envelopeDigest } from "../../protocol/envelope.ts"
import { wireOfError, type ErrorCode } from "../../protocol/errors.ts"
import {
  subprotocol,
  type ClientFrame,
  type PublishedPrekeys,
  type Received,
  type RelayFrame,
} from "../../protocol/frames.ts"
import type { SigningKey } from "../../protocol/primitives.ts"
import { signBatch } from "../../protocol/relay-receipt.ts"
import type { Signed } from "../../protocol/statement.ts"
import type { Directory } from "../../directory/directory.ts"
import { nodeClock, nodeRandom } from "../../system/node.ts"

export interface MaliciousParts {
  readonly realm: Realm
  readonly host: string
  readonly key: SigningKey
  readonly certificate: Uint8Array
  /** As it stands when it is asked. */
  readonly directory: () => Directory
}

export interface Submission {
  readonly mailbox: MailboxId
  readonly blind: Uint8Array
  readonly bytes: Uint8Array
}

interface Kept {
  readonly sequence: number
  readonly bytes: Uint8Array
}

interface Pool {
  oneTime: Signed[]
  /** All that were ever published, oldest first. */
  rotating: Signed[]
}

type Verb = (submission: Submission) => readonly Submission[]

export class MaliciousRelay {
  readonly url: string
  /** Everything that was ever submitted, in order. */
  readonly submissions: Submission[] = []
  /** Every frame that devices sent, by type. */
  readonly asked = new Map<ClientFrame["type"], number>()
  readonly published: PublishedPrekeys[] = []
  readonly #parts: MaliciousParts
  readonly #server: WebSocketServer
  readonly #seats = new Set<Seat>()
  readonly #boxes = new Map<string, Kept[]>()
  readonly #pools = new Map<string, Pool>()
  #sequence = 0
  /** What happens to each submission that the relay has said to have stored. */
  #verb: Verb = (submission) => [submission]
  #prekeyOf: (device: DeviceId) => Signed | undefined = (device) => this.#honestPrekey(device)
  #checkpoint: Uint8Array | undefined
  #entries: ((honest: readonly Uint8Array[]) => readonly Uint8Array[]) | undefined
  #refusals = new Map<ClientFrame["type"], ErrorCode>()
  #unanswered = 0
  #poolSaid: number | undefined
  #falseReceipts = false

  static async start(parts: MaliciousParts): Promise<MaliciousRelay> {
    const server = new WebSocketServer({
      port: 0,
      host: "127.0.0.1",
      perMessageDeflate: false,
      handleProtocols: () => subprotocol,
    })
    await once(server, "listening")
    return new MaliciousRelay(parts, server)
  }

  private constructor(parts: MaliciousParts, server: WebSocketServer) {
    this.#parts = parts
    this.#server = server
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`
    server.on("connection", (socket) => this.#accept(socket))
  }

  // --- the verbs ---

  /** An ordinary relay again. */
  behave(): void {
    this.#verb = (submission) => [submission]
    this.#prekeyOf = (device) => this.#honestPrekey(device)
    this.#checkpoint = undefined
    this.#entries = undefined
    this.#refusals = new Map()
    this.#poolSaid = undefined
    this.#falseReceipts = false
  }

  /** Signs for the next envelopes and throws them away. */
  drop(count: number): void {
    let left = count
    this.#verb = (submission) => (left-- > 0 ? [] : [submission])
  }

  duplicate(): void {
    this.#verb = (submission) => [submission, submission]
  }

  /** Holds the next envelopes until there are so many, then delivers them backwards. */
  reorder(count: number): void {
    const held: Submission[] = []
    this.#verb = (submission) => {
      held.push(submission)
      return held.length === count ? held.splice(0).toReversed() : []
    }
  }

  /** Changes one byte of each envelope. */
  alter(at: number): void {
    this.#verb = (submission) => {
      const bytes = submission.bytes.slice()
      bytes[at] = bytes[at]! ^ 1
      return [{ ...submission, bytes }]
    }
  }

  /** Delivers each envelope to this mailbox instead. */
  readdress(mailbox: MailboxId): void {
    this.#verb = (submission) => {
      const bytes = concat(submission.bytes.subarray(0, 2), mailbox, submission.bytes.subarray(18))
      return [
        { ...submission, mailbox, bytes },
        { ...submission, mailbox },
      ]
    }
  }

  /** Delivers once more what was ever submitted to this mailbox. */
  replay(mailbox: MailboxId): void {
    for (const submission of this.submissions.filter((one) => equal(one.mailbox, mailbox)))
      this.put(mailbox, submission.bytes)
  }

  /** Delivers these bytes, whoever made them. */
  put(mailbox: MailboxId, bytes: Uint8Array): void {
    const kept = { sequence: ++this.#sequence, bytes }
    this.#boxes.set(hex(mailbox), [...(this.#boxes.get(hex(mailbox)) ?? []), kept])
    for (const seat of this.#seats) if (seat.mailbox && equal(seat.mailbox, mailbox)) this.#deliver(seat, kept)
  }

  withholdOneTimeKeys(): void {
    this.#prekeyOf = (device) => this.#pool(device).rotating.at(-1)
  }

  serveOldestRotatingKey(): void {
    this.#prekeyOf = (device) => this.#pool(device).rotating[0]
  }

  /** Whoever is asked for, this device's prekeys are served. */
  servePrekeysOf(device: DeviceId): void {
    this.#prekeyOf = () => this.#honestPrekey(device)
  }

  servePrekey(prekey: Signed | undefined): void {
    this.#prekeyOf = () => prekey
  }

  freezeCheckpoint(note: Uint8Array): void {
    this.#checkpoint = note
  }

  serveEntries(change: (honest: readonly Uint8Array[]) => readonly Uint8Array[]): void {
    this.#entries = change
  }

  /** Signs receipts for something else than what was submitted. */
  signForNothing(): void {
    this.#falseReceipts = true
  }

  /** Stores the next submissions without saying so, and cuts the connection. */
  swallowAnswers(count: number): void {
    this.#unanswered = count
  }

  refuse(type: ClientFrame["type"], code: ErrorCode): void {
    this.#refusals.set(type, code)
  }

  /** Says that it holds so many one-time keys, whatever it holds. */
  sayPoolHolds(count: number): void {
    this.#poolSaid = count
    for (const seat of this.#seats) if (seat.mailbox) seat.send({ type: "notice", kind: "prekeys-low", count })
  }

  /** Cuts every connection. */
  cut(): void {
    for (const seat of this.#seats) seat.socket.terminate()
  }

  askedFor(type: ClientFrame["type"]): number {
    return this.asked.get(type) ?? 0
  }

  /** A prekey, as an honest relay gives it to a sender. */
  take(device: DeviceId): Signed | undefined {
    return this.#honestPrekey(device)
  }

  waitingFor(mailbox: MailboxId): number {
    return this.#boxes.get(hex(mailbox))?.length ?? 0
  }

  async close(): Promise<void> {
    this.cut()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  // --- the plain relay ---

  #accept(socket: WebSocket): void {
    const { certificate, directory, host, key, realm } = this.#parts
    const connection = new RelayConnection({
      realm,
      key,
      certificate,
      hosts: [host],
      deviceKey: (device) => directory().state.device(device)?.key,
      random: (length) => nodeRandom.bytes(length),
    })
    const seat = new Seat(socket, connection)
    this.#seats.add(seat)
    socket.on("error", () => undefined)
    socket.on("close", () => this.#seats.delete(seat))
    socket.on("message", (data: Buffer) => {
      const event = connection.receive(new Uint8Array(data))
      if (event.type === "hello") socket.send(connection.challenge())
      if (event.type === "proved") this.#welcome(seat, event.device)
      if (event.type === "frame") void this.#act(seat, event.counter, event.frame)
    })
  }

  #welcome(seat: Seat, id: DeviceId): void {
    const { state } = this.#parts.directory()
    const device = state.device(id)!
    seat.device = device.device
    seat.mailbox = device.mailbox
    const oneTimePrekeys = this.#poolSaid ?? this.#pool(id).oneTime.length
    const timeSeconds = Math.floor(nodeClock.now() / 1000)
    seat.send({ type: "welcome", timeSeconds, credits: 256, oneTimePrekeys, logSize: state.size })
    for (const kept of this.#boxes.get(hex(device.mailbox)) ?? []) this.#deliver(seat, kept)
  }

  async #act(seat: Seat, about: number, frame: Received<ClientFrame>): Promise<void> {
    this.asked.set(frame.type, this.askedFor(frame.type) + 1)
    const refusal = this.#refusals.get(frame.type)
    if (refusal) return seat.send({ type: "error", about, code: wireOfError(refusal), retryAfterSeconds: 0 })
    switch (frame.type) {
      case "submit":
        return this.#submit(seat, about, {
          mailbox: frame.mailbox,
          blind: frame.blind.slice(),
          bytes: frame.envelope.slice(),
        })
      case "collected": {
        const box = hex(seat.mailbox!)
        this.#boxes.set(
          box,
          (this.#boxes.get(box) ?? []).filter(({ sequence }) => !frame.sequences.includes(sequence)),
        )
        return
      }
      case "fetch-prekeys":
        return seat.send({ type: "prekeys", about, prekey: this.#prekeyOf(frame.device) })
      case "publish-prekeys":
        return this.#publish(seat, about, frame)
      case "sync-log": {
        const source = this.#parts.directory().logSource()
        const checkpoint = this.#checkpoint ?? (await source.checkpoint())
        const honest = await source.entries(frame.from, 64)
        return seat.send({ type: "log", about, checkpoint, entries: [...(this.#entries?.(honest) ?? honest)] })
      }
      case "bye":
        return seat.socket.close(1000)
    }
  }

  #submit(seat: Seat, about: number, submission: Submission): void {
    this.submissions.push(submission)
    for (const { mailbox, bytes } of this.#verb(submission)) this.put(mailbox, bytes)
    if (this.#unanswered > 0) {
      this.#unanswered--
      return seat.socket.terminate()
    }
    const { host, key, realm } = this.#parts
    const minute = Math.floor(nodeClock.now() / 60_000)
    const digest = envelopeDigest(this.#falseReceipts ? nodeRandom.bytes(32) : submission.bytes)
    const { batch, receipt } = signBatch(key, realm, host, [{ ...submission, digest, minute }])
    const { index, path } = receipt(0)
    seat.send({ type: "accepted", batch, items: [{ about, index, minute, path }] })
  }

  #publish(seat: Seat, about: number, published: PublishedPrekeys): void {
    this.published.push(published)
    const pool = this.#pool(seat.device!)
    if (published.reset) pool.oneTime = []
    pool.oneTime.push(...published.oneTime)
    if (published.rotating) pool.rotating.push(published.rotating)
    seat.send({ type: "notice", kind: "prekeys-stored", about, count: this.#poolSaid ?? pool.oneTime.length })
  }

  #deliver(seat: Seat, { bytes, sequence }: Kept): void {
    seat.send({ type: "envelope", sequence, minute: 0, envelope: bytes })
  }

  #honestPrekey(device: DeviceId): Signed | undefined {
    const pool = this.#pool(device)
    return pool.oneTime.shift() ?? pool.rotating.at(-1)
  }

  #pool(device: DeviceId): Pool {
    const pool = this.#pools.get(hex(device)) ?? { oneTime: [], rotating: [] }
    this.#pools.set(hex(device), pool)
    return pool
  }
}

/** One device's connection. */
class Seat {
  readonly socket: WebSocket
  readonly #connection: RelayConnection
  device: DeviceId | undefined
  mailbox: MailboxId | undefined

  constructor(socket: WebSocket, connection: RelayConnection) {
    this.socket = socket
    this.#connection = connection
  }

  send(frame: RelayFrame): void {
    if (this.#connection.may(frame.type)) this.socket.send(this.#connection.send(frame).bytes)
  }
}
