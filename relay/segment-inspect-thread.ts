/** A thread that answers one message, a folder, with what its segment files hold, and ends. */
import { parentPort, type MessagePort } from "node:worker_threads"
import { keptEnvelopes, type KeptEnvelopes } from "./segment-inspect.ts"
import type { StoreTrouble } from "./store-sqlite-messages.ts"
import { troubleOf } from "./store-sqlite-trouble.ts"

export type SegmentReply = { readonly kept: KeptEnvelopes } | { readonly failed: StoreTrouble }

if (parentPort) answerOnce(parentPort)

function answerOnce(port: MessagePort): void {
  port.once("message", (folder: string) => {
    port.postMessage(replyFor(folder))
    port.close()
  })
}

function replyFor(folder: string): SegmentReply {
  try {
    return { kept: keptEnvelopes(folder) }
  } catch (error) {
    return { failed: troubleOf(error) }
  }
}
