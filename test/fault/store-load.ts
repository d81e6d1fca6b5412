/** What the children of the store's fault tests write, so that their parents can tell what must be there. */
import { createHash } from "node:crypto"
import { writeSync } from "node:fs"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"

export const mailboxOf = (n: number): MailboxId => new Uint8Array(16).fill(n + 1) as MailboxId
export const deviceOf = (n: number): DeviceId => new Uint8Array(32).fill(n + 1) as DeviceId

/** The bytes of the envelope with this name: up to 6 KB, and recognisable. */
export function contentOf(name: string): Uint8Array {
  const length = 100 + (createHash("sha256").update(name).digest().readUInt16BE() % 6000)
  return new Uint8Array(Buffer.alloc(length, `${name} `))
}

export const nameOf = (content: Uint8Array): string => Buffer.from(content).toString().split(" ")[0]!
export const blindOf = (name: string): Uint8Array => new Uint8Array(createHash("sha256").update(name).digest())

/** Writes a line before it returns, however slowly the parent reads. */
export function say(...words: (string | number)[]): void {
  const line = Buffer.from(`${words.join(" ")}\n`)
  for (let written = 0; written < line.length;) {
    try {
      written += writeSync(1, line, written)
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error
    }
  }
}

/** The words of each whole line: a kill may have cut off the last. */
export const linesOf = (output: string): string[][] =>
  output
    .split("\n")
    .slice(0, -1)
    .map((line) => line.split(" "))

/** Numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
