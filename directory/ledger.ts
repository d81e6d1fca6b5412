/**
 * The way into the log (SPEC, "Directory"). Every entry first passes `Replay`, the rules by which all readers judge it, so that
 * nothing is ever logged that they would refuse.
 */
import type { PocAddress } from "../protocol/address.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { Signed } from "../protocol/statement.ts"
import type { TrustAnchor } from "../pki/anchor.ts"
import { bodyStructures, entryStructure, type EntryKind } from "../pki/entries.ts"
import type { PocHistory } from "../pki/poc-history.ts"
import { Replay, type EntryReason } from "../pki/replay.ts"
import { DirectoryState } from "../pki/state.ts"
import { readCertificate } from "../pki/x509.ts"
import { seconds, type Clock } from "../system/machine.ts"
import type { LogWriter } from "./log-writer.ts"

/** An entry to be: its kind, its body as encoded, and who has agreed. */
export interface Change {
  readonly kind: EntryKind
  readonly body: Uint8Array
  readonly approvals: readonly Signed[]
}

export type Outcome =
  | { readonly logged: true; readonly index: number }
  | { readonly logged: false; readonly reason: EntryReason }

export class Ledger {
  /** The directory as every reader of the published log sees it. */
  readonly state: DirectoryState
  readonly #anchor: TrustAnchor
  readonly #writer: LogWriter
  readonly #clock: Clock
  /** All leaves, also those whose publication is under way; and the rules after the last of them. */
  readonly #leaves: Uint8Array[] = []
  #gate: Replay
  /** Once the log could not be written, gate and log may differ: nothing more is judged. */
  #failure: unknown

  static async open(anchor: TrustAnchor, writer: LogWriter, clock: Clock): Promise<Ledger> {
    const ledger = new Ledger(anchor, writer, clock)
    for (const leaf of await writer.source().entries(0, writer.size)) {
      ledger.#gate.count(leaf, ledger.#leaves.length)
      ledger.#leaves.push(leaf)
      ledger.state.apply(leaf)
    }
    return ledger
  }

  private constructor(anchor: TrustAnchor, writer: LogWriter, clock: Clock) {
    this.state = new DirectoryState(anchor)
    this.#anchor = anchor
    this.#writer = writer
    this.#clock = clock
    this.#gate = this.#emptyGate()
  }

  /**
   * Logs these changes together, or none of them if one would not count. The index is the first one's; when it is known,
   * the checkpoint that covers them is published. Rejects with `ERR_DISK` if the log could not be written.
   */
  async add(changes: readonly Change[]): Promise<Outcome> {
    if (this.#failure !== undefined) throw this.#failure
    const first = this.#leaves.length
    const leaves = changes.map((change) => this.#leafOf(change))
    for (const [i, leaf] of leaves.entries()) {
      const reason = this.#gate.count(leaf, first + i)
      if (reason === undefined) continue
      if (i > 0) this.#reopenGate()
      return { logged: false, reason }
    }
    // No await up to here: concurrent calls are judged and appended in one and the same order.
    this.#leaves.push(...leaves)
    const index = await this.#writer.append(leaves).catch((error: unknown) => {
      this.#failure = error
      throw error
    })
    for (const leaf of leaves) this.state.apply(leaf)
    return { logged: true, index }
  }

  get secretariat(): PocHistory | undefined {
    return [...this.#gate.pocs.values()].find(({ isSecretariat }) => isSecretariat)
  }

  /** The PoC whose own approval would do for such a change, if there is one. */
  holderOf({ kind, body }: Pick<Change, "kind" | "body">): PocHistory | undefined {
    if (kind === "certificate") return this.#gate.pocs.get(bodyStructures.certificate.decode(body).poc)
    if (kind === "default") return this.#defaultFor(bodyStructures.default.decode(body).poc)
    return undefined
  }

  /** Finishes what is under way; afterwards nothing is logged. */
  async close(): Promise<void> {
    await this.#writer.close()
  }

  #leafOf({ kind, body, approvals }: Change): Uint8Array {
    // The log's time never falls, whatever the machine's clock does.
    const time = Math.max(seconds(this.#clock), this.#gate.time)
    return entryStructure.encode({ v: 1, kind, time, body, approvals: approvals.length > 0 ? approvals : undefined })
  }

  #defaultFor(address: PocAddress): PocHistory | undefined {
    const name = this.#gate.pocs.get(address)?.name
    return name && this.#gate.defaults.get(`${name.state}/${name.role}`)
  }

  /** Forgets a change that counted, because one that belongs to it did not. */
  #reopenGate(): void {
    this.#gate = this.#emptyGate()
    for (const [index, leaf] of this.#leaves.entries()) this.#gate.count(leaf, index)
  }

  #emptyGate(): Replay {
    return new Replay(this.#anchor.realm, readCertificate(this.#anchor.rootCertificate))
  }
}

/** What the rules say against a change, for people. */
export function refusal(reason: EntryReason): ValiseError {
  return new ValiseError("ERR_UNTRUSTED", `the directory's rules refuse this: ${reason}`, {
    hint: hints[reason] ?? "SPEC, section Directory lists the rules and their reasons",
  })
}

const hints: Partial<Record<EntryReason, string>> = {
  "not-approved": "two different officers of the Secretariat must approve it, or, for what is its own, the PoC's key",
  approval: "an approval is too old, was used already, or its officer may approve no more; ask for it again",
  default: "exactly one PoC of a State and role is its default: the first one, until another is made the default",
  "key-used": "every PoC and relay has a key of its own",
  "key-compromised": "this key was revoked for compromise; make a new one",
  address: "a PoC belongs to a Member State and to a role that this directory has",
  "not-in-force": "the PoC's certificate has ended or expired; it needs a new one first",
  "manifest-order": "the version after the last one is due, with the hash of the last one",
  "manifest-dates": "the manifest was made in the future, or has expired; check the clock and sign it anew",
  "not-entitled": "a certificate is ended by its own key; a device or officer by its own or its PoC's",
  "certificate:outlives-issuer": "the issuing CA ends too soon; make a new one from the root",
}
