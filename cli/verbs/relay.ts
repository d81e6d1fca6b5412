/** The operator's view: everything that the relay keeps, beside what one who watches live could see. */
import { join } from "node:path"
import type { Command } from "commander"
import { describeRelay, type RelayInspection } from "../../relay/inspect.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { print, strong, table } from "../io.ts"
import { example } from "./messages.ts"
import { action } from "./with-poc.ts"

export function relayVerbs(program: Command): void {
  program
    .command("relay")
    .description("the operator's side")
    .addHelpText("after", example("valise relay inspect"))
    .command("inspect")
    .description("everything that the relay keeps, beside what an operator who watches live could see")
    .option("--store <dir>", "the relay's folder; the sandbox's by default")
    .addHelpText("after", example("valise relay inspect"))
    .action(
      action<{ store?: string; data: string }>((io, options) => {
        const inspected = describeRelay(inspectStore(options.store ?? join(options.data, "relay")).contents)
        print(io, inspected, () => inspectionWords(inspected))
      }),
    )
}

export function inspectionWords(inspected: RelayInspection): string {
  const rows = inspected.mailboxes.map(({ mailbox, next, waiting }) => {
    const sizes = [...new Set(waiting.map(({ bytes }) => bytes))].toSorted((a, b) => a - b)
    const since = waiting.length > 0 ? `since ${minuteWords(Math.min(...waiting.map(({ minute }) => minute)))}` : ""
    const kept = waiting.length > 0 ? `${waiting.length} waiting, ${sizes.join(" or ")} bytes each` : "empty"
    return [mailbox, kept, since, `${next - 1} so far`]
  })
  const prekeys = inspected.prekeys.map(({ device, oneTime, rotating }) => [
    `${device.slice(0, 32)}…`,
    `${oneTime} one-time`,
    rotating ? "1 rotating" : "no rotating",
  ])
  return [
    strong("Mailboxes"),
    rows.length > 0 ? table(rows) : "none",
    "",
    strong("Public prekeys, by device"),
    prekeys.length > 0 ? table(prekeys) : "none",
    "",
    ...damageWords(inspected),
    strong("The relay keeps"),
    ...inspected.keeps.map((line) => `  ${line}`),
    strong("An operator who watches live could also see"),
    ...inspected.couldWatch.map((line) => `  ${line}`),
    strong("It never sees"),
    ...inspected.neverSees.map((line) => `  ${line}`),
  ].join("\n")
}

function damageWords({ intact, quarantined: { envelopes, prekeys } }: RelayInspection): readonly string[] {
  if (intact && envelopes.length + prekeys === 0) return []
  return [
    strong("Damaged on the disk"),
    ...envelopes.map(
      ({ mailbox, sequence }) => `  envelope ${sequence} of mailbox ${mailbox}: lost, its sender must send again`,
    ),
    ...(prekeys > 0 ? [`  ${prekeys} public prekeys: not handed out`] : []),
    ...(intact
      ? []
      : ["  the store's structure: more may be lost. Nothing is accepted; begin a new store, the senders fill it"]),
    "",
  ]
}

const minuteWords = (minute: number): string => `${new Date(minute * 60_000).toISOString().slice(0, 16)}Z`
