/** Reads what each vault has committed since the last step, record by record of its journal, and checks every one. */
import type { PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { chosen, fixed } from "../../protocol/limits.ts"
import { verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import { verifyCheckpoint } from "../../pki/checkpoint.ts"
import { perDevice, type Reader } from "../../client-sdk/collections.ts"
import { readJson } from "../../client-sdk/content.ts"
import { logSyncEveryMs } from "../../client-sdk/courier.ts"
import type { Device } from "./device.ts"
import { realm } from "./founding.ts"
import type { VirtualTime } from "./time.ts"
import { Broken, isSame, type SealedMessage, type Truth } from "./truth.ts"

export interface JournalParts {
  readonly truth: Truth
  readonly anchor: TrustAnchor
  /** The relay's, as the directory lists it. */
  readonly relayKey: Uint8Array
  readonly time: VirtualTime
  /** Since when relay and directory have been up and honest; `undefined` while they are not. */
  readonly calmSinceMs: () => number | undefined
  readonly note: (who: string, what: string) => void
}

type Details = Readonly<Record<string, unknown>>

/** A device that has been live so long has asked for the log, and what it got was no older than this. */
const knownWithinMs = logSyncEveryMs + chosen.mirrorEverySeconds * 1000 + 60_000
/** What a relay's welcome says of the time is believed for so long, and an answer may take a while. */
const freshMs = 30_000
/** An answer and two attempts: the disk may be full at the first. */
const staleWithinMs = 40_000
/** The same words are not said again within the hour (client-sdk/home.ts). */
const noticeSeconds = 3600

export class Journals {
  readonly #parts: JournalParts
  /** Devices to which something was forwarded. */
  readonly #thirdParties = new Set<Device>()

  constructor(parts: JournalParts) {
    this.#parts = parts
  }

  /** Everything that is new in this device's vault. Throws `Broken`. */
  follow(device: Device): void {
    if (!device.isRunning || device.isFollowed) return
    const { changes } = device.storage
    let mayShowMore = false
    device.home.vault.read((tx) => {
      for (const { i, event, details } of tx.journal({ from: device.journalSeen })) {
        device.journalSeen = i + 1
        this.#parts.note(device.name, `${event} ${said(details)}`)
        this.#take(tx, device, event, details)
        mayShowMore ||= event === "opened"
      }
    })
    device.followed = changes
    if (mayShowMore && this.#thirdParties.has(device)) this.#requireConsented(device)
  }

  /** P9, at the third party: what it is shown as verified, everybody involved has agreed to. */
  #requireConsented(device: Device): void {
    const { truth } = this.#parts
    for (const { forward } of device.poc.received().filter(({ type }) => type === "forward")) {
      if (!forward?.verifiedFrom) continue
      const view = device.poc.consent(forward.requestId)
      const parties = [...view.involved, view.sender].flatMap((poc) => truth.devicesOf(poc))
      truth.once(parties, () => {
        const { attested, granted } = truth.request(forward.requestId)
        const silent = [...view.involved, view.sender].filter((poc) => !granted.has(poc))
        if (silent.length > 0 || !attested)
          throw new Broken("P9", `${device.name} is shown as verified what ${silent.join(", ")} did not agree to`)
        const named = [...truth.sealed.values()].some(
          (each) => each.message === view.message && each.record.from === view.sender,
        )
        if (!named) throw new Broken("P9", `${device.name} is shown as verified what nobody wrote`)
        const isMore = forward.parts.some(({ name }) => name !== "involved" && !view.leaves.includes(name))
        if (isMore) throw new Broken("P9", `${device.name} is shown as verified more than was agreed to`)
      })
    }
  }

  #take(tx: Reader, device: Device, event: string, details: Details): void {
    const { truth } = this.#parts
    const [message, request] = [String(details["message"]), String(details["request"])]
    const { poc } = device.atRest
    switch (event) {
      case "sealed":
        return this.#sealed(device, truth.noteSealed(tx, device, message, String(details["header"])))
      case "opened":
        return this.#opened(tx, device, message, String(details["header"]))
      case "accepted":
        return this.#accepted(tx, device, message, String(details["device"]))
      case "delivered":
        return this.#delivered(device, message, String(details["device"]))
      case "acknowledged":
        truth.acknowledgedBy.add(`${message}:${poc}`)
        return
      case "acknowledgement":
        return this.#acknowledgement(message, String(details["poc"]) as PocAddress)
      case "consent":
        if (details["change"] === "granted" || details["change"] === "requested")
          truth.request(request).granted.add(poc)
        if (details["change"] === "withdrawn") truth.request(request).withdrawn.add(poc)
        if (details["change"] === "attested") truth.request(request).attested = true
        return
      case "forwarded":
        return this.#forwarded(tx, request)
      case "vault.incarnation":
        return this.#renewed(tx, device)
    }
  }

  /** P2: keys are thrown away only if the vault went back in time, or the relay's clock did just then; and it is told. */
  #renewed(tx: Reader, device: Device): void {
    const { time, truth } = this.#parts
    truth.noteBeganAnew(device)
    const hasReason = truth.forgotten.has(device.id) || time.nowMs - truth.relayClockJumpedAtMs < freshMs
    if (!hasReason) throw new Broken("P2", `${device.name} threw its keys away for no reason`)
    if (!this.#hasNotice(tx, device, "roll-back", ""))
      throw new Broken("P3", `${device.name} was not told that it began anew`)
  }

  /** P6: sealed on a fresh checkpoint, to nobody who is known to have left. */
  #sealed(device: Device, sealed: SealedMessage): void {
    const { anchor, calmSinceMs, time, truth } = this.#parts
    const { created, sealed: part } = sealed.record
    const { cosignedAt } = verifyCheckpoint(part!.checkpoint, anchor, created)
    if (created - cosignedAt > fixed.checkpointSecondsMax)
      throw new Broken("P6", `${device.name} sealed on a checkpoint that is ${created - cosignedAt} s old`)
    for (const to of sealed.envelopes.keys()) {
      const removedAt = truth.removed.get(to)
      if (removedAt === undefined) continue
      const since = Math.max(removedAt, device.liveSinceMs ?? time.nowMs, calmSinceMs() ?? time.nowMs)
      const isOld = time.nowMs - removedAt > fixed.checkpointSecondsMax * 1000 && !device.isSkewed
      if (isOld || time.nowMs - since > knownWithinMs)
        throw new Broken("P6", `${device.name} sealed to a device that left ${time.nowMs - removedAt} ms ago`)
    }
  }

  /** P2 and P3: what is opened was sealed by whom it names, for this device, once, and nothing before it is missing unsaid. */
  #opened(tx: Reader, device: Device, key: string, header: string): void {
    const { truth } = this.#parts
    const here = truth.opened.get(device.id) ?? new Set()
    truth.opened.set(device.id, here)
    const isForgotten = truth.forgotten.get(device.id)?.delete(header)
    if (here.has(header) && !isForgotten) throw new Broken("P2", `${device.name} opened ${key.slice(0, 8)} twice`)
    here.add(header)
    const sealed = truth.sealed.get(header)
    const part = sealed?.envelopes.get(device.id)
    if (!sealed || !part) throw new Broken("P3", `${device.name} opened ${key.slice(0, 8)}, which nobody sealed to it`)
    const record = tx.get("messages", key)
    const isReceipt = sealed.type === "device-receipt" || sealed.type === "officer-receipt"
    if (!isReceipt && (!record || !isSame(record, sealed.record)))
      throw new Broken("P3", `${device.name} holds another ${key.slice(0, 8)} than ${sealed.sender.name} sent`)
    const replay = tx.get("replay", `${sealed.sender.id}:${sealed.message}`)
    if (!replay) throw new Broken("P2", `${device.name} opened ${key.slice(0, 8)} and did not remember it`)
    const prekey = tx.get("prekeys", hex(replay.prekey))
    if (prekey?.kind === "one-time")
      throw new Broken("P2", `${device.name} keeps the one-time key that ${key.slice(0, 8)} was sealed to`)
    if (sealed.type === "forward") this.#thirdParties.add(device)
    this.#requireGapShown(tx, device, sealed, part.n)
    this.#requireRollBackShown(tx, device, sealed, part.n)
    this.#requireWithholdingShown(tx, device, sealed, hex(replay.prekey))
  }

  #requireGapShown(tx: Reader, device: Device, sealed: SealedMessage, n: number): void {
    const { truth } = this.#parts
    const skipped = readJson(sealed.record.leaves, "skipped") as Record<string, number[]> | undefined
    const before = [...truth.sealed.values()].filter(
      (other) => other.sender === sealed.sender && other.incarnation === sealed.incarnation && other !== sealed,
    )
    const numbers = before.flatMap((other) => {
      const part = other.envelopes.get(device.id)
      return part ? [{ n: part.n, isHere: truth.hasOpened(device.id, other.header) }] : []
    })
    const last = Math.max(0, ...numbers.filter(({ isHere }) => isHere).map((each) => each.n))
    const missing = numbers.filter((each) => each.n > last && each.n < n && !skipped?.[device.id]?.includes(each.n))
    if (missing.length === 0) return
    const from = sealed.sender.atRest.poc
    if (!this.#hasNotice(tx, device, "sequence-gap", from))
      throw new Broken("P3", `${device.name} was not told that ${missing.length} of ${sealed.sender.name} are missing`)
  }

  /** A number of a pair that comes twice: its sender's vault went back in time. */
  #requireRollBackShown(tx: Reader, device: Device, sealed: SealedMessage, n: number): void {
    const { truth } = this.#parts
    const isSecond = [...truth.sealed.values()].some(
      (other) =>
        other.sender === sealed.sender &&
        other.incarnation === sealed.incarnation &&
        other !== sealed &&
        other.envelopes.get(device.id)?.n === n &&
        truth.hasOpened(device.id, other.header),
    )
    const from = sealed.record.from
    if (isSecond && !truth.forgotten.has(device.id) && !this.#hasNotice(tx, device, "roll-back", from))
      throw new Broken("P3", `${device.name} was not told that the vault of ${sealed.sender.name} went back in time`)
  }

  /** Under a rotating key although one-time keys lay at the relay: the duty officer is told. */
  #requireWithholdingShown(tx: Reader, device: Device, sealed: SealedMessage, prekey: string): void {
    const { truth } = this.#parts
    const { created, from } = sealed.record
    if (tx.get("prekeys", prekey)?.kind !== "rotating" || truth.wronglyServed.get(prekey) === undefined) return
    const isUnused = [...tx.list("prekeys")].some(
      ([, row]) => row.kind === "one-time" && (row.publishedAt ?? created) < created && row.exp > created,
    )
    if (isUnused && !this.#hasNotice(tx, device, "withholding", from))
      throw new Broken("P3", `${device.name} was not told that one-time keys are withheld`)
  }

  /** P6: who knows an old log only, asked for a newer one and got none, is told. */
  requireStaleTold(): void {
    const { time, truth } = this.#parts
    for (const [device, { ms, awakeMs }] of truth.staleSince) {
      const isLive = device.isRunning && device.liveSinceMs !== undefined && device.liveSinceMs < ms
      if (!isLive || time.awakeMs - awakeMs < staleWithinMs || truth.wasSkewedSince(device.id, ms)) continue
      const isTold = device.home.vault.read((tx) => this.#hasNotice(tx, device, "stale-directory", ""))
      if (!isTold && device.home.mirror.isStale)
        throw new Broken("P6", `${device.name} was not told that the log is old`)
    }
  }

  #hasNotice(tx: Reader, device: Device, kind: string, beginning: string): boolean {
    const now = device.nowSeconds
    return [...tx.list("notices")].some(
      ([, row]) => row.kind === kind && row.text.startsWith(beginning) && Math.abs(now - row.at) <= noticeSeconds,
    )
  }

  /** P1 and P3: the relay has signed for exactly this, and it is on its disk. */
  #accepted(tx: Reader, device: Device, message: string, to: string): void {
    const { relayKey, truth } = this.#parts
    const row = tx.get("messages", message)?.devices?.find((each) => hex(each.device) === to)
    const accepted = row && tx.get("accepted", perDevice(message, row.device))
    if (!accepted || !row.digest) throw new Broken("P3", `${device.name} counts something as accepted without proof`)
    const { blind, receipt } = accepted
    const item = { blind, digest: row.digest, mailbox: row.mailbox }
    if (!verifyRelayReceipt(relayKey, realm, receipt, item))
      throw new Broken("P3", `${device.name} took a false receipt of the relay`)
    const digest = hex(row.digest)
    if (!truth.onDisk.has(digest) && !truth.lost.has(digest))
      throw new Broken("P1", `${message.slice(0, 8)} was accepted before it was on the disk`)
    truth.accepted.add(`${message}:${to}`)
  }

  /** A status is backed by what has happened. */
  #delivered(sender: Device, message: string, to: string): void {
    const { truth } = this.#parts
    truth.delivered.add(`${message}:${to}`)
    // What one device of a PoC sends, the others hold a copy of, and the receipts come to each.
    truth.once([truth.device(to)], () => {
      const isOpened = [...truth.sealed.values()].some(
        ({ header, message: id, sender: { atRest } }) =>
          id === message && atRest.poc === sender.atRest.poc && truth.hasOpened(to, header),
      )
      if (!isOpened)
        throw new Broken("P3", `${sender.name} shows ${message.slice(0, 8)} as delivered, and it was not opened`)
    })
  }

  #acknowledgement(message: string, poc: PocAddress): void {
    const { truth } = this.#parts
    truth.once(truth.devicesOf(poc), () => {
      if (!truth.acknowledgedBy.has(`${message}:${poc}`))
        throw new Broken("P3", `${message.slice(0, 8)} shows as acknowledged by ${poc}, who did not`)
    })
  }

  /** P9, at the forwarder: nothing leaves without everybody's word. */
  #forwarded(tx: Reader, request: string): void {
    const { truth } = this.#parts
    const row = tx.get("consents", request)!
    const { sender } = row.scope
    const parties = [...row.involved, sender].flatMap((poc) => truth.devicesOf(poc))
    truth.once(parties, () => {
      const { attested, granted } = truth.request(request)
      const silent = row.involved.filter((poc) => poc !== sender && !granted.has(poc))
      if (silent.length > 0) throw new Broken("P9", `forwarded without the consent of ${silent.join(", ")}`)
      if (!attested || !granted.has(sender)) throw new Broken("P9", "forwarded without the sender's attestation")
    })
  }
}

/** For the trace: nothing in it differs between two runs of a seed. */
function said(details: Details): string {
  return Object.entries(details)
    .filter(([name]) => name !== "header")
    .map(([name, value]) => `${name}=${value instanceof Uint8Array ? hex(value) : String(value)}`)
    .join(" ")
}
