/** What the rest of the system may ask of the machine; everything else gets these as values (docs/architecture.md). */
import type { Deflate } from "../protocol/leaves.ts"

export interface Clock {
  /** Milliseconds since 1970-01-01T00:00Z. May be wrong, may jump: security never rests on it alone. */
  now(): number
  /** Milliseconds of a clock that never jumps; for deadlines and intervals. */
  monotonic(): number
  /** Calls once after `delayMs`; the result cancels. A timer alone does not keep the process alive. */
  after(delayMs: number, call: () => void): () => void
}

export interface Random {
  /** Unpredictable bytes; in a simulation, bytes of the seed. */
  bytes(length: number): Uint8Array
}

export type { Deflate }

export interface Machine {
  readonly clock: Clock
  readonly random: Random
  readonly deflate: Deflate
}

/** One question over HTTP. */
export interface HttpRequest {
  readonly method: "GET" | "POST"
  readonly url: string
  readonly body?: Uint8Array
  /** A longer answer is cut off, and rejects. */
  readonly answerBytesMax: number
}

export interface HttpAnswer {
  readonly status: number
  /** The answering machine's time, in seconds since 1970, if it says so. */
  readonly dateSeconds: number | undefined
  readonly body: Uint8Array
}

/** Follows no redirect, sends no cookie. Rejects, with whatever the network says, if there is no whole answer in time. */
export type Http = (request: HttpRequest) => Promise<HttpAnswer>

export const seconds = (clock: Clock): number => Math.floor(clock.now() / 1000)
