/**
 * The one writer of the transparency log (SPEC, "Transparency log"). Its files are the log: tiles and a checkpoint, as C2SP tlog-tiles
 * has them, which any web server can mirror.
 *
 * Order of an append: bundles and hash tiles, each durable; then the checkpoint that covers them. So whatever a
 * published checkpoint covers is on stable storage, and after a crash the last checkpoint says what counts: tiles
 * beyond it are leftovers, which the next append replaces.
 */
import { concat, equal } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { chosen, fixed } from "../protocol/limits.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import { isSignedByLog, readCheckpoint, signCheckpoint } from "../pki/checkpoint.ts"
import type { LogSource } from "../pki/log-source.ts"
import { encodeVerifierKey, verifierKey } from "../pki/note.ts"
import { checkpointPath, encodeBundle, newTiles, tilePath, tileSource, tileWidth, type Tile } from "../pki/tiles.ts"
import { MerkleLog } from "../pki/tree.ts"
import { seconds, type Clock } from "../system/machine.ts"
import type { Files } from "./files.ts"

export interface LogWriterOptions {
  /** The log's folder. The caller sees to it that nobody else writes there (`lockFolder`). */
  readonly files: Files
  /** The log's name, e.g. `directory.example/log`. */
  readonly origin: string
  readonly key: SigningKey
  readonly clock: Clock
}

export class LogWriter {
  readonly #options: LogWriterOptions
  readonly #tree: MerkleLog
  readonly #entries: Uint8Array[]
  #size: number
  /** Appends and new dates, one after the other. */
  #queue: Promise<void> = Promise.resolve()
  /** After a failed write nobody knows what is on disk: nothing more is accepted until the log is opened anew. */
  #failure: unknown
  #closed = false
  #cancelTimer: () => void = () => {}

  /** Starts an empty log and publishes its first checkpoint. Throws `ERR_USAGE` if there is one already. */
  static async create(options: LogWriterOptions): Promise<LogWriter> {
    if (await options.files.read(checkpointPath))
      throw new ValiseError("ERR_USAGE", "this folder holds a log already", { hint: "open it, or use another folder" })
    return await LogWriter.#started(options, [])
  }

  /**
   * Recovers the log as of its last checkpoint and dates it anew. Throws `ERR_NOT_FOUND` if there is none and
   * `ERR_DISK` if the entries are not what the checkpoint says: a log that forgets would sign two histories.
   */
  static async open(options: LogWriterOptions): Promise<LogWriter> {
    const source = tileSource((path) => options.files.read(path))
    const bytes = await source.checkpoint()
    const checkpoint = readCheckpoint(bytes)
    const logKey = encodeVerifierKey(verifierKey(options.origin, "ed25519", options.key.publicKey))
    if (!checkpoint || !isSignedByLog(bytes, logKey)) return damaged()
    const entries = await source.entries(0, checkpoint.size).catch(damaged)
    return await LogWriter.#started(options, entries, checkpoint.root)
  }

  static async #started(
    options: LogWriterOptions,
    entries: readonly Uint8Array[],
    root?: Uint8Array,
  ): Promise<LogWriter> {
    const writer = new LogWriter(options, entries)
    if (root && !equal(writer.#tree.rootAt(entries.length), root)) return damaged()
    await writer.#repairTiles()
    await writer.redate()
    writer.#dateAgainLater()
    return writer
  }

  private constructor(options: LogWriterOptions, entries: readonly Uint8Array[]) {
    this.#options = options
    this.#tree = new MerkleLog()
    for (const entry of entries) this.#tree.append(entry)
    this.#entries = [...entries]
    this.#size = entries.length
  }

  /** Entries that the published checkpoint covers. */
  get size(): number {
    return this.#size
  }

  /** Reads the log as everybody else does: from its files. */
  source(): LogSource {
    return tileSource((path) => this.#options.files.read(path))
  }

  /**
   * Appends the entries together, in order; resolves to the first one's index once the checkpoint that covers them is
   * published. Rejects with `ERR_TOO_LARGE` (nothing was appended) or `ERR_DISK` (unknown until the log is opened anew).
   */
  async append(entries: readonly Uint8Array[]): Promise<number> {
    if (entries.some(({ length }) => length > fixed.logEntryBytesMax))
      throw new ValiseError("ERR_TOO_LARGE", "a log entry is larger than 65,535 bytes")
    return await this.#inTurn(async () => {
      const first = this.#size
      for (const entry of entries) {
        this.#tree.append(entry)
        this.#entries.push(entry)
      }
      await this.#publish()
      return first
    })
  }

  /** Publishes the checkpoint with the present time; happens by itself every `chosen.checkpointEverySeconds`. */
  async redate(): Promise<void> {
    await this.#inTurn(() => this.#publish())
  }

  /** Finishes what is under way; afterwards nothing is written. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer()
    await this.#queue
  }

  async #publish(): Promise<void> {
    const { files, key, origin, clock } = this.#options
    const [covered, size] = [this.#size, this.#tree.size]
    const tiles = [...newTiles(covered, size)]
    for (const tile of tiles) await files.write(tilePath(tile), this.#bytesOf(tile))
    const root = this.#tree.rootAt(size)
    await files.write(checkpointPath, signCheckpoint(key, { origin, size, root }, seconds(clock)))
    this.#size = size
    // Partial forms of tiles that are full now; readers who want one take it from the full tile.
    for (const tile of tiles) if (tile.width === tileWidth) await files.remove(`${tilePath(tile)}.p`)
  }

  /** All tiles follow from the entries, so one that is missing or damaged is simply written again. */
  async #repairTiles(): Promise<void> {
    const { files } = this.#options
    for (const tile of newTiles(0, this.#size)) {
      const bytes = this.#bytesOf(tile)
      const found = await files.read(tilePath(tile))
      if (!found || !equal(found, bytes)) await files.write(tilePath(tile), bytes)
    }
  }

  #bytesOf({ level, index, width }: Tile): Uint8Array {
    const [start, end] = [index * tileWidth, index * tileWidth + width]
    if (level === "entries") return encodeBundle(this.#entries.slice(start, end))
    return concat(...this.#tree.completeSubtrees(8 * level).slice(start, end))
  }

  #dateAgainLater(): void {
    this.#cancelTimer = this.#options.clock.after(chosen.checkpointEverySeconds * 1000, () => {
      // A failure is kept, and refuses the next append with its cause.
      this.redate().then(
        () => this.#dateAgainLater(),
        () => {},
      )
    })
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(async () => {
      if (this.#closed) throw new ValiseError("ERR_ABORTED", "the log is closed")
      if (this.#failure !== undefined) throw refused(this.#failure)
      try {
        return await work()
      } catch (cause) {
        this.#failure = cause
        throw refused(cause)
      }
    })
    this.#queue = turn.then(
      () => {},
      () => {},
    )
    return await turn
  }
}

function damaged(cause?: unknown): never {
  throw new ValiseError("ERR_DISK", "the log's folder is damaged: its entries are not what its checkpoint says", {
    cause,
    hint: "restore the whole folder from a mirror that has this checkpoint; never start a new log under the same key",
  })
}

function refused(cause: unknown): ValiseError {
  return new ValiseError("ERR_DISK", "the log could not be written, so nothing more is appended", {
    cause,
    hint: "check free space and permissions of the directory's folder, then start the directory again",
  })
}
