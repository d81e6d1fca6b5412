/** Results in words for a duty officer. Text that others wrote goes through `safe` before it reaches a terminal. */
import type {
  ConsentView,
  Contact,
  Identity,
  LinkStatus,
  MessageView,
  Notice,
  RecipientStatus,
} from "../client-sdk/index.ts"
import { faint, safe, strong, table } from "./io.ts"

export function whoamiWords(identity: Identity): string {
  const lines = [
    `${strong(identity.poc)}  device ${identity.device.slice(0, 8)}${identity.officer ? `, officer "${safe(identity.officer)}"` : ""}`,
    `directory ${identity.realm.origin}, mode ${identity.realm.mode}, ${identity.log.size} entries, fingerprint ${identity.log.fingerprint}`,
    `relay ${identity.relay}`,
  ]
  if (identity.papers) {
    const { certificateUntil, due, manifestUntil } = identity.papers
    lines.push(`certificate until ${certificateUntil}, manifest until ${manifestUntil}`)
    if (due) lines.push(strong("due: valise renew, in the home that has the PoC's key"))
  }
  return lines.join("\n")
}

/** What nobody has read yet stands above everything else; a stale log does as long as it is one. */
export function withAlarms(words: string, { isStale, notices }: Alarms): string {
  const lines = notices.map(noticeWords)
  if (isStale)
    lines.unshift(
      "! the directory known here is older than 72 hours: nothing is sealed, and a revocation may be missing",
    )
  if (lines.length === 0) return words
  const next = notices.length > 0 ? [faint("read? valise notices seen")] : []
  return [...lines.map((line) => strong(line)), ...next, "", words].join("\n")
}

export interface Alarms {
  readonly isStale: boolean
  /** Unread. */
  readonly notices: readonly Notice[]
}

export const noticeWords = ({ at, id, kind, seen, text }: Notice): string =>
  `${seen ? " " : "!"} ${id}  ${at}  ${kind}: ${safe(text)}`

export function contactsWords(contacts: readonly Contact[]): string {
  const rows = contacts.map((contact) => [
    contact.address,
    safe(contact.organisation),
    contact.isDefault ? `default for ${contact.address.split("/").slice(0, 2).join("/")}` : "",
    `${contact.devices} device${contact.devices === 1 ? "" : "s"}`,
    `certified until ${contact.certificateUntil}`,
  ])
  return table(rows)
}

/** One line per message. */
export function inboxWords(messages: readonly MessageView[], none: string): string {
  if (messages.length === 0) return none
  return table(
    messages.map((view) => [
      view.id.slice(0, 8),
      view.created,
      view.direction === "in" ? view.from : view.to.join(", "),
      view.tlp ? `TLP:${view.tlp}` : "",
      headline(view),
      view.direction === "in"
        ? view.acknowledged
          ? "seen"
          : ""
        : (view.status ?? []).map((row) => row.state).join(", "),
    ]),
  )
}

export function messageWords(view: MessageView, others: readonly MessageView[] = []): string {
  const lines = [
    `${strong(headline(view))}  ${faint(view.id)}`,
    `from ${view.from}${view.releasedBy ? `, released by "${safe(view.releasedBy)}"` : ""}, ${view.created}`,
    `to ${view.to.join(", ")}${view.tlp ? `   TLP:${view.tlp}` : ""}   expires ${view.expires}`,
  ]
  for (const banner of view.banners) lines.push(strong(`! ${safe(banner)}`))
  if (view.forward) lines.push(forwardWords(view))
  if (view.response) {
    lines.push(`response: ${strong(view.response.disposition)}`)
    if (view.response.note) lines.push(indented(view.response.note))
    if (view.response.disputes) lines.push(`disputes part: ${safe(view.response.disputes)}`)
    if (view.response.redirectedTo) lines.push(`turn to: ${safe(view.response.redirectedTo)}`)
  }
  if (view.content !== null && typeof view.content === "object")
    for (const [name, value] of Object.entries(view.content))
      lines.push(`${name}: ${indented(String(value)).trimStart()}`)
  const parts = view.parts.filter(({ name }) => name !== "body" && name !== "response" && name !== "statement")
  if (parts.length > 0) lines.push(`parts: ${parts.map(({ name, bytes }) => `${name} (${bytes} bytes)`).join(", ")}`)
  if (view.direction === "in") lines.push(view.acknowledged ? seenWords(view) : "not acknowledged yet")
  if (view.answered)
    lines.push(
      `this PoC answered ${view.answered.disposition} ${view.answered.at} (${view.answered.message.slice(0, 8)})`,
    )
  for (const row of view.status ?? []) lines.push(...recipientWords(row))
  if (others.length > 0) lines.push("", "In the same case:", inboxWords(others, ""))
  lines.push("", faint(nextSteps(view)))
  return lines.join("\n")
}

const seenWords = ({ acknowledged, acknowledgedBy }: MessageView): string =>
  `seen and signed for: ${acknowledged}${acknowledgedBy ? `, by "${safe(acknowledgedBy)}"` : ""}`

/** What is known when a verb's waiting for the relay is over. */
export interface Outcome {
  readonly accepted: boolean
  readonly link: LinkStatus
}

export function sentWords(view: MessageView, outcome: Outcome): string {
  const id = strong(view.id.slice(0, 8))
  if (outcome.accepted) return `${id} is sealed, and the relay has signed that it stores it for ${view.to.join(", ")}`
  return [`${id} is durable in the outbox, but not at the relay yet.`, ...waitingWords(outcome)].join("\n")
}

/** Why something is not at the relay when the waiting is over; nothing if it is. */
export function waitingWords({ accepted, link }: Outcome): readonly string[] {
  if (accepted) return []
  return [`${capital(whyNot(link))}. It goes out by itself once that changes, while this home is on line.`]
}

function whyNot(link: LinkStatus): string {
  if (link.state === "live") return "the relay is there, but has not signed for all of it yet"
  if (link.state === "elsewhere") return "another process of this home talks to the relay, and waits for its receipt"
  if (link.state !== "offline") return "the relay has not answered yet"
  if (link.reason === "ERR_LOGIN")
    return "the relay refuses this device: the directory does not list it, not yet or no longer"
  if (link.reason === "ERR_UNTRUSTED") return "what answers is not the relay that the directory lists"
  return `the relay cannot be reached (${link.reason})`
}

const capital = (words: string): string => words[0]!.toUpperCase() + words.slice(1)

export function consentWords(view: ConsentView): string {
  const lines = [
    `${strong(view.requestId.slice(0, 8))}  ${view.state}  ${view.forwarder} asks to share ${view.leaves.map((leaf) => safe(leaf)).join(", ")} of ${view.message.slice(0, 8)} (${view.sender}) with ${view.thirdParty}`,
    `  purpose: ${safe(view.purpose)}   TLP:${view.tlp}   here as ${view.role}, said: ${view.mine}`,
    `  consented: ${list(view.consented)}   refused: ${list(view.refused)}   withdrawn: ${list(view.withdrawn)}   attested: ${view.attested ? "yes" : "no"}${view.used ? `   used: ${view.used}` : ""}`,
  ]
  return lines.join("\n")
}

function forwardWords(view: MessageView): string {
  const { forwarder, parts, unverified, verifiedFrom } = view.forward!
  const shared = parts.map(({ name }) => safe(name)).join(", ")
  return verifiedFrom
    ? strong(
        `verified from ${verifiedFrom}: ${shared}, forwarded by ${forwarder} with the consent of everyone involved`,
      )
    : strong(`unverified: the forwarder's word only (${forwarder}; ${unverified ?? "not judged yet"})`)
}

function recipientWords(row: RecipientStatus): string[] {
  const lines = [`${row.poc}: ${strong(row.state)}`]
  for (const device of row.devices) {
    const steps = [
      device.accepted ? `accepted by ${device.accepted.relay} ${device.accepted.minute}` : "not accepted yet",
      device.delivered ? `delivered ${device.delivered.at}` : device.accepted ? "waits in its mailbox" : "",
      device.prekey === "rotating" ? "sealed to a rotating prekey" : "",
    ]
    lines.push(`  device ${device.device.slice(0, 8)}: ${steps.filter(Boolean).join("; ")}`)
  }
  if (row.acknowledged)
    lines.push(`  seen by "${safe(row.acknowledged.officer)}" ${row.acknowledged.at} (does not indicate concurrence)`)
  if (row.response)
    lines.push(`  answered ${row.response.disposition} ${row.response.at} (${row.response.message.slice(0, 8)})`)
  return lines
}

function nextSteps(view: MessageView): string {
  const id = view.id.slice(0, 8)
  if (view.direction === "out") return `next: valise show ${id} · valise evidence export ${view.case.slice(0, 8)}`
  if (view.type === "forward") return "next: valise inbox read ID --share NAME -o FILE"
  return `next: valise acknowledge ${id} · valise respond ${id} acting · valise reply ${id} --text …`
}

function headline(view: MessageView): string {
  if (view.subject !== undefined) return safe(view.subject)
  if (view.response) return `response: ${view.response.disposition}`
  return view.type
}

const list = (items: readonly string[]): string => (items.length > 0 ? items.join(", ") : "none")

const indented = (text: string): string =>
  safe(text, { lines: true })
    .split("\n")
    .map((line) => `  ${line}`)
    .join("\n")
