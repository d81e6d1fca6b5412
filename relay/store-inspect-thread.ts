/**
 * A thread that inspects the store in the folder that its messages name. The list of envelopes comes in parts, one for
 * each message: to take in a million of them at once would hold up the thread that asks. With the rest it ends.
 */
import { parentPort, type MessagePort } from "node:worker_threads"
import { storeContents } from "./store-inspect.ts"
import { answerOf } from "./store-thread.ts"
import type { StoreContents } from "./store.ts"

export type ContentsPart = StoreContents["envelopes"] | Omit<StoreContents, "envelopes">

export const partMax = 1000

if (parentPort) serve(parentPort)

function serve(port: MessagePort): void {
  let parts: Generator<ContentsPart, ContentsPart> | undefined
  port.on("message", (folder: string) => {
    const answer = answerOf(() => (parts ??= partsOf(storeContents(folder))).next())
    const isLast = "failed" in answer || answer.result.done === true
    port.postMessage("failed" in answer ? answer : { result: answer.result.value })
    if (isLast) port.close()
  })
}

function* partsOf({ envelopes, ...rest }: StoreContents): Generator<ContentsPart, ContentsPart> {
  for (let at = 0; at < envelopes.length; at += partMax) yield envelopes.slice(at, at + partMax)
  return rest
}
