/**
 * The relay's copy of the directory: follows the log, verifies it like every reader, serves its bytes to devices, and
 * tells the relay which devices have left.
 */
import type { DeviceId, MailboxId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { chosen } from "../protocol/limits.ts"
import type { TrustAnchor } from "../pki/anchor.ts"
import { openCheckpoint } from "../pki/checkpoint.ts"
import { bodyStructures, entryStructure } from "../pki/entries.ts"
import type { LogSource } from "../pki/log-source.ts"
import { DirectoryState, type DeviceRecord, type RelayRecord } from "../pki/state.ts"
import { MerkleLog } from "../pki/tree.ts"
import { seconds, type Clock } from "../system/machine.ts"
import type { DirectoryView, ServedDevice } from "./directory-view.ts"
import type { RelayLog } from "./log.ts"

export interface MirrorParts {
  readonly anchor: TrustAnchor
  /** The host under which the directory lists this relay. */
  readonly host: string
  readonly source: LogSource
  readonly clock: Clock
  readonly log: RelayLog
  /** Keeps what is new, beyond this run. */
  readonly keep?: (copy: MirrorCopy) => Promise<void>
}

/** The verified log, as far as this relay has it. */
export interface MirrorCopy {
  /** How many of the entries were there before. */
  readonly before: number
  readonly entries: readonly Uint8Array[]
  readonly tree: MerkleLog
  /** The newest checkpoint's note. */
  readonly checkpoint: Uint8Array
}

/** Told of each device that has left, again after each start, because the relay may have been down when it happened. */
export type OnLeft = (device: DeviceId, mailbox: MailboxId) => Promise<void>

export class DirectoryMirror implements DirectoryView {
  readonly #parts: MirrorParts
  readonly #state: DirectoryState
  readonly #entries: Uint8Array[] = []
  #tree = new MerkleLog()
  #checkpoint: Uint8Array | undefined
  /** Devices that were ever listed here, until they have been told to have left. */
  readonly #listed = new Map<string, ListedHere>()
  #onLeft: OnLeft = async () => {}
  #lookedAtMs = 0
  /** While the next look is planned: not before `follow`, and not while one is under way. */
  #cancelNext: (() => void) | undefined
  #turn: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(parts: MirrorParts) {
    this.#parts = parts
    this.#state = new DirectoryState(parts.anchor)
  }

  device(id: DeviceId): ServedDevice | undefined {
    return this.#served(this.#state.device(id))
  }

  deviceOfMailbox(mailbox: MailboxId): ServedDevice | undefined {
    return this.#served(this.#state.deviceOfMailbox(mailbox))
  }

  get size(): number {
    return this.#entries.length
  }

  readonly log: LogSource = {
    checkpoint: async () => {
      if (!this.#checkpoint) throw new ValiseError("ERR_STORE_UNAVAILABLE", "the log has not been mirrored yet")
      return this.#checkpoint
    },
    entries: async (from, max) => this.#entries.slice(from, from + max),
  }

  /**
   * Takes over what is new. Throws `ERR_DIRECTORY_SPLIT` if the log contradicts what it said before, and as
   * `openCheckpoint` and the source do; then the copy stays as it was.
   */
  sync(): Promise<void> {
    const turn = this.#turn.then(() => this.#sync())
    this.#turn = turn.catch(() => {})
    return turn
  }

  async #sync(): Promise<void> {
    const before = this.size
    await this.#take(this.#parts.source)
    const checkpoint = this.#checkpoint
    if (checkpoint) await this.#parts.keep?.({ before, entries: this.#entries, tree: this.#tree, checkpoint })
  }

  /** Takes over the copy that an earlier run kept, verified like any other; a damaged or old one is worth nothing. */
  async recall(copy: LogSource): Promise<void> {
    try {
      await this.#take(copy)
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
    }
  }

  async #take(source: LogSource): Promise<void> {
    const { anchor, clock, log } = this.#parts
    const note = await source.checkpoint()
    const checkpoint = openCheckpoint(note, anchor, seconds(clock))
    const fresh: Uint8Array[] = []
    while (this.size + fresh.length < checkpoint.size) {
      const from = this.size + fresh.length
      const some = await source.entries(from, checkpoint.size - from)
      if (some.length === 0) throw new ValiseError("ERR_DIRECTORY_STALE", "the log's newest entries are not served yet")
      fresh.push(...some.slice(0, checkpoint.size - from))
    }
    this.#requireRoot(checkpoint, fresh)
    for (const entry of fresh) {
      this.#state.apply(entry)
      this.#entries.push(entry)
      this.#noteListed(entry)
    }
    // An older checkpoint than the last one is true, but of no use to anybody.
    if (checkpoint.size === this.size) this.#checkpoint = note
    if (fresh.length > 0) log.info("directory.grown", { size: this.size })
  }

  /** What the directory says of this relay. */
  relay(): RelayRecord | undefined {
    return this.#state.relay(this.#parts.host)
  }

  /** Looks for new entries from now on, the first time before it resolves. Failures are logged, and tried again. */
  async follow(onLeft: OnLeft): Promise<void> {
    const { clock, log } = this.#parts
    this.#cancelNext?.()
    this.#cancelNext = undefined
    this.#onLeft = onLeft
    this.#lookedAtMs = clock.monotonic()
    try {
      await this.sync()
      await this.#tellLeft(onLeft)
    } catch (error) {
      if (error instanceof ValiseError) log.warn("directory.refused", { code: error.code })
      else log.fault(error)
    }
    this.#nextLook(chosen.mirrorEverySeconds)
  }

  /** Brings the next look forward: a device that has just been listed is not kept waiting, nor the directory flooded. */
  lookSoon(): void {
    if (this.#cancelNext) this.#nextLook(chosen.mirrorSoonestSeconds)
  }

  stop(): void {
    this.#stopped = true
    this.#cancelNext?.()
    this.#cancelNext = undefined
  }

  /** @param afterSeconds since the last one began */
  #nextLook(afterSeconds: number): void {
    const { clock } = this.#parts
    this.#cancelNext?.()
    this.#cancelNext = undefined
    if (this.#stopped) return
    const inMs = Math.max(0, this.#lookedAtMs + afterSeconds * 1000 - clock.monotonic())
    this.#cancelNext = clock.after(inMs, () => {
      this.#cancelNext = undefined
      void this.follow(this.#onLeft)
    })
  }

  #served(record: DeviceRecord | undefined): ServedDevice | undefined {
    if (record?.relay !== this.#parts.host) return undefined
    const { device, key, mailbox, poc } = record
    return { device, key, mailbox, poc }
  }

  #requireRoot(checkpoint: { readonly size: number; readonly root: Uint8Array }, fresh: readonly Uint8Array[]): void {
    for (const entry of fresh) this.#tree.append(entry)
    if (equal(this.#tree.rootAt(checkpoint.size), checkpoint.root)) return
    this.#tree = new MerkleLog()
    for (const entry of this.#entries) this.#tree.append(entry)
    throw new ValiseError("ERR_DIRECTORY_SPLIT", "the log's entries do not lead to its checkpoint")
  }

  /** Whatever a manifest lists with this relay, while it is listed: a later entry may end it before anybody looks. */
  #noteListed(entry: Uint8Array): void {
    const poc = pocOfManifest(entry)
    for (const { device, mailbox, relay } of (poc && this.#state.poc(poc)?.manifest?.devices) ?? [])
      if (relay === this.#parts.host) this.#listed.set(hex(device), { device, mailbox })
  }

  async #tellLeft(onLeft: OnLeft): Promise<void> {
    for (const [name, { device, mailbox }] of this.#listed) {
      if (this.device(device)) continue
      await onLeft(device, mailbox)
      this.#listed.delete(name)
    }
  }
}

interface ListedHere {
  readonly device: DeviceId
  readonly mailbox: MailboxId
}

/** Whose manifest this log entry is; `undefined` for any other entry. */
function pocOfManifest(leaf: Uint8Array): PocAddress | undefined {
  try {
    const { kind, body } = entryStructure.decode(leaf)
    return kind === "manifest" ? bodyStructures.manifest.decode(body).poc : undefined
  } catch {
    return undefined
  }
}
