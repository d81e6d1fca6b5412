/** What the segment files of a folder hold, read as they lie: beside a running relay, or of a stopped one. */
import type { MailboxId } from "../protocol/address.ts"
import { newSegment, SegmentIndex, type Segment } from "./segment-index.ts"
import { scanSegment, segmentsIn } from "./segment-scan.ts"
import type { StoreContents } from "./store.ts"

export interface KeptEnvelopes extends Pick<StoreContents, "envelopes" | "counters"> {
  readonly decayed: StoreContents["quarantined"]["envelopes"]
}

/** Reads and checks every record. Changes nothing. */
export function keptEnvelopes(folder: string): KeptEnvelopes {
  const index = new SegmentIndex()
  const segments = loaded(folder, index)
  index.settle()
  const boxes = [...index.boxes.values()]
  const kept = boxes.flatMap(({ entries }) => entries.filter(({ state }) => state === "kept"))
  const nameOf = ({ box, sequence }: (typeof kept)[number]) => ({ mailbox: box.mailbox as MailboxId, sequence })
  const isStillDamaged = secondLook()
  const headless = segments.flatMap((segment) => segment.damaged.filter(({ at }) => isStillDamaged(segment, at)))
  return {
    envelopes: kept
      .filter((entry) => !index.decayed.has(entry))
      .map((entry) => ({ ...nameOf(entry), minute: entry.minute, bytes: entry.length })),
    counters: boxes.map(({ mailbox, next }) => ({ mailbox: mailbox as MailboxId, next })),
    decayed: [
      ...kept.filter((entry) => index.decayed.has(entry) && isStillDamaged(entry.segment, entry.at)).map(nameOf),
      ...headless.map(({ guess: { mailbox, sequence } }) => ({ mailbox: mailbox as MailboxId, sequence })),
    ],
  }
}

/** Files that a running relay adds meanwhile are read, too: what it moves stands there. */
function loaded(folder: string, index: SegmentIndex): Segment[] {
  const seen = new Set<string>()
  const segments: Segment[] = []
  for (;;) {
    const fresh = segmentsIn(folder).filter(({ path }) => !seen.has(path))
    if (fresh.length === 0) return segments
    for (const name of fresh) {
      seen.add(name.path)
      const segment = newSegment(name)
      if (isThere(() => index.load(segment, true))) segments.push(segment)
    }
  }
}

/** What a running relay overwrites looks like damage for a moment: damage is what is found at the same place twice. */
function secondLook(): (segment: Segment, at: number) => boolean {
  const damaged = new Map<Segment, Set<number>>()
  return (segment, at) => {
    let places = damaged.get(segment)
    if (!places) {
      damaged.set(segment, (places = new Set()))
      isThere(() => {
        for (const record of scanSegment(segment, true)) if (record.damaged) places!.add(record.at)
      })
    }
    return places.has(at)
  }
}

/** Whether the file is there to be read: a relay removes those that are empty. */
function isThere(read: () => void): boolean {
  try {
    read()
    return true
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false
    throw error
  }
}
