/** A worker thread that answers every message once, in order. */
import { Worker } from "node:worker_threads"
import { ValiseError } from "../protocol/errors.ts"
import { errorOf, troubleOf, type StoreTrouble } from "./store-trouble.ts"

export class StoreThread<Message, Result> {
  readonly #worker: Worker
  readonly #waiting: Waiting<Result>[] = []
  readonly #ended: Promise<void>
  #isOver = false

  constructor(script: URL) {
    // Nothing of the main thread's flags: a debugger or test runner loads nothing into this one.
    this.#worker = new Worker(script, { execArgv: [], name: "valise-store" })
    this.#worker.on("message", (answer: Answer<Result>) => {
      const waiting = this.#waiting.shift()
      if ("failed" in answer) waiting?.reject(errorOf(answer.failed))
      else waiting?.resolve(answer.result)
    })
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

  /** Rejects with what the thread failed with, or `ERR_STORE_UNAVAILABLE` if it is over, or ends before it answers. */
  ask(message: Message): Promise<Result> {
    if (this.#isOver) return Promise.reject(threadIsOver(undefined))
    this.#worker.postMessage(message, [])
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  /** The thread answers what it has been asked, and ends by itself on this message; resolves when it has. */
  async end(): Promise<void> {
    if (!this.#isOver) this.#worker.postMessage(closing, [])
    await this.#ended
  }
}

/** A thread's last message. */
export const closing = "close"

export type Answer<Result> = { readonly result: Result } | { readonly failed: StoreTrouble }

/** For the thread's own side. */
export function answerOf<Result>(work: () => Result): Answer<Result> {
  try {
    return { result: work() }
  } catch (error) {
    return { failed: troubleOf(error) }
  }
}

interface Waiting<Result> {
  readonly resolve: (result: Result) => void
  readonly reject: (error: ValiseError) => void
}

const threadIsOver = (cause: unknown): ValiseError =>
  new ValiseError("ERR_STORE_UNAVAILABLE", "a thread of the mailbox store has ended", { cause })
