/**
 * One connection at the relay: its login, its requests, its deliveries. Sockets are behind `Wire`, storage behind
 * `MailboxStore`; what may follow what is the protocol's business (`protocol/connection.ts`).
 */
import { equal } from "../protocol/bytes.ts"
import { RelayConnection } from "../protocol/connection.ts"
import { parseEnvelope, envelopeVersion, suite } from "../protocol/envelope.ts"
import { ValiseError, wireOfError, type ErrorCode } from "../protocol/errors.ts"
import type { ClientFrame, Received, RelayFrame } from "../protocol/frames.ts"
import { taggedHash } from "../protocol/hash.ts"
import { seconds } from "../system/machine.ts"
import type { Submitter } from "./batcher.ts"
import type { ServedDevice } from "./directory-view.ts"
import { logAnswer } from "./log-answer.ts"
import type { RelayCore } from "./relay.ts"
import type { Sequence } from "./store.ts"

/** A WebSocket, as far as the relay's core is concerned. Nothing here throws. */
export interface Wire {
  send(bytes: Uint8Array): void
  /** Ends the connection after what has been sent; `undefined`: both sides are done. */
  close(reason: ErrorCode | undefined): void
  /** The login is complete: the limits for strangers no longer apply. */
  admitted(): void
  /** Output that the peer has not taken yet. */
  readonly unreadBytes: number
}

/** What came of a request: an answer, or one of the errors that leave the connection alive. */
type Answer = RelayFrame | Refusal
interface Refusal {
  readonly refused: ErrorCode
  readonly retryAfterSeconds?: number
}

export class Session implements Submitter {
  /** Counted from the start of this process; the only name of a connection in the log. */
  readonly number: number
  readonly #core: RelayCore
  readonly #wire: Wire
  readonly #address: string
  readonly #connection: RelayConnection
  #device: ServedDevice | undefined
  #over = false
  #submissions = 0
  #requests = 0
  #lastSent: Sequence = 0
  readonly #uncollected = new Map<Sequence, number>()
  #uncollectedBytes = 0
  #delivering = false
  #deliverAgain = false
  #toldPrekeysLow = false

  /** @param address whose login budget this connection draws on */
  constructor(core: RelayCore, wire: Wire, address: string, number: number) {
    this.number = number
    this.#core = core
    this.#wire = wire
    this.#address = address
    this.#connection = new RelayConnection({
      realm: core.realm,
      key: core.key,
      certificate: core.certificate(),
      hosts: [core.host],
      deviceKey: (device) => {
        const known = core.directory.device(device)
        if (!known) core.directory.lookSoon()
        return known?.key
      },
      random: (length) => core.random.bytes(length),
      hashOf: (envelope) => core.digests.of(envelope),
    })
  }

  /** The device that has proved itself here. */
  get device(): ServedDevice | undefined {
    return this.#device
  }

  /** One binary message. Never throws: the one place that deals with a peer's faults, and with ours. */
  message(bytes: Uint8Array): void {
    if (!this.#over) this.#guard(() => this.#receive(bytes))
  }

  /** The socket is gone. */
  ended(): void {
    this.#over = true
    this.#connection.close()
    this.#core.left(this)
  }

  /** The peer has taken all output. */
  drained(): void {
    this.deliver()
  }

  end(reason: ErrorCode | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#connection.close()
    this.#core.left(this)
    if (reason) this.#core.log.info("connection.closed", { connection: this.number, code: reason })
    this.#wire.close(reason)
  }

  /** Another connection of the same device has logged in. */
  replaced(): void {
    if (this.#connection.may("notice")) this.#send({ type: "notice", kind: "replaced" })
    this.end("ERR_REPLACED")
  }

  /** Tells the device to go elsewhere; what is under way is finished, nothing new begun. */
  drain(retryAfterSeconds: number): void {
    const { state } = this.#connection
    if (state === "live") this.#send({ type: "notice", kind: "drain", retryAfterSeconds })
    else if (state !== "leaving") this.end("ERR_DRAINING")
  }

  get isIdle(): boolean {
    return this.#submissions === 0 && this.#requests === 0
  }

  /** `Submitter`: the receipts of what this connection submitted. */
  accepted(frame: Extract<RelayFrame, { type: "accepted" }>): void {
    this.#submissions -= frame.items.length
    this.#send(frame)
    this.#leaveIfDone()
  }

  /** Hands out what lies in the mailbox, as far as the device keeps up. */
  deliver(): void {
    this.#deliverAgain = true
    if (!this.#delivering) this.#guard(() => this.#deliverAll())
  }

  prekeysLow(held: number): void {
    if (this.#over || this.#toldPrekeysLow || !this.#connection.may("notice")) return
    this.#toldPrekeysLow = true
    this.#send({ type: "notice", kind: "prekeys-low", count: held })
  }

  #receive(bytes: Uint8Array): void | Promise<void> {
    const event = this.#connection.receive(bytes)
    switch (event.type) {
      case "hello":
        if (this.#core.logins.take(this.#address) > 0)
          throw new ValiseError("ERR_RATE_LIMITED", "too many logins from one address")
        return this.#wire.send(this.#connection.challenge())
      case "proved":
        return this.#welcome(this.#core.directory.device(event.device)!)
      case "frame":
        return this.#act(event.counter, event.frame)
      case "unknown":
        return
    }
  }

  async #welcome(device: ServedDevice): Promise<void> {
    this.#device = device
    this.#core.seat(this, device)
    const oneTimePrekeys = await this.#core.store.countPrekeys(device.device)
    if (this.#over) return
    this.#send({
      type: "welcome",
      timeSeconds: seconds(this.#core.clock),
      credits: this.#core.limits.credits,
      oneTimePrekeys,
      logSize: this.#core.directory.size,
      tlsCertificateHash: this.#core.tlsCertificateHash(),
    })
    this.#wire.admitted()
    this.#core.log.info("connection.live", { connection: this.number })
    this.deliver()
  }

  #act(counter: number, frame: Received<ClientFrame>): void | Promise<void> {
    const device = this.#device!
    const draining = this.#connection.state === "draining"
    switch (frame.type) {
      case "submit":
        if (this.#submissions >= this.#core.limits.credits)
          throw new ValiseError("ERR_PROTOCOL", "more submissions than credits")
        this.#submissions += 1
        return this.#answerSubmission(counter, () =>
          draining ? drainingRefusal : this.#submit(device, counter, frame),
        )
      case "collected":
        return this.#collect(device, frame.sequences)
      case "fetch-prekeys":
        return this.#answer(counter, () => this.#fetchPrekeys(device, counter, frame))
      case "publish-prekeys":
        return this.#answer(counter, () => this.#publishPrekeys(device, counter, frame))
      case "sync-log":
        return this.#answer(counter, () => logAnswer(this.#core.directory.log, counter, frame.from, this.#core.limits))
      case "bye":
        return this.#leaveIfDone()
    }
  }

  /** Resolves to `undefined` when the envelope is stored and its receipt is on the way. */
  async #submit(
    device: ServedDevice,
    counter: number,
    { mailbox, blind, envelope, digest }: Extract<Received<ClientFrame>, { type: "submit" }>,
  ): Promise<Refusal | undefined> {
    const { submissions, directory, storing, store, batcher, clock } = this.#core
    const wait = submissions.take(device.poc)
    if (wait > 0) return { refused: "ERR_RATE_LIMITED", retryAfterSeconds: wait }
    if (envelope[0] !== envelopeVersion || envelope[1] !== suite) return { refused: "ERR_VERSION" }
    const parts = parseEnvelope(envelope)
    if (!parts || !equal(parts.mailbox, mailbox))
      throw new ValiseError("ERR_PROTOCOL", "not an envelope to this mailbox")
    if (!directory.deviceOfMailbox(mailbox)) return { refused: "ERR_NO_MAILBOX" }
    if (!storing.take(envelope.length)) return { refused: "ERR_RATE_LIMITED", retryAfterSeconds: 1 }
    try {
      const minute = Math.floor(seconds(clock) / 60)
      const name = retryName(blind, digest) // defence: 22 resubmission => const name = retryName(new Uint8Array(32), digest)
      const stored = await store.append(mailbox, name, minute, envelope)
      if (stored.outcome === "full") return { refused: "ERR_MAILBOX_FULL" }
      batcher.add({ item: { blind, digest, mailbox, minute: stored.minute }, submitter: this, about: counter })
      this.#core.arrived(mailbox)
      return undefined
    } finally {
      storing.release(envelope.length)
    }
  }

  async #fetchPrekeys(
    device: ServedDevice,
    about: number,
    frame: Extract<ClientFrame, { type: "fetch-prekeys" }>,
  ): Promise<Answer> {
    const { fetches, directory, prekeys, clock } = this.#core
    const wait = fetches.take(device.poc)
    if (wait > 0) return { refused: "ERR_RATE_LIMITED", retryAfterSeconds: wait }
    if (!directory.device(frame.device)) return { refused: "ERR_NO_MAILBOX" }
    const prekey = await prekeys.take(frame.device, seconds(clock))
    this.#core.prekeyTaken(frame.device)
    return { type: "prekeys", about, prekey }
  }

  async #publishPrekeys(
    device: ServedDevice,
    about: number,
    frame: Extract<ClientFrame, { type: "publish-prekeys" }>,
  ): Promise<Answer> {
    const count = await this.#core.prekeys.publish(device, frame, seconds(this.#core.clock))
    if (count === undefined) return { refused: "ERR_PREKEYS_REFUSED" }
    this.#toldPrekeysLow = false
    return { type: "notice", kind: "prekeys-stored", about, count }
  }

  /** Only what was delivered here: so a device cannot make the relay remember more than is on its way to it. */
  async #collect(device: ServedDevice, sequences: readonly Sequence[]): Promise<void> {
    const collected = sequences.filter((sequence) => {
      this.#uncollectedBytes -= this.#uncollected.get(sequence) ?? 0
      return this.#uncollected.delete(sequence)
    })
    if (collected.length === 0) return
    this.deliver()
    // If it cannot be deleted, it comes again, and the vault drops it.
    await this.#refusalOr(() => this.#core.store.collect(device.mailbox, collected))
  }

  async #deliverAll(): Promise<void> {
    const { store, limits } = this.#core
    const mailbox = this.#device?.mailbox
    if (!mailbox) return
    this.#delivering = true
    try {
      while (this.#deliverAgain && this.#connection.may("envelope")) {
        this.#deliverAgain = false
        const room = limits.deliveriesInFlightMax - this.#uncollected.size
        if (room <= 0 || this.#isBehind()) return
        const envelopes = await store.read(mailbox, this.#lastSent, Math.min(room, readMax))
        for (const { sequence, minute, bytes } of envelopes) {
          if (!this.#connection.may("envelope") || this.#isBehind()) return
          this.#lastSent = sequence
          this.#uncollected.set(sequence, bytes.length)
          this.#uncollectedBytes += bytes.length
          this.#send({ type: "envelope", sequence, minute, envelope: bytes })
        }
        if (envelopes.length > 0) this.#deliverAgain = true
      }
    } finally {
      this.#delivering = false
    }
  }

  #isBehind(): boolean {
    const { limits } = this.#core
    return (
      this.#uncollectedBytes >= limits.deliveryBytesInFlightMax || this.#wire.unreadBytes > limits.unreadBytesMax / 4
    )
  }

  async #answerSubmission(counter: number, ask: () => Refusal | Promise<Refusal | undefined>): Promise<void> {
    const refusal = await this.#refusalOr(ask)
    if (refusal === undefined) return
    this.#submissions -= 1
    this.#refuse(counter, refusal)
    this.#leaveIfDone()
  }

  async #answer(counter: number, ask: () => Promise<Answer>): Promise<void> {
    const { limits, requests } = this.#core
    if (this.#connection.state === "draining") return this.#refuse(counter, drainingRefusal)
    const wait = this.#requests >= limits.requestsInFlightMax ? 1 : requests.take(this.#device!.poc)
    if (wait > 0) return this.#refuse(counter, { refused: "ERR_RATE_LIMITED", retryAfterSeconds: wait })
    this.#requests += 1
    const answer = await this.#refusalOr(ask)
    this.#requests -= 1
    if ("type" in answer) this.#send(answer)
    else this.#refuse(counter, answer)
    this.#leaveIfDone()
  }

  /** A store that cannot be written to is told to the peer like any refusal. */
  async #refusalOr<T>(ask: () => T | Promise<T>): Promise<T | Refusal> {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof ValiseError) || error.code !== "ERR_STORE_UNAVAILABLE") throw error
      this.#core.log.fault(error)
      return { refused: error.code, retryAfterSeconds: 1 }
    }
  }

  #refuse(about: number, { refused, retryAfterSeconds = 0 }: Refusal): void {
    this.#send({ type: "error", about, code: wireOfError(refused), retryAfterSeconds })
  }

  /** After bye, when everything asked for has been answered. */
  #leaveIfDone(): void {
    if (this.#connection.state === "leaving" && this.isIdle) this.end(undefined)
  }

  #send(frame: RelayFrame): void {
    if (this.#over) return
    this.#wire.send(this.#connection.send(frame).bytes)
    if (this.#wire.unreadBytes > this.#core.limits.unreadBytesMax) this.end("ERR_SLOW_READER")
  }

  #guard(step: () => void | Promise<void>): void {
    try {
      step()?.catch((error) => this.#fail(error))
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    const code = error instanceof ValiseError ? error.code : "ERR_INTERNAL"
    const isOurs = wireOfError(code) === wireOfError("ERR_INTERNAL")
    if (isOurs) this.#core.log.fault(error)
    this.end(isOurs ? "ERR_INTERNAL" : code)
  }
}

const drainingRefusal: Refusal = { refused: "ERR_DRAINING" }

/** Envelopes read from the store at once. */
const readMax = 32

/**
 * What the store knows a submission by, so that a retry is not stored twice. Not the blind itself: with that, whoever
 * gets hold of the store could find an envelope's digest in the path of a neighbour's receipt, and so date it.
 */
const retryName = (blind: Uint8Array, digest: Uint8Array): Uint8Array => taggedHash("retry", blind, digest)
