/** One answer to `sync-log`: as many entries as fit into a frame, and the checkpoint (SPEC, "Connection"). */
import { frameHeadBytes, type RelayFrame } from "../protocol/frames.ts"
import type { Chosen } from "../protocol/limits.ts"
import type { LogSource } from "../pki/log-source.ts"

export async function logAnswer(log: LogSource, about: number, from: number, limits: Chosen): Promise<RelayFrame> {
  const checkpoint = await log.checkpoint()
  let room = limits.frameBytesMax - frameHeadBytes - structureBytes - checkpoint.length
  const entries: Uint8Array[] = []
  for (const entry of await log.entries(from, limits.logEntriesPerAnswer)) {
    room -= entry.length + entryHeadBytes
    if (room < 0) break
    entries.push(entry)
  }
  return { type: "log", about, checkpoint, entries }
}

/** `about`, and the CBOR map around checkpoint and entries. */
const structureBytes = 64
/** A CBOR byte string's head, up to 65,535 bytes. */
const entryHeadBytes = 3
