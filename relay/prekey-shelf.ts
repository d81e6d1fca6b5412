/**
 * The prekeys of a mailbox store: few, changed in place, and never to come back when taken, which suits SQLite. One
 * thread writes and reads them, so that no sync holds up the relay's sockets. Group commit: what is asked while one
 * transaction is synced forms the next. With the shelf comes the lock on the folder: it is open at most once.
 */
import { existsSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { DeviceId } from "../protocol/address.ts"
import type { ValiseError } from "../protocol/errors.ts"
import type { ShelfMessage, ShelfReply } from "./prekey-shelf-thread.ts"
import type { ShelfChange, ShelfChangeKind, ShelfChanges, ShelfResult } from "./prekey-shelf-writer.ts"
import { StoreThread } from "./store-thread.ts"
import { errorOf, type StoreTrouble } from "./store-trouble.ts"
import { deviceBytes, requireLength, type MailboxStore } from "./store.ts"

/** As `MailboxStore` says, of prekeys alone. */
export interface PrekeyShelf extends Pick<MailboxStore, "putPrekeys" | "takePrekey" | "countPrekeys"> {
  /** Why nothing can be changed, though all that is readable can be read; undefined on a healthy shelf. */
  readonly trouble: ValiseError | undefined
  /** So much waits for the disk that nothing further should be asked of it now. */
  readonly isBehind: boolean
  forget(device: DeviceId): Promise<void>
  /** Forgets which prekeys were taken so long ago that none can be offered again. Leaves no deleted byte in any file. */
  expire(beforeMinute: number): Promise<void>
  /** To be called when all has been answered. */
  close(): Promise<void>
}

/**
 * Opens or creates the shelf in this folder, which becomes readable to this user alone. Rejects with
 * `ERR_STORE_UNAVAILABLE` if another relay has it open or it is not a shelf, `ERR_VERSION` if a newer release wrote it.
 */
export async function openPrekeyShelf(folder: string): Promise<PrekeyShelf> {
  // SQLite cannot even read without room for its index: on a full disk a small file gives up its own.
  const reserve = join(folder, "mailboxes.reserve")
  const shelf = await open(folder).catch((error: unknown) => {
    if (!existsSync(reserve)) throw error
    rmSync(reserve)
    return open(folder)
  })
  try {
    if (!existsSync(reserve)) writeFileSync(reserve, new Uint8Array(reserveBytes), { mode: 0o600 })
  } catch {
    // There is no room for it: made at the next opening.
    rmSync(reserve, { force: true })
  }
  return shelf
}

async function open(folder: string): Promise<PrekeyShelf> {
  const thread: ShelfThread = new StoreThread(new URL("./prekey-shelf-thread.ts", import.meta.url))
  try {
    const trouble = (await thread.ask({ open: folder })) as StoreTrouble | undefined
    return new Shelf(thread, trouble && errorOf(trouble))
  } catch (error) {
    await thread.end()
    throw error
  }
}

class Shelf implements PrekeyShelf {
  readonly trouble: ValiseError | undefined
  readonly #thread: ShelfThread
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  #isWorking = false

  constructor(thread: ShelfThread, trouble: ValiseError | undefined) {
    this.#thread = thread
    this.trouble = trouble
  }

  async putPrekeys(
    device: DeviceId,
    { reset, rotating, oneTime }: Parameters<MailboxStore["putPrekeys"]>[1],
  ): Promise<number> {
    const bytes = oneTime.reduce((sum, { length }) => sum + length, rotating?.length ?? 0)
    // Copies: a view would take all that is beneath it along to the other thread.
    const copies = {
      rotating: rotating && new Uint8Array(rotating),
      oneTime: oneTime.map((one) => new Uint8Array(one)),
    }
    return this.#change("put", { device: deviceOf(device), reset, ...copies }, bytes)
  }

  async takePrekey(device: DeviceId): Promise<Uint8Array | undefined> {
    return this.#change("take", { device: deviceOf(device) })
  }

  async countPrekeys(device: DeviceId): Promise<number> {
    return (await this.#thread.ask({ count: deviceOf(device) })) as number
  }

  async forget(device: DeviceId): Promise<void> {
    await this.#change("forget", { device: deviceOf(device) })
  }

  async expire(beforeMinute: number): Promise<void> {
    await this.#change("expire", { beforeMinute })
  }

  get isBehind(): boolean {
    return this.#waitingBytes > waitingBytesMax
  }

  close(): Promise<void> {
    return this.#thread.end()
  }

  #change<K extends ShelfChangeKind>(
    kind: K,
    args: ShelfChanges[K]["args"],
    ownBytes = 0,
  ): Promise<ShelfChanges[K]["result"]> {
    const bytes = ownBytes + changeBytes
    this.#waitingBytes += bytes
    if (!this.#isWorking) {
      this.#isWorking = true
      // Together with all else that the sockets have to say in this turn.
      setImmediate(() => void this.#work())
    }
    const change = { kind, ...args } as ShelfChange
    return new Promise((resolve, reject) => this.#waiting.push({ change, bytes, resolve, reject }))
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, changesMax)
      try {
        const results = await this.#thread.ask({ changes: batch.map(({ change }) => change) })
        batch.forEach(({ resolve }, i) => resolve((results as readonly ShelfResult[])[i]))
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
      for (const { bytes } of batch) this.#waitingBytes -= bytes
    }
    this.#isWorking = false
  }
}

type ShelfThread = StoreThread<ShelfMessage, ShelfReply>

interface Waiting {
  readonly change: ShelfChange
  readonly bytes: number
  readonly resolve: (result: ShelfResult) => void
  readonly reject: (error: unknown) => void
}

/** A copy, of the right length. */
function deviceOf(device: DeviceId): Uint8Array {
  requireLength(device, deviceBytes)
  return new Uint8Array(device)
}

const reserveBytes = 128 * 1024
/** One transaction: at most some 6 MB of prekeys, whose sync stays well below a second on a slow disk. */
const changesMax = 64
/** What waits for the disk, in memory. */
const waitingBytesMax = 64 * 1024 * 1024
const changeBytes = 256
