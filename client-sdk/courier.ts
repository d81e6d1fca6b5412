/**
 * Drives the connection: who holds the line (one process per vault), what goes out, what comes in, prekeys and the log.
 * Everything that it does is safe to repeat, so it simply goes round whenever something may have changed.
 */
import { ValiseError, type ErrorCode } from "../protocol/errors.ts"
import type { Welcome } from "../protocol/frames.ts"
import { chosen, fixed } from "../protocol/limits.ts"
import type { LogSource } from "../pki/log-source.ts"
import type { LinkStatus, NoticeKind } from "./api.ts"
import type { Home } from "./home.ts"
import type { Inbox, Outcome } from "./inbox.ts"
import { Link } from "./link.ts"
import type { Outbox } from "./outbox.ts"
import { watchOwnEntries } from "./own-entries.ts"
import type { Prekeeper } from "./prekeeper.ts"
import { watchExpiry, watchUndelivered } from "./standing.ts"
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
  readonly url: string | undefined
  readonly acquireLine: () => Line | undefined
  /** The directory's own copy of the log, for when the relay cannot be reached or believed. */
  readonly directoryLog?: LogSource | undefined
}

/** The log is asked for news this often; with `checkpointSecondsMax` it bounds how long a revocation can be missed. */
export const logSyncEveryMs = 300_000
/** While a peer is ahead of this mirror, the log is asked sooner: after this, and then twice as long each time. */
const behindSyncMs = 2000
/** How soon a process takes over the line after the one that held it has ended. */
const lineRetryMs = 500
/** A message that cannot go on now is tried again after this, besides at every change. */
const retryMs = 15_000
/** Prekeys that the relay refused are not offered again before this. */
const publishRetryMs = 60_000
/** Secrets are looked through for what can be erased at most so often. */
const tidyEveryMs = 60_000
/** And for what is to be made or published, unless the relay says that they run low. */
const prekeysEverySeconds = 60
/** The relay delivers what waits unasked and never says which is the last: so long a silence says it. */
const quietMs = 60_000
/** More than an honest relay has on its way; what is beyond is left at the relay. */
const heldMax = 2 * chosen.deliveriesInFlightMax
/** A vault goes back in time seldom: a relay that says so again within the hour is not believed. */
const rollBackEverySeconds = 3600
/** So long the relay's word about the time of day is taken for what its clock says. */
const freshWelcomeMs = 10_000
/** The vault failed, not the envelope: nothing counts, and everything is tried again. */
const vaultFailures: ReadonlySet<ErrorCode> = new Set([
  "ERR_DISK",
  "ERR_TIMEOUT",
  "ERR_VAULT",
  "ERR_VAULT_TAMPERED",
  "ERR_USAGE",
])

export class Courier {
  readonly #parts: CourierParts
  readonly #link: Link
  #line: Line | undefined
  /** Envelopes that have arrived and are not collected, by the relay's sequence number. */
  readonly #held = new Map<number, Uint8Array>()
  /** Those of them that this program cannot deal with: they stay at the relay, and hold up nobody. */
  readonly #setAside = new Set<number>()
  #collected: number[] = []
  #oneTimeAtRelay = 0
  #welcomedAtMs = Number.NEGATIVE_INFINITY
  /** The relay's time of day when the monotonic clock stood at 0, in seconds: this machine's own may jump at any time. */
  #relayZeroSeconds: number | undefined
  #publishAfterMs = Number.NEGATIVE_INFINITY
  /** When the prekeys were last found to be as they should, by the time of day, which decides when they are due. */
  #prekeysSeenAt = Number.NEGATIVE_INFINITY
  #syncedAt = Number.NEGATIVE_INFINITY
  /** Times that the log was asked in vain because a peer is ahead; `undefined` if none is. */
  #behind: number | undefined
  #quietSince = 0
  #drainedAt = 0
  #tidiedAt = Number.NEGATIVE_INFINITY
  #toScrub = false
  #running = false
  #again = false
  #stopped = true
  readonly #roundListeners = new Set<() => void>()
  #cancelTimer: (() => void) | undefined
  #cancelLineRetry: (() => void) | undefined
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
        this.#prekeysSeenAt = Number.NEGATIVE_INFINITY
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
    this.#cancelLineRetry?.()
    this.#link.stop()
    if (this.#running) await new Promise<void>((resolve) => this.onRound(resolve))
    if (this.#toScrub) await this.#attempt(async () => void this.#parts.home.vault.scrub())
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

  /** Calls whenever this process has done what it can for now. The result ends it. */
  onRound(listener: () => void): () => void {
    this.#roundListeners.add(listener)
    return () => this.#roundListeners.delete(listener)
  }

  /** Asks the relay for the log now. Throws `ERR_OFFLINE`, or what `Mirror.sync` throws. */
  async syncLog(): Promise<void> {
    await this.#parts.home.mirror.sync(this.#link.log)
    this.#syncedAt = this.#nowMs
  }

  #takeLine(): void {
    if (this.#stopped) return
    this.#line = this.#tryLine()
    if (this.#line) {
      this.#link.start()
      return this.wake()
    }
    this.#cancelLineRetry = this.#parts.home.machine.clock.after(lineRetryMs, () => this.#takeLine())
    if (this.status.state === "elsewhere") return
    this.#setStatus({ state: "elsewhere" })
    this.wake()
  }

  /** A disk that fails for a moment is tried again, like a line that is taken. */
  #tryLine(): Line | undefined {
    try {
      return this.#parts.acquireLine()
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
      return undefined
    }
  }

  #live(welcome: Welcome): void {
    void this.#attempt(async () => this.#parts.home.withdrawNotice(unlistedText))
    this.#held.clear()
    this.#setAside.clear()
    this.#quietSince = this.#nowMs
    this.#oneTimeAtRelay = welcome.oneTimePrekeys
    this.#prekeysSeenAt = Number.NEGATIVE_INFINITY
    this.#welcomedAtMs = this.#nowMs
    this.#relayZeroSeconds = welcome.timeSeconds - this.#nowMs / 1000
    if (welcome.logSize > this.#parts.home.mirror.size) this.#syncedAt = Number.NEGATIVE_INFINITY
    this.wake()
  }

  #arrived(sequence: number, bytes: Uint8Array): void {
    if (this.#held.size >= heldMax) return
    this.#quietSince = this.#nowMs
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
      this.#cancelTimer?.()
      if (!this.#stopped) this.#cancelTimer = this.#parts.home.machine.clock.after(this.#pauseMs, () => this.wake())
      for (const listener of this.#roundListeners) listener()
    }
  }

  async #round(): Promise<void> {
    const { home, inbox, outbox, prekeeper } = this.#parts
    home.mirror.refresh()
    if (this.#link.live) await this.#attempt(() => this.#syncIfDue())
    watchOwnEntries(home)
    this.#open(inbox)
    if (this.#link.live) await this.#attempt(() => this.#publish(prekeeper))
    const carrier = this.#line && this.#link.live ? this.#link : undefined
    const keys = outbox.pending().filter((key) => !outbox.giveUpExpired(key))
    if (carrier) await Promise.all(keys.map((key) => this.#attempt(() => outbox.fetchPrekeys(key, carrier))))
    // Sealed in their order, which gives them their numbers, and submitted in it: so an honest relay leaves no gaps.
    for (const key of keys) await this.#attempt(async () => outbox.sealIfReady(key))
    if (carrier) await Promise.all(keys.map((key) => this.#attempt(() => outbox.submit(key, carrier))))
    if (this.#line) this.#tidy(prekeeper)
    if (this.#link.live && !this.ready && prekeeper.isPublished()) this.#becomeReady()
  }

  #becomeReady(): void {
    this.ready = true
    this.#parts.home.vault.transaction((tx) => tx.put("counters", "last-ready", { n: this.#parts.home.now }))
  }

  /** Opens what has arrived, oldest first; what cannot be judged yet waits for the log's next state. */
  #open(inbox: Inbox): void {
    let isAhead = false
    for (const [sequence, bytes] of [...this.#held].toSorted(([a], [b]) => a - b)) {
      if (this.#setAside.has(sequence)) continue
      const outcome = this.#receive(inbox, bytes)
      if (outcome === "later") isAhead = true
      else if (outcome === "failed") this.#setAside.add(sequence)
      else {
        this.#held.delete(sequence)
        this.#collected.push(sequence)
        this.#toScrub = true
      }
    }
    this.#link.collected(this.#collected.splice(0))
    if (isAhead) this.#behind ??= 0
    else this.#behind = undefined
    if (isAhead && this.#isSyncDue) this.#again = true
  }

  /** A message that this program cannot deal with holds up neither the others nor what is to be sent. */
  #receive(inbox: Inbox, bytes: Uint8Array): Outcome | "failed" {
    try {
      return inbox.receive(bytes)
    } catch (error) {
      const code = error instanceof ValiseError ? error.code : "ERR_INTERNAL"
      if (vaultFailures.has(code)) throw error
      const { home } = this.#parts
      const text = `a message cannot be dealt with here (${code}); it stays at the relay`
      home.commit((tx, notices) => home.notice(tx, notices, "not-opened", text))
      return "failed"
    }
  }

  async #syncIfDue(): Promise<void> {
    if (!this.#isSyncDue) return
    this.#syncedAt = this.#nowMs
    if (this.#behind !== undefined) this.#behind++
    try {
      await this.syncLog()
    } catch (error) {
      this.#syncedAt = this.#nowMs - logSyncEveryMs + retryMs
      throw error
    }
  }

  get #isSyncDue(): boolean {
    return this.#nowMs - this.#syncedAt >= this.#syncEveryMs
  }

  /** An envelope that can never be judged must not make this device ask for the log without end. */
  get #syncEveryMs(): number {
    return this.#behind === undefined ? logSyncEveryMs : Math.min(logSyncEveryMs, behindSyncMs * 2 ** this.#behind)
  }

  get #pauseMs(): number {
    if (this.#behind === undefined) return retryMs
    return Math.min(retryMs, Math.max(behindSyncMs / 10, this.#syncedAt + this.#syncEveryMs - this.#nowMs))
  }

  get #nowMs(): number {
    return this.#parts.home.machine.clock.monotonic()
  }

  async #publish(prekeeper: Prekeeper): Promise<void> {
    const { home } = this.#parts
    if (this.#nowMs < this.#publishAfterMs) return
    // A new incarnation may begin at any commit: until it has published, peers seal to keys that nobody holds any more.
    const isSeen = prekeeper.isConfirmed() && Math.abs(home.now - this.#prekeysSeenAt) < prekeysEverySeconds
    if (isSeen) return
    prekeeper.replenish(this.#oneTimeAtRelay)
    for (let batch = prekeeper.unpublished(); batch && this.#link.live; batch = prekeeper.unpublished()) {
      const reset = !prekeeper.isConfirmed()
      prekeeper.markSent(batch.ids)
      try {
        this.#oneTimeAtRelay = await this.#link.publish({
          incarnation: home.vault.incarnation,
          reset,
          ...(batch.rotating && { rotating: batch.rotating }),
          oneTime: [...batch.oneTime],
        })
      } catch (error) {
        const isRefused = error instanceof ValiseError && error.code === "ERR_PREKEYS_REFUSED"
        if (isRefused) prekeeper.takeBack(batch.ids)
        if (isRefused) this.#prekeysRefused() // defence: 24 stop-after-rollback
        throw error
      }
      prekeeper.confirmPublished(batch.ids)
    }
    if (this.#link.live && this.#oneTimeAtRelay > fixed.oneTimeRefillAt) this.#prekeysSeenAt = home.now
  }

  /**
   * The relay may know higher numbers of this incarnation than this vault does: then the vault went back in time, and
   * starts anew. Only on a connection that has just begun, so that a wrong clock shows on either side, and only once an
   * hour, or a relay could make it throw its keys away for ever.
   */
  #prekeysRefused(): void {
    const { home } = this.#parts
    this.#publishAfterMs = this.#nowMs + publishRetryMs
    const relayNow = this.#relayZeroSeconds === undefined ? home.now : this.#relayZeroSeconds + this.#nowMs / 1000
    const isClockWrong = Math.abs(relayNow - home.now) > fixed.clockSkewSecondsMax
    const didLately = home.vault.read((tx) =>
      [...tx.list("notices")].some(
        ([, row]) => row.text === rollBackText && Math.abs(home.now - row.at) < rollBackEverySeconds,
      ),
    )
    const why = isClockWrong ? "its clock and this machine's differ by more than ten minutes" : "it gives no reason"
    const text = `the relay refuses this device's prekeys: ${why}`
    if (isClockWrong || didLately) return home.commit((tx, notices) => home.notice(tx, notices, "no-prekeys", text)) // defence: 24 not-at-the-relays-word
    this.#publishAfterMs = Number.NEGATIVE_INFINITY
    // Its clock may have jumped since it said what time it is: it says so again, and refuses again, or does not.
    if (this.#nowMs - this.#welcomedAtMs > freshWelcomeMs) return this.#link.redial() // defence: 24 fresh-welcome
    home.startNewIncarnation(rollBackText)
    this.#again = true
  }

  /** Erases what is not needed any more, and what is left of it on the disk. */
  #tidy(prekeeper: Prekeeper): void {
    const { home } = this.#parts
    if (this.#nowMs - this.#tidiedAt < tidyEveryMs) return
    this.#tidiedAt = this.#nowMs
    const isDrained = this.#link.live && this.#held.size === 0 && this.#nowMs - this.#quietSince >= quietMs
    if (isDrained) this.#drainedAt = home.now
    watchExpiry(home)
    if (isDrained) watchUndelivered(home)
    if (prekeeper.erase(this.#drainedAt) > 0) this.#toScrub = true
    if (this.#toScrub) this.#toScrub = !home.vault.scrub()
  }

  /** One step of a round; what the connection or the peer spoils is tried again in a later round. */
  async #attempt(step: () => Promise<void>): Promise<void> {
    const { home } = this.#parts
    try {
      await step()
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
      // A device has left its mailbox, or the relay says so: the log knows.
      if (error.code === "ERR_NO_MAILBOX") this.#syncedAt = Math.min(this.#syncedAt, this.#nowMs - logSyncEveryMs)
      const kind = noticeOf[error.code]
      if (kind) home.commit((tx, notices) => home.notice(tx, notices, kind, error.message))
    }
  }

  #setStatus(status: LinkStatus): void {
    this.status = status
    if (status.state !== "live") this.ready = false
    if (status.state === "offline") this.#held.clear()
    if (status.state === "offline" && status.reason === "ERR_REPLACED") this.#suspectCopy()
    if (status.state === "offline") this.#askDirectory()
    if (status.state === "offline" && status.reason === "ERR_LOGIN") this.#tellUnlisted()
    this.#parts.home.emit({ kind: "link", status })
  }

  /** A relay that was listed, moved or given a new key since the last look cannot be found, and cannot tell about itself. */
  #askDirectory(): void {
    const { directoryLog, home } = this.#parts
    if (directoryLog) void this.#attempt(async () => void (await home.mirror.sync(directoryLog)))
  }

  /** The line is held by one process of this vault: whoever else logs in with its key has a copy of it. */
  #suspectCopy(): void {
    const { home } = this.#parts
    const text =
      "somebody else logged in at the relay as this device: a copy of this vault is running, or its key was stolen"
    void this.#attempt(async () => home.commit((tx, notices) => home.notice(tx, notices, "roll-back", text)))
  }

  /** The log cannot be asked of a relay that refuses the login, so a device that was removed learns no more than this. */
  #tellUnlisted(): void {
    void this.#attempt(async () => this.#parts.home.noticeOnce("not-listed", unlistedText))
  }

  /** For `drain`: whether anything is on its way that this process could bring further. */
  get busy(): boolean {
    const { outbox } = this.#parts
    return this.#running || this.#held.size > this.#setAside.size || outbox.pending().length > 0
  }
}

const unlistedText = "the relay refuses this device: the directory does not list it, not yet or no longer"
const rollBackText =
  "this vault went back in time (a restored copy, or two copies running): it starts anew, and what was sealed to it before must be sent again"

const noticeOf: Partial<Record<ErrorCode, NoticeKind>> = {
  ERR_DIRECTORY_SPLIT: "split-view",
  ERR_DIRECTORY_STALE: "stale-directory",
}
