/** Opens the segment files of a folder for writing: what a crash has left is settled before anything is built on it. */
import { chmodSync, closeSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs"
import { open } from "node:fs/promises"
import { newSegment, SegmentIndex, type Segment } from "./segment-index.ts"
import { SegmentLog } from "./segment-log.ts"
import { segmentsIn } from "./segment-scan.ts"
import { errorOf, troubleOf } from "./store-trouble.ts"

/**
 * If the newest file cannot be written, the log has an `error` from the beginning, and all that is readable can be read.
 * Throws `ERR_STORE_UNAVAILABLE` if a file cannot be read.
 */
export async function openSegments(folder: string): Promise<{ index: SegmentIndex; log: SegmentLog }> {
  const index = new SegmentIndex()
  const segments = segmentsIn(folder).map(newSegment)
  const log = new SegmentLog(folder, segments)
  try {
    for (const segment of segments) {
      chmodSync(segment.path, 0o600)
      const isNewest = segment === segments.at(-1)
      const end = index.load(segment, isNewest)
      segment.handle = await open(segment.path, "r+")
      try {
        if (isNewest) settleTail(segment, end, index)
      } catch (error) {
        log.fail(error)
      }
    }
  } catch (error) {
    for (const { handle } of segments) await handle?.close()
    throw errorOf(troubleOf(error))
  }
  index.settle()
  if (segments.length === 0) log.roll()
  return { index, log }
}

/**
 * Cuts off what a crash has torn, and writes all the rest once more: what can be read may be in memory only, after a
 * sync that failed, and no later sync would write it (Linux takes such pages for written).
 */
function settleTail({ path }: Segment, end: number, index: SegmentIndex): void {
  const file = openSync(path, "r+")
  try {
    // It may have been a record of counters.
    if (end < fstatSync(file).size) index.countersInDoubt = true
    ftruncateSync(file, end)
    const bytes = Buffer.alloc(end)
    readSync(file, bytes, 0, end, 0)
    for (let at = 0; at < end;) at += writeSync(file, bytes, at, end - at, at)
    fdatasyncSync(file)
  } finally {
    closeSync(file)
  }
}
