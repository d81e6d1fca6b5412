/** The SQLite store in the caller's own thread: its writer and reader without the threads. */
import { concat } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { chosen } from "../../protocol/limits.ts"
import { blindBytes, deviceBytes, mailboxBytes, requireCount, requireLength } from "../../relay/store.ts"
import type { MailboxStore, Quota } from "../../relay/store.ts"
import { openForReading } from "../../relay/store-sqlite-file.ts"
import { deletionsPerStep } from "../../relay/store-sqlite-messages.ts"
import type { Write, WriteKind, WriteResult, Writes } from "../../relay/store-sqlite-messages.ts"
import { StoreReader } from "../../relay/store-sqlite-reader.ts"
import { errorOf } from "../../relay/store-sqlite-trouble.ts"
import { StoreWriter } from "../../relay/store-sqlite-writer.ts"

export interface StoreHere {
  readonly store: MailboxStore
  readonly writer: StoreWriter
  readonly reader: StoreReader
}

const defaultQuota: Quota = { envelopesMax: chosen.mailboxEnvelopesMax, bytesMax: chosen.mailboxBytesMax }

export function openHere(folder: string, quota = defaultQuota, headroomBytes = 0): StoreHere {
  const writer = StoreWriter.open(folder, { quota, headroomBytes })
  const db = openForReading(folder)
  const reader = new StoreReader(db)
  const gathered: Pending[] = []
  let isOpen = true
  const underWay = new Set<Promise<unknown>>()
  const run = async <T>(operation: () => Promise<T>): Promise<T> => {
    if (!isOpen) throw new ValiseError("ERR_STORE_UNAVAILABLE", "the mailbox store is closed")
    const done = operation()
    underWay.add(done)
    return done.finally(() => underWay.delete(done))
  }
  const commit = (): void => {
    const batch = gathered.splice(0)
    if (batch.length === 0) return
    const reply = writer.apply(batch.map((pending) => pending.write))
    for (const [i, { resolve, reject }] of batch.entries())
      if ("failed" in reply) reject(errorOf(reply.failed))
      else if (reply.results[i] === "no-room") reject(new ValiseError("ERR_STORE_UNAVAILABLE", "no room"))
      else resolve(reply.results[i])
    writer.tidy()
  }
  const write = async <K extends WriteKind>(kind: K, args: Writes[K]["args"]): Promise<Kept<K>> => {
    if (gathered.length === 0) setImmediate(commit)
    const result = await new Promise((resolve, reject) =>
      gathered.push({ write: { kind, ...args } as Write, resolve, reject }),
    )
    return result as Kept<K>
  }
  const inSteps = async (step: () => Promise<number>): Promise<number> => {
    for (let total = 0; ;) {
      const deleted = await step()
      total += deleted
      if (deleted < deletionsPerStep) return total
    }
  }
  const store: MailboxStore = {
    append: (mailbox, blind, minute, bytes) =>
      run(async () => {
        requireLength(mailbox, mailboxBytes)
        requireLength(blind, blindBytes)
        requireCount(minute)
        const result = await write("append", { record: concat(mailbox, blind, bytes), minute })
        return result === "full" ? { outcome: "full" } : { outcome: "stored", minute: result.minute }
      }),
    read: (mailbox, after, max) => run(async () => reader.read(mailbox, after, max)),
    collect: (mailbox, sequences) => run(async () => void (await write("collect", { mailbox, sequences }))),
    expire: (beforeMinute) => run(() => inSteps(() => write("expire", { beforeMinute }))),
    putPrekeys: (device, { reset, rotating, oneTime }) =>
      run(async () => {
        requireLength(device, deviceBytes)
        return write("putPrekeys", { device, reset, rotating, oneTime })
      }),
    takePrekey: (device) => run(() => write("takePrekey", { device })),
    countPrekeys: (device) => run(async () => reader.countPrekeys(device)),
    forget: (mailbox, device) => run(async () => void (await inSteps(() => write("forget", { mailbox, device })))),
    inspect: () => run(async () => reader.contents()),
    close: async () => {
      if (!isOpen) return
      isOpen = false
      await Promise.allSettled(underWay)
      db.close()
      writer.close()
    },
  }
  return { store, writer, reader }
}

interface Pending {
  readonly write: Write
  readonly resolve: (result: WriteResult) => void
  readonly reject: (error: unknown) => void
}

/** What a write that found room resulted in. */
type Kept<K extends WriteKind> = Exclude<Writes[K]["result"], "no-room">
