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

export const seconds = (clock: Clock): number => Math.floor(clock.now() / 1000)
