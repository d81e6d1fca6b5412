/** What the threads of the SQLite store say to each other. Every buffer that is sent is the sender's own copy. */
import type { ErrorCode } from "../protocol/errors.ts"
import type { Quota, StoreContents, StoredEnvelope } from "./store.ts"

/** How a thread of the store begins: the writer first, then the reader; an inspector for each inspection. */
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
  collect: { args: { mailbox: Uint8Array; sequences: readonly number[] }; result: undefined }
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

/** One batch is one transaction. `failed`: nothing of the batch is kept, and no later batch will be. */
export type BatchReply = { readonly results: readonly WriteResult[] } | { readonly failed: StoreTrouble }

export type Reading =
  | { readonly kind: "read"; readonly mailbox: Uint8Array; readonly after: number; readonly max: number }
  | { readonly kind: "countPrekeys"; readonly device: Uint8Array }
export type ReadReply =
  | { readonly envelopes: readonly StoredEnvelope[] }
  | { readonly count: number }
  | { readonly failed: StoreTrouble }

export type InspectReply = { readonly contents: StoreContents } | { readonly failed: StoreTrouble }

/** The first message of every thread. */
export type Opened = { readonly opened: true } | { readonly failed: StoreTrouble }

/** An error on its way between threads. */
export interface StoreTrouble {
  readonly code: ErrorCode
  readonly message: string
  readonly hint?: string
}

export const closing = "close"

/** Envelopes that one step of `expire` or `forget` deletes, so that appends never wait for a whole mailbox to go. */
export const deletionsPerStep = 512
