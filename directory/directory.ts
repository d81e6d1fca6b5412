/**
 * The Secretariat's directory (SPEC, "Directory"): nominations, approvals, issuing. It holds the keys of the issuing CA and of the
 * log, and nobody else's: PoCs, officers and relays sign at home and hand in signatures.
 *
 * A change that needs approval becomes a proposal: the exact body of its log entry, certificate included. Officers (or
 * the PoC, for what is its own) sign for exactly that, and then it is logged. It takes two *different* officers. Who
 * entered a nomination does not matter: entering is clerk's work and counts for nothing, and an officer who entered one
 * may be one of the two who sign.
 */
import { rm } from "node:fs/promises"
import { resolve } from "node:path"
import { parsePocAddress, type OfficerId, type PocAddress } from "../protocol/address.ts"
import { equal, fromUtf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { readManifest, type CoSignature } from "../protocol/manifest.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import type { Signed } from "../protocol/statement.ts"
import { readTrustFile, type TrustAnchor } from "../pki/anchor.ts"
import { agreementOn } from "../pki/authority.ts"
import {
  bodyStructures,
  encodeBody,
  revocationStructure,
  subjectOf,
  type Approval,
  type BodyOf,
  type EntryKind,
} from "../pki/entries.ts"
import type { LogSource } from "../pki/log-source.ts"
import type { DirectoryState, EntryReason } from "../pki/state.ts"
import { checkpointPath, parseTilePath } from "../pki/tiles.ts"
import { seconds } from "../system/machine.ts"
import { durableFiles, lockFolder, nameFolder, type Files } from "./files.ts"
import { found, logFolder, logOrigin, trustPath, type Founding } from "./founding.ts"
import { issueFor } from "./issuing.ts"
import { keepCa, makeCa, readCa, readLogKey, readRoot, type DirectoryMachine } from "./keys.ts"
import { Ledger, refusal, type Outcome } from "./ledger.ts"
import { LogWriter } from "./log-writer.ts"
import { Proposals, type Proposal } from "./proposals.ts"

/** What a State hands in for one agency: everything but the certificate. */
export interface Nomination {
  /** Lower-case ISO 3166-1 alpha-2 code of a Member State. */
  readonly state: string
  readonly role: string
  readonly agency: string
  readonly organisation: string
  /** Ed25519, 32 bytes; made and held by the agency. */
  readonly key: Uint8Array
  /** The key's own signature over its address (`signMember`). */
  readonly member: Uint8Array
  /** Whether `state/role` alone means this PoC; so it must be for a State's first in that role. */
  readonly isDefault: boolean
  /** Signed by the key. Needed unless the PoC has one in the log. */
  readonly manifest?: Signed
  /** What the agency handed in, word for word, for those who approve. */
  readonly request?: Uint8Array
}

export interface RelayNomination {
  /** The host, with its port if it has one, that clients dial. */
  readonly host: string
  readonly urls: readonly string[]
  /** Who runs it. */
  readonly organisation: string
  readonly key: Uint8Array
  /** The key's own signature (`signPossession`). */
  readonly member: Uint8Array
  /** What the relay's operator handed in, word for word, for those who approve. */
  readonly request?: Uint8Array
}

/** `logged`: it counts from now on. `waiting`: it needs approval. */
export type Submitted =
  | { readonly outcome: "logged"; readonly index: number }
  | { readonly outcome: "waiting"; readonly proposal: Proposal }

export class Directory {
  readonly #parts: Parts

  /** Makes a directory in a folder that does not exist or is empty, whole or not at all, and opens it. */
  static async init(folder: string, founding: Founding): Promise<Directory> {
    if ((await durableFiles(folder).list(".")).length > 0)
      throw new ValiseError("ERR_USAGE", "this folder is not empty", { hint: "open it, or choose another folder" })
    const unfinished = `${resolve(folder)}.unfinished`
    await rm(unfinished, { recursive: true, force: true })
    try {
      await found(unfinished, founding)
      await nameFolder(unfinished, folder)
    } finally {
      await rm(unfinished, { recursive: true, force: true })
    }
    return await Directory.open(folder, founding)
  }

  /** Recovers the directory from its folder. Throws `ERR_USAGE` if another process has it open. */
  static async open(folder: string, { clock, random }: DirectoryMachine): Promise<Directory> {
    const files = durableFiles(folder)
    const trust = await files.read(trustPath)
    if (!trust)
      throw new ValiseError("ERR_NOT_FOUND", "there is no directory in this folder", {
        hint: "make one first, or restore the folder from its backup",
      })
    const release = lockFolder(folder)
    let writer: LogWriter | undefined
    try {
      const trustText = fromUtf8(trust)
      const anchor = readTrustFile(trustText)
      const logKey = await readLogKey(files)
      const log = durableFiles(logFolder(folder))
      writer = await LogWriter.open({ files: log, origin: logOrigin(anchor.realm), key: logKey, clock })
      const ledger = await Ledger.open(anchor, writer, clock)
      const proposals = await Proposals.open(durableFiles(resolve(folder, "proposals")), seconds(clock))
      const machine = { clock, random }
      return new Directory({
        anchor,
        machine,
        files,
        logFiles: log,
        trustText,
        logKey,
        writer,
        ledger,
        proposals,
        release,
      })
    } catch (error) {
      await writer?.close()
      release()
      throw error
    }
  }

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  get anchor(): TrustAnchor {
    return this.#parts.anchor
  }

  /** The directory as every reader of the log sees it. */
  get state(): DirectoryState {
    return this.#parts.ledger.state
  }

  /** What everybody is given, once, over a channel that they trust. */
  trustFile(): string {
    return this.#parts.trustText
  }

  logSource(): LogSource {
    return this.#parts.writer.source()
  }

  /** One of the log's files, by its path: what every web server could serve. */
  async logFile(path: string): Promise<Uint8Array | undefined> {
    const isOne = path === checkpointPath || parseTilePath(path) !== undefined
    return isOne ? await this.#parts.logFiles.read(path) : undefined
  }

  /** Drafts the certificate for a first enrolment, or for a new key after the old one was lost; two officers approve it. */
  async nominate(nomination: Nomination): Promise<Proposal> {
    const { state, role, agency, key, member, isDefault, manifest, request } = nomination
    const { address } = parsePocAddress(`${state}/${role}/${agency}`)
    if (manifest) readManifest({ address, key }, this.anchor.realm, manifest)
    else if (!this.state.poc(address)?.manifest)
      throw new ValiseError("ERR_USAGE", "a nomination needs the PoC's first manifest", {
        hint: "the agency makes it together with its key",
      })
    const certificate = await this.#issue({ use: "poc", poc: { state, role, agency } }, nomination)
    const body = { v: 1, use: "poc", poc: address, isDefault, certificate, member } as const
    return waiting(await this.#submit("certificate", body, { firstManifest: manifest, request }))
  }

  /**
   * Drafts the next certificate for a PoC's present key. The PoC's own approval is the annual confirmation of its entry.
   * @param member the key's signature over its address, as in the nomination
   */
  async renewCertificate(poc: PocAddress, member: Uint8Array): Promise<Proposal> {
    const { name, organisation, key, isDefault, secretariat } = this.state.resolve(poc)
    const use = secretariat ? "secretariat" : "poc"
    const certificate = await this.#issue({ use, poc: name }, { organisation, key, member })
    return waiting(await this.#submit("certificate", { v: 1, use, poc, isDefault, certificate, member }))
  }

  /** Drafts a relay's certificate; two officers approve it. */
  async listRelay(relay: RelayNomination): Promise<Proposal> {
    const { host, urls, member, request } = relay
    const certificate = await this.#issue({ use: "relay", host }, relay)
    return waiting(await this.#submit("relay", { v: 1, host, urls, certificate, member }, { request }))
  }

  /** Logs a PoC's manifest. It waits only if it is the Secretariat's and changes who may approve. */
  async submitManifest(
    poc: PocAddress,
    manifest: Signed,
    coSignatures: readonly CoSignature[] = [],
  ): Promise<Submitted> {
    const vouched = coSignatures.length > 0 ? coSignatures : undefined
    return await this.#submit("manifest", { v: 1, poc, manifest, coSignatures: vouched })
  }

  /**
   * Logs a revocation by the holder's own key. It waits for two officers if the Secretariat asks for it, and only for what
   * is its own to end: a relay, an issuing CA, its devices and officers; never a State's certificate, device or officer.
   */
  async revoke(statement: Signed): Promise<Submitted> {
    const { requester, target } = revocationStructure.decode(statement.bytes)
    const { secretariat } = this.#parts.ledger
    const ownKey = secretariat?.certificate?.certificate.publicKey
    const isOwn = "poc" in target ? target.poc === secretariat?.address && target.kind !== "certificate" : true
    const byOfficers = isOwn && ownKey !== undefined && equal(requester, ownKey)
    return await this.#submit(
      "revocation",
      { v: 1, statement },
      { waitsOn: byOfficers ? "not-entitled" : "not-approved" },
    )
  }

  /** Another default PoC for a State and role; the present one's approval will do. */
  async makeDefault(poc: PocAddress): Promise<Proposal> {
    return waiting(await this.#submit("default", { v: 1, poc }))
  }

  /** A role beyond `diplomatic` and `technical`. */
  async addRole(role: string): Promise<Proposal> {
    return waiting(await this.#submit("role", { v: 1, role }))
  }

  /** What waits for approval. */
  proposals(): readonly Proposal[] {
    return this.#parts.proposals.all()
  }

  /** Throws `ERR_NOT_FOUND`. */
  proposal(id: string): Proposal {
    return this.#parts.proposals.get(id)
  }

  /** The statement to sign (`signApproval`): by an officer of the Secretariat, or, without one, by the PoC's key. */
  approvalFor(id: string, officer?: OfficerId): Approval {
    const proposal = this.#parts.proposals.get(id)
    const approver = officer ? this.#parts.ledger.secretariat : this.#parts.ledger.holderOf(proposal)
    if (!approver)
      throw new ValiseError("ERR_NO_RIGHT", "no PoC's own approval is enough for this", { hint: "officers approve it" })
    const { kind, body } = proposal
    const created = seconds(this.#parts.machine.clock)
    const expires = created + fixed.approvalSecondsMax
    return { v: 1, poc: approver.address, officer, kind, subject: subjectOf(kind, body), created, expires }
  }

  /** Keeps an approval. Throws `ERR_NO_RIGHT` if it is none, `ERR_USAGE` if its signer has approved already. */
  async approve(id: string, approval: Signed): Promise<Proposal> {
    const { kind, body } = this.#parts.proposals.get(id)
    const change = { kind, body, time: seconds(this.#parts.machine.clock), approvals: [approval] }
    const { ledger } = this.#parts
    const { secretariat } = ledger
    const holder = ledger.holderOf(change)
    const agreement = agreementOn(change, { realm: this.anchor.realm, secretariat, holder, used: new Set() })
    if (!agreement)
      throw new ValiseError("ERR_NO_RIGHT", "this is not an approval of this proposal by somebody who may approve it", {
        hint: "an officer of the Secretariat with the right `approve` signs it, or the PoC that it concerns",
      })
    return await this.#parts.proposals.approve(id, approval)
  }

  /** Logs an approved proposal; resolves to its index. Throws `ERR_UNTRUSTED` with the reason if it does not count yet. */
  async issue(id: string): Promise<number> {
    const outcome = await this.#log(id)
    if (!outcome.logged) throw refusal(outcome.reason)
    return outcome.index
  }

  /** Logs a proposal if enough have approved it. Throws as `issue` does if something else is in its way. */
  async issueIfApproved(id: string): Promise<Submitted> {
    const proposal = this.#parts.proposals.get(id)
    const outcome = await this.#log(id)
    if (outcome.logged) return { outcome: "logged", index: outcome.index }
    if (outcome.reason !== "not-approved" && outcome.reason !== "not-entitled") throw refusal(outcome.reason)
    return { outcome: "waiting", proposal }
  }

  /** Drops a proposal. */
  async withdraw(id: string): Promise<void> {
    await this.#parts.proposals.remove(id)
  }

  /** Puts a new issuing CA in the old one's place; needs the folder `root`. Do so when leaves would outlive the old one. */
  async renewCa(): Promise<number> {
    const ca = await makeCa(await readRoot(this.#parts.files), this.anchor.realm, this.#parts.machine)
    const body = encodeBody("ca", { v: 1, certificate: ca.certificate })
    const outcome = await this.#parts.ledger.add([{ kind: "ca", body, approvals: [] }])
    if (!outcome.logged) throw refusal(outcome.reason)
    await keepCa(this.#parts.files, ca)
    return outcome.index
  }

  /** Finishes what is under way and lets go of the folder. */
  async close(): Promise<void> {
    await this.#parts.ledger.close()
    this.#parts.logKey.erase()
    this.#parts.release()
  }

  async #log(id: string): Promise<Outcome> {
    const { kind, body, approvals, firstManifest: manifest } = this.#parts.proposals.get(id)
    const changes = [{ kind, body, approvals }]
    if (manifest) {
      const { poc } = bodyStructures.certificate.decode(body)
      changes.push({ kind: "manifest", body: encodeBody("manifest", { v: 1, poc, manifest }), approvals: [] })
    }
    const outcome = await this.#parts.ledger.add(changes)
    if (outcome.logged) await this.#parts.proposals.remove(id)
    return outcome
  }

  async #issue(
    subject: Parameters<typeof issueFor>[0],
    request: { readonly organisation: string; readonly key: Uint8Array; readonly member: Uint8Array },
  ): Promise<Uint8Array> {
    const { organisation, key, member } = request
    const ca = await readCa(this.#parts.files)
    return await issueFor(subject, {
      realm: this.anchor.realm,
      ca,
      machine: this.#parts.machine,
      organisation,
      key,
      member,
    })
  }

  async #submit<K extends EntryKind>(
    kind: K,
    content: BodyOf<K>,
    { firstManifest, request, waitsOn = "not-approved" }: Draft = {},
  ): Promise<Submitted> {
    const { ledger, proposals, machine } = this.#parts
    const body = encodeBody(kind, content)
    const outcome = await ledger.add([{ kind, body, approvals: [] }])
    if (outcome.logged) return { outcome: "logged", index: outcome.index }
    if (outcome.reason !== waitsOn) throw refusal(outcome.reason)
    const proposal = await proposals.add({ kind, body, firstManifest, request }, seconds(machine.clock))
    return { outcome: "waiting", proposal }
  }
}

/** What goes with a change until it is logged. */
interface Draft {
  readonly firstManifest?: Signed | undefined
  readonly request?: Uint8Array | undefined
  /** What the rules say as long as only approvals are lacking. */
  readonly waitsOn?: EntryReason
}

interface Parts {
  readonly anchor: TrustAnchor
  readonly machine: DirectoryMachine
  readonly files: Files
  readonly logFiles: Files
  readonly trustText: string
  readonly logKey: SigningKey
  readonly writer: LogWriter
  readonly ledger: Ledger
  readonly proposals: Proposals
  readonly release: () => void
}

/** For changes that no rule lets through without approval. */
function waiting(submitted: Submitted): Proposal {
  if (submitted.outcome === "waiting") return submitted.proposal
  throw new ValiseError("ERR_INTERNAL", "a change was logged without the approval that it needs")
}
