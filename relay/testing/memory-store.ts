/**
 * A mailbox store in memory, for simulations and as a testing kit. It keeps the same contract as the real one and adds
 * what a test wants of a disk: to sync when told, to fail, and to lose at a crash what was not synced.
 */
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { equal, hex } from "../../protocol/bytes.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { chosen, fixed } from "../../protocol/limits.ts"
import { blindBytes, mailboxBytes, requireCount, requireLength } from "../store.ts"
import type { Appended, MailboxStore, Quota, Sequence, StoreContents, StoredEnvelope } from "../store.ts"

/** What survives a crash, and the one store that may be open on it. */
export class MemoryDisk {
  readonly #schedule: (sync: () => void) => void
  #state: State = { boxes: new Map(), floor: 1, prekeys: new Map(), taken: new Map() }
  #store: MemoryStore | undefined
  #isBroken = false

  /** @param schedule is given each sync, to run it soon; by default in the next microtask */
  constructor(schedule: (sync: () => void) => void = queueMicrotask) {
    this.#schedule = schedule
  }

  /** Throws `ERR_STORE_UNAVAILABLE` while a store is open on it. */
  open(quota: Quota = defaultQuota): MailboxStore {
    if (this.#store !== undefined) throw unavailable("another relay has this mailbox store open")
    this.#store = new MemoryStore(this.#state, quota, {
      schedule: this.#schedule,
      isBroken: () => this.#isBroken,
      closed: () => (this.#store = undefined),
    })
    return this.#store
  }

  /** Another disk with the same bytes. */
  copy(schedule?: (sync: () => void) => void): MemoryDisk {
    const disk = new MemoryDisk(schedule)
    disk.#state = structuredClone(this.#state)
    return disk
  }

  /**
   * The process dies, and what waited for a sync never gets its answer. Most of it is gone; a torn write leaves some.
   * @param torn of so many changes that waited, in their order, how many reached the disk all the same
   */
  crash(torn: (waiting: number) => number = () => 0): void {
    this.#store?.die(torn)
    this.#store = undefined
  }

  /** From now on every sync fails. */
  break(): void {
    this.#isBroken = true
  }

  mend(): void {
    this.#isBroken = false
  }
}

interface Disk {
  readonly schedule: (sync: () => void) => void
  readonly isBroken: () => boolean
  readonly closed: () => void
}

interface State {
  readonly boxes: Map<string, Box>
  /** Where the numbers of a mailbox begin that is new, or has been forgotten. */
  floor: Sequence
  readonly prekeys: Map<string, Prekeys>
  /** By device and statement; the day, as `expire` counts days, is that of the first `expire` after the taking. */
  readonly taken: Map<string, number | undefined>
}

interface Box {
  readonly mailbox: MailboxId
  next: Sequence
  envelopes: (StoredEnvelope & { readonly blind: Uint8Array })[]
}

interface Prekeys {
  readonly device: DeviceId
  readonly oneTime: Uint8Array[]
  rotating: Uint8Array | undefined
}

const defaultQuota: Quota = { envelopesMax: chosen.mailboxEnvelopesMax, bytesMax: chosen.mailboxBytesMax }
const takenDays = Math.ceil(fixed.rotatingPrekeySeconds / 86_400) + 1

/** State changes only in a sync, so whatever can be read is durable, and a crash has nothing to undo. */
class MemoryStore implements MailboxStore {
  readonly #state: State
  readonly #quota: Quota
  readonly #disk: Disk
  #unsynced: { readonly change: () => void; readonly apply: () => void; readonly refuse: () => void }[] = []
  #hasFailed = false
  #isOver = false
  #whenSynced: () => void = () => undefined

  constructor(state: State, quota: Quota, disk: Disk) {
    this.#state = state
    this.#quota = quota
    this.#disk = disk
  }

  async append(mailbox: MailboxId, blind: Uint8Array, minute: number, bytes: Uint8Array): Promise<Appended> {
    requireLength(mailbox, mailboxBytes)
    requireLength(blind, blindBytes)
    requireCount(minute)
    const key = new Uint8Array(mailbox) as MailboxId
    const submitted = { blind: new Uint8Array(blind), minute, bytes: new Uint8Array(bytes) }
    return this.#write(() => {
      const box = this.#state.boxes.get(hex(key)) ?? { mailbox: key, next: this.#state.floor, envelopes: [] }
      const earlier = box.envelopes.find((e) => equal(e.blind, submitted.blind) && equal(e.bytes, submitted.bytes))
      if (earlier !== undefined) return { outcome: "stored", minute: earlier.minute }
      const held = box.envelopes.reduce((sum, e) => sum + e.bytes.length, 0)
      const { envelopesMax, bytesMax } = this.#quota
      if (box.envelopes.length + 1 > envelopesMax || held + submitted.bytes.length > bytesMax)
        return { outcome: "full" }
      this.#state.boxes.set(hex(key), box)
      box.envelopes.push({ ...submitted, sequence: box.next++ })
      return { outcome: "stored", minute }
    })
  }

  read(mailbox: MailboxId, after: Sequence, max: number): Promise<readonly StoredEnvelope[]> {
    return this.#read(() =>
      (this.#state.boxes.get(hex(mailbox))?.envelopes ?? [])
        .filter(({ sequence }) => sequence > after)
        .slice(0, max)
        .map(({ sequence, minute, bytes }) => ({ sequence, minute, bytes: new Uint8Array(bytes) })),
    )
  }

  async collect(mailbox: MailboxId, sequences: readonly Sequence[]): Promise<void> {
    const collected = new Set(sequences)
    const key = hex(mailbox)
    await this.#write(() => this.#keep(this.#state.boxes.get(key), ({ sequence }) => !collected.has(sequence)))
  }

  expire(beforeMinute: number): Promise<number> {
    return this.#write(() => {
      const today = Math.floor(beforeMinute / 1440)
      for (const [key, day] of this.#state.taken)
        if (day === undefined) this.#state.taken.set(key, today)
        else if (day < today - takenDays) this.#state.taken.delete(key)
      let deleted = 0
      for (const box of this.#state.boxes.values()) deleted += this.#keep(box, ({ minute }) => minute >= beforeMinute)
      return deleted
    })
  }

  putPrekeys(
    device: DeviceId,
    prekeys: { readonly reset: boolean; readonly rotating?: Uint8Array; readonly oneTime: readonly Uint8Array[] },
  ): Promise<number> {
    const rotating = prekeys.rotating && new Uint8Array(prekeys.rotating)
    const offered = prekeys.oneTime.map((statement) => new Uint8Array(statement))
    return this.#write(() => {
      if (prekeys.reset) this.#state.prekeys.delete(hex(device))
      const held = this.#prekeys(device)
      held.rotating = rotating ?? held.rotating
      for (const statement of offered) {
        if (this.#state.taken.has(takenKey(device, statement))) continue
        if (!held.oneTime.some((other) => equal(other, statement))) held.oneTime.push(statement)
      }
      held.oneTime.splice(0, held.oneTime.length - fixed.oneTimePrekeys)
      return held.oneTime.length
    })
  }

  takePrekey(device: DeviceId): Promise<Uint8Array | undefined> {
    return this.#write(() => {
      const held = this.#prekeys(device)
      const statement = held.oneTime.shift()
      if (statement !== undefined) this.#state.taken.set(takenKey(device, statement), undefined)
      const answer = statement ?? held.rotating
      return answer && new Uint8Array(answer)
    })
  }

  countPrekeys(device: DeviceId): Promise<number> {
    return this.#read(() => this.#state.prekeys.get(hex(device))?.oneTime.length ?? 0)
  }

  async forget(mailbox: MailboxId, device: DeviceId): Promise<void> {
    await this.#write(() => {
      this.#state.floor = Math.max(this.#state.floor, this.#state.boxes.get(hex(mailbox))?.next ?? 0)
      this.#state.boxes.delete(hex(mailbox))
      this.#state.prekeys.delete(hex(device))
    })
  }

  inspect(): Promise<StoreContents> {
    return this.#read(() => {
      const boxes = [...this.#state.boxes.values()]
      return {
        envelopes: boxes.flatMap(({ mailbox, envelopes }) =>
          envelopes.map(({ sequence, minute, bytes }) => ({ mailbox, sequence, minute, bytes: bytes.length })),
        ),
        prekeys: [...this.#state.prekeys.values()]
          .map(({ device, oneTime, rotating }) => ({
            device,
            oneTime: oneTime.length,
            rotating: rotating !== undefined,
          }))
          .filter(({ oneTime, rotating }) => oneTime > 0 || rotating),
        counters: boxes.map(({ mailbox, next }) => ({ mailbox, next })),
        takenPrekeys: this.#state.taken.size,
        quarantined: { envelopes: [], prekeys: 0 },
        intact: true,
      }
    })
  }

  async close(): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#unsynced.length > 0) await new Promise<void>((resolve) => (this.#whenSynced = resolve))
    this.#disk.closed()
  }

  die(torn: (waiting: number) => number): void {
    this.#isOver = true
    const waiting = this.#unsynced.splice(0)
    for (const { change } of waiting.slice(0, torn(waiting.length))) change()
  }

  #prekeys(device: DeviceId): Prekeys {
    const held = this.#state.prekeys.get(hex(device)) ?? { device, oneTime: [], rotating: undefined }
    this.#state.prekeys.set(hex(device), held)
    return held
  }

  #keep(box: Box | undefined, isKept: (envelope: StoredEnvelope) => boolean): number {
    if (box === undefined) return 0
    const before = box.envelopes.length
    box.envelopes = box.envelopes.filter(isKept)
    return before - box.envelopes.length
  }

  async #read<T>(answer: () => T): Promise<T> {
    if (this.#isOver) throw unavailable("the mailbox store is closed")
    return answer()
  }

  #write<T>(change: () => T): Promise<T> {
    if (this.#isOver) return Promise.reject(unavailable("the mailbox store is closed"))
    if (this.#unsynced.length === 0) this.#disk.schedule(() => this.#sync())
    return new Promise<T>((resolve, reject) =>
      this.#unsynced.push({
        change,
        apply: () => resolve(change()),
        refuse: () => reject(unavailable("the disk failed a sync of the mailbox store")),
      }),
    )
  }

  #sync(): void {
    this.#hasFailed ||= this.#disk.isBroken()
    const batch = this.#unsynced
    this.#unsynced = []
    for (const { apply, refuse } of batch) {
      if (this.#hasFailed) refuse()
      else apply()
    }
    this.#whenSynced()
  }
}

const takenKey = (device: DeviceId, statement: Uint8Array): string => `${hex(device)} ${hex(statement)}`

const unavailable = (message: string): ValiseError => new ValiseError("ERR_STORE_UNAVAILABLE", message)
