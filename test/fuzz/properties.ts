/** What holds of every decoder, whatever the bytes: its one error and no other, and one encoding for each thing. */
import { equal, hex } from "../../protocol/bytes.ts"
import { ValiseError, type ErrorCode } from "../../protocol/errors.ts"

/** What it returns; `undefined` if it refused with one of the codes that its contract names. Throws for anything else. */
export function tried<T>(codes: readonly ErrorCode[], decode: () => T): T | undefined {
  try {
    return decode()
  } catch (error) {
    if (error instanceof ValiseError && codes.includes(error.code)) return undefined
    throw new Error(`threw ${error instanceof ValiseError ? error.code : String(error)}`, { cause: error })
  }
}

/** What is written of what was read is what was read. */
export function sameBytes(what: string, written: Uint8Array, read: Uint8Array): void {
  if (!equal(written, read)) throw new Error(`${what}: read ${hex(read)}, written ${hex(written)}`)
}

export function ensure(holds: boolean, what: string): void {
  if (!holds) throw new Error(what)
}
