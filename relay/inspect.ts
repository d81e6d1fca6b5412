/** What an operator can see: all that the relay keeps, and beside it what one who watches its live connections could see. */
import { hex } from "../protocol/bytes.ts"
import type { StoreContents } from "./store.ts"

/** Identifiers in hexadecimal, as in the log, which says whose they are. */
export interface RelayInspection {
  readonly mailboxes: readonly {
    readonly mailbox: string
    /** Sequence number of the next envelope: how many there ever were. */
    readonly next: number
    readonly waiting: readonly { readonly sequence: number; readonly minute: number; readonly bytes: number }[]
  }[]
  readonly prekeys: readonly { readonly device: string; readonly oneTime: number; readonly rotating: boolean }[]
  readonly takenPrekeys: number
  /** Accepted and lost: records that have decayed on the disk. They are not delivered, and leave when they would have. */
  readonly quarantined: {
    readonly envelopes: readonly { readonly mailbox: string; readonly sequence: number }[]
    readonly prekeys: number
  }
  /** False if more than single records is damaged: this may not be all, and nothing is accepted. */
  readonly intact: boolean
  /** The same in words. */
  readonly keeps: readonly string[]
  readonly couldWatch: readonly string[]
  readonly neverSees: readonly string[]
}

export function describeRelay(contents: StoreContents): RelayInspection {
  const waiting = Map.groupBy(
    contents.envelopes.toSorted((a, b) => a.sequence - b.sequence),
    ({ mailbox }) => hex(mailbox),
  )
  const next = new Map(contents.counters.map((row) => [hex(row.mailbox), row.next]))
  const names = [...new Set([...waiting.keys(), ...next.keys()])].toSorted()
  return {
    mailboxes: names.map((mailbox) => ({
      mailbox,
      next: next.get(mailbox) ?? 0,
      waiting: (waiting.get(mailbox) ?? []).map(({ sequence, minute, bytes }) => ({ sequence, minute, bytes })),
    })),
    prekeys: contents.prekeys
      .map(({ device, oneTime, rotating }) => ({ device: hex(device), oneTime, rotating }))
      .toSorted((a, b) => (a.device < b.device ? -1 : 1)),
    takenPrekeys: contents.takenPrekeys,
    quarantined: {
      envelopes: contents.quarantined.envelopes.map(({ mailbox, sequence }) => ({ mailbox: hex(mailbox), sequence })),
      prekeys: contents.quarantined.prekeys,
    },
    intact: contents.intact,
    keeps: [
      "of each waiting envelope: the number of its mailbox and in it, the minute it came, a random name given by the submitter (hashed), and the sealed bytes, whose length is one of a few sizes",
      "of each mailbox: how many envelopes it has ever had",
      "of each device: its public prekeys, as it signed them; of each prekey handed out: a hash",
    ],
    couldWatch: [
      "from which network address a device connects, and when",
      "which device submits to which mailbox, and for which device it fetches prekeys",
      "with the directory's help: whose devices and mailboxes these are, so who talks to whom",
    ],
    neverSees: ["content, subject, template and attachments", "a key that opens an envelope"],
  }
}
