/** A relay on a real socket, and a client made of protocol functions that can also misbehave. */
import { Writable } from "node:stream"
import { WebSocket } from "ws"
import { mailboxOf, prekeyIdOf, type DeviceId, type Incarnation, type MailboxId } from "../../protocol/address.ts"
import { concat, equal, hex } from "../../protocol/bytes.ts"
import { ClientConnection } from "../../protocol/connection.ts"
import { wireSizes } from "../../protocol/envelope.ts"
import { subprotocol, type ClientFrame, type Received, type RelayFrame } from "../../protocol/frames.ts"
import { chosen, fixed, type Chosen } from "../../protocol/limits.ts"
import { signPrekey, type PrekeyKind } from "../../protocol/prekey.ts"
import { KemKey } from "../../protocol/primitives.ts"
import type { Signed } from "../../protocol/statement.ts"
import { parseRelayConfig } from "../../relay/config.ts"
import type { DirectoryView, ServedDevice } from "../../relay/directory-view.ts"
import { relayLog } from "../../relay/log.ts"
import { Relay } from "../../relay/relay.ts"
import { serveRelay, type RelayServer } from "../../relay/server.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { seconds, type Clock } from "../../system/machine.ts"
import { nodeClock, nodeRandom } from "../../system/node.ts"
import { realm, relayCertificate, relayHost, relayKey, seededRandom, testDevice, type TestDevice } from "./login.ts"

/** A directory that a test writes by hand. */
export class TestDirectory implements DirectoryView {
  readonly devices: ServedDevice[] = []
  entries: Uint8Array[] = []
  /** How often it was asked to look for new entries. */
  looks = 0

  add(device: TestDevice): void {
    this.devices.push({
      device: device.id,
      key: device.key.publicKey,
      mailbox: mailboxOfDevice(device),
      poc: device.poc,
    })
  }

  remove(device: TestDevice): void {
    this.devices.splice(this.devices.findIndex((row) => equal(row.device, device.id), 1))
  }

  device(id: DeviceId): ServedDevice | undefined {
    return this.devices.find((row) => equal(row.device, id))
  }

  deviceOfMailbox(mailbox: MailboxId): ServedDevice | undefined {
    return this.devices.find((row) => equal(row.mailbox, mailbox))
  }

  lookSoon(): void {
    this.looks += 1
  }

  get size(): number {
    return this.entries.length
  }

  readonly log = {
    checkpoint: async () => new TextEncoder().encode(`checkpoint of ${this.entries.length}\n`),
    entries: async (from: number, max: number) => this.entries.slice(from, from + max),
  }
}

export const mailboxOfDevice = (device: TestDevice): MailboxId => mailboxOf(device.id, relayHost)

export interface TestRelay {
  readonly relay: Relay
  readonly server: RelayServer
  readonly store: MailboxStore
  readonly directory: TestDirectory
  /** What the relay has logged so far. */
  readonly logged: () => string
  readonly dial: (device: TestDevice) => Promise<TestClient>
}

export interface TestRelayOptions {
  readonly devices?: readonly TestDevice[]
  readonly store?: MailboxStore
  readonly limits?: Partial<Chosen>
  readonly config?: object
  readonly clock?: Clock
}

const opened: TestRelay[] = []

/** Call `stopRelays` after each test. */
export async function startRelay(options: TestRelayOptions = {}): Promise<TestRelay> {
  const store = options.store ?? new MemoryDisk().open()
  const directory = new TestDirectory()
  for (const device of options.devices ?? []) directory.add(device)
  const lines: string[] = []
  const log = relayLog(
    new Writable({
      write: (chunk: Buffer, _, done) => {
        lines.push(chunk.toString())
        done()
      },
    }),
  )
  const limits: Chosen = { ...chosen, ...options.limits }
  const clock = options.clock ?? nodeClock
  const relay = new Relay({
    realm,
    host: relayHost,
    key: relayKey,
    certificate: () => relayCertificate,
    store,
    directory,
    clock,
    random: nodeRandom,
    log,
    limits,
  })
  const server = await serveRelay({ relay, config: parseRelayConfig(options.config ?? {}), clock, log, limits })
  const started: TestRelay = {
    relay,
    server,
    store,
    directory,
    logged: () => lines.join(""),
    dial: (device) => TestClient.dial(server.url, device),
  }
  opened.push(started)
  return started
}

export async function stopRelays(): Promise<void> {
  for (const { server, store } of opened.splice(0)) {
    await server.close()
    await store.close()
  }
}

export interface Closed {
  readonly code: number
  readonly reason: string
}

/** A device's end of a connection, with nothing automatic. */
export class TestClient {
  readonly device: TestDevice
  readonly socket: WebSocket
  readonly connection: ClientConnection
  readonly closed: Promise<Closed>
  /** Set after `dial`. */
  welcomed: Extract<RelayFrame, { type: "welcome" }> | undefined
  readonly #arrived: Received<RelayFrame>[] = []
  readonly #waking: (() => void)[] = []

  constructor(url: string, device: TestDevice) {
    this.device = device
    this.socket = new WebSocket(url, subprotocol, { perMessageDeflate: false, maxPayload: chosen.frameBytesMax })
    this.connection = new ClientConnection({
      realm,
      device: device.id,
      key: device.key,
      host: relayHost,
      judgeRelay: (certificate) => (equal(certificate, relayCertificate) ? relayKey.publicKey : undefined),
      random: (length) => nodeRandom.bytes(length),
    })
    this.closed = new Promise((resolve) =>
      this.socket.on("close", (code, reason) => {
        resolve({ code, reason: reason.toString() })
        this.#wake()
      }),
    )
    this.socket.on("error", () => {})
    this.socket.on("open", () => this.socket.send(this.connection.hello()))
    this.socket.on("message", (data: Buffer) => {
      const event = this.connection.receive(new Uint8Array(data))
      if (event.type === "proof") this.socket.send(event.bytes)
      if (event.type === "frame") this.#arrived.push(event.frame)
      this.#wake()
    })
  }

  /** Resolves after the welcome. */
  static async dial(url: string, device: TestDevice): Promise<TestClient> {
    const client = new TestClient(url, device)
    client.welcomed = await client.next("welcome")
    return client
  }

  /** Returns the counter. */
  send(frame: ClientFrame): number {
    const { bytes, counter } = this.connection.send(frame)
    this.socket.send(bytes)
    return counter
  }

  /** The next frame of this type; others that came before stay for later. Rejects when the connection ends first. */
  next<N extends RelayFrame["type"]>(type: N): Promise<Extract<Received<RelayFrame>, { type: N }>> {
    return this.#take((frame): frame is Extract<Received<RelayFrame>, { type: N }> => frame.type === type)
  }

  /** The frame that answers the client's frame with this counter. */
  answerTo(counter: number): Promise<Received<RelayFrame>> {
    return this.#take((frame): frame is Received<RelayFrame> => "about" in frame && frame.about === counter)
  }

  async #take<F extends Received<RelayFrame>>(isIt: (frame: Received<RelayFrame>) => frame is F): Promise<F> {
    for (;;) {
      const at = this.#arrived.findIndex(isIt)
      if (at >= 0) return this.#arrived.splice(at, 1)[0] as F
      if (this.socket.readyState === WebSocket.CLOSED) {
        const { code, reason } = await this.closed
        throw new Error(`closed with ${code} ${reason} before the frame came`)
      }
      await new Promise<void>((resolve) => this.#waking.push(resolve))
    }
  }

  #wake(): void {
    for (const go of this.#waking.splice(0)) go()
  }

  /** Frames that have arrived and were not asked for yet. */
  get waiting(): readonly Received<RelayFrame>[] {
    return this.#arrived
  }

  submit(to: TestDevice, bytes = envelopeTo(to), blind = nodeRandom.bytes(32)): number {
    return this.send({ type: "submit", mailbox: mailboxOfDevice(to), blind, envelope: bytes })
  }

  /** Resolves when everything sent before has been dealt with. */
  async settled(): Promise<void> {
    await this.answerTo(this.send({ type: "sync-log", from: 0 }))
  }
}

let serial = 0

/** Bytes that a relay takes for an envelope to this device: nobody can open them. */
export function envelopeTo(to: TestDevice, size = 0): Uint8Array {
  const head = concat(Uint8Array.of(1, 1), mailboxOfDevice(to))
  const sealed = new Uint8Array(wireSizes[size]! - head.length).fill(7)
  new DataView(sealed.buffer).setUint32(16, ++serial)
  return concat(head, sealed)
}

/** Prekeys as a device signs them; `n` and what follows rise. */
export function testPrekeys(
  device: TestDevice,
  kind: PrekeyKind,
  n: number,
  options: { incarnation?: Uint8Array; nbf?: number; exp?: number; signer?: TestDevice } = {},
): Signed {
  const now = seconds(nodeClock)
  const incarnation = (options.incarnation ?? firstIncarnation) as Incarnation
  const key = new KemKey(seededRandom(`${hex(device.id)}/${hex(incarnation)}/${n}`)(32))
  return signPrekey((options.signer ?? device).key, realm, {
    v: 1,
    device: device.id,
    incarnation,
    n,
    kind,
    id: prekeyIdOf(key.publicKey),
    suite: 1,
    nbf: options.nbf ?? now,
    exp: options.exp ?? now + fixed.rotatingPrekeySeconds,
    pk: key.publicKey,
  })
}

export const firstIncarnation = new Uint8Array(16).fill(1) as Incarnation

export const devices = {
  kenya: testDevice("ke/technical/baobab"),
  singapore: testDevice("sg/technical/orchid"),
  brazil: testDevice("br/technical/ipe"),
}
