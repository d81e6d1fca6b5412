/**
 * Consent-gated forwarding in the SDK (SPEC, "Consent"): requests, consents, attestations, withdrawals and forwards, each a sealed
 * message. The rules themselves are pure and stand in `protocol/forward.ts`; here papers are kept, judged and sent.
 */
import type { PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import {
  attestationOf,
  consentFor,
  consentTo,
  decodeAttestation,
  decodeConsent,
  decodeConsentRequest,
  decodeForward,
  decodeUseReceipt,
  decodeConsentRefusal,
  decodeConsentWithdrawal,
  encodeAttestation,
  encodeConsentRequest,
  encodeForward,
  encodeConsentRefusal,
  encodeUseReceipt,
  encodeConsentWithdrawal,
  readSignedConsent,
  sameScope,
  scopeOf,
  type ConsentScope,
  type RequestId,
} from "../protocol/consent.ts"
import { ValiseError } from "../protocol/errors.ts"
import { mayAttest, mayConsent, mayForward, type Denied, type Paper } from "../protocol/forward.ts"
import { saltOf } from "../protocol/leaves.ts"
import { fixed } from "../protocol/limits.ts"
import { forwardingAllowed } from "../protocol/tlp.ts"
import type { MessageType, Notice, PocEvent } from "./api.ts"
import { messageUnder } from "./archive.ts"
import type { ConsentRecord, MessageRecord, Tx } from "./collections.ts"
import { emptyRecord, heldMessage, judgementOf, requestNamed, withdrawnOf } from "./consent-records.ts"
import { bytesLeaf, frameLeaves, leafNamed, readTlp } from "./content.ts"
import type { Home } from "./home.ts"
import type { Outbox } from "./outbox.ts"

/** A PoC consents once; a few more, should it lose count, harm nobody. */
const consentsPerPocMax = 4

export interface ConsentAsked {
  readonly with: PocAddress
  readonly leaves: readonly string[]
  readonly purpose: string
}

/** @returns what has changed, request by request. */
type Receiver = (
  tx: Tx,
  record: MessageRecord,
  bytes: Uint8Array,
  more: { readonly key: string; readonly notices: Notice[] },
) => [RequestId, Change][]

type Change = Extract<PocEvent, { kind: "consent" }>["change"]

export class Consents {
  readonly #home: Home
  readonly #outbox: Outbox

  constructor(home: Home, outbox: Outbox) {
    this.#home = home
    this.#outbox = outbox
  }

  /** R asks everyone involved, and says yes itself. Throws `ERR_NOT_FOUND`, `ERR_TLP` or `ERR_NO_RIGHT`. */
  request(tx: Tx, record: MessageRecord, asked: ConsentAsked): string {
    const { identity, machine, now } = this.#home
    if (record.from === identity.poc)
      throw new ValiseError(
        "ERR_USAGE",
        "whoever wrote a message sends it; consent is for passing on what others wrote",
      )
    if (asked.with === identity.poc || asked.leaves.every((name) => name === "involved"))
      throw new ValiseError("ERR_USAGE", "a request names another PoC and at least one part")
    requireText(asked.purpose, 1)
    const held = heldMessage(record)
    const tlp = readTlp(record.leaves) ?? "RED"
    if (forwardingAllowed(tlp, { sender: record.from, forwarder: identity.poc, thirdParty: asked.with }) === "never")
      throw new ValiseError("ERR_TLP", `TLP:${tlp} leaves nothing to forward to that PoC`)
    const names = [...new Set([...asked.leaves, "involved"])].toSorted()
    const leaves = names.map((name) => {
      const found = held.leaves.find((leaf) => leaf.name === name)
      if (!found)
        throw new ValiseError("ERR_NOT_FOUND", `the message has no part named ${name}`, {
          hint: `its parts: ${held.leaves.map((leaf) => leaf.name).join(", ")}`,
        })
      return found
    })
    const requestId = machine.random.bytes(16) as RequestId
    const scope: ConsentScope = {
      v: 1,
      requestId,
      messageId: record.id,
      header: held.headerHash,
      leaves,
      sender: record.from,
      forwarder: identity.poc,
      thirdParty: asked.with,
      purpose: asked.purpose,
      tlp,
    }
    const row: ConsentRecord = {
      ...emptyRecord(scope, "forwarder", now),
      involved: [...held.involved],
      mine: "granted",
    }
    const others = held.involved.filter((poc) => poc !== identity.poc)
    this.#send(
      tx,
      record.case,
      "consent-request",
      others,
      encodeConsentRequest({ ...scope, content: held.contentHash }),
    )
    if (held.involved.includes(identity.poc)) this.#consent(tx, row, record.case)
    this.#put(tx, row)
    tx.appendJournal({ event: "consent", details: { request: hex(requestId), change: "requested" } })
    return hex(requestId)
  }

  /** An involved PoC consents; S agrees, and attests as soon as every consent is here. Throws `ERR_NO_RIGHT`, `ERR_NO_CONSENT`. */
  grant(tx: Tx, row: ConsentRecord): void {
    if (row.mine === "withdrawn") throw new ValiseError("ERR_NO_CONSENT", "a withdrawal is final for this request")
    if (row.role === "sender") {
      for (const right of ["attest", "release"] as const) this.#home.officerWith(right)
      const agreed: ConsentRecord = { ...row, mine: "granted" }
      this.#put(tx, agreed)
      this.#attestIfComplete(tx, agreed)
    } else if (row.role === "involved") {
      if (row.mine === "granted") return
      const granted: ConsentRecord = { ...row, mine: "granted" }
      this.#consent(tx, granted, this.#caseOf(tx, row))
      this.#put(tx, granted)
    } else throw new ValiseError("ERR_USAGE", "this PoC has nothing to grant here")
    tx.appendJournal({ event: "consent", details: { request: hex(row.requestId), change: "granted" } })
  }

  refuse(tx: Tx, row: ConsentRecord, reason?: string): void {
    if (reason !== undefined) requireText(reason, 0)
    if ((row.role !== "involved" && row.role !== "sender") || row.mine !== "nothing")
      throw new ValiseError("ERR_USAGE", "only a request that is still open here can be refused", {
        hint: "a consent that was given can be withdrawn",
      })
    const bytes = encodeConsentRefusal({ v: 1, requestId: row.requestId, ...(reason && { reason }) })
    this.#send(tx, this.#caseOf(tx, row), "consent-refusal", this.#parties(row, false), bytes)
    this.#put(tx, { ...row, mine: "refused" })
    tx.appendJournal({ event: "consent", details: { request: hex(row.requestId), change: "refused" } })
  }

  /** Final for this request; to the forwarder, the sender and the third party. */
  withdraw(tx: Tx, row: ConsentRecord): void {
    const { identity } = this.#home
    if (row.role === "third-party" || row.mine !== "granted")
      throw new ValiseError("ERR_USAGE", "there is no consent of this PoC to withdraw")
    const bytes = encodeConsentWithdrawal({ v: 1, requestId: row.requestId })
    // To each by itself: one that cannot be reached must not hold it up for the others.
    const parties = this.#parties(row, true).filter((poc) => this.#outbox.isReachable(poc))
    for (const poc of parties) this.#send(tx, this.#caseOf(tx, row), "consent-withdrawal", [poc], bytes)
    this.#put(tx, { ...row, mine: "withdrawn", withdrawn: [...row.withdrawn, identity.poc] })
    tx.appendJournal({ event: "consent", details: { request: hex(row.requestId), change: "withdrawn" } })
  }

  /** R opens the agreed leaves to T. Throws `ERR_NO_CONSENT`: refused here, before anything leaves. */
  forward(tx: Tx, row: ConsentRecord): string {
    const { identity, now } = this.#home
    const record = this.#message(tx, row)
    const verdict = mayForward({
      me: identity.poc,
      scope: row.scope,
      held: heldMessage(record),
      consents: row.consents,
      withdrawn: withdrawnOf(row),
      nowSeconds: now,
      leaves: row.scope.leaves.map(({ name }) => name),
    })
    if (!verdict.allowed) throw noConsent(verdict.reason) // defence: 25 forwarder-refuses
    if (!row.attested) throw noConsent("no-attestation")
    const leaves = record.leaves
      .filter(({ name }) => row.scope.leaves.some((leaf) => leaf.name === name))
      .map(({ name, value }) => ({ name, salt: saltOf(record.contentKey, name), value }))
    const bytes = encodeForward({ v: 1, requestId: row.requestId, leaves })
    const key = this.#send(tx, this.#home.machine.random.bytes(16), "forward", [row.scope.thirdParty], bytes)
    this.#put(tx, { ...row, forwarded: true })
    tx.appendJournal({ event: "forwarded", details: { request: hex(row.requestId), message: key } })
    return key
  }

  /** Attests whatever waits for nothing but an officer of the sender. */
  attestWaiting(tx: Tx): void {
    for (const [, row] of tx.list("consents")) this.#attestIfComplete(tx, row)
  }

  /** Takes up what a peer's message says about a consent; in the transaction that archives it. */
  receive(tx: Tx, key: string, record: MessageRecord, notices: Notice[]): PocEvent[] {
    const bytes = leafNamed(record.leaves, "statement")
    const receiver = this.#receivers[record.type]
    if (!bytes || !receiver) return []
    try {
      return receiver(tx, record, bytes, { key, notices }).map(([requestId, change]) => ({
        kind: "consent",
        requestId: hex(requestId),
        change,
      }))
    } catch (error) {
      const reason = error instanceof ValiseError ? error.code : "ERR_INTERNAL"
      tx.appendJournal({ event: "consent", details: { message: hex(record.id), refused: reason } })
      const text = `${record.from} sent a paper about a consent that does not fit; it counts for nothing`
      this.#home.notice(tx, notices, "unauthorised", text)
      return []
    }
  }

  /** Each judges first and writes afterwards: what throws has changed nothing. */
  readonly #receivers: Partial<Record<MessageType, Receiver>> = {
    "consent-request": (tx, record, bytes, { notices }) => {
      const { identity, now } = this.#home
      const request = decodeConsentRequest(bytes)
      if (this.#find(tx, request.requestId)) return []
      const held = messageUnder(tx, request.messageId, request.header)
      if (!held) throw noConsent("another-message")
      const isSame = equal(heldMessage(held).contentHash, request.content)
      const text = `${record.from} asks about another content of a message of ${held.from} than the one held here`
      if (!isSame) this.#home.notice(tx, notices, "equivocation", text) // defence: 8 content-in-requests
      const allowed = mayConsent({ me: identity.poc, from: record.from, request, held: heldMessage(held) })
      if (!allowed.allowed) throw noConsent(allowed.reason)
      const role = request.sender === identity.poc ? "sender" : "involved"
      this.#put(tx, { ...emptyRecord(scopeOf(request), role, now), involved: [...heldMessage(held).involved] })
      return [[request.requestId, "requested"], ...this.#takeUpEarlier(tx, request.requestId)]
    },
    consent: (tx, record, bytes) => {
      const terms = decodeConsent(bytes)
      const paper = this.#paper(record, bytes)
      const known = this.#find(tx, terms.requestId)
      // The request comes later, or another device of this PoC has made it.
      if (!known && terms.thirdParty !== this.#home.identity.poc) return []
      const row = known ?? this.#asThirdParty(tx, terms)
      if (row.role !== "third-party" && !row.involved.includes(record.from)) throw noConsent("not-involved")
      if (row.role !== "third-party" && !sameScope(terms, row.scope)) throw noConsent("consent-differs")
      // Every consent of a PoC is kept: which one the sender attests is the sender's choice.
      if (row.consents.filter(({ from }) => from === record.from).length >= consentsPerPocMax) return []
      const signature = leafNamed(record.leaves, "signature")
      const signed = row.role === "sender" && record.officer ? this.#requireSignature(record, bytes, signature) : {}
      const consents = [...row.consents, { ...paper, ...signed }]
      const next: ConsentRecord = { ...row, consents, refused: row.refused.filter((poc) => poc !== record.from) }
      this.#put(tx, next)
      this.#attestIfComplete(tx, next)
      this.#judge(tx, next)
      return [[terms.requestId, "granted"]]
    },
    "consent-refusal": (tx, record, bytes) => {
      const { requestId } = decodeConsentRefusal(bytes)
      const row = this.#find(tx, requestId)
      if (!row || !this.#isParty(row, record.from)) return []
      this.#put(tx, { ...row, refused: [...new Set([...row.refused, record.from])] })
      return [[requestId, "refused"]]
    },
    "consent-withdrawal": (tx, record, bytes) => {
      const { requestId } = decodeConsentWithdrawal(bytes)
      const row = this.#find(tx, requestId)
      // T keeps every withdrawal: who is involved it learns only from the forward, and a stranger's counts for nothing.
      if (!row || (row.role !== "third-party" && !this.#isParty(row, record.from))) return []
      const next: ConsentRecord = { ...row, withdrawn: [...new Set([...row.withdrawn, record.from])] }
      this.#put(tx, next)
      this.#judge(tx, next)
      return [[requestId, "withdrawn"]]
    },
    attestation: (tx, record, bytes) => {
      const attestation = decodeAttestation(bytes)
      const row = this.#find(tx, attestation.requestId) ?? this.#asThirdParty(tx, attestation)
      if (row.role !== "third-party" || record.from !== attestation.sender) throw noConsent("not-from-sender")
      if (row.attestations.some(({ from }) => from === record.from)) return []
      // Who the sender is, T learns from the forward alone; until then it is what the first paper says.
      const attested = row.attested || attestation.sender === row.scope.sender
      const next = { ...row, attestations: [...row.attestations, this.#paper(record, bytes)], attested }
      this.#put(tx, next)
      return this.#judge(tx, next) ? [[attestation.requestId, "verified"]] : [[attestation.requestId, "attested"]]
    },
    attested: (tx, record, bytes) => {
      const { requestId } = decodeConsentWithdrawal(bytes)
      const row = this.#find(tx, requestId)
      if (row?.role !== "forwarder" || record.from !== row.scope.sender) return []
      this.#put(tx, { ...row, attested: true, refused: row.refused.filter((poc) => poc !== record.from) })
      return [[requestId, "attested"]]
    },
    "use-receipt": (tx, record, bytes) => {
      const { requestId, time } = decodeUseReceipt(bytes)
      const row = this.#find(tx, requestId)
      if (row?.scope.thirdParty === record.from) this.#put(tx, { ...row, used: time })
      return []
    },
    forward: (tx, record, bytes, { key }) => {
      const { requestId } = decodeForward(bytes)
      const row = this.#find(tx, requestId)
      tx.put("messages", key, { ...record, forward: { requestId, unverified: "no-attestation" } })
      return row && this.#judge(tx, row) ? [[requestId, "verified"]] : []
    },
  }

  /** What others said about a request before it arrived: the relay promises no order. */
  #takeUpEarlier(tx: Tx, requestId: RequestId): [RequestId, Change][] {
    return [...tx.list("messages")].flatMap(([key, record]) => {
      const named = requestNamed(record)
      if (record.direction !== "in" || !named || !equal(named, requestId)) return []
      try {
        const bytes = leafNamed(record.leaves, "statement")!
        return this.#receivers[record.type]!(tx, record, bytes, { key, notices: [] })
      } catch {
        return []
      }
    })
  }

  /** T judges every forward of this request again: what is unverified now may be verified later, and the reverse. */
  #judge(tx: Tx, row: ConsentRecord): boolean {
    if (row.role !== "third-party") return false
    let verified = false
    for (const [key, record] of tx.list("messages")) {
      if (record.type !== "forward" || record.direction !== "in" || !record.forward) continue
      if (!equal(record.forward.requestId, row.requestId)) continue
      const judgement = judgementOf(this.#home, record, row)
      const before = record.forward.verifiedFrom
      const { requestId } = row
      tx.put("messages", key, {
        ...record,
        forward: judgement.verified
          ? { requestId, verifiedFrom: judgement.sender }
          : { requestId, unverified: judgement.reason },
      })
      verified ||= judgement.verified
      if (judgement.verified)
        this.#put(tx, {
          ...row,
          scope: scopeOf(judgement.attestation),
          involved: [...judgement.involved],
          attested: true,
        })
      if (judgement.verified && !before) this.#used(tx, record, row, judgement.involved)
    }
    return verified
  }

  /** T → all whom it can reach: used, now. Sent by the device alone, as receipts are. */
  #used(tx: Tx, record: MessageRecord, row: ConsentRecord, all: readonly PocAddress[]): void {
    const involved = all.filter((poc) => poc !== this.#home.identity.poc && this.#outbox.isReachable(poc))
    if (involved.length === 0) return
    const bytes = encodeUseReceipt({ v: 1, requestId: row.requestId, time: this.#home.now })
    this.#outbox.compose(tx, {
      type: "use-receipt",
      case: record.case,
      to: involved,
      leaves: [...frameLeaves({ type: "use-receipt", case: record.case, to: involved }), bytesLeaf("statement", bytes)],
      copyToOwnDevices: false,
    })
  }

  /** This PoC's own yes: unsigned to R and T, with the officer's signature to S alone. */
  #consent(tx: Tx, row: ConsentRecord, caseId: Uint8Array): void {
    const { identity, now, realm } = this.#home
    const officer = this.#home.officerWith("consent")
    const terms = consentTo(row.scope, now)
    const { forwarder, sender, thirdParty } = row.scope
    const toSender = consentFor(sender, terms, realm, officer.key)
    const unsigned = [forwarder, thirdParty].filter((poc) => poc !== identity.poc)
    const toOthers = consentFor(thirdParty, terms, realm, officer.key)
    this.#send(tx, caseId, "consent", [sender], toSender.bytes, toSender.signature)
    for (const poc of unsigned) this.#send(tx, caseId, "consent", [poc], toOthers.bytes, toOthers.signature)
    row.consents = [...row.consents, { from: identity.poc, created: now, rights: ["consent"], bytes: toOthers.bytes }]
  }

  /** Does nothing until it can: an officer, the third party and the forwarder may come later. */
  #attestIfComplete(tx: Tx, row: ConsentRecord): void {
    const { identity, now } = this.#home
    if (row.role !== "sender" || row.mine !== "granted" || row.attested || !this.#home.mayRelease("attest")) return
    if (!this.#home.mayRelease("release")) return
    if (![row.scope.thirdParty, row.scope.forwarder].every((poc) => this.#outbox.isReachable(poc))) return
    const record = this.#message(tx, row)
    const verdict = mayAttest({
      me: identity.poc,
      scope: row.scope,
      held: heldMessage(record),
      consents: row.consents,
      withdrawn: withdrawnOf(row),
      nowSeconds: now,
    })
    if (!verdict.allowed) return // defence: 25 attest-last => if (!verdict.allowed) void verdict
    const consents = verdict.allowed ? verdict.consents : []
    const attestation = attestationOf(row.scope, consents, now, now + fixed.attestationSecondsMax)
    this.#send(tx, record.case, "attestation", [row.scope.thirdParty], encodeAttestation(attestation))
    this.#send(
      tx,
      record.case,
      "attested",
      [row.scope.forwarder],
      encodeConsentWithdrawal({ v: 1, requestId: row.requestId }),
    )
    this.#put(tx, { ...row, attested: true })
    tx.appendJournal({ event: "consent", details: { request: hex(row.requestId), change: "attested" } })
  }

  #paper(record: MessageRecord, bytes: Uint8Array): Paper {
    const officer = record.officer && this.#home.mirror.officer(record.from, record.officer)
    const rights = officer?.current ? officer.rights : []
    return { from: record.from, created: record.created, rights, bytes }
  }

  #requireSignature(record: MessageRecord, bytes: Uint8Array, signature: Uint8Array | undefined) {
    const officer = record.officer && this.#home.mirror.officer(record.from, record.officer)
    if (!officer?.current || !signature || !officer.rights.includes("consent")) throw noConsent("consent-missing")
    readSignedConsent(officer.key, this.#home.realm, { bytes, signature })
    return { signature, officer: record.officer! }
  }

  #send(
    tx: Tx,
    caseId: Uint8Array,
    type: MessageType,
    to: readonly PocAddress[],
    statement: Uint8Array,
    signature?: Uint8Array,
  ): string {
    const leaves = [...frameLeaves({ type, case: caseId, to }), bytesLeaf("statement", statement)]
    if (signature) leaves.push(bytesLeaf("signature", signature))
    return hex(this.#outbox.compose(tx, { type, case: caseId, to, leaves, copyToOwnDevices: false }))
  }

  /** The first paper of a request at T. A withdrawal may have overtaken it. */
  #asThirdParty(tx: Tx, scope: ConsentScope): ConsentRecord {
    if (scope.thirdParty !== this.#home.identity.poc) throw noConsent("another-third-party")
    const withdrawn: PocAddress[] = []
    for (const [, record] of tx.list("messages")) {
      if (record.direction !== "in" || record.type !== "consent-withdrawal") continue
      if (equal(requestNamed(record)!, scope.requestId)) withdrawn.push(record.from)
    }
    return { ...emptyRecord(scopeOf(scope), "third-party", this.#home.now), withdrawn }
  }

  #parties(row: ConsentRecord, withThirdParty: boolean): PocAddress[] {
    const { forwarder, sender, thirdParty } = row.scope
    const all = withThirdParty ? [forwarder, sender, thirdParty] : [forwarder, sender]
    return all.filter((poc) => poc !== this.#home.identity.poc)
  }

  #isParty(row: ConsentRecord, poc: PocAddress): boolean {
    return poc === row.scope.sender || row.involved.includes(poc) || row.consents.some(({ from }) => from === poc)
  }

  #message(tx: Tx, row: ConsentRecord): MessageRecord {
    const record = messageUnder(tx, row.scope.messageId, row.scope.header)
    if (!record) throw new ValiseError("ERR_NOT_FOUND", "the message of this request is not in this vault")
    return record
  }

  #caseOf(tx: Tx, row: ConsentRecord): Uint8Array {
    return this.#message(tx, row).case
  }

  #find(tx: Tx, requestId: RequestId): ConsentRecord | undefined {
    return tx.get("consents", hex(requestId))
  }

  #put(tx: Tx, row: ConsentRecord): void {
    tx.put("consents", hex(row.requestId), row)
  }
}
/** Throws `ERR_USAGE` unless people can read it and papers can carry it. */
function requireText(text: string, charactersMin: number): void {
  const length = text.isWellFormed() ? Array.from(text).length : Number.NaN
  if (length >= charactersMin && length <= fixed.purposeCharactersMax) return
  throw new ValiseError(
    "ERR_USAGE",
    `a purpose or reason has ${charactersMin} to ${fixed.purposeCharactersMax} characters`,
  )
}

const noConsent = (reason: Denied["reason"]): ValiseError =>
  new ValiseError("ERR_NO_CONSENT", `not allowed: ${reason}`, {
    hint: "every involved PoC must consent and the sender must attest; see `consent list`",
  })
