/** C2SP tlog-tiles: the log as static files that any web server can mirror (SPEC, "Transparency log"). */
import { concat, u16be } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { parseCheckpointText } from "./checkpoint.ts"
import type { LogSource } from "./log-source.ts"
import { parseNote } from "./note.ts"

/** Hashes in a full tile, entries in a full bundle. */
export const tileWidth = 256

/** `entries` are the leaves themselves; level 0 holds their hashes, level n + 1 the roots of full tiles of level n. */
export interface Tile {
  readonly level: "entries" | number
  readonly index: number
  /** 256, or less for the last tile of a row. */
  readonly width: number
}

export const checkpointPath = "checkpoint"

/** `tile/<L>/<N>[.p/<W>]`, e.g. `tile/0/x001/234` or `tile/entries/000.p/17`. */
export function tilePath({ level, index, width }: Tile): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0")
  const groups = digits.match(/.{3}/g)!.map((group, i, all) => (i < all.length - 1 ? `x${group}` : group))
  return `tile/${level}/${groups.join("/")}${width < tileWidth ? `.p/${width}` : ""}`
}

/** `undefined` for every text that `tilePath` would not have written. */
export function parseTilePath(path: string): Tile | undefined {
  const [, level, groups, width] =
    /^tile\/(entries|[0-9]{1,2})\/((?:x[0-9]{3}\/){0,5}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(path) ?? []
  if (level === undefined || groups === undefined) return undefined
  const tile: Tile = {
    level: level === "entries" ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, "")),
    width: width === undefined ? tileWidth : Number(width),
  }
  const valid = tile.width > 0 && (tile.level === "entries" || tile.level <= 63) && Number.isSafeInteger(tile.index)
  return valid && tilePath(tile) === path ? tile : undefined
}

/** The tiles of one row that a tree of `size` leaves has from tile `first` on: all full but perhaps the last. */
export function* tilesOf(level: Tile["level"], size: number, first = 0): Generator<Tile> {
  const width = Math.floor(size / tileWidth ** (level === "entries" ? 0 : level))
  for (let index = first; index * tileWidth < width; index++)
    yield { level, index, width: Math.min(tileWidth, width - index * tileWidth) }
}

/** The tiles that a tree of `size` leaves has and the tree of its first `before` leaves has not. */
export function* newTiles(before: number, size: number): Generator<Tile> {
  for (let row: number | "entries" = "entries"; ; row = row === "entries" ? 0 : row + 1) {
    const leaves = tileWidth ** (row === "entries" ? 0 : row)
    const [had, has] = [Math.floor(before / leaves), Math.floor(size / leaves)]
    if (has === 0) return
    if (has > had) yield* tilesOf(row, size, Math.floor(had / tileWidth))
  }
}

/** Each entry after its length in two bytes. Throws `ERR_TOO_LARGE` for an entry above `fixed.logEntryBytesMax`. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  if (entries.some(({ length }) => length > fixed.logEntryBytesMax))
    throw new ValiseError("ERR_TOO_LARGE", "a log entry is larger than 65,535 bytes")
  return concat(...entries.flatMap((entry) => [u16be(entry.length), entry]))
}

/** Throws `ERR_MALFORMED` unless the bytes are exactly `count` entries. */
export function decodeBundle(bytes: Uint8Array, count: number): readonly Uint8Array[] {
  const entries: Uint8Array[] = []
  let at = 0
  while (entries.length < count) {
    const start = at + 2
    const end = start + bytes[at]! * 256 + bytes[at + 1]!
    if (!(end <= bytes.length)) return cut() // not a number, if even the length is cut off
    entries.push(bytes.slice(start, end))
    at = end
  }
  return at === bytes.length ? entries : cut()
}

/** Reads one of the log's files by its path; `undefined` if there is none. A folder, a web server, a relay's cache. */
export type ReadLogFile = (path: string) => Promise<Uint8Array | undefined>

/**
 * The log as its tiles tell it. Trusts nothing and proves nothing: whoever reads compares the root over all entries
 * with the checkpoint's. Throws `ERR_MALFORMED` for files that are not in the format, `ERR_NOT_FOUND` for missing ones.
 */
export function tileSource(read: ReadLogFile): LogSource {
  const checkpoint = async () => (await read(checkpointPath)) ?? missing()
  return {
    checkpoint,
    entries: async (from, max) => {
      const { size } = parseCheckpointText(parseNote(await checkpoint()).text)
      const end = Math.min(size, from + max)
      const entries: Uint8Array[] = []
      for (const tile of tilesOf("entries", size, Math.floor(from / tileWidth))) {
        const start = tile.index * tileWidth
        if (start >= end) break
        entries.push(...(await readBundle(read, tile)).slice(Math.max(0, from - start), end - start))
      }
      return entries
    },
  }
}

/** A partial bundle may be gone once the full one is there. */
async function readBundle(read: ReadLogFile, tile: Tile): Promise<readonly Uint8Array[]> {
  const bytes = await read(tilePath(tile))
  if (bytes) return decodeBundle(bytes, tile.width)
  const full = tile.width < tileWidth ? await read(tilePath({ ...tile, width: tileWidth })) : undefined
  return full ? decodeBundle(full, tileWidth).slice(0, tile.width) : missing()
}

function cut(): never {
  throw new ValiseError("ERR_MALFORMED", "not a bundle of log entries")
}

function missing(): never {
  throw new ValiseError("ERR_NOT_FOUND", "a file of the transparency log is missing", {
    hint: "the log's folder holds `checkpoint` and `tile/`; copy it whole",
  })
}
