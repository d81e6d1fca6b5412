/** Every verb the same way: find the home, open the vault, do it, close, and one place for errors. */
import type { Command } from "commander"
import { ValiseError, type Poc } from "../../client-sdk/index.ts"
import { errorTable } from "../../protocol/errors.ts"
import { openHome, type HomeOptions } from "../homes.ts"
import { processIo, report, type Io } from "../io.ts"
import { untilStopped } from "../stop.ts"

export interface VerbOptions extends HomeOptions {
  readonly json?: boolean
}

type Verb<O> = (io: Io, poc: Poc, options: O & VerbOptions, ...args: string[]) => void | Promise<void>

/** @param connect whether the verb needs the relay; the others work on the vault alone */
export function withPoc<O extends object>(connect: boolean, verb: Verb<O>) {
  return action<O>(async (io, options, ...args) => {
    const poc = await openHome(options, connect)
    try {
      await verb(io, poc, options, ...args)
    } finally {
      await poc.close()
    }
  })
}

/** A verb that needs no vault. Sets the exit code; never throws. */
export function action<O extends object>(
  verb: (io: Io, options: O & VerbOptions, ...args: string[]) => void | Promise<void>,
) {
  return async (...given: unknown[]): Promise<void> => {
    const command = given.at(-1) as Command
    // A verb's own option wins over a global one of the same name (`--input FILE` over `--no-input`).
    const stop = untilStopped()
    const options = { ...command.optsWithGlobals(), ...command.opts(), stop: stop.signal } as O & VerbOptions
    const io = processIo(options.json === true)
    // The SDK's timers keep no process alive; a verb that waits does.
    const alive = setInterval(() => {}, 60_000)
    try {
      await verb(io, options, ...command.args)
    } catch (error) {
      const isInterrupted = stop.signal.aborted && error instanceof ValiseError && error.code === "ERR_ABORTED"
      process.exitCode = isInterrupted ? errorTable.ERR_ABORTED.exit : report(io, error)
    } finally {
      if (stop.signal.aborted) process.exitCode ??= errorTable.ERR_ABORTED.exit
      clearInterval(alive)
      stop.release()
    }
  }
}
