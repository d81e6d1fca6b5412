/** What the threads of the SQLite store say to each other. Every buffer that is sent is the sender's own copy. */
import type { ErrorCode } from "../protocol/errors.ts"
import type { Quota, StoreContents, StoredEnvelope } from "./store.ts"

/** A thread's first message. The writer begins before the reader; an inspector is made for each inspection. */
export interface ThreadStart {
  readonly role: "writer" | "reader" | "inspector"
  readonly folder: string
  readonly quota: Quota
  readonly headroomBytes: number
}

/** The writer's operations: what each takes, and what it results in once the transaction is synced. */
export interface Writes {
  /** `record` is mailbox(16) ‖ blind(32) ‖ sealed bytes: one buffer, handed over without a copy. */
  append: { args: { record: Uint8Array; minute: number }; result: { minute: number } | "full" | "no-room" }
  collect: { args: { mailbox: Uint8Array; sequences: readonly number[] }; result: number }
  /** Deletes at most `deletionsPerStep`; the result says how many. Called again until it is fewer. */
  expire: { args: { beforeMinute: number }; result: number }
  /** As `expire`, and after the last step prekeys and counter go too. */
  forget: { args: { mailbox: Uint8Array; device: Uint8Array }; result: number }
  putPrekeys: {
    args: { device: Uint8Array; reset: boolean; rotating: Uint8Array | undefined; oneTime: readonly Uint8Array[] }
    result: number | "no-room"
  }
  takePrekey: { args: { device: Uint8Array }; result: Uint8Array | undefined }
}

export type WriteKind = keyof Writes
export type WriteOf<K extends WriteKind> = { readonly kind: K } & Readonly<Writes[K]["args"]>
export type Write = { [K in WriteKind]: WriteOf<K> }[WriteKind]
export type WriteResult = Writes[WriteKind]["result"]

/** What the disk is asked to hold for this write, roughly. */
export function sizeOf(write: Write): number {
  if (write.kind === "append") return write.record.length
  if (write.kind === "putPrekeys") return write.oneTime.reduce((sum, { length }) => sum + length, 4096)
  return 256
}

/** One transaction: its sync stays well below a second on a slow disk. */
export const transactionBytesMax = 4 * 1024 * 1024

/** The answer to one message of writes. `failed`: nothing of them is kept, and of no later message will be. */
export type BatchReply = { readonly results: readonly WriteResult[] } | { readonly failed: StoreTrouble }

export interface Reads {
  read: { args: { mailbox: Uint8Array; after: number; max: number }; result: readonly StoredEnvelope[] }
  countPrekeys: { args: { device: Uint8Array }; result: number }
}

export type ReadKind = keyof Reads
export type Read = { [K in ReadKind]: { readonly kind: K } & Readonly<Reads[K]["args"]> }[ReadKind]
export type ReadReply = { readonly result: Reads[ReadKind]["result"] } | { readonly failed: StoreTrouble }

export type InspectReply = { readonly contents: StoreContents } | { readonly failed: StoreTrouble }

/** The answer to a thread's first message. */
export type Begun = { readonly begun: true } | { readonly failed: StoreTrouble }

/** An error on its way between threads. */
export interface StoreTrouble {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
  /** Of SQLite or the system; for whoever looks after the machine. */
  readonly detail?: string
}

/** A thread's last message; the thread then ends. */
export const closing = "close"

/** Envelopes that one step of `expire` or `forget` deletes, so that appends never wait for a whole mailbox to go. */
export const deletionsPerStep = 512
