/** Ctrl-C and SIGTERM: a verb ends in order, and the command with 130. One that comes later ends it at once. */
import { errorTable } from "../protocol/errors.ts"

/** The terminal and `npm start` may each pass on the same Ctrl-C. */
const sameSignalMs = 1000

export interface Stop {
  /** Aborts at the first signal. */
  readonly signal: AbortSignal
  /** No longer listens. */
  release(): void
}

export function untilStopped(): Stop {
  const controller = new AbortController()
  let firstAt: number | undefined
  const onSignal = (): void => {
    firstAt ??= performance.now()
    if (performance.now() - firstAt > sameSignalMs) process.exit(errorTable.ERR_ABORTED.exit)
    controller.abort()
  }
  for (const name of names) process.on(name, onSignal)
  return {
    signal: controller.signal,
    release: () => {
      for (const name of names) process.off(name, onSignal)
    },
  }
}

const names = ["SIGINT", "SIGTERM"] as const
