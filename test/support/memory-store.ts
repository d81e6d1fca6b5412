import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { equal, hex } from "../../protocol/bytes.ts"
import { chosen } from "../../protocol/limits.ts"
import { ValiseError } from "../../protocol/errors.ts"
import type { Appended, MailboxStore, Sequence, StoreContents, StoredEnvelope } from "../../relay/store.ts"

/** The contract of `MailboxStore`, but for its durability: for tests of the relay alone. */
export class MemoryStore implements MailboxStore {
  readonly #mailboxes = new Map<
    string,
    { id: MailboxId; next: Sequence; rows: (StoredEnvelope & { blind: string })[] }
  >()
  readonly #prekeys = new Map<string, { id: DeviceId; rotating: Uint8Array | undefined; oneTime: Uint8Array[] }>()
  #held: (() => void)[] | undefined
  /** While true, nothing can be written. */
  broken = false
  envelopesMax: number = chosen.mailboxEnvelopesMax

  /** Appends wait from now on until `release`, as if their sync were under way. */
  hold(): void {
    this.#held ??= []
  }

  get heldAppends(): number {
    return this.#held?.length ?? 0
  }

  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const go of held) go()
  }

  async append(mailbox: MailboxId, blind: Uint8Array, minute: number, bytes: Uint8Array): Promise<Appended> {
    if (this.#held) await new Promise<void>((resolve) => this.#held!.push(resolve))
    this.#requireWritable()
    const box = this.#mailboxes.get(hex(mailbox)) ?? { id: mailbox, next: 1, rows: [] }
    this.#mailboxes.set(hex(mailbox), box)
    const before = box.rows.find((row) => row.blind === hex(blind) && equal(row.bytes, bytes))
    if (before) return { outcome: "stored", minute: before.minute }
    if (box.rows.length >= this.envelopesMax) return { outcome: "full" }
    box.rows.push({ sequence: box.next++, minute, bytes: bytes.slice(), blind: hex(blind) })
    return { outcome: "stored", minute }
  }

  async read(mailbox: MailboxId, after: Sequence, max: number): Promise<readonly StoredEnvelope[]> {
    const rows = this.#mailboxes.get(hex(mailbox))?.rows ?? []
    return rows.filter((row) => row.sequence > after).slice(0, max)
  }

  async collect(mailbox: MailboxId, sequences: readonly Sequence[]): Promise<void> {
    this.#requireWritable()
    const box = this.#mailboxes.get(hex(mailbox))
    if (box) box.rows = box.rows.filter((row) => !sequences.includes(row.sequence))
  }

  async expire(beforeMinute: number): Promise<number> {
    let count = 0
    for (const box of this.#mailboxes.values()) {
      const kept = box.rows.filter((row) => row.minute >= beforeMinute)
      count += box.rows.length - kept.length
      box.rows = kept
    }
    return count
  }

  async putPrekeys(
    device: DeviceId,
    prekeys: { readonly reset: boolean; readonly rotating?: Uint8Array; readonly oneTime: readonly Uint8Array[] },
  ): Promise<number> {
    this.#requireWritable()
    const before = prekeys.reset ? undefined : this.#prekeys.get(hex(device))
    const oneTime = [...(before?.oneTime ?? []), ...prekeys.oneTime]
    this.#prekeys.set(hex(device), { id: device, rotating: prekeys.rotating ?? before?.rotating, oneTime })
    return oneTime.length
  }

  async takePrekey(device: DeviceId): Promise<Uint8Array | undefined> {
    const held = this.#prekeys.get(hex(device))
    return held?.oneTime.shift() ?? held?.rotating
  }

  async countPrekeys(device: DeviceId): Promise<number> {
    return this.#prekeys.get(hex(device))?.oneTime.length ?? 0
  }

  async forget(mailbox: MailboxId, device: DeviceId): Promise<void> {
    this.#mailboxes.delete(hex(mailbox))
    this.#prekeys.delete(hex(device))
  }

  async inspect(): Promise<StoreContents> {
    return {
      envelopes: [...this.#mailboxes.values()].flatMap(({ id, rows }) =>
        rows.map(({ sequence, minute, bytes }) => ({ mailbox: id, sequence, minute, bytes: bytes.length })),
      ),
      prekeys: [...this.#prekeys.values()].map(({ id, rotating, oneTime }) => ({
        device: id,
        oneTime: oneTime.length,
        rotating: rotating !== undefined,
      })),
      counters: [...this.#mailboxes.values()].map(({ id, next }) => ({ mailbox: id, next })),
      takenPrekeys: 0,
      quarantined: { envelopes: [], prekeys: 0 },
      intact: true,
    }
  }

  async close(): Promise<void> {}

  #requireWritable(): void {
    if (this.broken) throw new ValiseError("ERR_STORE_UNAVAILABLE", "the store cannot be written to")
  }
}
