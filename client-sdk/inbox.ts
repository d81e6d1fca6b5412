/**
 * From an envelope to a message in the archive (SPEC, "Sealing" "Opening"). Archive, replay entry, the receipt in the outbox and
 * the erasure of a one-time key are one transaction; only after it does the relay hear *collected*. Whatever is wrong
 * with an envelope looks the same outside; the precise reason stands in the local journal alone.
 */
import type { DeviceId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { encodeCbor } from "../protocol/cbor.ts"
import { parseEnvelope } from "../protocol/envelope.ts"
import { fixed } from "../protocol/limits.ts"
import { open, type OpenedMessage as Good } from "../protocol/open.ts"
import { KemKey } from "../protocol/primitives.ts"
import { signDeviceReceipt } from "../protocol/receipts.ts"
import type { MessageType, Notice, PocEvent } from "./api.ts"
import { messageWith, placeOf } from "./archive.ts"
import { nextOrder, type MessageRecord, type PrekeyRecord, type ReplayRecord, type Tx } from "./collections.ts"
import { bytesLeaf, frameLeaves, readFrame, readText, releaseRight, type Frame } from "./content.ts"
import { isWellFormed } from "./consent-records.ts"
import type { Consents } from "./consents.ts"
import type { Home } from "./home.ts"
import type { Outbox } from "./outbox.ts"
import type { Receipts } from "./receipts.ts"
import { terms } from "./templates.ts"

/** A refusal of the same kind within this time is counted, not journalled: anybody can send garbage, and journals only grow. */
const refusalEveryMs = 60_000
/** A device starts a new incarnation when its vault went back in time; numbers of older ones need not be watched for ever. */
const incarnationsMax = 8
/** Numbers that are awaited; older ones are not expected any more. */
const missingMax = 64

/** `collected`: tell the relay. `later`: keep it there, sync the log, and try again. */
export type Outcome = "collected" | "later"

export class Inbox {
  readonly #home: Home
  readonly #outbox: Outbox
  readonly #receipts: Receipts
  readonly #consents: Consents
  /** By reason: when it was last journalled, by the monotonic clock, and how many came since. */
  readonly #refused = new Map<string, { readonly atMs: number; count: number }>()

  constructor(home: Home, outbox: Outbox, receipts: Receipts, consents: Consents) {
    this.#home = home
    this.#outbox = outbox
    this.#receipts = receipts
    this.#consents = consents
  }

  /** Never throws for what a peer sent; throws `ERR_DISK` and the like if the vault cannot be written, and then nothing counts. */
  receive(bytes: Uint8Array): Outcome {
    const { identity, machine, mirror, now, realm, vault } = this.#home
    const parts = parseEnvelope(bytes)
    const prekey = parts && vault.read((tx) => tx.get("prekeys", hex(parts.prekeyId)))
    if (!parts || !prekey) return this.#refuse(parts ? "prekey" : "size")
    const key = new KemKey(prekey.seed)
    const opened = open({
      bytes,
      realm,
      me: { poc: identity.poc, device: identity.device },
      prekey: { id: prekey.id, kind: prekey.kind, key },
      judgeSender: (header, note) => mirror.judge(header, note),
      nowSeconds: now,
      deflate: machine.deflate,
    })
    key.erase()
    if (!opened.ok) {
      if (opened.notYet) return "later"
      this.#keepSplitView()
      if (opened.reason === "created" || opened.reason === "expired") this.#suspectClock()
      return this.#refuse(opened.reason) // defence: 32 burns-nothing => return (vault.transaction((tx) => tx.delete("prekeys", hex(prekey.id))), this.#refuse(opened.reason))
    }
    let frame: Frame
    try {
      frame = readFrame(opened.leaves)
    } catch {
      return this.#refuse("frame")
    }
    if (!isWellFormed(frame.type, opened.leaves)) return this.#refuse("frame")
    if (!this.#released(opened, frame.type)) return this.#refuse("release")
    for (const event of this.#archive(opened, frame, prekey)) this.#home.emit(event)
    return "collected"
  }

  #archive(opened: Good, frame: Frame, prekey: PrekeyRecord): PocEvent[] {
    const { header } = opened
    const from = header.sender.poc
    const replayKey = `${hex(header.sender.device)}:${hex(header.messageId)}`
    return this.#home.commit((tx, notices) => {
      const seen = tx.get("replay", replayKey)
      if (seen) return this.#again(tx, notices, seen, opened) // defence: 9 replay-store
      const events: PocEvent[] = []
      tx.put("replay", replayKey, {
        header: opened.headerHash,
        content: opened.contentHash,
        expires: header.expires,
        prekey: prekey.id,
      })
      const isReceipt = frame.type === "device-receipt" || frame.type === "officer-receipt"
      const key = isReceipt
        ? hex(header.messageId)
        : placeOf(tx, { device: header.sender.device, id: header.messageId })
      if (key === undefined) return this.#equivocated(tx, notices, opened)
      if (prekey.kind === "one-time") tx.delete("prekeys", hex(prekey.id)) // defence: 10 erase-one-time-key
      this.#watchSequence(tx, notices, opened)
      this.#watchPrekeys(tx, notices, opened, prekey)
      this.#watchReference(tx, notices, from, frame)
      tx.appendJournal({ event: "opened", details: { message: key, header: hex(opened.headerHash) } })
      if (frame.type === "device-receipt" || frame.type === "officer-receipt") {
        events.push(...this.#receipts.receive(tx, frame.type, opened, notices))
      } else {
        const record = this.#record(tx, opened, frame)
        tx.put("messages", key, record)
        events.push({ kind: "message", message: key, type: frame.type, case: hex(frame.case), from })
        events.push(...this.#consents.receive(tx, key, record, notices))
        if (releaseRight(frame.type)) this.#sendReceipt(tx, opened, frame)
      }
      return events
    })
  }

  /** A second arrival is dropped; one with another header or content under the same id is equivocation. */
  #again(tx: Tx, notices: Notice[], seen: ReplayRecord, opened: Good): PocEvent[] {
    const isSame = equal(seen.header, opened.headerHash) && equal(seen.content, opened.contentHash)
    return isSame ? [] : this.#equivocated(tx, notices, opened)
  }

  #equivocated(tx: Tx, notices: Notice[], { header }: Good): PocEvent[] {
    const id = hex(header.messageId)
    tx.appendJournal({ event: "equivocation", details: { message: id } })
    const text = `${header.sender.poc} sent two different messages under the id ${id.slice(0, 8)}; the first one stands`
    this.#home.notice(tx, notices, "equivocation", text) // defence: 8 one-id
    return []
  }

  #record(tx: Tx, opened: Good, frame: Frame): MessageRecord {
    const { header } = opened
    const banners = [...opened.banners]
    if (opened.kind === "rotating") banners.push("sealed to a rotating prekey, not to a one-time key")
    if (this.#home.mirror.isStale) banners.push(staleBanner)
    if (frame.type === "notification" && readText(opened.leaves, "terms") !== terms)
      banners.push("the terms of use are missing or altered")
    const isNamed = frame.to.includes(this.#home.identity.poc) || header.sender.poc === this.#home.identity.poc
    if (!isNamed) banners.push("this PoC is not among the recipients that the message names")
    const title = header.sender.officer && this.#home.mirror.officer(header.sender.poc, header.sender.officer)?.title
    return {
      direction: "in",
      id: header.messageId,
      case: frame.case,
      type: frame.type,
      from: header.sender.poc,
      device: header.sender.device,
      to: [...frame.to],
      created: header.created,
      expires: header.expires,
      contentKey: opened.contentKey,
      leaves: [...opened.leaves],
      banners,
      order: nextOrder(tx),
      ...(header.sender.officer && { officer: header.sender.officer }),
      ...(title && { officerTitle: title }),
      sealed: {
        header: opened.headerSigned,
        ...(opened.release && { release: opened.release.signature }),
        headerHash: opened.headerHash,
        contentHash: opened.contentHash,
        checkpoint: opened.checkpoint,
        entry: opened.entry,
        index: opened.index,
        path: [...opened.path],
        digest: opened.digest,
        kind: opened.kind,
      },
    }
  }

  #sendReceipt(tx: Tx, opened: Good, frame: Frame): void {
    const { deviceKey, identity, now, realm } = this.#home
    const { header } = opened
    // A sender that has nothing to receive with gets no receipt; its message is archived all the same.
    if (header.sender.poc === identity.poc || !this.#outbox.isReachable(header.sender.poc)) return
    const signed = signDeviceReceipt(deviceKey, realm, {
      v: 1,
      poc: identity.poc,
      device: identity.device,
      messageId: header.messageId,
      header: opened.headerHash,
      content: opened.contentHash,
      digest: opened.digest,
      time: now,
      kind: opened.kind,
    })
    this.#outbox.compose(tx, {
      type: "device-receipt",
      case: frame.case,
      to: [header.sender.poc],
      leaves: [
        ...frameLeaves({ type: "device-receipt", case: frame.case, to: [header.sender.poc] }),
        bytesLeaf("receipt", encodeCbor(signed)),
      ],
      copyToOwnDevices: false,
    })
  }

  /** Everything but what devices send by themselves is released by an officer whom the sender's manifest gives that right. */
  #released(opened: Good, type: MessageType): boolean {
    const right = releaseRight(type)
    if (!right) return true
    const { poc, officer } = opened.header.sender
    const rights = officer && opened.release && this.#home.mirror.officer(poc, officer)?.rights
    return rights !== undefined && rights.includes(right) // defence: 15 release-right => return true
  }

  #watchSequence(tx: Tx, notices: Notice[], opened: Good): void {
    const { incarnation, n } = opened.pairSequence
    const { device, poc } = opened.header.sender
    const prefix = `received:${hex(device)}:`
    const known = tx.get("counters", prefix + hex(incarnation))
    if (!known) this.#forgetOldest(tx, prefix)
    const last = known?.n ?? 0
    const floor = Math.max(known?.floor ?? 0, Math.max(last, n) - missingMax - 1)
    const skipped = skippedNumbers(opened, this.#home.identity.device)
    const missing = new Set((known?.missing ?? []).filter((m) => m > floor && !skipped.has(m)))
    const gap: number[] = []
    for (let m = Math.max(last, floor) + 1; m < n; m++) if (!skipped.has(m)) gap.push(m)
    const isExpected = n > last || missing.delete(n) || n <= floor
    const text = `${poc}: a number of its sequence came twice with different messages: its vault may have gone back in time`
    if (!isExpected) this.#home.notice(tx, notices, "roll-back", text) // defence: 24 number-twice
    for (const m of gap) missing.add(m)
    const record = { n: Math.max(last, n), missing: [...missing], floor, at: this.#home.now }
    tx.put("counters", prefix + hex(incarnation), record)
    const told = `${poc}: ${missing.size} earlier message(s) of this device have not arrived (late, expired or dropped)`
    if (gap.length > 0) this.#home.notice(tx, notices, "sequence-gap", told)
  }

  #forgetOldest(tx: Tx, prefix: string): void {
    const rows = [...tx.list("counters", { prefix })].toSorted(([, a], [, b]) => (a.at ?? 0) - (b.at ?? 0))
    for (const [key] of rows.slice(0, Math.max(0, rows.length + 1 - incarnationsMax))) tx.delete("counters", key)
  }

  /** No silent downgrade: a rotating key is used although one-time keys wait, or one that was superseded long ago. */
  #watchPrekeys(tx: Tx, notices: Notice[], opened: Good, prekey: PrekeyRecord): void {
    if (opened.kind !== "rotating") return
    const { created, sender } = opened.header
    const isStale = prekey.supersededAt !== undefined && prekey.supersededAt + fixed.staleRotatingSeconds < created
    const isUnused = [...tx.list("prekeys")].some(
      ([, row]) =>
        row.kind === "one-time" && row.publishedAt !== undefined && row.publishedAt < created && row.exp > created,
    )
    const what = isStale ? "an old rotating key" : "a rotating key although one-time keys were there"
    const text = `${sender.poc} was served ${what}: withheld by the relay, or drained by a PoC`
    if (isUnused || isStale) this.#home.notice(tx, notices, "withholding", text) // defence: 11 withholding-alarm
  }

  /** Whoever answers names the C that it answers: another one means that the sender told us different things. */
  #watchReference(tx: Tx, notices: Notice[], from: PocAddress, frame: Frame): void {
    if (!frame.inReplyTo) return
    const { content, message } = frame.inReplyTo
    const held = messageWith(tx, message, () => true)
    const isHeld = messageWith(tx, message, ({ sealed }) => sealed !== undefined && equal(sealed.contentHash, content))
    if (!held?.sealed || isHeld) return
    const text = `${from} answers another content of message ${hex(message).slice(0, 8)} of ${held.from} than the one held here`
    this.#home.notice(tx, notices, "equivocation", text) // defence: 8 content-in-answers
  }

  /** The precise reason stands here alone. */
  #refuse(reason: string): Outcome {
    const nowMs = this.#home.machine.clock.monotonic()
    const before = this.#refused.get(reason)
    if (before && nowMs - before.atMs < refusalEveryMs) {
      before.count++
      return "collected"
    }
    this.#refused.set(reason, { atMs: nowMs, count: 0 })
    const details = { reason, ...(before && before.count > 0 && { uncounted: before.count }) }
    this.#home.vault.transaction((tx) => tx.appendJournal({ event: "not-opened", details }))
    return "collected"
  }

  #keepSplitView(): void {
    const { mirror } = this.#home
    const note = mirror.splitView
    mirror.splitView = undefined
    if (!note) return
    this.#home.commit((tx, notices) => {
      const text = "a peer's checkpoint contradicts this mirror: the directory shows two histories"
      mirror.keepContradiction(tx, note)
      this.#home.notice(tx, notices, "split-view", text) // defence: 20 split-view-notice
    })
  }

  #suspectClock(): void {
    const text = "a message was refused because of its dates: check this machine's clock, and ask to send it again"
    this.#home.commit((tx, notices) => this.#home.notice(tx, notices, "not-opened", text))
  }
}

/** What is opened is judged by the log as it is known here; an older one may lack a revocation. */
export const staleBanner = "the directory known here is older than 72 hours: a revocation may be missing"

function skippedNumbers(opened: Good, me: DeviceId): Set<number> {
  try {
    const named: unknown = JSON.parse(readText(opened.leaves, "skipped") ?? "{}")
    const mine =
      named && typeof named === "object" ? Object.entries(named).find(([device]) => device === hex(me)) : undefined
    return new Set(
      Array.isArray(mine?.[1]) ? mine[1].filter((n): n is number => Number.isSafeInteger(n)).slice(0, 64) : [],
    )
  } catch {
    return new Set()
  }
}
