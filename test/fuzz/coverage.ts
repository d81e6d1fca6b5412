/**
 * Which blocks of our code ran, by V8's own counters (precise block coverage). V8 counts blocks only of functions that
 * it compiles after the start: load what is to be watched later than this.
 */
import { Session, type Profiler } from "node:inspector"

/** What has run since the last look. */
export interface Look {
  readonly functions: readonly FunctionLook[]
  /** Blocks entered, over and over ones included: a measure of work that no clock disturbs. */
  readonly steps: number
}

interface FunctionLook {
  readonly name: string
  readonly ranges: readonly Profiler.CoverageRange[]
}

export class Coverage {
  readonly #session = new Session()
  readonly #isWatched: (url: string) => boolean
  /** By function: one byte for each character of its source, 1 once it ran. */
  readonly #seen = new Map<string, Uint8Array>()

  constructor(isWatched: (url: string) => boolean) {
    this.#isWatched = isWatched
    this.#session.connect()
    this.#session.post("Profiler.enable")
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true })
  }

  /** Sets the counters back to zero. */
  look(): Look {
    const functions: FunctionLook[] = []
    let steps = 0
    for (const { url, functions: all } of this.#take()) {
      if (!this.#isWatched(url)) continue
      for (const { ranges } of all) {
        const [whole] = ranges
        if (!whole || whole.count === 0) continue
        functions.push({ name: `${url}:${whole.startOffset}`, ranges })
        for (const { count } of ranges) steps += count
      }
    }
    return { functions, steps }
  }

  /** Whether something ran that no look added before had. */
  isNew(look: Look): boolean {
    return this.#paint(look, false)
  }

  /** Remembers it; returns what `isNew` would have. */
  add(look: Look): boolean {
    return this.#paint(look, true)
  }

  /** Characters of source that have run. */
  get size(): number {
    let size = 0
    for (const bytes of this.#seen.values()) for (const byte of bytes) size += byte
    return size
  }

  close(): void {
    this.#session.disconnect()
  }

  #paint({ functions }: Look, remember: boolean): boolean {
    let isNew = false
    for (const { name, ranges } of functions) {
      const { startOffset, endOffset } = ranges[0]!
      const seen = this.#seen.get(name) ?? new Uint8Array(endOffset - startOffset)
      const ran = new Uint8Array(seen.length)
      // Inner ranges come after those around them.
      for (const range of ranges)
        ran.fill(range.count > 0 ? 1 : 0, range.startOffset - startOffset, range.endOffset - startOffset)
      for (let i = 0; i < ran.length; i++) {
        if (ran[i] === 0 || seen[i] === 1) continue
        isNew = true
        if (!remember) return true
        seen[i] = 1
      }
      if (remember) this.#seen.set(name, seen)
    }
    return isNew
  }

  #take(): readonly Profiler.ScriptCoverage[] {
    let taken: readonly Profiler.ScriptCoverage[] = []
    // A session on one's own thread answers before `post` returns.
    this.#session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error) throw error
      taken = result
    })
    return taken
  }
}
