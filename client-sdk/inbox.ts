/**
 * From an envelope to a message in the archive (SPEC §6 "Opening"). Archive, replay entry, the receipt in the outbox and
 * the erasure of a one-time key are one transaction; only after it does the relay hear *collected*. Whatever is wrong
 * with an envelope looks the same outside; the precise reason stands in the local journal alone.
 */
import type { DeviceId, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { encodeCbor } from "../protocol/cbor.ts"
import { parseEnvelope } from "../protocol/envelope.ts"
import { open, type OpenedMessage as Good } from "../protocol/open.ts"
import { KemKey } from "../protocol/primitives.ts"
import { signDeviceReceipt } from "../protocol/receipts.ts"
import type { MessageType, Notice, PocEvent } from "./api.ts"
import type { MessageRecord, PrekeyRecord, ReplayRecord, Tx } from "./collections.ts"
import { bytesLeaf, frameLeaves, readFrame, readText, releaseRight, type Frame } from "./content.ts"
import type { Consents } from "./consents.ts"
import type { Home } from "./home.ts"
import type { Outbox } from "./outbox.ts"
import type { Receipts } from "./receipts.ts"
import { terms } from "./templates.ts"

/** `collected`: tell the relay. `later`: keep it there, sync the log, and try again. */
export type Outcome = "collected" | "later"

export class Inbox {
  readonly #home: Home
  readonly #outbox: Outbox
  readonly #receipts: Receipts
  readonly #consents: Consents

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
    if (!parts || !prekey) {
      this.#refuse(parts ? "prekey" : "size")
      return "collected"
    }
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
      if (mirror.splitView) this.#notice("split-view", "a peer's checkpoint contradicts this mirror: the directory shows two histories")
      mirror.splitView = undefined
      this.#refuse(opened.reason)
      return "collected"
    }
    let frame: Frame
    try {
      frame = readFrame(opened.leaves)
    } catch {
      this.#refuse("frame")
      return "collected"
    }
    if (!this.#released(opened, frame.type)) {
      this.#refuse("release")
      return "collected"
    }
    for (const event of this.#archive(opened, frame, prekey)) this.#home.emit(event)
    return "collected"
  }

  #archive(opened: Good, frame: Frame, prekey: PrekeyRecord): PocEvent[] {
    const { vault } = this.#home
    const { header } = opened
    const from = header.sender.poc
    const replayKey = `${hex(header.sender.device)}:${hex(header.messageId)}`
    return vault.transaction((tx) => {
      const seen = tx.get("replay", replayKey)
      if (seen) return this.#again(tx, seen, opened) // defence: 9 replay-store
      const events: PocEvent[] = []
      const notices: Notice[] = []
      tx.put("replay", replayKey, {
        header: opened.headerHash,
        content: opened.contentHash,
        expires: header.expires,
        prekey: prekey.id,
      })
      if (prekey.kind === "one-time") tx.delete("prekeys", hex(prekey.id)) // defence: 10 erase-one-time-key
      this.#watchSequence(tx, opened, notices)
      this.#watchPrekeys(tx, opened, prekey, notices)
      this.#watchReference(tx, from, frame, notices)
      tx.appendJournal({ event: "opened", details: { message: hex(header.messageId), header: hex(opened.headerHash) } })
      if (frame.type === "device-receipt" || frame.type === "officer-receipt") {
        events.push(...this.#receipts.receive(tx, frame.type, opened, notices))
      } else {
        const record = this.#record(tx, opened, frame)
        tx.put("messages", hex(header.messageId), record)
        events.push({
          kind: "message",
          message: hex(header.messageId),
          type: frame.type,
          case: hex(frame.case),
          from,
        })
        events.push(...this.#consents.receive(tx, record, notices))
        if (releaseRight(frame.type)) this.#sendReceipt(tx, opened, frame)
      }
      for (const notice of notices) events.push({ kind: "notice", notice })
      return events
    })
  }

  /** A second arrival is dropped; one with another header or content under the same id is equivocation. */
  #again(tx: Tx, seen: ReplayRecord, opened: Good): PocEvent[] {
    if (equal(seen.header, opened.headerHash) && equal(seen.content, opened.contentHash)) return []
    tx.appendJournal({ event: "equivocation", details: { message: hex(opened.header.messageId) } })
    const text = `${opened.header.sender.poc} sent two different messages under one id; the first one stands`
    return [{ kind: "notice", notice: this.#home.notice(tx, "equivocation", text) }]
  }

  #record(tx: Tx, opened: Good, frame: Frame): MessageRecord {
    const order = (tx.get("counters", "order")?.n ?? 0) + 1
    tx.put("counters", "order", { n: order })
    const { header } = opened
    const banners = [...opened.banners]
    if (opened.kind === "rotating") banners.push("sealed to a rotating prekey, not to a one-time key")
    if (frame.type === "notification" && readText(opened.leaves, "terms") !== terms)
      banners.push("the terms of use are missing or altered")
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
      order,
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
    if (header.sender.poc === identity.poc) return
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

  #watchSequence(tx: Tx, opened: Good, notices: Notice[]): void {
    const { incarnation, n } = opened.pairSequence
    const { device, poc } = opened.header.sender
    const counter = `received:${hex(device)}:${hex(incarnation)}`
    const before = tx.get("counters", counter) ?? { n: 0, missing: [] }
    const missing = new Set(before.missing)
    const skipped = skippedNumbers(opened, this.#home.identity.device)
    for (const number of skipped) missing.delete(number)
    if (n > before.n) for (let m = before.n + 1; m < n && missing.size < 64; m++) if (!skipped.has(m)) missing.add(m)
    const news = n > before.n + 1 && missing.size > 0 && !missing.has(n)
    if (n <= before.n && !missing.delete(n))
      notices.push(this.#home.notice(tx, "roll-back", `${poc}: a number of its sequence came twice with different messages: its vault may have gone back in time`))
    tx.put("counters", counter, { n: Math.max(before.n, n), missing: [...missing] })
    if (news)
      notices.push(this.#home.notice(tx, "sequence-gap", `${poc}: ${missing.size} earlier message(s) of this device have not arrived (late, expired or dropped)`))
  }

  /** No silent downgrade: a rotating key is used although one-time keys wait, or one that was superseded long ago. */
  #watchPrekeys(tx: Tx, opened: Good, prekey: PrekeyRecord, notices: Notice[]): void {
    if (opened.kind !== "rotating") return
    const { created, sender } = opened.header
    const unused = [...tx.list("prekeys")].some(
      ([, row]) => row.kind === "one-time" && row.publishedAt !== undefined && row.publishedAt < created && row.exp > created,
    )
    const stale = prekey.supersededAt !== undefined && prekey.supersededAt + staleSeconds < created
    if (unused || stale) // defence: 11 withholding-alarm
      notices.push(this.#home.notice(tx, "withholding", `${sender.poc} was served ${stale ? "an old rotating key" : "a rotating key although one-time keys were there"}: withheld by the relay, or drained by a PoC`)) // defence: 11 withholding-notice => void sender
  }

  /** Whoever answers names the C that it answers: another one means that the sender told us different things. */
  #watchReference(tx: Tx, from: PocAddress, frame: Frame, notices: Notice[]): void {
    if (!frame.inReplyTo) return
    const own = tx.get("messages", hex(frame.inReplyTo.message))
    if (!own?.sealed || equal(own.sealed.contentHash, frame.inReplyTo.content)) return
    const text = `${from} answers another content of a message of ${own.from} than the one held here`
    notices.push(this.#home.notice(tx, "equivocation", text)) // defence: 8 content-in-answers
  }

  #refuse(reason: string): void {
    this.#home.vault.transaction((tx) => tx.appendJournal({ event: "not-opened", details: { reason } }))
  }

  #notice(kind: Notice["kind"], text: string): void {
    const notice = this.#home.vault.transaction((tx) => this.#home.notice(tx, kind, text))
    this.#home.emit({ kind: "notice", notice })
  }
}

function skippedNumbers(opened: Good, me: DeviceId): Set<number> {
  try {
    const named: unknown = JSON.parse(readText(opened.leaves, "skipped") ?? "{}")
    const mine = named && typeof named === "object" ? Object.entries(named).find(([device]) => device === hex(me)) : undefined
    return new Set(Array.isArray(mine?.[1]) ? mine[1].filter((n): n is number => Number.isSafeInteger(n)).slice(0, 64) : [])
  } catch {
    return new Set()
  }
}

const staleSeconds = 48 * 3600
