/** One message or one request as a program holds it: what is known of it now, and promises of what comes. */
import type { PocAddress } from "../protocol/address.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { ConsentView, Id, MessageView, RecipientStatus, ReplyInput, RespondInput } from "./api.ts"
import type { Poc } from "./poc.ts"

/** One message, sent or received. */
export class Message {
  readonly id: Id
  readonly #poc: Poc

  constructor(poc: Poc, id: Id) {
    this.#poc = poc
    this.id = id
  }

  get view(): MessageView {
    return this.#poc.view(this.id)
  }

  status(): RecipientStatus[] {
    return this.#poc.statusOf(this.id)
  }

  part(name: string): Uint8Array {
    return this.#poc.part(this.id, name)
  }

  /** Resolves when the relay's signed receipt for every device is here. */
  accepted(signal?: AbortSignal): Promise<RecipientStatus[]> {
    return this.#poc.until(() => {
      const all = this.status()
      return all.every(
        (row) => row.devices.length > 0 && row.devices.every((device) => !device.prekey || device.accepted),
      ) && all.every((row) => row.devices.some((device) => device.accepted))
        ? all
        : undefined
    }, signal)
  }

  /** Resolves when a device of this recipient has signed that it opened it. */
  delivered(poc: string, signal?: AbortSignal): Promise<RecipientStatus> {
    return this.#recipient(poc, (row) => row.devices.some((device) => device.delivered), signal)
  }

  /** Resolves when an officer of this recipient has signed for it. */
  acknowledged(poc: string, signal?: AbortSignal): Promise<RecipientStatus> {
    return this.#recipient(poc, (row) => row.acknowledged !== undefined, signal)
  }

  responded(poc: string, signal?: AbortSignal): Promise<RecipientStatus> {
    return this.#recipient(poc, (row) => row.response !== undefined, signal)
  }

  /** A signed receipt; does not indicate concurrence. Throws `ERR_NO_RIGHT` without an unlocked officer. */
  acknowledge(): void {
    this.#poc.acknowledge(this.id)
  }

  respond(response: RespondInput): Message {
    return this.#poc.respond(this.id, response)
  }

  reply(reply: ReplyInput): Message {
    return this.#poc.reply(this.id, reply)
  }

  /** Asks everyone involved whether these parts may go to that PoC. */
  requestConsent(asked: { with: string; leaves: readonly string[]; purpose: string }): ConsentHandle {
    return new ConsentHandle(this.#poc, this.#poc.requestConsent(this.id, asked))
  }

  /** Throws `ERR_NO_CONSENT`: refused here, before anything leaves. */
  forward(consent: ConsentView | { readonly to: string; readonly leaves: readonly string[] }): Message {
    const view = "requestId" in consent ? consent : this.#poc.consentFor(this.id, consent.to, consent.leaves)
    return this.#poc.forward(view.requestId)
  }

  #recipient(poc: string, ready: (row: RecipientStatus) => boolean, signal?: AbortSignal): Promise<RecipientStatus> {
    return this.#poc.until(() => this.status().find((row) => matches(row.poc, poc) && ready(row)), signal)
  }
}

export class ConsentHandle {
  readonly requestId: Id
  readonly #poc: Poc

  constructor(poc: Poc, requestId: Id) {
    this.#poc = poc
    this.requestId = requestId
  }

  get view(): ConsentView {
    return this.#poc.consent(this.requestId)
  }

  /** Resolves when everyone has consented and the sender has attested. Rejects with `ERR_NO_CONSENT` on a refusal or withdrawal. */
  granted(signal?: AbortSignal): Promise<ConsentView> {
    return this.#poc.until(() => {
      const view = this.view
      if (view.state === "refused" || view.state === "withdrawn" || view.state === "expired")
        throw new ValiseError("ERR_NO_CONSENT", `the request was ${view.state}`)
      return view.state === "granted" ? view : undefined
    }, signal)
  }
}

/** `sg/technical` means every PoC of that State and role here. */
const matches = (address: PocAddress, text: string): boolean => address === text || address.startsWith(`${text}/`)
