/** A thread that answers one message, a folder, with what its segment files hold, and ends. */
import { parentPort } from "node:worker_threads"
import { keptEnvelopes, type KeptEnvelopes } from "./segment-inspect.ts"
import type { StoreTrouble } from "./store-sqlite-messages.ts"
import { troubleOf } from "./store-sqlite-trouble.ts"

export type SegmentReply = { readonly kept: KeptEnvelopes } | { readonly failed: StoreTrouble }

parentPort?.once("message", (folder: string) => {
  let reply: SegmentReply
  try {
    reply = { kept: keptEnvelopes(folder) }
  } catch (error) {
    reply = { failed: troubleOf(error) }
  }
  parentPort!.postMessage(reply)
  parentPort!.close()
})
