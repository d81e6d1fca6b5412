/** The shelf's thread. Its first message is the folder; every message is answered once, in order; `closing` ends it. */
import { parentPort, type MessagePort } from "node:worker_threads"
import { ShelfWriter, type ShelfChange, type ShelfResult } from "./prekey-shelf-writer.ts"
import { answerOf, closing } from "./store-thread.ts"
import type { StoreTrouble } from "./store-trouble.ts"

export type ShelfMessage =
  | { readonly open: string }
  | { readonly count: Uint8Array }
  /** One transaction. */
  | { readonly changes: readonly ShelfChange[] }

/** In the order of the messages above; of `open` it says why nothing can be written, if so. */
export type ShelfReply = StoreTrouble | undefined | number | readonly ShelfResult[]

if (parentPort) serve(parentPort)

function serve(port: MessagePort): void {
  let writer: ShelfWriter
  const reply = (message: ShelfMessage): ShelfReply => {
    if ("open" in message) writer = new ShelfWriter(message.open)
    else return "count" in message ? writer.count(message.count) : writer.apply(message.changes)
    return writer.trouble
  }
  port.on("message", (message: ShelfMessage | typeof closing) => {
    if (message !== closing) return port.postMessage(answerOf(() => reply(message)))
    writer?.close()
    port.close()
  })
}
