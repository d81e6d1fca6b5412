/** What the command says: results to stdout, everything else to stderr, and one exit code (README, "Exit codes"). */
import { styleText } from "node:util"
import { errorTable, ValiseError } from "../protocol/errors.ts"

export const jsonVersion = 1

export interface Io {
  /** One JSON object per line instead of words. */
  readonly json: boolean
  readonly out: (text: string) => void
  readonly err: (text: string) => void
}

export const processIo = (json: boolean): Io => ({
  json,
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
})

/** Prints a result: `data` as JSON, or what `words` makes of it. */
export function print(io: Io, data: object, words: () => string): void {
  io.out(io.json ? jsonLine({ v: jsonVersion, ...data }) : `${words()}\n`)
}

/** One line of JSON that is harmless on a terminal, too: what `safe` would show is escaped as JSON does it. */
export function jsonLine(data: object): string {
  const text = JSON.stringify(data)
  return `${text.replaceAll(dangerous, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`
}

/** Says what went wrong, with a hint, and gives the exit code. Text of peers never reaches a message, so nothing to escape. */
export function report(io: Io, error: unknown): number {
  const known = error instanceof ValiseError ? error : unexpected(error)
  if (io.json) io.err(jsonLine({ v: jsonVersion, code: known.code, message: known.message, hint: known.hint }))
  else {
    io.err(`valise: error: ${known.message} (${known.code})\n`)
    if (known.hint) io.err(`valise: hint: ${known.hint}\n`)
  }
  return errorTable[known.code].exit
}

function unexpected(cause: unknown): ValiseError {
  const detail = cause instanceof Error ? `${cause.name}: ${cause.message}` : "unknown"
  return new ValiseError("ERR_INTERNAL", `an unexpected failure: ${detail}`, {
    cause,
    hint: "nothing that was accepted is lost; please report this with the command that you gave",
  })
}

/**
 * Text that others wrote, made safe for a terminal: control characters, escape sequences and bidirectional overrides are
 * shown as `\u{…}`, so that no message can move the cursor, hide text or answer for the terminal.
 */
export function safe(text: string, options: { readonly lines?: boolean } = {}): string {
  return text.replaceAll(dangerous, (character) =>
    options.lines && character === "\n" ? "\n" : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  )
}

/** Columns padded to their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = []
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)))
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n")
}

export const strong = (text: string): string => styleText("bold", text, { stream: process.stdout })
export const faint = (text: string): string => styleText("dim", text, { stream: process.stdout })

// C0 and C1 controls, DEL, line and paragraph separators, zero-width and bidirectional controls, byte order mark; all of
// them one UTF-16 unit.
const dangerous = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu
