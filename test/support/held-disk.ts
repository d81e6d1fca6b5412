import { MemoryDisk } from "../../relay/testing/memory-store.ts"

/** A store's disk whose syncs wait when told to, as if they took long. */
export class HeldDisk extends MemoryDisk {
  readonly #gate: Gate

  constructor() {
    const gate: Gate = { waiting: undefined }
    super((sync) => {
      if (gate.waiting) gate.waiting.push(sync)
      else queueMicrotask(sync)
    })
    this.#gate = gate
  }

  hold(): void {
    this.#gate.waiting = []
  }

  get isAskedToSync(): boolean {
    return (this.#gate.waiting?.length ?? 0) > 0
  }

  release(): void {
    const waiting = this.#gate.waiting ?? []
    this.#gate.waiting = undefined
    for (const sync of waiting) sync()
  }
}

interface Gate {
  waiting: (() => void)[] | undefined
}
