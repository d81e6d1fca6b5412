/** What the rest of the system may ask of the machine; everything else gets these as values (docs/architecture.md). */

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

/** Deflate without a header (RFC 1951), one stream per call. */
export interface Deflate {
  deflate(bytes: Uint8Array): Uint8Array
  /** `undefined` if the stream is malformed, has trailing bytes, or inflates to more than `lengthMax`. */
  inflate(bytes: Uint8Array, lengthMax: number): Uint8Array | undefined
}

export interface Machine {
  readonly clock: Clock
  readonly random: Random
  readonly deflate: Deflate
}

export const seconds = (clock: Clock): number => Math.floor(clock.now() / 1000)
