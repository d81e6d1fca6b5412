/** Mosquitto at QoS 1 with persistence, spoken to in MQTT 3.1.1, without a client library in the way. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Socket } from "node:net"
import { u16be } from "../../protocol/bytes.ts"
import { mailboxes, senders, type Carrier, type Load } from "./carrier.ts"
import { corked, dial, freePort, startTheirs, stop } from "./process.ts"

const settings = {
  persistence: "true",
  autosave_interval: "60",
  max_inflight_messages: "0",
  max_queued_messages: "0",
  set_tcp_nodelay: "true",
  allow_anonymous: "true",
  log_type: "error",
}

export async function openMosquitto(folder: string, load: Load): Promise<Carrier> {
  const port = await freePort()
  const config = join(folder, "mosquitto.conf")
  const lines = Object.entries({
    listener: `${port} 127.0.0.1`,
    ...settings,
    persistence_location: `${folder}/`,
    user: "root",
  })
  writeFileSync(config, lines.map(([name, value]) => `${name} ${value}\n`).join(""))
  const child = await startTheirs("mosquitto", ["-c", config], port)
  const recipients = await Promise.all(
    Array.from({ length: senders }, (_, i) =>
      MqttLine.open(port, `recipient-${i}`, { delivered: (payload) => load.delivered(payload) }),
    ),
  )
  for (let box = 0; box < mailboxes; box++) recipients[box % senders]!.subscribe(`box/${box}`)
  const sending = await Promise.all(
    Array.from({ length: senders }, (_, i) =>
      // A packet's number is 16 bits, and not 0.
      MqttLine.open(port, `sender-${i}`, { confirmed: (id) => load.confirmed(id - 1) }),
    ),
  )
  const words = Object.entries(settings).map((setting) => setting.join(" "))
  return {
    name: "Mosquitto",
    configuration: `Mosquitto: QoS 1 both ways, sessions that are kept, ${words.join(", ")}; it does not sync`,
    send: ({ serial, mailbox, bytes }) => sending[serial % senders]!.publish(`box/${mailbox}`, serial + 1, bytes),
    close: async () => {
      for (const line of [...recipients, ...sending]) line.end()
      await stop(child)
    },
  }
}

interface Heard {
  readonly delivered?: (payload: Buffer) => void
  readonly confirmed?: (id: number) => void
}

/** One connection (MQTT 3.1.1 §3: CONNECT, SUBSCRIBE, PUBLISH, PUBACK). */
class MqttLine {
  readonly #heard: Heard
  readonly #connected: Promise<void>
  #isConnected: () => void = () => undefined
  #socket!: Socket

  static async open(port: number, name: string, heard: Heard): Promise<MqttLine> {
    const line = new MqttLine(heard)
    line.#socket = await dial(port, (bytes) => line.#take(bytes))
    const keepSession = 0
    line.#write(0x10, [text("MQTT"), Uint8Array.of(4, keepSession, 0, 0), text(name)])
    await line.#connected
    return line
  }

  private constructor(heard: Heard) {
    this.#heard = heard
    this.#connected = new Promise((resolve) => (this.#isConnected = resolve))
  }

  subscribe(topic: string): void {
    this.#write(0x82, [u16be(1), text(topic), Uint8Array.of(1)])
  }

  publish(topic: string, id: number, payload: Uint8Array): void {
    this.#write(0x32, [text(topic), u16be(id), payload])
  }

  end(): void {
    this.#socket.destroy()
  }

  #write(type: number, parts: readonly Uint8Array[]): void {
    let length = parts.reduce((sum, part) => sum + part.length, 0)
    const head = [type]
    do {
      head.push((length & 127) | (length > 127 ? 128 : 0))
      length >>= 7
    } while (length > 0)
    const socket = corked(this.#socket)
    for (const part of [Uint8Array.from(head), ...parts]) socket.write(part)
  }

  #take(bytes: Buffer): number {
    for (let at = 0; ;) {
      let length = 0
      let body = at + 1
      do length |= ((bytes[body] ?? 0) & 127) << (7 * (body - at - 1))
      while ((bytes[body++] ?? 0) > 127)
      const end = body + length
      if (at + 2 > bytes.length || end > bytes.length) return at
      this.#hear(bytes[at]! >> 4, bytes.subarray(body, end))
      at = end
    }
  }

  #hear(type: number, body: Buffer): void {
    if (type === 2) this.#isConnected()
    if (type === 4) this.#heard.confirmed?.(body.readUInt16BE())
    if (type !== 3) return
    const after = 2 + body.readUInt16BE()
    this.#heard.delivered?.(body.subarray(after + 2))
    this.#write(0x40, [body.subarray(after, after + 2)])
  }
}

const text = (value: string): Buffer => Buffer.concat([u16be(value.length), Buffer.from(value)])
