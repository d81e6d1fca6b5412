/**
 * Whom the directory expects, and with which code (SPEC, "Directory service"). A code is a secret of 80 bits that goes to
 * the agency out of band; only its hash is kept, and it is good for one request.
 */
import { z } from "zod"
import { parsePocAddress, shapes, type PocAddress } from "../protocol/address.ts"
import { equal, hex, utf8 } from "../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError } from "../protocol/errors.ts"
import { sha3 } from "../protocol/primitives.ts"
import { invitationBytes, serviceLimits, type Invited } from "../pki/directory-api.ts"
import { isOrganisation } from "../pki/profile.ts"
import type { Random } from "../system/machine.ts"
import type { Files } from "./files.ts"

export interface Nomination extends Invited {
  readonly invitation?: Invitation | undefined
}

export interface Invitation {
  /** Of the secret. */
  readonly hash: Uint8Array
  /** Seconds. */
  readonly expires: number
  /** What was handed in with it: from then on it takes nothing else. */
  readonly used?: { readonly request: Uint8Array; readonly proposal: string } | undefined
}

export class Nominations {
  readonly #files: Files
  readonly #byPoc = new Map<PocAddress, Nomination>()

  static async open(files: Files): Promise<Nominations> {
    const nominations = new Nominations(files)
    for (const name of await files.list(".")) {
      const nomination = decodeCbor(nominationShape, (await files.read(name)) ?? new Uint8Array())
      nominations.#byPoc.set(nomination.poc, nomination)
    }
    return nominations
  }

  private constructor(files: Files) {
    this.#files = files
  }

  all(): readonly Nomination[] {
    return [...this.#byPoc.values()]
  }

  /** Durable when resolved. A code that is under way keeps its worth. Throws `ERR_USAGE` for a name that no certificate can have. */
  async nominate(invited: Invited): Promise<void> {
    parsePocAddress(invited.poc)
    if (!isOrganisation(invited.organisation))
      throw new ValiseError("ERR_USAGE", "an organisation's name is one line of at most 64 characters")
    await this.#keep({ ...this.#byPoc.get(invited.poc), ...invited })
  }

  /** A new secret; an earlier one is worth nothing from now on. Throws `ERR_NOT_FOUND`. */
  async invite(
    poc: PocAddress,
    random: Random,
    nowSeconds: number,
  ): Promise<{ readonly secret: Uint8Array; readonly expires: number }> {
    const nomination = this.#byPoc.get(poc)
    if (!nomination)
      throw new ValiseError("ERR_NOT_FOUND", "this PoC has not been nominated", { hint: "valise directory nominate" })
    const secret = random.bytes(invitationBytes.secret)
    const expires = nowSeconds + serviceLimits.invitationSeconds
    await this.#keep({ ...nomination, invitation: { hash: hashOf(secret), expires } })
    return { secret, expires }
  }

  /** Whom this secret invites. Throws `ERR_INVITATION`, as a stranger who guesses gets it. */
  invitedBy(secret: Uint8Array, nowSeconds: number): Nomination & { readonly invitation: Invitation } {
    const hash = hashOf(secret)
    const nomination = this.all().find(({ invitation }) => invitation && equal(invitation.hash, hash))
    const invitation = nomination?.invitation
    if (!nomination || !invitation)
      throw new ValiseError("ERR_INVITATION", "the directory knows no such code", {
        hint: "compare it with the one that you were given; a newer code replaces an older one",
      })
    if (invitation.expires < nowSeconds && !invitation.used)
      throw new ValiseError("ERR_INVITATION", "this code has expired", {
        hint: "ask whoever sent it for a new one",
      })
    return { ...nomination, invitation }
  }

  /** From now on the code stands for this request alone. */
  async use(poc: PocAddress, request: Uint8Array, proposal: string): Promise<void> {
    const nomination = this.#byPoc.get(poc)!
    const used = { request: requestHash(request), proposal }
    await this.#keep({ ...nomination, invitation: { ...nomination.invitation!, used } })
  }

  async #keep(nomination: Nomination): Promise<void> {
    await this.#files.write(nameOf(nomination.poc), encodeCbor(nomination))
    this.#byPoc.set(nomination.poc, nomination)
  }
}

export const requestHash = sha3
const hashOf = sha3

/** An address is a path; its hash is a file's name. */
const nameOf = (poc: PocAddress): string => hex(sha3(utf8(poc))).slice(0, 32)

const nominationShape = z.strictObject({
  poc: shapes.poc,
  organisation: z.string(),
  invitation: z
    .strictObject({
      hash: shapes.hash,
      expires: shapes.seconds,
      used: z.strictObject({ request: shapes.hash, proposal: z.string() }).optional(),
    })
    .optional(),
})
