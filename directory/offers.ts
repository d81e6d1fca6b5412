/** New devices that wait for their PoC to fetch them: in memory, each for a quarter of an hour (SPEC, "Directory service"). */
import { hex, equal } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { serviceLimits } from "../pki/directory-api.ts"
import type { Clock } from "../system/machine.ts"

export class Offers {
  readonly #clock: Clock
  /** In the order in which they end. */
  readonly #offers = new Map<string, { readonly offer: Uint8Array; readonly endsAt: number }>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The same again is the same. Throws `ERR_USAGE` if another device waits under this code, `ERR_RATE_LIMITED` if too many wait. */
  put(code: Uint8Array, offer: Uint8Array): void {
    const present = this.get(code)
    if (present && equal(present, offer)) return
    if (present)
      throw new ValiseError("ERR_USAGE", "another device waits under this code", {
        hint: "begin anew with another code",
      })
    if (this.#offers.size >= serviceLimits.offersMax)
      throw new ValiseError("ERR_RATE_LIMITED", "too many devices wait", { hint: "come back in a quarter of an hour" })
    this.#offers.set(hex(code), { offer, endsAt: this.#clock.monotonic() + serviceLimits.offerSeconds * 1000 })
  }

  get(code: Uint8Array): Uint8Array | undefined {
    for (const [name, { endsAt }] of this.#offers) {
      if (endsAt > this.#clock.monotonic()) break
      this.#offers.delete(name)
    }
    return this.#offers.get(hex(code))?.offer
  }
}
