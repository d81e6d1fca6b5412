/**
 * The relay's copy of the log as files, in the layout that any web server can serve (C2SP tlog-tiles): a relay starts
 * from it while the directory is away, and a directory that has lost its log is restored from it. It holds nothing that
 * a reader would have to trust, so nothing here is synced: a torn copy is found out and fetched anew.
 */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { concat } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { LogSource } from "../pki/log-source.ts"
import { checkpointPath, encodeBundle, newTiles, tilePath, tileSource, tileWidth, type Tile } from "../pki/tiles.ts"
import type { MirrorCopy } from "./directory-mirror.ts"

export interface LogFolder {
  readonly source: LogSource
  /** Throws `ERR_DISK`. */
  readonly keep: (copy: MirrorCopy) => Promise<void>
}

export function logFolder(folder: string): LogFolder {
  return {
    source: tileSource((path) =>
      readFile(join(folder, path)).then(
        (bytes) => new Uint8Array(bytes),
        () => undefined,
      ),
    ),
    keep: async (copy) => {
      try {
        for (const tile of newTiles(copy.before, copy.entries.length))
          await replace(join(folder, tilePath(tile)), bytesOf(tile, copy))
        await replace(join(folder, checkpointPath), copy.checkpoint)
      } catch (cause) {
        throw new ValiseError("ERR_DISK", "the relay's copy of the log cannot be written", {
          cause,
          hint: "check free space and permissions of the relay's folder",
        })
      }
    },
  }
}

function bytesOf({ index, level, width }: Tile, { entries, tree }: MirrorCopy): Uint8Array {
  const [start, end] = [index * tileWidth, index * tileWidth + width]
  if (level === "entries") return encodeBundle(entries.slice(start, end))
  return concat(...tree.completeSubtrees(8 * level).slice(start, end))
}

async function replace(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await writeFile(`${path}.new`, bytes, { mode: 0o600 })
  await rename(`${path}.new`, path)
}
