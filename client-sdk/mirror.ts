/**
 * The mirror of the directory's log: the whole of it, in the vault, replayed. Look-ups are local, work offline and tell
 * nobody who is being looked up. Nothing is sealed while the newest checkpoint is stale.
 */
import type { OfficerId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { taggedHash } from "../protocol/hash.ts"
import type { Header } from "../protocol/header.ts"
import type { OfficerRight } from "../protocol/manifest.ts"
import type { JudgeResult } from "../protocol/open.ts"
import { readTrustFile, type TrustAnchor } from "../pki/anchor.ts"
import { openCheckpoint, readCheckpoint, verifyCheckpoint, type Checkpoint } from "../pki/checkpoint.ts"
import type { LogSource } from "../pki/log-source.ts"
import { DirectoryState } from "../pki/state.ts"
import { MerkleLog } from "../pki/tree.ts"
import { seconds, type Clock } from "../system/machine.ts"
import type { HomeVault, Reader, Tx } from "./collections.ts"

export interface ListedOfficer {
  readonly officer: OfficerId
  readonly title: string
  readonly rights: readonly OfficerRight[]
  readonly key: Uint8Array
  /** Neither revoked nor removed. */
  readonly current: boolean
}

export class Mirror {
  readonly anchor: TrustAnchor
  readonly state: DirectoryState
  readonly #vault: HomeVault
  readonly #clock: Clock
  #checkpoint: { note: Uint8Array; size: number } | undefined
  /** Syncs take place one after another. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(vault: HomeVault, clock: Clock, trust: string) {
    this.anchor = readTrustFile(trust)
    this.#vault = vault
    this.#clock = clock
    this.state = new DirectoryState(this.anchor)
    this.refresh()
  }

  /** Replays what another process of this vault has mirrored meanwhile. */
  refresh(): void {
    this.#vault.read((tx) => this.#replay(tx))
  }

  #replay(tx: Reader): void {
    const checkpoint = tx.get("checkpoint", "newest")
    if (!checkpoint || checkpoint.size < this.state.size) return
    for (let index = this.state.size; index < checkpoint.size; index++) {
      const entry = tx.get("log", logKey(index))
      if (!entry) throw new ValiseError("ERR_VAULT_TAMPERED", "an entry of the mirrored log is missing in the vault")
      this.state.apply(entry.bytes)
    }
    this.#checkpoint = checkpoint
  }

  /**
   * Fetches what is new, checks it against the newest checkpoint and what was mirrored before, and stores it durably.
   * Throws `ERR_DIRECTORY_SPLIT` if the log contradicts what it said earlier, `ERR_UNTRUSTED` or `ERR_DIRECTORY_STALE`
   * as `openCheckpoint` does. Resolves to whether anything was new.
   */
  sync(source: LogSource): Promise<boolean> {
    const sync = this.#turn.then(() => this.#sync(source))
    this.#turn = sync.catch(() => undefined)
    return sync
  }

  async #sync(source: LogSource): Promise<boolean> {
    const note = await source.checkpoint()
    const checkpoint = openCheckpoint(note, this.anchor, seconds(this.#clock))
    const known = this.state.size
    if (checkpoint.size < known) {
      if (!equal(this.state.rootAt(checkpoint.size), checkpoint.root)) throw this.#split(note) // defence: 20 older-checkpoint
      return false
    }
    const fresh: Uint8Array[] = []
    while (known + fresh.length < checkpoint.size) {
      const from = known + fresh.length
      const some = await source.entries(from, checkpoint.size - from)
      if (some.length === 0) throw new ValiseError("ERR_DIRECTORY_STALE", "the log's newest entries are not served yet")
      fresh.push(...some.slice(0, checkpoint.size - from))
    }
    // Another process of this vault may have mirrored something meanwhile: what was fetched is compared with that instead.
    if (this.state.size !== known) return this.#sync(source)
    if (!equal(this.#rootWith(fresh), checkpoint.root)) throw this.#split(note) // defence: 20 replay-against-checkpoint
    const isStored = this.#vault.transaction((tx) => {
      if ((tx.get("checkpoint", "newest")?.size ?? 0) !== known) return false
      fresh.forEach((bytes, i) => tx.put("log", logKey(known + i), { bytes }))
      tx.put("checkpoint", "newest", { note, size: checkpoint.size })
      return true
    })
    this.refresh()
    return isStored ? fresh.length > 0 : this.#sync(source)
  }

  #split(note: Uint8Array): ValiseError {
    this.#vault.transaction((tx) => this.keepContradiction(tx, note))
    return new ValiseError(
      "ERR_DIRECTORY_SPLIT",
      "the directory's log contradicts its checkpoint or what it said before",
      {
        hint: "compare checkpoints with a PoC of another State by another channel",
      },
    )
  }

  /** Keeps the first checkpoint that bears the log's signature and contradicts this mirror: evidence of two histories. */
  keepContradiction(tx: Tx, note: Uint8Array): void {
    if (tx.get("checkpoint", "contradicting")) return
    tx.put("checkpoint", "contradicting", { note, size: readCheckpoint(note)?.size ?? 0 })
  }

  /** The root over what is mirrored and, behind it, what is not stored yet. */
  #rootWith(fresh: readonly Uint8Array[]): Uint8Array {
    if (fresh.length === 0) return this.state.rootAt(this.state.size)
    const tree = new MerkleLog()
    this.#vault.read((tx) => {
      for (let index = 0; index < this.state.size; index++) tree.append(tx.get("log", logKey(index))!.bytes)
    })
    for (const entry of fresh) tree.append(entry)
    return tree.rootAt(tree.size)
  }

  /** Bytes of the newest checkpoint's note; 0 if there is none yet. */
  get checkpointBytes(): number {
    return this.#checkpoint?.note.length ?? 0
  }

  /** The checkpoint to put into a header. Throws `ERR_DIRECTORY_STALE` if there is none that is fresh. */
  freshCheckpoint(): Uint8Array {
    if (!this.#checkpoint)
      throw new ValiseError("ERR_DIRECTORY_STALE", "the directory has not been mirrored yet", {
        hint: "connect to the relay once",
      })
    openCheckpoint(this.#checkpoint.note, this.anchor, seconds(this.#clock)) // defence: 21 frozen-checkpoint
    return this.#checkpoint.note
  }

  /** Whether what is mirrored is too old to know of every revocation. */
  get isStale(): boolean {
    try {
      this.freshCheckpoint()
      return false
    } catch (error) {
      if (error instanceof ValiseError && error.code === "ERR_DIRECTORY_STALE") return true
      throw error
    }
  }

  /** Judges a message's sender by the log, as of now (SPEC, "Directory"). */
  judge(header: Header, note: Uint8Array): JudgeResult {
    let checkpoint: Checkpoint
    try {
      checkpoint = verifyCheckpoint(note, this.anchor, seconds(this.#clock))
    } catch {
      return { ok: false, reason: "checkpoint" }
    }
    if (checkpoint.size > this.state.size) return { ok: false, reason: "checkpoint", notYet: true }
    if (!equal(this.state.rootAt(checkpoint.size), checkpoint.root)) {
      this.splitView = note
      return { ok: false, reason: "checkpoint" }
    }
    return this.state.judgeSender(header, checkpoint.size, seconds(this.#clock))
  }

  /** A checkpoint that bears the log's signature and contradicts this mirror: evidence of a split view. */
  splitView: Uint8Array | undefined

  get size(): number {
    return this.state.size
  }

  /** An officer as its PoC's manifest lists it, or did before it was revoked or removed. */
  officer(poc: PocAddress, officer: OfficerId): ListedOfficer | undefined {
    const listed = this.state.officer(poc, officer)
    return listed && { ...listed.record, current: listed.end === undefined }
  }

  /** Short words for people to compare: they name this log's state. */
  fingerprint(): string {
    return hex(taggedHash("log-entry", this.state.rootAt(this.state.size))).slice(0, 16)
  }
}

/** Under which the vault keeps an entry. */
export const logKey = (index: number): string => String(index).padStart(10, "0")
