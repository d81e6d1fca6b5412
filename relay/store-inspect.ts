/** What the relay keeps, as its operator can see it: beside a running relay, or when it is stopped. */
import { closeSync, existsSync, openSync, readdirSync, readSync, statSync } from "node:fs"
import { basename, join } from "node:path"
import { ValiseError } from "../protocol/errors.ts"
import { openForReading, shelfPath, walPath } from "./prekey-shelf-file.ts"
import { shelfContents, type ShelfContents } from "./prekey-shelf-reader.ts"
import { keptEnvelopes } from "./segment-inspect.ts"
import type { ContentsPart } from "./store-inspect-thread.ts"
import { StoreThread } from "./store-thread.ts"
import { errorOf, troubleOf } from "./store-trouble.ts"
import type { StoreContents } from "./store.ts"

export interface StoreInspection {
  readonly contents: StoreContents
  /** The store's files: the segments, the prekeys with their write-ahead log and its index, the lock, the reserve. */
  readonly files: readonly { readonly name: string; readonly bytes: number }[]
  /**
   * Every byte of every file, for a search of what must not be there. Each chunk but a file's first begins with the
   * last `overlap` bytes of the one before, so that what is no longer than `overlap` + 1 lies whole in one of them.
   */
  readonly rawBytes: (overlap?: number) => Generator<RawChunk>
}

export interface RawChunk {
  readonly file: string
  /** Where in the file the chunk begins. */
  readonly at: number
  readonly bytes: Uint8Array
}

/**
 * Reads the store in this folder and changes nothing. Throws `ERR_NOT_FOUND` if there is none, `ERR_VERSION` if a newer
 * release wrote it, `ERR_STORE_UNAVAILABLE` if it cannot be read.
 */
export function inspectStore(folder: string): StoreInspection {
  const contents = storeContents(folder)
  const prefix = basename(shelfPath(folder), "prekeys")
  const files = readdirSync(folder)
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => {
      const stats = statSync(join(folder, name), { throwIfNoEntry: false })
      return stats ? [{ name, bytes: stats.size }] : []
    })
  return {
    contents,
    files,
    rawBytes: function* (overlap = 0) {
      for (const { name } of files) yield* chunksOf(folder, name, overlap)
    },
  }
}

/** Likewise, of what is kept. */
export function storeContents(folder: string): StoreContents {
  if (!existsSync(folder)) throw new ValiseError("ERR_NOT_FOUND", "there is no mailbox store in this folder")
  const { decayed: envelopes, ...kept } = keptEnvelopes(folder)
  const { decayed: prekeys, ...shelf } = readShelf(folder)
  return { ...kept, ...shelf, quarantined: { envelopes, prekeys } }
}

/** Likewise, without holding up this thread, however much there is. */
export async function storeContentsElsewhere(folder: string): Promise<StoreContents> {
  const thread = new StoreThread<string, ContentsPart>(new URL("./store-inspect-thread.ts", import.meta.url))
  const envelopes: StoreContents["envelopes"][number][] = []
  for (;;) {
    const part = await thread.ask(folder)
    if (!("length" in part)) return { ...part, envelopes }
    envelopes.push(...part)
  }
}

const chunkBytes = 1024 * 1024

function* chunksOf(folder: string, file: string, overlap: number): Generator<RawChunk> {
  const descriptor = descriptorOf(join(folder, file))
  if (descriptor === undefined) return
  try {
    yield* piecesOf(file, descriptor, overlap)
  } finally {
    if (!isSqlite(file)) closeSync(descriptor)
  }
}

function* piecesOf(file: string, descriptor: number, overlap: number): Generator<RawChunk> {
  for (let at = 0; ; at += chunkBytes) {
    const begin = Math.max(0, at - overlap)
    const bytes = new Uint8Array(at - begin + chunkBytes)
    const length = readSync(descriptor, bytes, 0, bytes.length, begin)
    if (length > at - begin || at === 0) yield { file, at: begin, bytes: bytes.subarray(0, length) }
    if (length < bytes.length) return
  }
}

function readShelf(folder: string): ShelfContents {
  // A shelf without a write-ahead log is at rest and is read as it lies. Should a relay start meanwhile: once more.
  for (;;) {
    const atRest = !existsSync(walPath(folder))
    const db = openForReading(folder, { atRest })
    try {
      const contents = shelfContents(db)
      if (!atRest || !existsSync(walPath(folder))) return contents
    } catch (error) {
      if (!atRest || !existsSync(walPath(folder))) throw errorOf(troubleOf(error))
    } finally {
      db.close()
    }
  }
}

/**
 * A descriptor for this file. One of SQLite's files is opened once per process and never closed: if this process has the
 * store open itself, closing would silently drop the locks that SQLite holds on it (fcntl(2)). The others are closed
 * when they have been read. `undefined` if the file is gone.
 */
function descriptorOf(path: string): number | undefined {
  try {
    if (!isSqlite(path)) return openSync(path, "r")
    const { dev, ino } = statSync(path)
    const key = `${dev}:${ino}`
    const descriptor = descriptors.get(key) ?? openSync(path, "r")
    descriptors.set(key, descriptor)
    return descriptor
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined
    throw errorOf(troubleOf(error))
  }
}

const isSqlite = (name: string): boolean => !/\.([0-9a-f]{16}|reserve)$/.test(name)

const descriptors = new Map<string, number>()
