/**
 * The mirror of the directory's log: the whole of it, in the vault, replayed. Look-ups are local, work offline and tell
 * nobody who is being looked up. Nothing is sealed while the newest checkpoint is stale.
 */
import type { PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { taggedHash } from "../protocol/hash.ts"
import type { Header } from "../protocol/header.ts"
import type { OfficerRight } from "../protocol/manifest.ts"
import type { JudgeResult } from "../protocol/open.ts"
import { readTrustFile, type TrustAnchor } from "../pki/anchor.ts"
import { openCheckpoint, verifyCheckpoint, type Checkpoint } from "../pki/checkpoint.ts"
import type { LogSource } from "../pki/log-source.ts"
import { DirectoryState } from "../pki/state.ts"
import { MerkleLog } from "../pki/tree.ts"
import { seconds, type Clock } from "../system/machine.ts"
import type { HomeVault, Reader } from "./collections.ts"

export class Mirror {
  readonly anchor: TrustAnchor
  readonly state: DirectoryState
  readonly #vault: HomeVault
  readonly #clock: Clock
  #checkpoint: { note: Uint8Array; size: number } | undefined

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
      const entry = tx.get("log", indexKey(index))
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
  async sync(source: LogSource): Promise<boolean> {
    const note = await source.checkpoint()
    const checkpoint = openCheckpoint(note, this.anchor, seconds(this.#clock))
    if (checkpoint.size < this.state.size) {
      if (!equal(this.state.rootAt(checkpoint.size), checkpoint.root)) throw split()
      return false
    }
    const fresh: Uint8Array[] = []
    while (this.state.size + fresh.length < checkpoint.size) {
      const from = this.state.size + fresh.length
      const some = await source.entries(from, checkpoint.size - from)
      if (some.length === 0) throw new ValiseError("ERR_DIRECTORY_STALE", "the log's newest entries are not served yet")
      fresh.push(...some.slice(0, checkpoint.size - from))
    }
    if (!equal(this.#rootWith(fresh), checkpoint.root)) throw split() // defence: 20 replay-against-checkpoint
    this.#vault.transaction((tx) => {
      const before = tx.get("checkpoint", "newest")
      // Another process of this vault may have mirrored the same entries meanwhile; they are equal, so writing them again is harmless.
      if (before && before.size > checkpoint.size) return
      fresh.forEach((bytes, i) => tx.put("log", indexKey(this.state.size + i), { bytes }))
      tx.put("checkpoint", "newest", { note, size: checkpoint.size })
    })
    this.refresh()
    return fresh.length > 0
  }

  /** The root over what is mirrored and, behind it, what is not stored yet. */
  #rootWith(fresh: readonly Uint8Array[]): Uint8Array {
    const tree = new MerkleLog()
    this.#vault.read((tx) => {
      for (let index = 0; index < this.state.size; index++) tree.append(tx.get("log", indexKey(index))!.bytes)
    })
    for (const entry of fresh) tree.append(entry)
    return tree.rootAt(tree.size)
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

  /** Judges a message's sender by the log, as of now (SPEC §10). */
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

  /** Whether this PoC's officer may do this, by its manifest as logged. */
  officer(poc: PocAddress, officer: Uint8Array): { title: string; rights: readonly OfficerRight[]; key: Uint8Array } | undefined {
    const listed = this.state.poc(poc)?.manifest?.officers.find((row) => equal(row.officer, officer))
    return listed && { title: listed.title, rights: listed.rights, key: listed.key }
  }

  /** Short words for people to compare: they name this log's state. */
  fingerprint(): string {
    return hex(taggedHash("log-entry", this.state.rootAt(this.state.size))).slice(0, 16)
  }
}

const split = (): ValiseError =>
  new ValiseError("ERR_DIRECTORY_SPLIT", "the directory's log contradicts its checkpoint or what it said before", {
    hint: "compare checkpoints with a PoC of another State by another channel",
  })

const indexKey = (index: number): string => String(index).padStart(10, "0")
