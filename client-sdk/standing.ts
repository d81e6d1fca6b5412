/** What a duty officer is told before it is too late, or truthfully when it is: own papers that expire, and mail that did. */
import { hex } from "../protocol/bytes.ts"
import { fixed } from "../protocol/limits.ts"
import type { Home } from "./home.ts"
import { isSpoken, statusOf } from "./view.ts"

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

/**
 * Tells of messages that expired without a receipt of any device of a recipient.
 * @param drainedAt when this device last saw its mailbox empty, in seconds: before that, a receipt may still lie there
 */
export function watchUndelivered(home: Home, drainedAt: number): void {
  const over = home.vault.read((tx) => [...tx.list("awaited")].filter(([, { expires }]) => expires < drainedAt))
  for (const [key] of over)
    home.commit((tx, notices) => {
      const record = tx.get("messages", key)
      tx.delete("awaited", key)
      if (!record || !isSpoken(record)) return
      const missed = statusOf(tx, home, record).filter(({ state }) => state === "undelivered")
      if (missed.length === 0) return
      const whom = missed.map(({ poc }) => poc).join(", ")
      home.notice(tx, notices, "undelivered", `message ${hex(record.id).slice(0, 8)} expired undelivered at ${whom}`)
    })
}
