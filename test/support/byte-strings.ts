/** Everything that an evidence file holds as a byte string, each once, however deep: CBOR inside CBOR, too. The log is public: not that. */
import { decode } from "cborg"
import { hex } from "../../protocol/bytes.ts"
import { decodeBundle } from "../../client-sdk/evidence/bundle.ts"

export function byteStringsIn(file: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = []
  visit({ ...decodeBundle(file), directory: [] }, found)
  return [...new Map(found.map((bytes) => [hex(bytes), bytes])).values()]
}

function visit(value: unknown, found: Uint8Array[]): void {
  if (value instanceof Uint8Array) {
    found.push(value)
    visit(decoded(value), found)
  } else if (Array.isArray(value)) for (const item of value) visit(item, found)
  else if (typeof value === "object" && value !== null) for (const item of Object.values(value)) visit(item, found)
}

/** `undefined` unless it is a structure. */
function decoded(bytes: Uint8Array): unknown {
  try {
    const value: unknown = decode(bytes)
    return typeof value === "object" ? value : undefined
  } catch {
    return undefined
  }
}
