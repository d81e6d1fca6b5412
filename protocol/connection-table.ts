/** What may follow what on a connection (SPEC, "Connection"): one literal table for each end. */
import { ValiseError } from "./errors.ts"
import { frameTypes, type Frame, type FrameName } from "./frames.ts"

/**
 * `draining`: the relay has said that it goes away and takes nothing new.
 * `leaving`: the client has said bye and sends nothing more; answers under way still arrive.
 */
export const connectionStates = [
  "dialled",
  "greeted",
  "challenged",
  "proved",
  "live",
  "draining",
  "leaving",
  "closed",
] as const
export type ConnectionState = (typeof connectionStates)[number]

/** The frames, with those apart that move the connection elsewhere than their like. */
export type Move = FrameName | "hello submit-only" | "notice drain"

/** The state after the move; `refused` ends the connection with `ERR_VERSION`; what is absent, with `ERR_PROTOCOL`. */
type Row = { readonly [M in Move]?: ConnectionState | "refused" }
export type ConnectionTable = { readonly [S in ConnectionState]: Row }

/** The client's view: its own frames when it sends them, the relay's when they arrive. */
export const clientTable: ConnectionTable = {
  dialled: { hello: "greeted", "hello submit-only": "refused" },
  greeted: { challenge: "challenged" },
  challenged: { proof: "proved" },
  proved: { welcome: "live" },
  live: {
    submit: "live",
    collected: "live",
    "fetch-prekeys": "live",
    "publish-prekeys": "live",
    "sync-log": "live",
    bye: "leaving",
    accepted: "live",
    envelope: "live",
    prekeys: "live",
    log: "live",
    notice: "live",
    "notice drain": "draining",
    error: "live",
  },
  draining: {
    collected: "draining",
    bye: "leaving",
    accepted: "draining",
    prekeys: "draining",
    log: "draining",
    notice: "draining",
    error: "draining",
  },
  leaving: {
    accepted: "leaving",
    envelope: "leaving",
    prekeys: "leaving",
    log: "leaving",
    notice: "leaving",
    "notice drain": "leaving",
    error: "leaving",
  },
  closed: {},
}

/** The relay's view. While it drains, what the client sent before it knew still arrives (and is answered `ERR_DRAINING`). */
export const relayTable: ConnectionTable = {
  dialled: { hello: "greeted", "hello submit-only": "refused" },
  greeted: { challenge: "challenged" },
  challenged: { proof: "proved" },
  proved: { welcome: "live" },
  live: clientTable.live,
  draining: {
    submit: "draining",
    collected: "draining",
    "fetch-prekeys": "draining",
    "publish-prekeys": "draining",
    "sync-log": "draining",
    bye: "leaving",
    accepted: "draining",
    prekeys: "draining",
    log: "draining",
    notice: "draining",
    error: "draining",
  },
  leaving: { accepted: "leaving", prekeys: "leaving", log: "leaving", notice: "leaving", error: "leaving" },
  closed: {},
}

export function moveOf(frame: Pick<Frame, "type"> & { readonly kind?: unknown }): Move {
  if (frame.type === "hello" && frame.kind === "submit-only") return "hello submit-only"
  if (frame.type === "notice" && frame.kind === "drain") return "notice drain"
  return frame.type
}

/** Where a connection stands in its table. */
export class Course {
  state: ConnectionState = "dialled"
  readonly #table: ConnectionTable
  readonly #role: "client" | "relay"

  constructor(table: ConnectionTable, role: "client" | "relay") {
    this.#table = table
    this.#role = role
  }

  may(move: Move): boolean {
    const next = this.#table[this.state][move]
    return next !== undefined && next !== "refused"
  }

  /** A wrong move of our own is a fault of the program. */
  send(frame: Frame): void {
    const next = this.#table[this.state][moveOf(frame)]
    if (next === undefined || next === "refused" || !this.#sentBy(this.#role, frame))
      throw new ValiseError("ERR_USAGE", `a ${frame.type} frame cannot be sent while ${this.state}`)
    this.state = next
  }

  /** A wrong move of the peer's ends the connection. */
  receive(frame: Frame): void {
    const next = this.#sentBy(this.#role, frame) ? undefined : this.#table[this.state][moveOf(frame)]
    if (next === "refused") throw new ValiseError("ERR_VERSION", "this kind of connection is not in version 1")
    if (next === undefined)
      throw new ValiseError("ERR_PROTOCOL", `a ${frame.type} frame cannot come while ${this.state}`)
    this.state = next
  }

  close(): void {
    this.state = "closed"
  }

  /** The one place that deals with a peer's faults: the connection is over, and a malformed frame is a wrong move. */
  guard<T>(step: () => T): T {
    try {
      return step()
    } catch (cause) {
      this.close()
      if (cause instanceof ValiseError && cause.code === "ERR_MALFORMED")
        throw new ValiseError("ERR_PROTOCOL", "a frame cannot be read", { cause })
      throw cause
    }
  }

  #sentBy(role: "client" | "relay", frame: Frame): boolean {
    return frameTypes[frame.type] < 0x80 === (role === "client")
  }
}
