/** The prekey shelf in the caller's own thread: its writer without the thread. */
import type { MailboxStore } from "../../relay/store.ts"
import { openOver, type SegmentStoreOptions } from "../../relay/store-segment.ts"
import type { PrekeyShelf } from "../../relay/prekey-shelf.ts"
import { ShelfWriter, type ShelfChange, type ShelfResult } from "../../relay/prekey-shelf-writer.ts"
import { errorOf } from "../../relay/store-trouble.ts"

export function shelfHere(folder: string): PrekeyShelf {
  const writer = new ShelfWriter(folder)
  const change = async (one: ShelfChange): Promise<ShelfResult> => writer.apply([one])[0]
  return {
    trouble: writer.trouble && errorOf(writer.trouble),
    isBehind: false,
    putPrekeys: (device, { reset, rotating, oneTime }) =>
      change({ kind: "put", device, reset, rotating, oneTime }) as Promise<number>,
    takePrekey: (device) => change({ kind: "take", device }) as Promise<Uint8Array | undefined>,
    countPrekeys: async (device) => writer.count(device),
    forget: async (device) => void (await change({ kind: "forget", device })),
    expire: async (beforeMinute) => void (await change({ kind: "expire", beforeMinute })),
    close: async () => writer.close(),
  }
}

/** A whole store, for the sake of speed without a thread. */
export const openStoreHere = async (folder: string, options: SegmentStoreOptions = {}): Promise<MailboxStore> =>
  openOver(folder, shelfHere(folder), { headroomBytes: 0, ...options })
