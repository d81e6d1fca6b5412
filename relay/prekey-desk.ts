/** Takes in devices' prekeys and hands them out, each one-time key once (SPEC, "Prekeys", "Connection"). */
import { z } from "zod"
import { shapes, type DeviceId, type Realm } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { PublishedPrekeys } from "../protocol/frames.ts"
import { checkPrekey, prekeyKinds, type PrekeyKind } from "../protocol/prekey.ts"
import { signedShape, type Signed } from "../protocol/statement.ts"
import type { ServedDevice } from "./directory-view.ts"
import type { MailboxStore } from "./store.ts"

export interface PrekeyDeskParts {
  readonly store: MailboxStore
  readonly realm: Realm
}

export class PrekeyDesk {
  readonly #parts: PrekeyDeskParts
  /** By device, of this run of the process: the highest numbers that its incarnation has used. */
  readonly #used = new Map<string, UsedNumbers>()

  constructor(parts: PrekeyDeskParts) {
    this.#parts = parts
  }

  /**
   * All or nothing; resolves to how many one-time prekeys are held then, or `undefined` if refused: a prekey that is
   * not this device's own, valid and of its kind; another incarnation without `reset`; a number that is not above all
   * that this incarnation has used for this kind (a vault that went back in time learns it so).
   */
  async publish(device: ServedDevice, published: PublishedPrekeys, nowSeconds: number): Promise<number | undefined> {
    const used = this.#judge(device, published, nowSeconds)
    if (!used) return undefined
    this.#used.set(hex(device.device), used)
    return this.#parts.store.putPrekeys(device.device, {
      reset: published.reset,
      oneTime: published.oneTime.map((signed) => encodeCbor(signed)),
      ...(published.rotating && { rotating: encodeCbor(published.rotating) }),
    })
  }

  /** The next prekey to seal to; those that have expired meanwhile are passed over. */
  async take(device: DeviceId, nowSeconds: number): Promise<Signed | undefined> {
    for (;;) {
      const bytes = await this.#parts.store.takePrekey(device)
      if (!bytes) return undefined
      const signed = decodeCbor(signedShape, bytes)
      const { kind, exp } = decodeCbor(expiryShape, signed.bytes)
      if (exp >= nowSeconds) return signed
      if (kind === "rotating") return undefined
    }
  }

  forget(device: DeviceId): void {
    this.#used.delete(hex(device))
  }

  /** The numbers used after this publication, or `undefined` if it is to be refused. */
  #judge(device: ServedDevice, published: PublishedPrekeys, nowSeconds: number): UsedNumbers | undefined {
    const incarnation = hex(published.incarnation)
    const before = this.#used.get(hex(device.device))
    if (before && before.incarnation !== incarnation && !published.reset) return undefined
    const used: UsedNumbers =
      before?.incarnation === incarnation ? { ...before } : { incarnation, "one-time": -1, rotating: -1 }
    const judge = (signed: Signed, kind: PrekeyKind): boolean => {
      try {
        const owner = { id: device.device, signingKey: device.key }
        const prekey = checkPrekey(this.#parts.realm, owner, signed, nowSeconds)
        if (prekey.kind !== kind || hex(prekey.incarnation) !== incarnation) return false
        if (prekey.n <= used[kind]) return false // defence: 24 relay-numbers
        used[kind] = prekey.n
        return true
      } catch (error) {
        if (error instanceof ValiseError) return false
        throw error
      }
    }
    const verdicts = published.oneTime.map((signed) => judge(signed, "one-time"))
    if (published.rotating) verdicts.push(judge(published.rotating, "rotating"))
    return verdicts.every(Boolean) ? used : undefined
  }
}

interface UsedNumbers extends Record<PrekeyKind, number> {
  readonly incarnation: string
}

/** What matters of a prekey that was checked when it came in. */
const expiryShape = z.looseObject({ kind: z.enum(prekeyKinds), exp: shapes.seconds })
