/** What the segment files of a folder hold, read as they lie: beside a running relay, or of a stopped one. */
import { statSync } from "node:fs"
import type { MailboxId } from "../protocol/address.ts"
import { newSegment, SegmentIndex } from "./segment-index.ts"
import { segmentsIn } from "./segment-scan.ts"
import type { StoreContents } from "./store.ts"

export interface KeptEnvelopes extends Pick<StoreContents, "envelopes" | "counters"> {
  readonly decayed: StoreContents["quarantined"]["envelopes"]
}

/** Reads and checks every record. Changes nothing. */
export function keptEnvelopes(folder: string): KeptEnvelopes {
  for (let attempt = 1; ; attempt++) {
    const before = stateOf(folder)
    try {
      const kept = keptAsTheyLie(folder)
      // Somebody who overwrites or removes meanwhile looks like damage.
      if (kept.decayed.length === 0 || attempt === attemptsMax || before === stateOf(folder)) return kept
    } catch (error) {
      if (attempt === attemptsMax || before === stateOf(folder)) throw error
    }
  }
}

function keptAsTheyLie(folder: string): KeptEnvelopes {
  const index = new SegmentIndex()
  const segments = segmentsIn(folder).map(newSegment)
  for (const segment of segments) index.load(segment, true)
  index.settle()
  const boxes = [...index.boxes.values()]
  const kept = boxes.flatMap(({ entries }) => entries.filter(({ state }) => state === "kept"))
  const nameOf = ({ box, sequence }: (typeof kept)[number]) => ({ mailbox: box.mailbox as MailboxId, sequence })
  const isDecayed = (entry: (typeof kept)[number]): boolean => index.decayed.has(entry)
  const headless = segments.flatMap(({ damaged }) => damaged.map(({ guess }) => guess))
  return {
    envelopes: kept
      .filter((entry) => !isDecayed(entry))
      .map((entry) => ({ ...nameOf(entry), minute: entry.minute, bytes: entry.length })),
    counters: boxes.map(({ mailbox, next }) => ({ mailbox: mailbox as MailboxId, next })),
    decayed: [
      ...kept.filter(isDecayed).map(nameOf),
      ...headless.map(({ mailbox, sequence }) => ({ mailbox: mailbox as MailboxId, sequence })),
    ],
  }
}

const attemptsMax = 5

const stateOf = (folder: string): string =>
  segmentsIn(folder)
    .map(({ path }) => {
      const { mtimeMs, size } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: 0, size: 0 }
      return `${path} ${mtimeMs} ${size}`
    })
    .join("\n")
