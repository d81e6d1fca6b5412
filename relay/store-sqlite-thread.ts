/** A worker thread that answers every message once, in order. */
import { Worker } from "node:worker_threads"
import { ValiseError } from "../protocol/errors.ts"
import type { Begun, ThreadStart } from "./store-sqlite-messages.ts"

export class StoreThread<Message, Reply> {
  readonly #worker: Worker
  readonly #waiting: Waiting[] = []
  readonly #ended: Promise<void>
  #isOver = false

  constructor(script: URL) {
    // Nothing of the main thread's flags: a debugger or test runner loads nothing into this one.
    this.#worker = new Worker(script, { execArgv: [], name: "valise-store" })
    this.#worker.on("message", (reply: unknown) => this.#waiting.shift()?.resolve(reply))
    // A thread that dies takes down what waits for it, not the process. `exit` follows `error`.
    let cause: unknown
    this.#worker.on("error", (error) => (cause = error))
    this.#ended = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        this.#isOver = true
        for (const { reject } of this.#waiting.splice(0)) reject(threadIsOver(cause))
        resolve()
      })
    })
  }

  /** The first message. Both reject with `ERR_STORE_UNAVAILABLE` if the thread is over, or ends before it answers. */
  begin(start: ThreadStart): Promise<Begun> {
    return this.#send(start, []) as Promise<Begun>
  }

  ask(message: Message, handOver: readonly ArrayBuffer[] = []): Promise<Reply> {
    return this.#send(message, handOver) as Promise<Reply>
  }

  /** @param message on which the thread ends by itself; resolves when it has. */
  async end(message: unknown): Promise<void> {
    if (!this.#isOver) this.#worker.postMessage(message, [])
    await this.#ended
  }

  #send(message: unknown, handOver: readonly ArrayBuffer[]): Promise<unknown> {
    if (this.#isOver) return Promise.reject(threadIsOver(undefined))
    this.#worker.postMessage(message, handOver)
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }
}

interface Waiting {
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: ValiseError) => void
}

const threadIsOver = (cause: unknown): ValiseError =>
  new ValiseError("ERR_STORE_UNAVAILABLE", "a thread of the mailbox store has ended", { cause })
