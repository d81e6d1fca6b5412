/** A thread of the SQLite store. Every message is answered once, in order; `closing` ends it. */
import { parentPort, receiveMessageOnPort } from "node:worker_threads"
import type { MessagePort, Transferable } from "node:worker_threads"
import { openForReading } from "./store-sqlite-file.ts"
import { closing, sizeOf, transactionBytesMax } from "./store-sqlite-messages.ts"
import type { BatchReply, Begun, InspectReply, Read, ReadReply, ThreadStart, Write } from "./store-sqlite-messages.ts"
import { StoreReader } from "./store-sqlite-reader.ts"
import { troubleOf } from "./store-sqlite-trouble.ts"
import { StoreWriter } from "./store-sqlite-writer.ts"

if (parentPort) {
  const port = parentPort
  port.once("message", (start: ThreadStart | typeof closing) => {
    if (start === closing) return port.close()
    try {
      const serve = { writer: write, reader: read, inspector: inspect }[start.role]
      serve(port, start)
      port.postMessage({ begun: true } satisfies Begun)
    } catch (error) {
      port.postMessage({ failed: troubleOf(error) } satisfies Begun)
      port.close()
    }
  })
}

type ToWriter = readonly Write[] | typeof closing

/** Group commit: everything that arrived while the last transaction was syncing goes into the next. */
function write(port: MessagePort, start: ThreadStart): void {
  const writer = StoreWriter.open(start.folder, start)
  port.on("message", (first: ToWriter) => {
    const messages: (readonly Write[])[] = []
    let size = 0
    let message: ToWriter | undefined = first
    while (message !== undefined && message !== closing) {
      messages.push(message)
      size += message.reduce((sum, each) => sum + sizeOf(each), 0)
      message = size < transactionBytesMax ? nextAt(port) : undefined
    }
    if (messages.length > 0) {
      for (const reply of split(writer.apply(messages.flat()), messages)) port.postMessage(reply)
      writer.tidy()
    }
    if (message === closing) {
      writer.close()
      port.close()
    }
  })
}

function nextAt(port: MessagePort): ToWriter | undefined {
  const received: { readonly message: ToWriter } | undefined = receiveMessageOnPort(port)
  return received?.message
}

/** One reply for each of the messages that shared the transaction. */
function split(reply: BatchReply, messages: readonly (readonly Write[])[]): BatchReply[] {
  if ("failed" in reply) return messages.map(() => reply)
  let at = 0
  return messages.map(({ length }) => ({ results: reply.results.slice(at, (at += length)) }))
}

function read(port: MessagePort, start: ThreadStart): void {
  const db = openForReading(start.folder)
  const reader = new StoreReader(db)
  port.on("message", (message: Read | typeof closing) => {
    if (message === closing) {
      db.close()
      return port.close()
    }
    const reply = answer(reader, message)
    port.postMessage(reply, buffersOf(reply))
  })
}

function inspect(port: MessagePort, start: ThreadStart): void {
  const db = openForReading(start.folder)
  port.once("message", () => {
    let reply: InspectReply
    try {
      reply = { contents: new StoreReader(db).contents() }
    } catch (error) {
      reply = { failed: troubleOf(error) }
    }
    db.close()
    port.postMessage(reply)
    port.close()
  })
}

function answer(reader: StoreReader, message: Read): ReadReply {
  try {
    const { kind } = message
    if (kind === "countPrekeys") return { result: reader.countPrekeys(message.device) }
    return { result: reader.read(message.mailbox, message.after, message.max) }
  } catch (error) {
    return { failed: troubleOf(error) }
  }
}

/** Envelopes are handed over, not copied. */
function buffersOf(reply: ReadReply): Transferable[] {
  if (!("result" in reply) || typeof reply.result === "number") return []
  return reply.result.map(({ bytes }) => bytes.buffer as ArrayBuffer)
}
