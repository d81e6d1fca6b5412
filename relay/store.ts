/**
 * What the relay asks of its storage. One exported contract suite (`test/contract/mailbox-store.ts`) runs against
 * every implementation. A store keeps, per envelope: mailbox, sequence, minute, blind and the sealed bytes; nothing
 * about who submitted it. Per device: its public prekeys as signed. It keeps no digest.
 */
import type { DeviceId, MailboxId } from "../protocol/address.ts"
import { ValiseError } from "../protocol/errors.ts"

/** Positive. Sequence numbers rise within a mailbox and are never used twice, also not after `collect`, `forget` and a restart. */
export type Sequence = number

/** What one mailbox may hold; the default of every implementation is `chosen` of protocol/limits.ts. */
export interface Quota {
  readonly envelopesMax: number
  readonly bytesMax: number
}

export interface StoredEnvelope {
  readonly sequence: Sequence
  readonly minute: number
  readonly bytes: Uint8Array
}

export type Appended =
  /** On stable storage. `minute` is this call's, or, if the blind is one that this mailbox still holds (a retry), the first one's. */
  { readonly outcome: "stored"; readonly minute: number } | { readonly outcome: "full" }

export interface MailboxStore {
  /**
   * Stores durably: the promise resolves only after the data is synced (group commit), in the order of the calls.
   * Rejects with `ERR_STORE_UNAVAILABLE` if it could not be written; then nothing of it is kept, and after a failed
   * sync every further append is refused, until the store is opened anew, while reading goes on.
   * `full` if the mailbox has reached its quota; a retry of what it holds is `stored` even then.
   * @param blind 32 bytes of the submitter's; the same blind with the same bytes for the same mailbox is a retry and
   * adds nothing. With other bytes it is another envelope: a receipt must never speak of bytes that are not kept.
   * @param bytes copied before the call returns.
   */
  append(mailbox: MailboxId, blind: Uint8Array, minute: number, bytes: Uint8Array): Promise<Appended>

  /** Envelopes after this sequence, oldest first, at most `max`. Sees everything whose append has resolved. What is damaged is left out. */
  read(mailbox: MailboxId, after: Sequence, max: number): Promise<readonly StoredEnvelope[]>

  /** Deletes what the device has on its own disk. Unknown numbers are ignored. Durable at the next group commit; an envelope that comes back after a crash is a duplicate, which the vault drops. */
  collect(mailbox: MailboxId, sequences: readonly Sequence[]): Promise<void>

  /** Deletes envelopes accepted before this minute; resolves to their number. */
  expire(beforeMinute: number): Promise<number>

  /**
   * Adds one-time prekeys and, if given, replaces the rotating one. Durable when resolved. Resolves to the number of
   * one-time prekeys held. `reset` drops what was there (a new incarnation). One that is held already, or was taken
   * before, is not added again; beyond `fixed.oneTimePrekeys` the oldest are dropped.
   */
  putPrekeys(
    device: DeviceId,
    prekeys: { readonly reset: boolean; readonly rotating?: Uint8Array; readonly oneTime: readonly Uint8Array[] },
  ): Promise<number>

  /** Takes the oldest one-time prekey, which no later call ever returns (durable before it resolves), or else the rotating one. */
  takePrekey(device: DeviceId): Promise<Uint8Array | undefined>

  countPrekeys(device: DeviceId): Promise<number>

  /** Forgets mailbox and prekeys of a device that has left the directory. */
  forget(mailbox: MailboxId, device: DeviceId): Promise<void>

  /** Everything that is kept, for the operator's inspection; no order promised. Does not hold up reading and writing. */
  inspect(): Promise<StoreContents>

  /** Finishes what is under way, then closes. Whatever is called afterwards rejects with `ERR_STORE_UNAVAILABLE`. */
  close(): Promise<void>
}

export interface StoreContents {
  readonly envelopes: readonly {
    readonly mailbox: MailboxId
    readonly sequence: Sequence
    readonly minute: number
    readonly bytes: number
  }[]
  readonly prekeys: readonly { readonly device: DeviceId; readonly oneTime: number; readonly rotating: boolean }[]
  /** The next sequence number of every mailbox that was ever written to, until it is forgotten. */
  readonly counters: readonly { readonly mailbox: MailboxId; readonly next: Sequence }[]
  /** One-time prekeys that were taken and may still be offered again: kept as a hash alone, without their device. */
  readonly takenPrekeys: number
  /** Records that fail their checksum: not delivered, not listed above; they leave as others do, by expiry. */
  readonly quarantined: {
    readonly envelopes: readonly { readonly mailbox: MailboxId; readonly sequence: Sequence }[]
    readonly prekeys: number
  }
  /** False if more than single records is damaged: then this list may lack some of what is kept, and nothing is accepted. */
  readonly intact: boolean
}

export const mailboxBytes = 16
export const deviceBytes = 32
export const blindBytes = 32
/** Of sequence numbers and minutes: what every codec and database on the way holds exactly. */
export const countMax = 2 ** 48

/** A mailbox, device or blind of another length is the caller's mistake and must not reach the disk: `ERR_MALFORMED`. */
export function requireLength(bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) throw new ValiseError("ERR_MALFORMED", `${length} bytes are needed, not ${bytes.length}`)
}

/** Likewise for minutes, sequence numbers and maxima. */
export function requireCount(value: number): void {
  if (!Number.isInteger(value) || value < 0 || value > countMax)
    throw new ValiseError("ERR_MALFORMED", "a whole number from 0 is needed")
}
