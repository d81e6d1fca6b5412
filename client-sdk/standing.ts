/** What a duty officer is told before it is too late, or truthfully when it is: own papers that expire, and mail that did. */
import { hex } from "../protocol/bytes.ts"
import { fixed } from "../protocol/limits.ts"
import type { MessageRecord } from "./collections.ts"
import type { Home } from "./home.ts"
import { statusOf } from "./view.ts"

/** Three weeks: the one who may sign it can be on leave. */
export const manifestWarningSeconds = 21 * 86_400
/** The annual confirmation takes letters between a ministry and the Secretariat. */
export const certificateWarningSeconds = 60 * 86_400

const date = (atSeconds: number): string => new Date(atSeconds * 1000).toISOString().slice(0, 10)

/** Each stage is told once: it will end, it has ended and peers still bear with it, it no longer holds. */
export function watchExpiry(home: Home): void {
  const { identity, mirror, now } = home
  const own = mirror.state.poc(identity.poc)
  if (!own) return
  if (own.manifest) {
    const { expires, version } = own.manifest
    const ends = expires + fixed.manifestGraceSeconds
    const which = `this PoC's manifest (version ${version})`
    if (now > ends)
      home.noticeOnce(
        "manifest-expiring",
        `${which} ended on ${date(ends)}: nobody writes to this PoC until a new one is signed`,
      )
    else if (now > expires)
      home.noticeOnce(
        "manifest-expiring",
        `${which} expired on ${date(expires)}: peers see a banner, and stop writing after ${date(ends)}`,
      )
    else if (now > expires - manifestWarningSeconds)
      home.noticeOnce("manifest-expiring", `${which} expires on ${date(expires)}: sign a new one`)
  }
  const { notAfter } = own
  if (now > notAfter)
    home.noticeOnce(
      "certificate-expiring",
      `this PoC's certificate expired on ${date(notAfter)}: nobody writes to it until it is renewed`,
    )
  else if (now > notAfter - certificateWarningSeconds)
    home.noticeOnce(
      "certificate-expiring",
      `this PoC's certificate expires on ${date(notAfter)}: confirm the entry, and have it renewed`,
    )
}

/** A vault that was restored without its prekeys, replay store and counters begins anew; its people are told once. */
export function watchRestoration(home: Home): void {
  if (home.vault.read((tx) => tx.get("counters", "restoration-told"))) return
  home.commit((tx, notices) => {
    const last = [...tx.journal()].findLast(({ event }) => event === "vault.incarnation")
    const text = "this vault was restored from a backup: ask your peers to send again what they wrote since it was made"
    if (last?.details["reason"] === "restored") home.notice(tx, notices, "roll-back", text)
    tx.put("counters", "restoration-told", { n: 1 })
  })
}

/**
 * Tells of messages that expired without a receipt of any device of a recipient. To be called when this device has just
 * seen its mailbox empty: before that, a receipt may still lie there.
 */
export function watchUndelivered(home: Home): void {
  const { now, vault } = home
  const { drained, over } = vault.read((tx) => ({
    drained: tx.get("watched", "drained")?.n,
    over: [...tx.list("awaited")].filter(([, { expires }]) => expires < now),
  }))
  if (over.length === 0 && drained !== undefined && now - drained < drainedEverySeconds) return
  home.commit((tx, notices) => {
    for (const [key] of over) {
      const record = tx.get("messages", key)
      tx.delete("awaited", key)
      if (!record) continue
      const missed = statusOf(tx, home, record).filter(({ state }) => state === "undelivered")
      if (missed.length === 0) continue
      const areLost = drained !== undefined && mayHaveLostReceipts(record, drained, now)
      if (areLost) tx.put("messages", key, { ...record, receiptsLost: true })
      const whom = missed.map(({ poc }) => poc).join(", ")
      const what = areLost
        ? "expired while this device was away for so long that receipts for it expired, too: ask whether it arrived at"
        : "expired undelivered at"
      home.notice(tx, notices, "undelivered", `message ${hex(record.id).slice(0, 8)} ${what} ${whom}`)
    }
    tx.put("watched", "drained", { n: now })
  })
}

/** Not at every look: it is a write. */
const drainedEverySeconds = 3600

/** Receipts that were written between the last two looks into the mailbox, and more than a keeping time ago, are gone. */
const mayHaveLostReceipts = ({ created, expires }: MessageRecord, drained: number, now: number): boolean =>
  expires > drained && created < now - fixed.lifetimeSecondsMax && now - drained > fixed.lifetimeSecondsMax
