/** Messages that cannot go on now: until when nobody asks again, and whether the duty officer has been told. */
import { ValiseError } from "../protocol/errors.ts"
import type { Notice, NoticeKind } from "./api.ts"
import type { Tx } from "./collections.ts"
import type { Home } from "./home.ts"

/** What the relay refused, or has not got, is not asked for again before this. */
const retryMs = 10_000

export class Waits {
  readonly #home: Home
  /** By the monotonic clock. */
  readonly #until = new Map<string, number>()
  readonly #told = new Set<string>()

  constructor(home: Home) {
    this.#home = home
  }

  has(key: string): boolean {
    return (this.#until.get(key) ?? 0) > this.#home.machine.clock.monotonic()
  }

  /** Tells the duty officer, once per message, and tries again later. */
  wait(tx: Tx, notices: Notice[], key: string, kind: NoticeKind, text: string): void {
    if (!this.#told.has(key)) this.#home.notice(tx, notices, kind, `${text}; message ${key.slice(0, 8)} waits`)
    this.#told.add(key)
    this.#pause(key)
  }

  /** What the relay refused is not asked for again at once; a connection that ended asks anew by itself. */
  after(key: string, reason: unknown): unknown {
    const isRefusal = !(reason instanceof ValiseError && reason.code === "ERR_OFFLINE")
    if (isRefusal) this.#pause(key)
    return reason
  }

  forget(key: string): void {
    this.#until.delete(key)
    this.#told.delete(key)
  }

  #pause(key: string): void {
    this.#until.set(key, this.#home.machine.clock.monotonic() + retryMs)
  }
}
