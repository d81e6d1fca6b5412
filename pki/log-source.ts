/** Where a reader gets the transparency log from: the directory's own files, a mirror, or a relay's `log` frames. */
export interface LogSource {
  /** The newest checkpoint, as its signed note's bytes. */
  checkpoint(): Promise<Uint8Array>
  /** Leaves from this index on, in order, at most `max`; empty if there are none yet. */
  entries(from: number, max: number): Promise<readonly Uint8Array[]>
}
