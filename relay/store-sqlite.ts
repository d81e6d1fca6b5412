/**
 * The embedded mailbox store: one SQLite file, write-ahead log, synchronous FULL. One thread writes, another reads, so
 * that neither a sync nor a checkpoint holds up a delivery or the relay's sockets.
 *
 * Group commit: what is called while the writer syncs one transaction forms the next. Under load a sync is shared by
 * hundreds of envelopes; without load an envelope waits for its own and nobody else's.
 */
import type { DeviceId, MailboxId } from "../protocol/address.ts"
import { concat } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { chosen } from "../protocol/limits.ts"
import { blindBytes, deviceBytes, mailboxBytes, requireCount, requireLength } from "./store.ts"
import type { Appended, MailboxStore, Quota, Sequence, StoreContents, StoredEnvelope } from "./store.ts"
import { closing, deletionsPerStep, sizeOf, transactionBytesMax } from "./store-sqlite-messages.ts"
import type {
  BatchReply,
  InspectReply,
  Read,
  ReadKind,
  ReadReply,
  Reads,
  ThreadStart,
  Write,
  WriteKind,
  WriteResult,
  Writes,
} from "./store-sqlite-messages.ts"
import { StoreThread } from "./store-sqlite-thread.ts"
import { errorOf } from "./store-sqlite-trouble.ts"

export interface SqliteStoreOptions {
  readonly quota?: Quota
  /** With less room than this on the disk nothing is added. The default leaves the write-ahead log room to be emptied. */
  readonly headroomBytes?: number
}

/**
 * Opens or creates the store in this folder, which becomes readable to this user alone. Rejects with
 * `ERR_STORE_UNAVAILABLE` if another relay has it open or it is not a store, `ERR_VERSION` if a newer release wrote it.
 * A store that can be read but not written (full disk, damage) opens; then every append says why.
 */
export async function openSqliteStore(folder: string, options: SqliteStoreOptions = {}): Promise<MailboxStore> {
  const start = {
    folder,
    quota: options.quota ?? { envelopesMax: chosen.mailboxEnvelopesMax, bytesMax: chosen.mailboxBytesMax },
    headroomBytes: options.headroomBytes ?? headroomBytes,
  }
  // Both threads load while the writer opens; the reader begins when there is something to read.
  const writer: Writer = new StoreThread(workerScript)
  const reader: Reader = new StoreThread(workerScript)
  try {
    await begin(writer, { ...start, role: "writer" })
    await begin(reader, { ...start, role: "reader" })
    return new SqliteStore(start, writer, reader)
  } catch (error) {
    await Promise.all([reader.end(closing), writer.end(closing)])
    throw error
  }
}

/** Four times the write-ahead log's usual length, which a long reading can let it grow to. */
const headroomBytes = 64 * 1024 * 1024
/** What waits for the disk, in memory. Beyond it the disk is too slow for what is asked, and waiting would not help. */
const pendingBytesMax = 64 * 1024 * 1024

class SqliteStore implements MailboxStore {
  readonly #start: Omit<ThreadStart, "role">
  readonly #writer: Writer
  readonly #reader: Reader
  readonly #gathered: Pending[] = []
  #pendingBytes = 0
  #underWay = 0
  #closed: Promise<void> | undefined
  #nothingUnderWay: () => void = () => undefined

  constructor(start: Omit<ThreadStart, "role">, writer: Writer, reader: Reader) {
    this.#start = start
    this.#writer = writer
    this.#reader = reader
  }

  append(mailbox: MailboxId, blind: Uint8Array, minute: number, bytes: Uint8Array): Promise<Appended> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      requireLength(blind, blindBytes)
      requireCount(minute)
      const record = concat(mailbox, blind, bytes) as Uint8Array<ArrayBuffer>
      const result = await this.#write("append", { record, minute }, record.buffer)
      if (result === "no-room") throw noRoom()
      return result === "full" ? { outcome: "full" } : { outcome: "stored", minute: result.minute }
    })
  }

  read(mailbox: MailboxId, after: Sequence, max: number): Promise<readonly StoredEnvelope[]> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      requireCount(after)
      requireCount(max)
      return this.#read("read", { mailbox: new Uint8Array(mailbox), after, max })
    })
  }

  collect(mailbox: MailboxId, sequences: readonly Sequence[]): Promise<void> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      const known = sequences.filter((sequence) => Number.isSafeInteger(sequence))
      await this.#write("collect", { mailbox: new Uint8Array(mailbox), sequences: known })
    })
  }

  expire(beforeMinute: number): Promise<number> {
    return this.#run(async () => {
      requireCount(beforeMinute)
      return this.#inSteps(() => this.#write("expire", { beforeMinute }))
    })
  }

  putPrekeys(
    device: DeviceId,
    prekeys: { readonly reset: boolean; readonly rotating?: Uint8Array; readonly oneTime: readonly Uint8Array[] },
  ): Promise<number> {
    return this.#run(async () => {
      requireLength(device, deviceBytes)
      const rotating = prekeys.rotating && new Uint8Array(prekeys.rotating)
      const oneTime = prekeys.oneTime.map((statement) => new Uint8Array(statement))
      const args = { device: new Uint8Array(device), reset: prekeys.reset, rotating, oneTime }
      const result = await this.#write("putPrekeys", args)
      if (result === "no-room") throw noRoom()
      return result
    })
  }

  takePrekey(device: DeviceId): Promise<Uint8Array | undefined> {
    return this.#run(async () => {
      requireLength(device, deviceBytes)
      return this.#write("takePrekey", { device: new Uint8Array(device) })
    })
  }

  countPrekeys(device: DeviceId): Promise<number> {
    return this.#run(async () => {
      requireLength(device, deviceBytes)
      return this.#read("countPrekeys", { device: new Uint8Array(device) })
    })
  }

  forget(mailbox: MailboxId, device: DeviceId): Promise<void> {
    return this.#run(async () => {
      requireLength(mailbox, mailboxBytes)
      requireLength(device, deviceBytes)
      const args = { mailbox: new Uint8Array(mailbox), device: new Uint8Array(device) }
      await this.#inSteps(() => this.#write("forget", args))
    })
  }

  inspect(): Promise<StoreContents> {
    return this.#run(async () => {
      const inspector = new StoreThread<"inspect", InspectReply>(workerScript)
      await begin(inspector, { ...this.#start, role: "inspector" })
      const reply = await inspector.ask("inspect")
      if ("failed" in reply) throw errorOf(reply.failed)
      return reply.contents
    })
  }

  close(): Promise<void> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async #finish(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#nothingUnderWay = resolve))
    await this.#reader.end(closing)
    // The last one out empties the write-ahead log.
    await this.#writer.end(closing)
  }

  /** Begins the operation within this call, so that operations keep the order of the calls. */
  async #run<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new ValiseError("ERR_STORE_UNAVAILABLE", "the mailbox store is closed")
    this.#underWay += 1
    try {
      return await operation()
    } finally {
      this.#underWay -= 1
      if (this.#underWay === 0) this.#nothingUnderWay()
    }
  }

  async #inSteps(step: () => Promise<number>): Promise<number> {
    for (let total = 0; ;) {
      const deleted = await step()
      total += deleted
      if (deleted < deletionsPerStep) return total
    }
  }

  async #read<K extends ReadKind>(kind: K, args: Reads[K]["args"]): Promise<Reads[K]["result"]> {
    const reply = await this.#reader.ask({ kind, ...args } as Read)
    if ("failed" in reply) throw errorOf(reply.failed)
    return reply.result
  }

  #write<K extends WriteKind>(kind: K, args: Writes[K]["args"], handOver?: ArrayBuffer): Promise<Writes[K]["result"]> {
    const write = { kind, ...args } as Write
    const size = sizeOf(write)
    if (this.#pendingBytes + size > pendingBytesMax)
      return Promise.reject(new ValiseError("ERR_STORE_UNAVAILABLE", "the mailbox store is behind with writing"))
    this.#pendingBytes += size
    // One message for all that the sockets have to say in this turn.
    if (this.#gathered.length === 0) setImmediate(() => this.#post())
    return new Promise((resolve, reject) => this.#gathered.push({ write, size, handOver, resolve, reject }))
  }

  #post(): void {
    while (this.#gathered.length > 0) {
      let size = 0
      const upTo = this.#gathered.findIndex((pending) => (size += pending.size) >= transactionBytesMax)
      void this.#commit(this.#gathered.splice(0, upTo === -1 ? this.#gathered.length : upTo + 1))
    }
  }

  async #commit(batch: readonly Pending[]): Promise<void> {
    const writes = batch.map(({ write }) => write)
    const handOver = batch.flatMap((pending) => pending.handOver ?? [])
    try {
      const reply = await this.#writer.ask(writes, handOver)
      if ("failed" in reply) throw errorOf(reply.failed)
      batch.forEach(({ resolve }, i) => resolve(reply.results[i]))
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
    for (const { size } of batch) this.#pendingBytes -= size
  }
}

type Writer = StoreThread<readonly Write[], BatchReply>
type Reader = StoreThread<Read, ReadReply>

interface Pending {
  readonly write: Write
  readonly size: number
  readonly handOver: ArrayBuffer | undefined
  readonly resolve: (result: WriteResult) => void
  readonly reject: (error: unknown) => void
}

const workerScript = new URL("./store-sqlite-worker.ts", import.meta.url)

async function begin<Message, Reply>(thread: StoreThread<Message, Reply>, start: ThreadStart): Promise<void> {
  const reply = await thread.begin(start)
  if ("failed" in reply) throw errorOf(reply.failed)
}

export const noRoom = (): ValiseError =>
  new ValiseError("ERR_STORE_UNAVAILABLE", "the disk of the mailbox store is almost full", {
    hint: "make room on it; what waits can be fetched meanwhile",
  })
