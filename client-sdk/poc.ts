/**
 * A PoC as a program uses it: one object, a handful of verbs. `send` and its like resolve when the message is durable
 * here, online or not; everything later is a promise of its own. Every wait takes an `AbortSignal`.
 */
import type { PocAddress, Realm } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { decodeForward, decodeInvolved } from "../protocol/consent.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import type {
  ConsentView,
  Id,
  LinkStatus,
  Members,
  MessageType,
  MessageView,
  Notice,
  PocEvent,
  RecipientStatus,
  ReplyInput,
  RespondInput,
  SendInput,
} from "./api.ts"
import type { ConsentRecord, MessageRecord, Reader, Tx } from "./collections.ts"
import { consentView } from "./consent-records.ts"
import { Consents } from "./consents.ts"
import {
  bytesLeaf,
  frameLeaves,
  leafNamed,
  notificationLeaves,
  readTlp,
  responseLeaves,
  textLeaf,
  type Frame,
} from "./content.ts"
import { Courier, type Line } from "./courier.ts"
import { bundleOf } from "./evidence/export.ts"
import { iso, type Home } from "./home.ts"
import { Inbox } from "./inbox.ts"
import { checkReply, checkResponse, checkSend } from "./inputs.ts"
import type { LogSource } from "../pki/log-source.ts"
import { membersOf } from "./members.ts"
import { Message } from "./message.ts"
import { Outbox } from "./outbox.ts"
import { watchOwnEntries } from "./own-entries.ts"
import { Prekeeper } from "./prekeeper.ts"
import { Receipts } from "./receipts.ts"
import { checkContent } from "./templates.ts"
import type { Transport } from "./transport.ts"
import type { UnlockSecret } from "./vault/lock.ts"
import { answersIn, isOwn, isSpoken, keyByPrefix, messageView, noticeViews, statusOf } from "./view.ts"

export interface PocParts {
  readonly home: Home
  readonly transport: Transport
  readonly url: string | undefined
  readonly acquireLine: () => Line | undefined
  readonly directoryLog?: LogSource | undefined
}

export interface Contact {
  readonly address: PocAddress
  readonly organisation: string
  /** Whether `state/role` means this PoC. */
  readonly isDefault: boolean
  readonly secretariat: boolean
  /** Devices that a message sent now would be sealed to. */
  readonly devices: number
  readonly certificateUntil: string
}

export interface Identity {
  readonly poc: PocAddress
  readonly device: Id
  readonly officer?: string
  readonly relay: string
  readonly realm: Realm
  /** `stale`: too old to know of every revocation; nothing is sealed until it is mirrored again. */
  readonly log: { readonly size: number; readonly fingerprint: string; readonly stale: boolean }
  /** Once the PoC is in the mirrored log. `due`: one of them ends within a month, and is renewed now. */
  readonly papers?: { readonly certificateUntil: string; readonly manifestUntil: string; readonly due: boolean }
}

export class Poc {
  readonly #home: Home
  readonly #outbox: Outbox
  readonly #receipts: Receipts
  readonly #consents: Consents
  readonly #courier: Courier
  #isClosed = false

  constructor({ home, transport, url, acquireLine, directoryLog }: PocParts) {
    this.#home = home
    this.#outbox = new Outbox(home)
    this.#receipts = new Receipts(home, this.#outbox)
    this.#consents = new Consents(home, this.#outbox)
    const inbox = new Inbox(home, this.#outbox, this.#receipts, this.#consents)
    const prekeeper = new Prekeeper(home)
    this.#courier = new Courier({
      home,
      outbox: this.#outbox,
      inbox,
      prekeeper,
      transport,
      url,
      acquireLine,
      directoryLog,
    })
  }

  /** Begins to talk to the relay, or waits for its turn while another process of this vault does. */
  connect(): void {
    this.#courier.start()
  }

  // --- who ---

  whoami(): Identity {
    const { identity, mirror, officer, realm } = this.#home
    return {
      poc: identity.poc,
      device: hex(identity.device),
      ...(officer && { officer: officer.title }),
      relay: identity.relay,
      realm,
      log: { size: mirror.size, fingerprint: mirror.fingerprint(), stale: mirror.isStale },
      ...this.#papers(),
    }
  }

  /** Devices and officers of this PoC. Throws `ERR_NOT_FOUND` before the directory lists it. */
  members(): Members {
    return membersOf(this.#home)
  }

  #papers(): Pick<Identity, "papers"> {
    const { identity, mirror, now } = this.#home
    const listed = mirror.state.poc(identity.poc)
    if (!listed?.manifest) return {}
    const [certificateUntil, manifestUntil] = [listed.notAfter, listed.manifest.expires]
    const due = Math.min(certificateUntil, manifestUntil) < now + renewAheadSeconds
    return { papers: { certificateUntil: dateOf(certificateUntil), manifestUntil: dateOf(manifestUntil), due } }
  }

  contacts(): Contact[] {
    const { mirror, now } = this.#home
    return mirror.state.pocs().map((poc) => ({
      address: poc.address,
      organisation: poc.organisation,
      isDefault: poc.isDefault,
      secretariat: poc.secretariat,
      devices: mirror.state.usableDevices(poc.address, now).length,
      certificateUntil: new Date(poc.notAfter * 1000).toISOString().slice(0, 10),
    }))
  }

  /** Unlocks an officer's key until `close`. Throws `ERR_PASSPHRASE` or `ERR_NOT_FOUND`. */
  unlockOfficer(secret: UnlockSecret, title?: string): Promise<void> {
    return this.#home.unlockOfficer(secret, title).then(() => {
      this.#home.vault.transaction((tx) => this.#consents.attestWaiting(tx))
      this.#courier.wake()
    })
  }

  /** Mirrors the directory's log from a source of your own (a folder, a mirror) instead of from the relay. */
  async syncLog(source?: LogSource): Promise<void> {
    if (source) await this.#home.mirror.sync(source)
    else await this.#courier.syncLog()
    watchOwnEntries(this.#home)
  }

  // --- messages ---

  /** Throws `ERR_USAGE`, `ERR_UNKNOWN_ADDRESS`, `ERR_CONTENT`, `ERR_TOO_LARGE` or `ERR_NO_RIGHT`; then nothing was written. */
  send(input: SendInput): Message {
    const { identity, machine, mirror } = this.#home
    checkSend(input)
    const template = input.template ?? "incident-notification"
    const body = checkContent(template, input.content)
    const to = unique(input.to.map((text) => mirror.state.resolve(text).address))
    if (to.includes(identity.poc)) throw new ValiseError("ERR_USAGE", "a PoC does not write to itself")
    const involved = input.involved
      ? unique([identity.poc, ...input.involved.map((text) => mirror.state.resolve(text).address)])
      : [identity.poc, ...to]
    if (involved.some((poc) => poc !== identity.poc && !to.includes(poc)))
      throw new ValiseError("ERR_USAGE", "only the sender and recipients can be involved")
    if (involved.length > fixed.involvedMax)
      throw new ValiseError("ERR_USAGE", `at most ${fixed.involvedMax} PoCs can be involved`, {
        hint: "name fewer in `involved`",
      })
    const frame: Frame = { type: "notification", case: machine.random.bytes(16), to, involved }
    const leaves = notificationLeaves(frame, {
      tlp: input.tlp,
      language: input.language ?? "en",
      template,
      subject: input.subject,
      body,
      ...(input.indicators && { indicators: input.indicators }),
      ...(input.parts && { parts: input.parts }),
    })
    return this.#compose(frame, leaves, {
      ...(input.lifetimeSeconds !== undefined && { lifetimeSeconds: input.lifetimeSeconds }),
      strictForwardSecrecy: input.strictForwardSecrecy ?? input.tlp === "RED",
    })
  }

  /** The message whose id begins so. Throws `ERR_NOT_FOUND` or `ERR_AMBIGUOUS`. */
  message(prefix: string): Message {
    const key = this.#home.vault.read((tx) =>
      keyByPrefix(
        [...tx.list("messages")].filter(([, row]) => isSpoken(row)).map(([key]) => key),
        prefix,
        "message",
      ),
    )
    return new Message(this, key)
  }

  /** Received messages that a duty officer reads, oldest first. */
  received(): MessageView[] {
    return this.#views((row) => !isOwn(this.#home, row) && isSpoken(row))
  }

  /** Messages that this PoC sent, oldest first; those of its other devices as far as their recipients say. */
  sent(): MessageView[] {
    return this.#views((row) => isOwn(this.#home, row) && isSpoken(row))
  }

  /** The newest of all, or of those received. Throws `ERR_NOT_FOUND` if there is none yet. */
  latest(among: "received" | "any" = "any"): Message {
    const newest = this.#views((row) => isSpoken(row) && (among === "any" || !isOwn(this.#home, row))).at(-1)
    if (!newest) throw new ValiseError("ERR_NOT_FOUND", "there is no message yet")
    return new Message(this, newest.id)
  }

  /** Everything of one case, oldest first. */
  case(id: Id): MessageView[] {
    return this.#views((row) => hex(row.case) === id && isSpoken(row))
  }

  /** What has arrived and, until `signal` aborts, what arrives: each message once per call. */
  async *inbox(signal?: AbortSignal): AsyncGenerator<Message> {
    const given = new Set<string>()
    const isOver = (): boolean => signal?.aborted === true || this.#isClosed
    while (!isOver()) {
      const fresh = this.received().filter(({ id }) => !given.has(id))
      // Others may have arrived while these were dealt with: only an empty look waits.
      if (fresh.length === 0) await this.#change(signal)
      for (const { id } of fresh) {
        given.add(id)
        yield new Message(this, id)
        if (isOver()) return
      }
    }
  }

  // --- consents ---

  consents(): ConsentView[] {
    return this.#home.vault.read((tx) =>
      [...tx.list("consents")]
        .map(([, row]) => row)
        .toSorted((a, b) => a.asked - b.asked)
        .map((row) => consentView(tx, this.#home, row)),
    )
  }

  consent(prefix: string): ConsentView {
    return this.#home.vault.read((tx) => consentView(tx, this.#home, this.#consentRow(tx, prefix)))
  }

  /** Says yes: an involved PoC consents, the sender attests when everyone has consented. Throws `ERR_NO_RIGHT`. */
  grant(prefix: string): ConsentView {
    return this.#changeConsent(prefix, (tx, row) => this.#consents.grant(tx, row))
  }

  refuse(prefix: string, reason?: string): ConsentView {
    return this.#changeConsent(prefix, (tx, row) => this.#consents.refuse(tx, row, reason))
  }

  /** Takes a consent or an attestation back; final for this request, and too late for what has been read already. */
  withdraw(prefix: string): ConsentView {
    return this.#changeConsent(prefix, (tx, row) => this.#consents.withdraw(tx, row))
  }

  /** Forwards what was agreed. Throws `ERR_NO_CONSENT`: refused here, before anything leaves. */
  forward(requestId: Id): Message {
    const key = this.#home.vault.transaction((tx) => this.#consents.forward(tx, this.#consentRow(tx, requestId)))
    this.#courier.wake()
    return new Message(this, key)
  }

  /** The request for exactly these parts of a message to that PoC: the newest that is granted, else the newest. Throws `ERR_NO_CONSENT`. */
  consentFor(message: Id, to: string, parts: readonly string[]): ConsentView {
    const third = this.#home.mirror.state.resolve(to).address
    const wanted = parts.toSorted().join()
    const fitting = this.consents().filter(
      (view) =>
        view.role === "forwarder" &&
        view.message === message &&
        view.thirdParty === third &&
        view.leaves.toSorted().join() === wanted,
    )
    const found = fitting.findLast((view) => view.state === "granted") ?? fitting.at(-1)
    if (!found)
      throw new ValiseError("ERR_NO_CONSENT", "nobody has been asked whether these parts may go to that PoC", {
        hint: `valise consent request ${message.slice(0, 8)} --with ${to} --share ${parts.join(" ")} --purpose …`,
      })
    return found
  }

  // --- evidence, notices, life ---

  /** One file that proves to others what it can, and says what it cannot (docs/evidence.md). @param prefix of a case or message id */
  exportEvidence(prefix: string): Uint8Array {
    const { vault } = this.#home
    const caseId = vault.read((tx) => {
      const rows = [...tx.list("messages")]
      const keys = new Set(rows.map(([, row]) => hex(row.case)))
      try {
        return keyByPrefix(keys, prefix, "case")
      } catch (error) {
        const message = rows.find(([key]) => key.startsWith(prefix.toLowerCase()))
        if (!message) throw error
        return hex(message[1].case)
      }
    })
    const bundle = vault.read((tx) => bundleOf(tx, this.#home, caseId))
    vault.transaction((tx) => tx.appendJournal({ event: "exported", details: { case: caseId } }))
    return bundle
  }

  notices(): Notice[] {
    return this.#home.vault.read((tx) => noticeViews(tx))
  }

  /** Says that a person has read these: the one whose id begins so, or all. Throws `ERR_NOT_FOUND` or `ERR_AMBIGUOUS`. */
  markSeen(prefix?: string): void {
    const { now, vault } = this.#home
    vault.transaction((tx) => {
      const rows = [...tx.list("notices")].filter(([, { seenAt }]) => seenAt === undefined)
      const idOf = (key: string): string => key.slice(key.indexOf(":") + 1)
      const one =
        prefix &&
        keyByPrefix(
          noticeViews(tx).map(({ id }) => id),
          prefix,
          "notice",
        )
      for (const [key, row] of rows) if (!one || idOf(key) === one) tx.put("notices", key, { ...row, seenAt: now })
    })
  }

  get status(): LinkStatus {
    return this.#courier.status
  }

  /** Live, the directory mirrored, and prekeys at the relay: peers can write to this device. */
  get ready(): boolean {
    return this.#courier.ready
  }

  /** When this device was last ready, in seconds since 1970. */
  lastReady(): number | undefined {
    return this.#home.vault.read((tx) => tx.get("counters", "last-ready")?.n)
  }

  on(listener: (event: PocEvent) => void): () => void {
    return this.#home.on(listener)
  }

  /** Resolves with the first value that is not `undefined`. Rejects with `ERR_ABORTED` when the signal aborts, and on `close`. */
  async until<T>(look: () => T | undefined, signal?: AbortSignal): Promise<T> {
    for (;;) {
      if (this.#isClosed) throw new ValiseError("ERR_ABORTED", "the vault was closed here")
      const found = look()
      if (found !== undefined) return found
      await this.#change(signal)
      if (signal?.aborted) throw new ValiseError("ERR_ABORTED", "the wait was given up", { cause: signal.reason })
    }
  }

  /** Resolves when nothing is left to send. */
  async drain(signal?: AbortSignal): Promise<void> {
    await this.until(() => (this.#courier.busy ? undefined : true), signal)
  }

  /** Ends the connection and forgets the keys. What is not through stays in the outbox. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#courier.stop()
    this.#home.emit({ kind: "link", status: { state: "closed" } })
    this.#home.close()
    await this.#home.vault.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  // --- for Message ---

  view(key: string): MessageView {
    return this.#read(key, (tx, row) => messageView(tx, this.#home, key, row))
  }

  statusOf(key: string): RecipientStatus[] {
    return this.#read(key, (tx, row) => statusOf(tx, this.#home, row))
  }

  /** The exact bytes of one part; of a forward, a part that was shared. Throws `ERR_NOT_FOUND`. */
  part(key: string, name: string): Uint8Array {
    return this.#read(key, (_, row) => {
      const statement = row.type === "forward" ? leafNamed(row.leaves, "statement") : undefined
      const leaves = statement ? decodeForward(statement).leaves : row.leaves
      const found = leaves.find((leaf) => leaf.name === name)
      if (!found)
        throw new ValiseError("ERR_NOT_FOUND", `the message has no part named ${name}`, {
          hint: `its parts: ${leaves.map((leaf) => leaf.name).join(", ")}`,
        })
      return found.value
    })
  }

  acknowledge(key: string): void {
    this.#home.vault.transaction((tx) => this.#receipts.acknowledge(tx, key, this.#row(tx, key)))
    this.#courier.wake()
  }

  /** To everyone involved. */
  respond(key: string, response: RespondInput): Message {
    const checked = checkResponse(response)
    return this.#answer(key, "response", (frame, row) => responseLeaves(frame, readTlp(row.leaves) ?? "RED", checked))
  }

  reply(key: string, reply: ReplyInput): Message {
    checkReply(reply)
    return this.#answer(key, "reply", (frame, row) => [
      ...frameLeaves(frame),
      textLeaf("tlp", readTlp(row.leaves) ?? "RED"),
      bytesLeaf("body", new TextEncoder().encode(JSON.stringify({ text: reply.text }))),
      ...(reply.indicators ? [bytesLeaf("indicators", reply.indicators)] : []),
    ])
  }

  requestConsent(key: string, asked: { with: string; leaves: readonly string[]; purpose: string }): string {
    const third = this.#home.mirror.state.resolve(asked.with).address
    const requestId = this.#home.vault.transaction((tx) =>
      this.#consents.request(tx, this.#row(tx, key), { ...asked, with: third }),
    )
    this.#courier.wake()
    return requestId
  }

  #answer(key: string, type: MessageType, leavesOf: (frame: Frame, row: MessageRecord) => readonly Leafs[]): Message {
    const row = this.#read(key, (_, found) => found)
    const about = row.sealed
    if (!about) throw new ValiseError("ERR_USAGE", "the message has not been sealed yet; answer it once it has left")
    const { identity } = this.#home
    const involved = leafNamed(row.leaves, "involved")
    // Nobody gets an answer to what it did not get.
    const readers = (involved ? decodeInvolved(involved) : []).filter((poc) => row.to.includes(poc))
    const participants = isOwn(this.#home, row) ? row.to : [row.from, ...readers]
    const others = unique(participants).filter((poc) => poc !== identity.poc)
    const frame: Frame = {
      type,
      case: row.case,
      to: others,
      involved: unique([identity.poc, ...others]),
      inReplyTo: { message: row.id, content: about.contentHash },
    }
    return this.#compose(frame, leavesOf(frame, row), {})
  }

  #compose(
    frame: Frame,
    leaves: readonly Leafs[],
    options: { lifetimeSeconds?: number; strictForwardSecrecy?: boolean },
  ): Message {
    const id = this.#home.vault.transaction((tx) =>
      this.#outbox.compose(tx, {
        type: frame.type,
        case: frame.case,
        to: frame.to,
        leaves,
        copyToOwnDevices: true,
        ...options,
      }),
    )
    this.#courier.wake()
    return new Message(this, hex(id))
  }

  #changeConsent(prefix: string, change: (tx: Tx, row: ConsentRecord) => void): ConsentView {
    const key = this.#home.vault.transaction((tx) => {
      const row = this.#consentRow(tx, prefix)
      change(tx, row)
      return hex(row.requestId)
    })
    this.#courier.wake()
    return this.consent(key)
  }

  #consentRow(tx: Reader, prefix: string): ConsentRecord {
    const rows = new Map(tx.list("consents"))
    return rows.get(keyByPrefix(rows.keys(), prefix, "consent request"))!
  }

  #views(wanted: (row: MessageRecord) => boolean): MessageView[] {
    return this.#home.vault.read((tx) => {
      const messages = [...tx.list("messages")]
      const answers = answersIn(messages)
      return messages
        .filter(([, row]) => wanted(row))
        .toSorted(([, a], [, b]) => a.order - b.order)
        .map(([key, row]) => messageView(tx, this.#home, key, row, answers))
    })
  }

  #read<T>(key: string, body: (tx: Reader, row: MessageRecord) => T): T {
    return this.#home.vault.read((tx) => body(tx, this.#row(tx, key)))
  }

  #row(tx: Reader, key: string): MessageRecord {
    const row = tx.get("messages", key)
    if (!row) throw new ValiseError("ERR_NOT_FOUND", "no message with this id")
    return row
  }

  /** Resolves at the next change of the vault, of the connection, or when the signal aborts. */
  #change(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = (): void => {
        offRounds()
        offVault()
        offEvents()
        signal?.removeEventListener("abort", done)
        resolve()
      }
      const offRounds = this.#courier.onRound(done)
      const offVault = this.#home.vault.onChange(done)
      const offEvents = this.#home.on(done)
      signal?.addEventListener("abort", done, { once: true })
    })
  }
}

type Leafs = ReturnType<typeof textLeaf>

/** So long before its end a paper is renewed: a month of holidays and bad lines. */
export const renewAheadSeconds = 30 * 86_400

const dateOf = (atSeconds: number): string => iso(atSeconds).slice(0, 10)

const unique = <T>(items: readonly T[]): T[] => [...new Set(items)]
