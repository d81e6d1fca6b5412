/**
 * Power loss, replayed: from strace's record of a process's writes and syncs, what its files can hold if the power
 * fails at a given moment. What was synced is there; of what was not, anything may be: nothing, all, some, torn.
 */
import { basename } from "node:path"

export type DiskEvent =
  | { readonly kind: "write"; readonly file: string; readonly at: number; readonly bytes: Buffer }
  | { readonly kind: "truncate"; readonly file: string; readonly length: number }
  | { readonly kind: "remove"; readonly file: string }
  /**
   * Reaches the events from `from` to before `of`: what came after the sync began it may not have reached; and what a
   * sync has failed for, the next one takes for written though it is not (Linux marks the pages clean).
   */
  | { readonly kind: "sync"; readonly file: string; readonly from: number; readonly of: number }
  | { readonly kind: "said"; readonly line: string }

/** For strace: what `parseTrace` reads. */
export const traceOptions = [
  "-y",
  "-xx",
  "-s",
  "1000000",
  "-e",
  "trace=write,pwrite64,fsync,fdatasync,ftruncate,unlink",
]

/**
 * @param trace strace's output, with `traceOptions`; of several processes, one after the other.
 * @param prefix with which the names of the files begin that count; they are named without their folders
 */
export function parseTrace(trace: string, prefix: string): DiskEvent[] {
  const events: DiskEvent[] = []
  const syncsUnderWay = new Map<string, { file: string; of: number }>()
  const failedFor = new Map<string, number>()
  const syncEnds = (sync: { file: string; of: number }, result: string): void => {
    if (result.includes(" = 0")) events.push({ kind: "sync", from: failedFor.get(sync.file) ?? 0, ...sync })
    else failedFor.set(sync.file, sync.of)
  }
  for (const line of trace.split("\n")) {
    const [, thread, rest] = /^(\d+) +(.*)$/.exec(line) ?? []
    if (thread === undefined || rest === undefined) continue
    if (/^(<\.\.\. (fsync|fdatasync) resumed>|\+\+\+)/.test(rest)) {
      const sync = syncsUnderWay.get(thread)
      if (sync) syncEnds(sync, rest)
      syncsUnderWay.delete(thread)
      continue
    }
    const [, call, fd, path, args] = /^(\w+)\((\d+)<([^>]*)>(?:, )?(.*)$/.exec(rest) ?? []
    if (call === undefined || path === undefined || args === undefined) {
      const [, removed] = /^unlink\("([^"]*)"(?:\) += 0| <unfinished \.\.\.>)$/.exec(rest) ?? []
      const file = removed === undefined ? "" : basename(unhex(removed).toString())
      if (file.startsWith(prefix)) events.push({ kind: "remove", file })
      continue
    }
    const file = basename(unhex(path).toString())
    if (call === "write" && fd === "1") events.push({ kind: "said", line: unhex(quoted(args)).toString().trim() })
    else if (!file.startsWith(prefix)) continue
    else if (call === "pwrite64") {
      const at = Number(/", \d+, (\d+)/.exec(args)![1])
      events.push({ kind: "write", file, at, bytes: unhex(quoted(args)) })
    } else if (call === "ftruncate" && !rest.includes(" = -1"))
      events.push({ kind: "truncate", file, length: Number.parseInt(args) })
    else if (call.endsWith("sync")) {
      const sync = { file, of: events.length }
      if (rest.endsWith("<unfinished ...>")) syncsUnderWay.set(thread, sync)
      else syncEnds(sync, rest)
    }
  }
  return events
}

/** What becomes of each change that was not synced. */
export type Fate = "kept" | "lost" | "torn"

/** The files after the power failed just after the events up to `until`. */
export function filesAfterPowerLoss(
  events: readonly DiskEvent[],
  until: number,
  fateOf: () => Fate,
): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  const syncs = events.slice(0, until).filter((event) => event.kind === "sync")
  events.slice(0, until).forEach((event, i) => {
    if (event.kind === "said" || event.kind === "sync") return
    if (event.kind === "remove") {
      files.delete(event.file)
      return
    }
    const isSynced = syncs.some(({ file, from, of }) => file === event.file && from <= i && i < of)
    const fate = isSynced ? "kept" : fateOf()
    if (fate === "lost") return
    const before = files.get(event.file) ?? Buffer.alloc(0)
    files.set(event.file, changed(before, event, fate))
  })
  return files
}

const sectorBytes = 512

function changed(before: Buffer, event: DiskEvent & { kind: "write" | "truncate" }, fate: "kept" | "torn"): Buffer {
  if (event.kind === "truncate") return Buffer.concat([before], event.length)
  const length = fate === "torn" ? sectorBytes * Math.floor(event.bytes.length / sectorBytes / 2) : event.bytes.length
  const after = Buffer.concat([before], Math.max(before.length, event.at + length))
  event.bytes.copy(after, event.at, 0, length)
  return after
}

const quoted = (args: string): string => /^"([^"]*)"/.exec(args)![1]!
const unhex = (text: string): Buffer => Buffer.from(text.replaceAll("\\x", ""), "hex")
