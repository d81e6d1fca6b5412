/** NATS JetStream with file storage, spoken to in its own text protocol, without a client library in the way. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Socket } from "node:net"
import { mailboxes, senders, type Carrier, type Load } from "./carrier.ts"
import { corked, dial, freePort, startTheirs, stop } from "./process.ts"

export async function openNats(folder: string, load: Load): Promise<Carrier> {
  const port = await freePort()
  const config = join(folder, "nats.conf")
  writeFileSync(
    config,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: ${JSON.stringify(join(folder, "jetstream"))} }\nwrite_deadline: "10s"\n`,
  )
  const child = await startTheirs("nats-server", ["-c", config, "-l", join(folder, "nats.log")], port)

  const setUp = await NatsLine.open(port, () => undefined)
  const stream = { name: "bench", subjects: ["box.*"], storage: "file", retention: "workqueue", num_replicas: 1 }
  await setUp.request("$JS.API.STREAM.CREATE.bench", stream)
  const recipients = await Promise.all(
    Array.from({ length: senders }, () =>
      NatsLine.open(port, (_, reply, payload, line) => {
        load.delivered(payload)
        line.publish(reply, Buffer.from("+ACK"))
      }),
    ),
  )
  for (let box = 0; box < mailboxes; box++) {
    recipients[box % senders]!.subscribe(`to.${box}`, box)
    const config = {
      durable_name: `c${box}`,
      deliver_subject: `to.${box}`,
      filter_subject: `box.${box}`,
      ack_policy: "explicit",
      max_ack_pending: 1024,
    }
    await setUp.request(`$JS.API.CONSUMER.DURABLE.CREATE.bench.c${box}`, { stream_name: "bench", config })
  }
  const sending = await Promise.all(
    Array.from({ length: senders }, () =>
      NatsLine.open(port, (subject, _, payload) => {
        if (payload.includes('"error"')) throw new Error(payload.toString())
        load.confirmed(Number(subject.slice(subject.lastIndexOf(".") + 1)))
      }),
    ),
  )
  for (const [i, line] of sending.entries()) line.subscribe(`_INBOX.${i}.*`)
  return {
    name: "NATS JetStream",
    configuration: `NATS JetStream: file storage, sync_interval as it comes (2 min), work-queue retention, ${mailboxes} durable push consumers with explicit acknowledgement, asynchronous publishing with PubAck`,
    send: ({ serial, mailbox, bytes }) =>
      sending[serial % senders]!.publish(`box.${mailbox}`, bytes, `_INBOX.${serial % senders}.${serial}`),
    close: async () => {
      for (const line of [setUp, ...recipients, ...sending]) line.end()
      await stop(child)
    },
  }
}

type Heard = (subject: string, reply: string, payload: Buffer, line: NatsLine) => void

/** One connection (NATS client protocol: `PUB`, `SUB`, `MSG`, `PING`). */
class NatsLine {
  readonly #heard: Heard
  #socket!: Socket
  #answer: ((payload: Buffer) => void) | undefined

  static async open(port: number, heard: Heard): Promise<NatsLine> {
    const line = new NatsLine(heard)
    line.#socket = await dial(port, (bytes) => line.#take(bytes))
    line.#socket.write('CONNECT {"verbose":false,"pedantic":false,"echo":true,"headers":false}\r\n')
    return line
  }

  private constructor(heard: Heard) {
    this.#heard = heard
  }

  publish(subject: string, payload: Buffer, reply = ""): void {
    const socket = corked(this.#socket)
    socket.write(`PUB ${subject} ${reply} ${payload.length}\r\n`)
    socket.write(payload)
    socket.write("\r\n")
  }

  subscribe(subject: string, id = 1): void {
    this.#socket.write(`SUB ${subject} ${id}\r\n`)
  }

  async request(subject: string, body: object): Promise<void> {
    this.subscribe("_INBOX.set-up")
    const answer = new Promise<Buffer>((resolve) => (this.#answer = resolve))
    this.publish(subject, Buffer.from(JSON.stringify(body)), "_INBOX.set-up")
    const text = (await answer).toString()
    this.#answer = undefined
    this.#socket.write("UNSUB 1\r\n")
    if (text.includes('"error"')) throw new Error(text)
  }

  end(): void {
    this.#socket.destroy()
  }

  #take(bytes: Buffer): number {
    for (let at = 0; ;) {
      const end = bytes.indexOf("\r\n", at)
      if (end === -1) return at
      const words = bytes.toString("latin1", at, end).split(" ")
      if (words[0] === "PING") this.#socket.write("PONG\r\n")
      if (words[0] === "-ERR") throw new Error(words.join(" "))
      if (words[0] !== "MSG") {
        at = end + 2
        continue
      }
      const begin = end + 2
      const length = Number(words.at(-1))
      if (bytes.length < begin + length + 2) return at
      const payload = bytes.subarray(begin, begin + length)
      if (this.#answer) this.#answer(payload)
      else this.#heard(words[1]!, words.length > 4 ? words[3]! : "", payload, this)
      at = begin + length + 2
    }
  }
}
