/** What the sandbox tells: in words for a duty officer, or as JSON Lines for programs. */
import { jsonLine, jsonVersion, type Io } from "../io.ts"
import type { Clock } from "../../system/machine.ts"

export const storyEvents = [
  "relay.ready",
  "message.accepted",
  "message.delivered",
  "message.acknowledged",
  "message.responded",
  "forward.refused",
  "forward.quarantined",
  "consent.granted",
  "consent.withdrawn",
  "forward.verified",
  "evidence.verified",
  "relay.inspected",
  "complete",
] as const
export type StoryEvent = (typeof storyEvents)[number]

export interface StoryFacts {
  readonly case?: string
  readonly message?: string
  readonly from?: string
  readonly to?: string
  readonly [name: string]: unknown
}

export class Story {
  readonly #io: Io
  readonly #clock: Clock

  constructor(io: Io, clock: Clock) {
    this.#io = io
    this.#clock = clock
  }

  get json(): boolean {
    return this.#io.json
  }

  /** Words only; nothing in JSON. */
  tell(text: string): void {
    if (!this.#io.json) this.#io.out(`${text}\n`)
  }

  /** Something that happened, with its words. */
  happened(event: StoryEvent, facts: StoryFacts, words?: string): void {
    const at = new Date(this.#clock.now()).toISOString()
    if (this.#io.json) this.#io.out(jsonLine({ v: jsonVersion, event, at, ...facts }))
    else if (words !== undefined) this.#io.out(`  ${words}\n`)
  }
}
