import { ValiseError, type ErrorCode } from "../../protocol/errors.ts"

/** The code of the `ValiseError` that this throws; "none" if nothing is thrown. Any other error passes through. */
export function codeOf(call: () => unknown): ErrorCode | "none" {
  try {
    call()
    return "none"
  } catch (error) {
    if (error instanceof ValiseError) return error.code
    throw error
  }
}

/** The same for a promise that rejects. */
export async function codeOfAsync(call: Promise<unknown>): Promise<ErrorCode | "none"> {
  try {
    await call
    return "none"
  } catch (error) {
    if (error instanceof ValiseError) return error.code
    throw error
  }
}
