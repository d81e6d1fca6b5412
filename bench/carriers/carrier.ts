/**
 * What carries a message from a sender to a mailbox: the relay, or a peer. Every carrier gets the same load: payloads of
 * one size, so many in flight, from a few senders to many mailboxes.
 */
import { randomBytes } from "node:crypto"

export const senders = 8
export const mailboxes = 100
export const inFlight = 256
/** An envelope of the smallest class. */
export const payloadBytes = 5298

export interface Carrier {
  readonly name: string
  readonly configuration: string
  /** Takes a message on. `load.confirmed` and `load.delivered` say what became of it. */
  send(payload: Payload): void
  close(): Promise<void>
}

/** A message that is used again when it has come back; its number stands in its bytes. */
export interface Payload {
  readonly serial: number
  readonly mailbox: number
  readonly bytes: Buffer
  /** Still awaited: the sender's confirmation, the recipient's copy. */
  awaited: number
  sentAt: number
}

/** Where an envelope has its prekey's number, of which the relay knows nothing. */
export const serialAt = 18
const perMailbox = 16

/** The payloads, and who waits for them. */
export class Load {
  readonly payloads: readonly Payload[]
  /** Milliseconds from sending to the sender's confirmation, since the last `measure` began. */
  confirmations: number[] = []
  #free: Payload[]
  #carrier: Carrier | undefined
  #limit = 0
  #done = 0
  #whenIdle: () => void = () => undefined

  /** @param dress writes what the carrier wants to see in the first bytes */
  constructor(dress: (bytes: Buffer, mailbox: number) => void = () => undefined) {
    this.payloads = Array.from({ length: mailboxes * perMailbox }, (_, serial) => {
      const bytes = Buffer.from(new Uint8Array(randomBytes(payloadBytes)).buffer)
      const mailbox = serial % mailboxes
      dress(bytes, mailbox)
      bytes.writeUInt32BE(serial, serialAt)
      return { serial, mailbox, bytes, awaited: 0, sentAt: 0 }
    })
    this.#free = [...this.payloads]
  }

  /** Messages a second, with so many in flight all the time; returns when none is in flight any more. */
  async rate(carrier: Carrier, seconds: number): Promise<number> {
    this.#carrier = carrier
    this.#limit = inFlight
    this.#fill()
    await after(seconds * 250)
    const [begin, before] = [performance.now(), this.#done]
    await after(seconds * 1000)
    const rate = ((this.#done - before) * 1000) / (performance.now() - begin)
    await this.#idle()
    return rate
  }

  /** Sends at this rate, evenly; milliseconds from sending to confirmation, of each. */
  async pace(carrier: Carrier, perSecond: number, seconds: number): Promise<number[]> {
    this.#carrier = carrier
    this.#limit = 0
    this.confirmations = []
    const begin = performance.now()
    for (let sent = 0; performance.now() - begin < seconds * 1000; await after(1))
      for (const due = ((performance.now() - begin) * perSecond) / 1000; sent < due; sent++) this.#send()
    await this.#idle()
    return this.confirmations
  }

  confirmed(serial: number): void {
    const payload = this.payloads[serial]!
    if (this.#limit === 0) this.confirmations.push(performance.now() - payload.sentAt)
    this.#step(payload)
  }

  delivered(bytes: Uint8Array): void {
    const payload = this.payloads[serialOf(bytes)]
    if (!payload || !payload.bytes.equals(bytes)) throw new Error("something else arrived than what was sent")
    this.#step(payload)
  }

  #step(payload: Payload): void {
    payload.awaited -= 1
    if (payload.awaited > 0) return
    if (payload.awaited < 0) throw new Error("a message was confirmed or delivered twice")
    this.#done += 1
    this.#free.push(payload)
    if (this.#free.length === this.payloads.length) this.#whenIdle()
    this.#fill()
  }

  #fill(): void {
    while (this.payloads.length - this.#free.length < this.#limit) this.#send()
  }

  #send(): void {
    // In turn, so that all mailboxes get their share.
    const payload = this.#free.shift()
    if (!payload) throw new Error("the carrier does not keep up with the pace")
    payload.awaited = 2
    payload.sentAt = performance.now()
    this.#carrier!.send(payload)
  }

  async #idle(): Promise<void> {
    this.#limit = 0
    if (this.#free.length < this.payloads.length) await new Promise<void>((resolve) => (this.#whenIdle = resolve))
  }
}

export const serialOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getUint32(serialAt)

export const after = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
