/**
 * All that the relay needs to know of the directory: which devices it serves, and the log's bytes to pass on. The log
 * is its one routing table; there is no block list beside it.
 */
import type { DeviceId, MailboxId, PocAddress } from "../protocol/address.ts"
import type { LogSource } from "../pki/log-source.ts"

export interface ServedDevice {
  readonly device: DeviceId
  /** Its Ed25519 key. */
  readonly key: Uint8Array
  readonly mailbox: MailboxId
  /** For budgets in memory, the same for all PoCs; never stored beside an envelope. */
  readonly poc: PocAddress
}

export interface DirectoryView {
  /** A device that is listed now, with this relay in its address. Revoked, suspended and unknown are alike `undefined`. */
  device(id: DeviceId): ServedDevice | undefined
  deviceOfMailbox(mailbox: MailboxId): ServedDevice | undefined
  /** Somebody asks for a device that is not listed: the log may have grown since the last look. Cheap, whoever asks how often. */
  lookSoon(): void
  /** Log entries that `log` can serve. */
  readonly size: number
  /** The log as this relay has verified it. */
  readonly log: LogSource
}
