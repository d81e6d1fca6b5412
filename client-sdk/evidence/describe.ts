/** An evidence report in words, for a duty officer or a lawyer; lines of at most 120 columns. */
import { etsiEvents, type Finding, type TimeBound } from "./findings.ts"
import type { EvidenceReport } from "./verify.ts"

export function describeEvidence(report: EvidenceReport): string {
  const { about, caveats, directory, findings, verdict } = report
  const isVerified = verdict === "verified"
  return [
    ...(isVerified
      ? ["VERIFIED. Every signature, hash and proof in this file holds under your trust file."]
      : [
          "CONSISTENT, NOT ANCHORED. The file fits together, but nothing says whose keys these are: anybody could have made it.",
          "Give the directory's trust file, from a source that you trust, to learn what it proves.",
        ]),
    "",
    `Directory   ${directory.origin} (${directory.mode}), its log as of ${directory.asOf}; ${directory.witnesses}`,
    `Case        ${about.case}`,
    `Exported    by ${about.exporter}, ${about.exported} (the file's own word)`,
    ...findings.flatMap((finding) => ["", ...describeFinding(finding)]),
    "",
    "What no such file can show",
    ...caveats.flatMap((caveat) => item("  - ", caveat)),
  ]
    .map(visible)
    .join("\n")
}

function describeFinding(finding: Finding): string[] {
  const { doesNotProve, events, kind, message, notAfter, notBefore, proves, section, title } = finding
  return [
    ...item(`${section}  `, `${kind}, message ${message.slice(0, 8)}`),
    ...item("  ", title),
    ...proves.flatMap(({ to, text }) => item(`  proves to ${to}: `, text, 4)),
    ...doesNotProve.flatMap((text) => item("  does not prove ", text, 4)),
    ...(proves.length === 0 ? [] : [`  made after ${bound(notBefore)}; there by ${bound(notAfter)}`]),
    ...(events.length === 0
      ? []
      : [`  EN 319 522: ${etsiEvents.filter((event) => events.includes(event)).join(", ")}`]),
  ]
}

const bound = (time: TimeBound | null): string => (time ? `${time.at} (${time.by})` : "no known time")

/** Wrapped at spaces; further lines are indented as far as the first one's text, or by `indent`. */
function item(first: string, text: string, indent = first.length): string[] {
  const lines: string[] = []
  let line = first
  let isEmpty = true
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > columns) {
      lines.push(line)
      line = " ".repeat(indent)
      isEmpty = true
    }
    line += isEmpty ? word : ` ${word}`
    isEmpty = false
  }
  return [...lines, line]
}

/** An officer's title is another State's text: it must not command a terminal or turn the direction of writing. */
const visible = (line: string): string =>
  line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`)

const columns = 120
