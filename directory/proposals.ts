/** Changes to the directory that wait for approval (SPEC, "Directory"): kept on disk, each until it is logged, withdrawn or too old. */
import { z } from "zod"
import { shapes, type OfficerId } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { signedShape, type Signed } from "../protocol/statement.ts"
import { serviceLimits } from "../pki/directory-api.ts"
import { approvalStructure, entryKinds, subjectOf, type EntryKind } from "../pki/entries.ts"
import type { Files } from "./files.ts"

export interface Proposal {
  /** The beginning of the hash that its approvals name, in hexadecimal. */
  readonly id: string
  readonly kind: EntryKind
  /** The entry's body, word for word: what is approved is what is logged. */
  readonly body: Uint8Array
  /** A PoC's first manifest, logged right after its certificate. */
  readonly firstManifest?: Signed | undefined
  /** What was handed in for it, word for word: the verification words name these bytes. */
  readonly request?: Uint8Array | undefined
  readonly approvals: readonly Signed[]
  /** Seconds. */
  readonly created: number
}

export class Proposals {
  readonly #files: Files
  readonly #proposals = new Map<string, Proposal>()

  /** Reads what waits, and forgets what is so old that no approval can be used any more. */
  static async open(files: Files, nowSeconds: number): Promise<Proposals> {
    const proposals = new Proposals(files)
    for (const id of await files.list(".")) {
      const stored = decodeCbor(proposalShape, (await files.read(id)) ?? new Uint8Array())
      if (stored.created + fixed.approvalSecondsMax < nowSeconds) await files.remove(id)
      else proposals.#proposals.set(id, { id, ...stored })
    }
    return proposals
  }

  private constructor(files: Files) {
    this.#files = files
  }

  all(): readonly Proposal[] {
    return [...this.#proposals.values()]
  }

  /** Throws `ERR_NOT_FOUND`. */
  get(id: string): Proposal {
    const proposal = this.#proposals.get(id)
    if (proposal) return proposal
    throw new ValiseError("ERR_NOT_FOUND", "no such proposal", {
      hint: "it may have been logged or withdrawn, or was not approved within 30 days",
    })
  }

  /** Durable when resolved. The same change proposed again is the same proposal. */
  async add(change: Omit<Proposal, "id" | "approvals" | "created">, nowSeconds: number): Promise<Proposal> {
    const id = hex(subjectOf(change.kind, change.body)).slice(0, 32)
    if (this.#proposals.size >= serviceLimits.proposalsMax)
      throw new ValiseError("ERR_RATE_LIMITED", "too many changes wait for approval", {
        hint: "the directory's officers approve or withdraw some first",
      })
    return this.#proposals.get(id) ?? (await this.#keep({ ...change, id, approvals: [], created: nowSeconds }))
  }

  /** Adds an approval that has been checked. Throws `ERR_USAGE` if its signer has approved already. */
  async approve(id: string, approval: Signed): Promise<Proposal> {
    const proposal = this.get(id)
    const signer = signerOf(approval)
    if (proposal.approvals.some((earlier) => signerOf(earlier) === signer))
      throw new ValiseError("ERR_USAGE", "this officer has approved already", {
        hint: "it takes two different officers",
      })
    return await this.#keep({ ...proposal, approvals: [...proposal.approvals, approval] })
  }

  async remove(id: string): Promise<void> {
    this.get(id)
    this.#proposals.delete(id)
    await this.#files.remove(id)
  }

  async #keep(proposal: Proposal): Promise<Proposal> {
    const { id, ...stored } = proposal
    await this.#files.write(id, encodeCbor(stored))
    this.#proposals.set(id, proposal)
    return proposal
  }
}

const signerOf = ({ bytes }: Signed): string => {
  const officer: OfficerId | undefined = approvalStructure.decode(bytes).officer
  return officer ? hex(officer) : "holder"
}

const proposalShape = z.strictObject({
  kind: z.enum(entryKinds),
  body: shapes.bytes,
  firstManifest: signedShape.optional(),
  request: shapes.bytes.optional(),
  approvals: z.array(signedShape).max(fixed.approvalsMax),
  created: shapes.seconds,
})
