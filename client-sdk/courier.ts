/**
 * Drives the connection: who holds the line (one process per vault), what goes out, what comes in, prekeys and the log.
 * Everything that it does is safe to repeat, so it simply goes round whenever something may have changed.
 */
import { ValiseError } from "../protocol/errors.ts"
import type { Welcome } from "../protocol/frames.ts"
import type { LinkStatus } from "./api.ts"
import type { Home } from "./home.ts"
import type { Inbox } from "./inbox.ts"
import { Link } from "./link.ts"
import type { Outbox } from "./outbox.ts"
import type { Prekeeper } from "./prekeeper.ts"
import type { Transport } from "./transport.ts"

/** The right to talk to the relay for this vault; `undefined` while another process has it. */
export interface Line {
  release(): void
}

export interface CourierParts {
  readonly home: Home
  readonly outbox: Outbox
  readonly inbox: Inbox
  readonly prekeeper: Prekeeper
  readonly transport: Transport
  readonly url: string
  readonly acquireLine: () => Line | undefined
}

/** The log is asked for news this often; with `checkpointSecondsMax` it bounds how long a revocation can be missed. */
export const logSyncEveryMs = 300_000
/** How soon a process takes over the line after the one that held it has ended. */
const lineRetryMs = 500
/** A message that cannot go on now is tried again after this, besides at every change. */
const retryMs = 15_000

export class Courier {
  readonly #parts: CourierParts
  readonly #link: Link
  #line: Line | undefined
  #held = new Map<number, Uint8Array>()
  #collected: number[] = []
  #oneTimeAtRelay = 0
  #syncedAt = Number.NEGATIVE_INFINITY
  #drainedAt = 0
  #running = false
  #again = false
  #stopped = true
  #idle: (() => void)[] = []
  #cancelTimer: (() => void) | undefined
  #offChange: (() => void) | undefined
  status: LinkStatus = { state: "closed" }
  /** Live, the log mirrored, and every prekey at the relay: peers can write to this device. */
  ready = false

  constructor(parts: CourierParts) {
    this.#parts = parts
    this.#link = new Link(parts.home, parts.transport, parts.url, {
      live: (welcome) => this.#live(welcome),
      envelope: (sequence, bytes) => this.#arrived(sequence, bytes),
      prekeysLow: (held) => {
        this.#oneTimeAtRelay = held
        this.wake()
      },
      status: (status) => this.#setStatus(status),
    })
  }

  start(): void {
    if (!this.#stopped) return
    this.#stopped = false
    this.#offChange = this.#parts.home.vault.onChange(() => this.wake())
    this.#takeLine()
  }

  /** Ends the connection and gives the line back. What is not through stays durable. */
  async stop(): Promise<void> {
    if (this.#stopped) return
    this.#stopped = true
    this.#offChange?.()
    this.#cancelTimer?.()
    this.#link.stop()
    if (this.#running) await new Promise<void>((resolve) => this.#idle.push(resolve))
    this.#line?.release()
    this.#line = undefined
  }

  get live(): boolean {
    return this.#link.live
  }

  /** Something may have changed: go round again. Never throws. */
  wake(): void {
    if (this.#stopped) return
    this.#again = true
    if (!this.#running) void this.#rounds()
  }

  /** Asks the relay for the log now. Throws `ERR_OFFLINE`, or what `Mirror.sync` throws. */
  async syncLog(): Promise<void> {
    await this.#parts.home.mirror.sync(this.#link.log)
    this.#syncedAt = this.#parts.home.machine.clock.monotonic()
  }

  #takeLine(): void {
    if (this.#stopped) return
    this.#line = this.#parts.acquireLine()
    if (this.#line) {
      this.#link.start()
      this.wake()
      return
    }
    this.#setStatus({ state: "elsewhere" })
    this.wake()
    this.#parts.home.machine.clock.after(lineRetryMs, () => this.#takeLine())
  }

  #live(welcome: Welcome): void {
    this.#held.clear()
    this.#oneTimeAtRelay = welcome.oneTimePrekeys
    if (welcome.logSize > this.#parts.home.mirror.size) this.#syncedAt = Number.NEGATIVE_INFINITY
    this.wake()
  }

  #arrived(sequence: number, bytes: Uint8Array): void {
    this.#held.set(sequence, bytes)
    this.wake()
  }

  async #rounds(): Promise<void> {
    this.#running = true
    try {
      while (this.#again && !this.#stopped) {
        this.#again = false
        await this.#round()
      }
    } catch (error) {
      // A full disk or a broken vault: nothing was acknowledged, the relay keeps what it has, and the next round tries again.
      if (!(error instanceof ValiseError)) throw error
    } finally {
      this.#running = false
      for (const resolve of this.#idle.splice(0)) resolve()
    }
    this.#cancelTimer?.()
    if (!this.#stopped) this.#cancelTimer = this.#parts.home.machine.clock.after(retryMs, () => this.wake())
  }

  async #round(): Promise<void> {
    const { home, inbox, outbox, prekeeper } = this.#parts
    home.mirror.refresh()
    if (this.#link.live) await this.#attempt(() => this.#syncIfDue())
    this.#open(inbox)
    if (this.#link.live) await this.#attempt(() => this.#publish(prekeeper))
    const carrier = this.#line && this.#link.live ? this.#link : undefined
    await Promise.all(outbox.pending().map((key) => this.#attempt(() => outbox.advance(key, carrier))))
    if (this.#link.live) prekeeper.erase(this.#drainedAt)
    if (this.#link.live && !prekeeper.unpublished()) this.#becomeReady()
  }

  #becomeReady(): void {
    if (this.ready) return
    this.ready = true
    this.#parts.home.vault.transaction((tx) => tx.put("counters", "last-ready", { n: this.#parts.home.now }))
  }

  /** Opens what has arrived, oldest first; what cannot be judged yet waits for the log's next state. */
  #open(inbox: Inbox): void {
    for (const [sequence, bytes] of [...this.#held].toSorted(([a], [b]) => a - b)) {
      if (inbox.receive(bytes) === "later") {
        this.#syncedAt = Number.NEGATIVE_INFINITY
        continue
      }
      this.#held.delete(sequence)
      this.#collected.push(sequence)
    }
    this.#link.collected(this.#collected.splice(0))
    if (this.#held.size === 0 && this.#link.live) this.#drainedAt = this.#parts.home.now
  }

  async #syncIfDue(): Promise<void> {
    if (this.#parts.home.machine.clock.monotonic() - this.#syncedAt < logSyncEveryMs) return
    this.#syncedAt = this.#parts.home.machine.clock.monotonic()
    await this.syncLog()
    if (this.#held.size > 0) this.#again = true
  }

  async #publish(prekeeper: Prekeeper): Promise<void> {
    const { home } = this.#parts
    prekeeper.replenish(this.#oneTimeAtRelay)
    for (let batch = prekeeper.unpublished(); batch && this.#link.live; batch = prekeeper.unpublished()) {
      const reset = prekeeper.isFirstPublication()
      prekeeper.markSent(batch.ids)
      try {
        this.#oneTimeAtRelay = await this.#link.publish({
          incarnation: home.vault.incarnation,
          reset,
          ...(batch.rotating && { rotating: batch.rotating }),
          oneTime: [...batch.oneTime],
        })
      } catch (error) {
        if (error instanceof ValiseError && error.code === "ERR_PREKEYS_REFUSED") this.#rolledBack() // defence: 24 stop-after-rollback
        throw error
      }
      prekeeper.confirmPublished(batch.ids)
    }
  }

  /** The relay knows a higher number of this incarnation than this vault does: the vault went back in time. */
  #rolledBack(): void {
    const { home } = this.#parts
    home.vault.startNewIncarnation()
    const text = "this vault went back in time (a restored copy, or two copies running): it starts anew, and what was sealed to it before must be sent again"
    const notice = home.vault.transaction((tx) => home.notice(tx, "roll-back", text))
    home.emit({ kind: "notice", notice })
    this.#again = true
  }

  /** One step of a round; what the connection or the peer spoils is tried again in a later round. */
  async #attempt(step: () => Promise<void>): Promise<void> {
    const { home } = this.#parts
    try {
      await step()
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
      if (error.code === "ERR_DIRECTORY_SPLIT" || error.code === "ERR_DIRECTORY_STALE") {
        const kind = error.code === "ERR_DIRECTORY_SPLIT" ? "split-view" : "stale-directory"
        const notice = home.vault.transaction((tx) => {
          const last = [...tx.list("notices", { reverse: true, limit: 1 })][0]
          return last?.[1].kind === kind ? undefined : home.notice(tx, kind, error.message)
        })
        if (notice) home.emit({ kind: "notice", notice })
      }
    }
  }

  #setStatus(status: LinkStatus): void {
    this.status = status
    if (status.state !== "live") this.ready = false
    if (status.state === "offline") this.#held.clear()
    this.#parts.home.emit({ kind: "link", status })
  }

  /** For `drain`: whether anything is on its way that this process could bring further. */
  get busy(): boolean {
    return this.#running || this.#held.size > 0 || this.#parts.outbox.pending().length > 0
  }
}
