/**
 * The line to the relay: dials, logs in, keeps trying for ever with full jitter, and turns frames into answers. What
 * arrives is handed on in order; what is asked resolves, or rejects with the connection.
 */
import type { DeviceId, MailboxId } from "../protocol/address.ts"
import { equal } from "../protocol/bytes.ts"
import { ClientConnection } from "../protocol/connection.ts"
import { errorOfWire, ValiseError } from "../protocol/errors.ts"
import type { ClientFrame, LogAnswer, PublishedPrekeys, Received, RelayFrame, Welcome } from "../protocol/frames.ts"
import { sha3 } from "../protocol/primitives.ts"
import type { RelayReceipt } from "../protocol/relay-receipt.ts"
import type { Signed } from "../protocol/statement.ts"
import type { LogSource } from "../pki/log-source.ts"
import type { LinkStatus } from "./api.ts"
import type { Home } from "./home.ts"
import type { Carrier } from "./outbox.ts"
import type { Channel, Transport } from "./transport.ts"

/** What the SDK does with what arrives. */
export interface LinkEvents {
  /** Logged in: `welcome` says what the relay holds. */
  readonly live: (welcome: Welcome) => void
  readonly envelope: (sequence: number, bytes: Uint8Array) => void
  readonly prekeysLow: (held: number) => void
  readonly status: (status: LinkStatus) => void
}

export const retryMinMs = 1000
export const retryMaxMs = 60_000
/** Two copies of one device would otherwise cut each other off every second. */
export const replacedRetryMs = 600_000
/** A connection that lived so long was a good one: the next attempt after it is the first again. */
const steadyMs = 10_000
/** An answer that takes longer means that the line is dead. */
export const answerMaxMs = 30_000

export class Link implements Carrier {
  readonly #home: Home
  readonly #transport: Transport
  readonly #url: string | undefined
  readonly #events: LinkEvents
  #session: Session | undefined
  #attempt = 0
  #cancelRetry: (() => void) | undefined
  #abort = new AbortController()
  #stopped = false

  /** @param url where the relay is reached, if not where the directory lists it */
  constructor(home: Home, transport: Transport, url: string | undefined, events: LinkEvents) {
    this.#home = home
    this.#transport = transport
    this.#url = url
    this.#events = events
  }

  get live(): boolean {
    return this.#session?.welcomed === true
  }

  start(): void {
    this.#stopped = false
    this.#dial()
  }

  /** Says bye and closes, or gives up dialling; `start` dials again. */
  stop(): void {
    this.#stopped = true
    this.#cancelRetry?.()
    this.#session?.leave()
    this.#session = undefined
    this.#abort.abort()
    this.#abort = new AbortController()
    this.#events.status({ state: "closed" })
  }

  /** Ends this connection. Soon another one begins, with a welcome of its own. */
  redial(): void {
    this.#session?.leave()
  }

  async fetchPrekey(device: DeviceId): Promise<Signed | undefined> {
    try {
      const answer = await this.#ask({ type: "fetch-prekeys", device }, "prekeys")
      return answer.prekey
    } catch (error) {
      if (error instanceof ValiseError && (error.code === "ERR_NO_PREKEYS" || error.code === "ERR_NO_MAILBOX"))
        return undefined
      throw error
    }
  }

  async submit(mailbox: MailboxId, blind: Uint8Array, envelope: Uint8Array): Promise<RelayReceipt> {
    return this.#live().submit({ type: "submit", mailbox, blind, envelope })
  }

  async publish(prekeys: PublishedPrekeys): Promise<number> {
    const answer = await this.#ask({ type: "publish-prekeys", ...prekeys }, "notice")
    return answer.count ?? 0
  }

  collected(sequences: readonly number[]): void {
    if (this.live && sequences.length > 0) this.#session!.tell({ type: "collected", sequences })
  }

  /** The relay's mirror of the log. */
  readonly log: LogSource = {
    checkpoint: async () => (await this.#logFrom(this.#home.mirror.size)).checkpoint,
    entries: async (from, max) => (await this.#logFrom(from)).entries.slice(0, max),
  }

  #logFrom(from: number): Promise<LogAnswer> {
    return this.#ask({ type: "sync-log", from }, "log")
  }

  async #ask<N extends RelayFrame["type"]>(frame: ClientFrame, expected: N): Promise<Extract<RelayFrame, { type: N }>> {
    const answer = await this.#live().ask(frame)
    if (answer.type !== expected) throw new ValiseError("ERR_PROTOCOL", "the relay answered with another frame")
    return answer as Extract<RelayFrame, { type: N }>
  }

  #live(): Session {
    if (!this.#session?.welcomed)
      throw new ValiseError("ERR_OFFLINE", "the relay cannot be reached", { hint: "it is tried again by itself" })
    return this.#session
  }

  #dial(): void {
    this.#attempt += 1
    this.#events.status({ state: "connecting", attempt: this.#attempt })
    const session = new Session(this.#home, this.#events, (reason, retryAfterMs) =>
      this.#ended(session, reason, retryAfterMs),
    )
    this.#session = session
    const url = this.#nextUrl()
    if (url === undefined) return session.unlisted()
    this.#transport.connect(url, session, this.#abort.signal).then(
      (channel) => session.begin(channel),
      () => session.end(1006),
    )
  }

  /** The relay's addresses in the log, in turn. `undefined`: what is not listed could not be believed either. */
  #nextUrl(): string | undefined {
    const { identity, mirror } = this.#home
    if (this.#url !== undefined) return this.#url
    const listed = mirror.state.relay(identity.relay)?.urls
    const urls = listed?.length === 0 ? [`wss://${identity.relay}/`] : listed
    return urls?.[(this.#attempt - 1) % urls.length]
  }

  #ended(session: Session, reason: string, retryAfterMs: number | undefined): void {
    if (this.#session !== session || this.#stopped) return
    this.#session = undefined
    if (session.livedMs >= steadyMs) this.#attempt = 0
    const isReplaced = reason === "ERR_REPLACED"
    const ceiling = isReplaced ? replacedRetryMs : Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(this.#attempt, 16))
    const least = isReplaced ? replacedRetryMs / 2 : 0
    const jitter = this.#home.machine.random.bytes(4)
    const share = ((jitter[0]! << 16) | (jitter[1]! << 8) | jitter[2]!) / 2 ** 24
    const retryInMs = Math.round(Math.max(retryAfterMs ?? 0, least, share * ceiling))
    this.#events.status({ state: "offline", reason, retryInMs })
    this.#cancelRetry = this.#home.machine.clock.after(retryInMs, () => {
      if (!this.#stopped) this.#dial()
    })
  }
}

const interceptedText =
  "somebody between this machine and the relay ends TLS with a certificate that is not the relay's: nothing was sent that way"

interface Waiting {
  readonly resolve: (frame: Received<RelayFrame>) => void
  readonly reject: (error: ValiseError) => void
}

/** One connection, from hello to its end. */
class Session {
  welcomed = false
  #welcomedAt = 0
  readonly #home: Home
  readonly #events: LinkEvents
  readonly #ended: (reason: string, retryAfterMs?: number) => void
  readonly #connection: ClientConnection
  readonly #waiting = new Map<number, Waiting>()
  readonly #submissions = new Map<
    number,
    { resolve: (receipt: RelayReceipt) => void; reject: (error: ValiseError) => void }
  >()
  readonly #queue: (() => void)[] = []
  #channel: Channel | undefined
  #credits = 0
  #over = false
  #retryAfterMs: number | undefined
  #cancelWatch: (() => void) | undefined

  constructor(home: Home, events: LinkEvents, ended: (reason: string, retryAfterMs?: number) => void) {
    this.#home = home
    this.#events = events
    this.#ended = ended
    const { identity, mirror } = home
    this.#connection = new ClientConnection({
      realm: home.realm,
      device: identity.device,
      key: home.deviceKey,
      host: identity.relay,
      judgeRelay: () => {
        const relay = mirror.state.relay(identity.relay)
        if (relay && relay.notAfter < home.now) return undefined // defence: 29 relay-certificate-expired
        return relay?.key
      },
      random: (length) => home.machine.random.bytes(length),
    })
  }

  begin(channel: Channel): void {
    this.#channel = channel
    if (this.#over) return channel.close()
    channel.send(this.#connection.hello())
    this.#watch()
  }

  /** Transport's message event. One place catches what the relay did wrong. */
  message(bytes: Uint8Array): void {
    if (this.#over) return
    try {
      const event = this.#connection.receive(bytes)
      if (event.type === "proof") this.#channel!.send(event.bytes)
      if (event.type === "frame") this.#act(event.frame)
    } catch (error) {
      this.#finish(
        error instanceof ValiseError
          ? error
          : new ValiseError("ERR_INTERNAL", "the connection failed", { cause: error }),
      )
    }
  }

  /** Transport's end event. */
  end(code: number): void {
    const known = code >= 4400 && code < 4500
    this.#finish(new ValiseError(known ? errorOfWire(code) : "ERR_OFFLINE", "the connection to the relay ended"))
  }

  /** The directory, as it is known here, has no such relay. */
  unlisted(): void {
    this.#finish(new ValiseError("ERR_UNTRUSTED", "the directory does not list this relay"))
  }

  /** Since the welcome; 0 before it. */
  get livedMs(): number {
    return this.welcomed ? this.#home.machine.clock.monotonic() - this.#welcomedAt : 0
  }

  leave(): void {
    if (this.welcomed && this.#connection.may("bye")) this.tell({ type: "bye" })
    this.#finish(new ValiseError("ERR_ABORTED", "the connection was closed here"))
  }

  /** @param before called with the counter by which answers will name the frame, before it leaves */
  tell(frame: ClientFrame, before: (counter: number) => void = () => undefined): void {
    const { bytes, counter } = this.#connection.send(frame)
    before(counter)
    this.#channel!.send(bytes)
  }

  ask(frame: ClientFrame): Promise<Received<RelayFrame>> {
    return new Promise((resolve, reject) => {
      if (this.#over || !this.#connection.may(frame.type))
        return reject(new ValiseError("ERR_OFFLINE", "the line is closing"))
      this.tell(frame, (counter) => this.#waiting.set(counter, { resolve, reject }))
      this.#watch()
    })
  }

  submit(frame: Extract<ClientFrame, { type: "submit" }>): Promise<RelayReceipt> {
    return new Promise((resolve, reject) => {
      const go = (): void => {
        if (this.#over || !this.#connection.may("submit"))
          return reject(new ValiseError("ERR_OFFLINE", "the line is closing"))
        this.tell(frame, (counter) => this.#submissions.set(counter, { resolve, reject }))
        this.#watch()
      }
      if (this.#submissions.size < this.#credits || this.#over) go()
      else this.#queue.push(go)
    })
  }

  #act(frame: Received<RelayFrame>): void {
    switch (frame.type) {
      case "welcome":
        this.#refuseInterception(frame.tlsCertificateHash) // defence: 30 tls-certificate
        this.welcomed = true
        this.#welcomedAt = this.#home.machine.clock.monotonic()
        this.#watch()
        this.#credits = Math.max(1, frame.credits)
        this.#events.status({ state: "live", relay: this.#home.identity.relay })
        this.#events.live(frame)
        break
      case "envelope":
        this.#events.envelope(frame.sequence, frame.envelope)
        break
      case "accepted":
        for (const { about, index, minute, path } of frame.items) {
          this.#submissions
            .get(about)
            ?.resolve({ relay: this.#home.identity.relay, batch: frame.batch, index, minute, path })
          this.#submissions.delete(about)
        }
        this.#next()
        this.#watch()
        break
      case "error": {
        const error = new ValiseError(errorOfWire(frame.code), "the relay refused the request")
        const failed = this.#waiting.get(frame.about) ?? this.#submissions.get(frame.about)
        this.#waiting.delete(frame.about)
        this.#submissions.delete(frame.about)
        failed?.reject(error)
        this.#next()
        this.#watch()
        break
      }
      case "notice":
        if (frame.kind === "drain") this.#retryAfterMs = (frame.retryAfterSeconds ?? 0) * 1000
        else if (frame.kind === "prekeys-low") this.#events.prekeysLow(frame.count ?? 0)
        if (frame.about !== undefined) this.#answer(frame.about, frame)
        break
      case "prekeys":
      case "log":
        this.#answer(frame.about, frame)
        break
    }
  }

  /** The relay says which certificate its clients see. Another one here: somebody else ends TLS, and nothing goes that way. */
  #refuseInterception(expected: Uint8Array | undefined): void {
    const seen = this.#channel!.tlsCertificate
    if (expected === undefined || seen === undefined || equal(sha3(seen), expected)) return
    const home = this.#home
    home.commit((tx, notices) => home.notice(tx, notices, "intercepted", interceptedText))
    throw new ValiseError("ERR_UNTRUSTED", interceptedText)
  }

  #answer(about: number, frame: Received<RelayFrame>): void {
    this.#waiting.get(about)?.resolve(frame)
    if (this.#waiting.delete(about)) this.#watch()
  }

  #next(): void {
    while (this.#submissions.size < this.#credits && this.#queue.length > 0) this.#queue.shift()!()
  }

  /** Restarts the deadline, at every question and answer, while anything is unanswered, the login included. */
  #watch(): void {
    this.#cancelWatch?.()
    this.#cancelWatch = undefined
    if (this.#over || (this.welcomed && this.#waiting.size + this.#submissions.size === 0)) return
    this.#cancelWatch = this.#home.machine.clock.after(answerMaxMs, () =>
      this.#finish(new ValiseError("ERR_TIMEOUT", "the relay did not answer in time")),
    )
  }

  #finish(error: ValiseError): void {
    if (this.#over) return
    this.#over = true
    this.#cancelWatch?.()
    this.#connection.close()
    this.#channel?.close()
    const offline = new ValiseError("ERR_OFFLINE", "the connection ended before the relay answered", { cause: error })
    for (const waiting of [...this.#waiting.values(), ...this.#submissions.values()]) waiting.reject(offline)
    for (const go of this.#queue.splice(0)) go()
    this.#ended(error.code, this.#retryAfterMs)
  }
}
