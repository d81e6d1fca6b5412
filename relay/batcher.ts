/**
 * Signs for what has been stored: one signature for all submissions whose appends resolved in the same turn. Nothing
 * gets in here before its append has resolved.
 */
import type { Realm } from "../protocol/address.ts"
import type { Acceptance, RelayFrame } from "../protocol/frames.ts"
import { fixed, type Chosen } from "../protocol/limits.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import { signBatch, type AcceptedItem } from "../protocol/relay-receipt.ts"

export interface BatcherParts {
  readonly key: SigningKey
  readonly realm: Realm
  readonly host: string
  readonly limits: Chosen
}

/** The connection that submitted; its receipts go to it alone. */
export interface Submitter {
  accepted(frame: Extract<RelayFrame, { type: "accepted" }>): void
}

interface Stored {
  readonly item: AcceptedItem
  readonly submitter: Submitter
  /** The counter of its submit frame. */
  readonly about: number
}

export class Batcher {
  readonly #parts: BatcherParts
  #waiting: Stored[] = []

  constructor(parts: BatcherParts) {
    this.#parts = parts
  }

  add(stored: Stored): void {
    if (this.#waiting.push(stored) === 1) queueMicrotask(() => queueMicrotask(() => this.#sign()))
    if (this.#waiting.length === fixed.receiptBatchMax) this.#sign()
  }

  #sign(): void {
    const { key, realm, host, limits } = this.#parts
    const batchOf = this.#waiting
    if (batchOf.length === 0) return
    this.#waiting = []
    const items = batchOf.map((stored) => stored.item)
    const { batch, receipt } = signBatch(key, realm, host, items)
    const bySubmitter = new Map<Submitter, Acceptance[]>()
    batchOf.forEach(({ submitter, about }, i) => {
      const { index, minute, path } = receipt(i)
      const mine = bySubmitter.get(submitter) ?? []
      bySubmitter.set(submitter, mine)
      mine.push({ about, index, minute, path })
    })
    for (const [submitter, mine] of bySubmitter)
      for (let at = 0; at < mine.length; at += limits.receiptsPerFrame)
        submitter.accepted({ type: "accepted", batch, items: mine.slice(at, at + limits.receiptsPerFrame) })
  }
}
