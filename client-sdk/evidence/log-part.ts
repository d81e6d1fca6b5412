/**
 * The part of the log that an evidence file carries: which entries it needs, and what they say of a key at a moment.
 * They are judged by the same rules as every reader applies to the whole log, and each at the time of the evidence:
 * a device that has left its manifest since was still listed then.
 */
import { parsePocAddress, type PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import {
  bodyStructures,
  entryStructure,
  certificateHash,
  revocationStructure,
  type LogEntry,
  type Revocation,
  type RevocationReason,
} from "../../pki/entries.ts"
import type { PocHistory } from "../../pki/poc-history.ts"
import { Replay } from "../../pki/replay.ts"
import { validateRoot } from "../../pki/validator.ts"
import type { Certificate } from "../../pki/x509.ts"
import type { EvidenceReason } from "./reasons.ts"

export interface IndexedLeaf {
  readonly index: number
  readonly bytes: Uint8Array
}

/** Who appears in an evidence file. */
export interface Involved {
  readonly pocs: ReadonlySet<PocAddress>
  /** Relays whose receipts it holds. */
  readonly hosts: ReadonlySet<string>
}

/**
 * The entries, all of which count in the whole log, that a reader of the evidence needs: issuing CAs, the Secretariat, the
 * PoCs and relays involved, what ended any of these, and the roles that the PoCs have. Nothing about other PoCs.
 */
export function entriesFor<T extends IndexedLeaf>(counted: readonly T[], involved: Involved): T[] {
  const entries = counted.map((leaf) => ({ leaf, entry: entryStructure.decode(leaf.bytes) }))
  const pocs = new Set(involved.pocs)
  for (const { entry } of entries) if (entry.kind === "certificate") addSecretariat(pocs, entry)
  const roles = new Set([...pocs].map((poc) => parsePocAddress(poc).role))
  return entries.filter(({ entry }) => isNeeded(entry, pocs, involved.hosts, roles)).map(({ leaf }) => leaf)
}

/** A question to the log as it was at a moment: all entries up to then have been counted, and none after it. */
export class Question<T> {
  /** Seconds. */
  readonly at: number
  readonly #look: (log: LogPart) => T
  #answer: { readonly value: T } | undefined

  constructor(at: number, look: (log: LogPart) => T) {
    this.at = at
    this.#look = look
  }

  ask(log: LogPart): void {
    this.#answer = { value: this.#look(log) }
  }

  get answer(): T {
    if (!this.#answer) throw new RangeError("the question has not been asked")
    return this.#answer.value
  }
}

/** When and why a key ended. */
interface Ended {
  readonly moment: number
  readonly reason: RevocationReason
}

interface RelayKey {
  readonly certificate: Certificate
  /** Seconds. */
  readonly listed: number
}

export class LogPart {
  readonly #replay: Replay
  /** By key, in hexadecimal; of a certificate that ended for another reason than compromise, by its hash. */
  readonly #ends = new Map<string, Ended[]>()
  /** By host. */
  readonly #relays = new Map<string, RelayKey[]>()
  readonly #entries: readonly Decoded[]

  private constructor(replay: Replay, entries: readonly Decoded[]) {
    this.#replay = replay
    this.#entries = entries
  }

  /** Counts the entries in their order, and asks each question at its moment. */
  static read(
    anchor: TrustAnchor,
    leaves: readonly IndexedLeaf[],
    questions: readonly Question<unknown>[],
  ): LogPart | EvidenceReason {
    const root = validateRoot(anchor.rootCertificate, anchor.realm)
    if (!root.ok) return "realm"
    const entries = leaves.map(decoded)
    if (!entries.every((entry) => entry !== undefined)) return "entry"
    const log = new LogPart(new Replay(anchor.realm, root.certificate, { excerpt: true }), entries)
    const waiting = questions.toSorted((a, b) => a.at - b.at)
    let asked = 0
    for (const entry of entries) {
      while (asked < waiting.length && waiting[asked]!.at < entry.time) waiting[asked++]!.ask(log)
      if (!log.#counts(entry)) return "entry" // defence: 15 evidence-entry-counts => log.#counts(entry)
    }
    for (const question of waiting.slice(asked)) question.ask(log)
    return log
  }

  /** The time of the last of these entries among the log's first `size`; 0 if there is none. */
  timeAt(size: number): number {
    return this.#entries.findLast(({ index }) => index < size)?.time ?? 0
  }

  /** What has been said of a PoC so far: to a question, up to its moment; afterwards, in the end. */
  poc(address: PocAddress): PocHistory | undefined {
    return this.#replay.pocs.get(address)
  }

  /** Keys under which a relay may have signed in this second: certified, listed, not ended. */
  relayKeys(host: string, atSeconds: number, skewSeconds: number): readonly Uint8Array[] {
    return (this.#relays.get(host) ?? [])
      .filter(
        ({ listed, certificate: { notBefore, notAfter } }) =>
          Math.max(listed, notBefore) <= atSeconds + skewSeconds && atSeconds <= notAfter,
      )
      .filter(({ certificate }) => this.certificateStands(certificate, atSeconds))
      .map(({ certificate }) => certificate.publicKey)
  }

  /**
   * Whether what this key signed still counts. A thief chooses the date: so what a key signed that was revoked as
   * compromised counts only if somebody else shows that it was there before.
   * @param atSeconds when it says that it signed
   * @param seenSeconds when it was there by the word of others, if that is known
   */
  stands(key: Uint8Array, atSeconds: number, seenSeconds?: number): boolean {
    return (this.#ends.get(hex(key)) ?? []).every(({ moment, reason }) => {
      if (reason === "compromise") return seenSeconds !== undefined && seenSeconds < moment // defence: 15 evidence-compromised => return atSeconds < moment
      return atSeconds < moment // defence: 15 evidence-revoked => return true
    })
  }

  /** The same for whoever signs with a certified key. Another certificate for that key may have ended without harm. */
  certificateStands({ der, publicKey }: Certificate, atSeconds: number, seenSeconds?: number): boolean {
    return [publicKey, certificateHash(der)].every((id) => this.stands(id, atSeconds, seenSeconds))
  }

  #counts(entry: Decoded): boolean {
    const { revocation } = entry
    const ended = revocation && this.#endedBy(revocation)
    if (this.#replay.count(entry.bytes, entry.index) !== undefined) return false
    if (revocation && ended) {
      const end = { moment: Math.min(revocation.effective, entry.time), reason: revocation.reason }
      this.#ends.set(hex(ended), [...(this.#ends.get(hex(ended)) ?? []), end])
    }
    if (entry.kind === "relay") this.#addRelay(entry)
    return true
  }

  #addRelay(entry: Decoded): void {
    const { host } = bodyStructures.relay.decode(entry.body)
    const { certificate } = this.#replay.relays.get(host)!
    this.#relays.set(host, [...(this.#relays.get(host) ?? []), { certificate, listed: entry.time }])
  }

  /** The key that this would end, or the hash of the one certificate. */
  #endedBy({ target, reason }: Revocation): Uint8Array | undefined {
    if (target.kind === "ca") return undefined
    if ("certificate" in target && reason !== "compromise") return target.certificate
    if (target.kind === "relay") return this.#replay.relayWithCertificate(target.certificate)?.certificate.publicKey
    const poc = this.#replay.pocs.get(target.poc)
    if (target.kind === "certificate") return poc?.certificateWithHash(target.certificate)?.publicKey
    const listed = target.kind === "device" ? poc?.device(target.device) : poc?.officer(target.officer)
    return listed?.record.key
  }
}

/** A leaf, taken apart. */
interface Decoded extends LogEntry, IndexedLeaf {
  readonly revocation: Revocation | undefined
}

function addSecretariat(pocs: Set<PocAddress>, entry: LogEntry): void {
  const { poc, use } = bodyStructures.certificate.decode(entry.body)
  if (use === "secretariat") pocs.add(poc)
}

function isNeeded(
  entry: LogEntry,
  pocs: ReadonlySet<string>,
  hosts: ReadonlySet<string>,
  roles: ReadonlySet<string>,
): boolean {
  switch (entry.kind) {
    case "ca":
      return true
    case "certificate":
      return pocs.has(bodyStructures.certificate.decode(entry.body).poc)
    case "manifest":
      return pocs.has(bodyStructures.manifest.decode(entry.body).poc)
    case "relay":
      return hosts.has(bodyStructures.relay.decode(entry.body).host)
    case "role":
      return roles.has(bodyStructures.role.decode(entry.body).role)
    case "revocation": {
      const { target } = revocationOf(entry)
      if (target.kind === "ca") return true
      return target.kind === "relay" ? hosts.has(target.host) : pocs.has(target.poc)
    }
    default:
      return false
  }
}

const revocationOf = (entry: LogEntry): Revocation =>
  revocationStructure.decode(bodyStructures.revocation.decode(entry.body).statement.bytes)

function decoded({ index, bytes }: IndexedLeaf): Decoded | undefined {
  try {
    const entry = entryStructure.decode(bytes)
    return { ...entry, index, bytes, revocation: entry.kind === "revocation" ? revocationOf(entry) : undefined }
  } catch {
    return undefined
  }
}
