/**
 * Every failure, with its stable code (SPEC, "Errors"). `retryable` says whether the same call may succeed later unchanged;
 * `wire` is the close or error-frame code where the relay says it to a peer; `exit` is the command's exit code.
 */
export const errorTable = {
  // what a peer did wrong on the connection; these close it
  ERR_PROTOCOL: { wire: 4400, retryable: false, exit: 3 },
  ERR_LOGIN: { wire: 4401, retryable: false, exit: 4 },
  ERR_VERSION: { wire: 4402, retryable: false, exit: 3 },
  ERR_FRAME_AUTHENTICATION: { wire: 4403, retryable: true, exit: 3 },
  ERR_DEADLINE: { wire: 4408, retryable: true, exit: 3 },
  ERR_REPLACED: { wire: 4409, retryable: true, exit: 3 },
  ERR_FRAME_TOO_LARGE: { wire: 4413, retryable: false, exit: 3 },
  ERR_SLOW_READER: { wire: 4414, retryable: true, exit: 3 },
  ERR_RATE_LIMITED: { wire: 4429, retryable: true, exit: 5 },
  ERR_DRAINING: { wire: 4450, retryable: true, exit: 3 },
  ERR_INTERNAL: { wire: 4499, retryable: true, exit: 1 },
  // what the relay answers to one request; the connection lives on
  ERR_NO_MAILBOX: { wire: 4420, retryable: false, exit: 1 },
  ERR_MAILBOX_FULL: { wire: 4421, retryable: true, exit: 5 },
  ERR_NO_PREKEYS: { wire: 4422, retryable: true, exit: 1 },
  ERR_PREKEYS_REFUSED: { wire: 4423, retryable: false, exit: 1 },
  ERR_STORE_UNAVAILABLE: { wire: 4425, retryable: true, exit: 3 },
  // decoding, opening, verifying
  ERR_MALFORMED: { retryable: false, exit: 1 },
  ERR_UNTRUSTED: { retryable: false, exit: 4 },
  ERR_NOT_ANCHORED: { retryable: false, exit: 4 },
  ERR_EVIDENCE: { retryable: false, exit: 4 },
  ERR_INVITATION: { retryable: false, exit: 4 },
  ERR_DIRECTORY_STALE: { retryable: true, exit: 4 },
  ERR_DIRECTORY_SPLIT: { retryable: false, exit: 4 },
  // using the SDK and the command
  ERR_USAGE: { retryable: false, exit: 2 },
  ERR_UNKNOWN_ADDRESS: { retryable: false, exit: 2 },
  ERR_NOT_FOUND: { retryable: false, exit: 1 },
  ERR_AMBIGUOUS: { retryable: false, exit: 2 },
  ERR_CONTENT: { retryable: false, exit: 2 },
  ERR_TOO_LARGE: { retryable: false, exit: 2 },
  ERR_NO_RIGHT: { retryable: false, exit: 4 },
  ERR_NO_CONSENT: { retryable: false, exit: 4 },
  ERR_TLP: { retryable: false, exit: 4 },
  ERR_PASSPHRASE: { retryable: false, exit: 4 },
  ERR_VAULT: { retryable: false, exit: 1 },
  ERR_VAULT_TAMPERED: { retryable: false, exit: 4 },
  ERR_DISK: { retryable: true, exit: 1 },
  ERR_OFFLINE: { retryable: true, exit: 3 },
  ERR_ABORTED: { retryable: true, exit: 130 },
  ERR_TIMEOUT: { retryable: true, exit: 3 },
} as const satisfies Record<string, { wire?: number; retryable: boolean; exit: number }>

export type ErrorCode = keyof typeof errorTable

/** The one error class of every boundary. Messages never hold secrets, content or key material. */
export class ValiseError extends Error {
  readonly code: ErrorCode
  readonly hint: string | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = "ValiseError"
    this.code = code
    this.hint = options.hint
  }

  /** Whether the same call may succeed later, unchanged. */
  get retryable(): boolean {
    return errorTable[this.code].retryable
  }
}

/** The error that a close or error-frame code stands for; an unknown number is a protocol error. */
export function errorOfWire(wire: number): ErrorCode {
  return codeOfWire.get(wire) ?? "ERR_PROTOCOL"
}

export function wireOfError(code: ErrorCode): number {
  const row = errorTable[code]
  return "wire" in row ? row.wire : errorTable.ERR_INTERNAL.wire
}

const codeOfWire = new Map<number, ErrorCode>()
for (const [code, row] of Object.entries(errorTable)) if ("wire" in row) codeOfWire.set(row.wire, code as ErrorCode)
