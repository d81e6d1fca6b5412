/** The operator's view: everything that the relay keeps, beside what one who watches live could see. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import type { Command } from "commander"
import { describeRelay, type RelayInspection } from "../../relay/inspect.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { print, strong, table } from "../io.ts"
import { folderGiven, port } from "../options.ts"
import { nominateRelay, runRelay } from "../relay-serving.ts"
import { wordsLine } from "../words-directory.ts"
import { example } from "./messages.ts"
import { action } from "./with-poc.ts"

export function relayVerbs(program: Command): void {
  const relay = program
    .command("relay")
    .description("the operator's side")
    .addHelpText("after", example("valise relay inspect"))

  relay
    .command("init")
    .description("make the relay's key, once, and the file that nominates it; for a renewal the same again")
    .requiredOption("--host <host>", "as clients dial it, e.g. relay.example; with its port unless that is 443")
    .option("--url <url...>", "where it can be reached; wss:// and the host by default")
    .requiredOption("--organisation <name>", "who runs it")
    .requiredOption("--trust <file>", "the directory's trust file")
    .requiredOption("-o, --output <file>", "the nomination, for `valise directory nominate-relay`")
    .addHelpText("after", example("valise relay init --help"))
    .action(
      action<InitOptions>((io, options) => {
        const { host, url: urls = [`wss://${host}/`] } = options
        const words = nominateRelay({ ...options, urls, folder: folderGiven(options, "relay") })
        print(io, { file: options.output, words: words.join(" ") }, () =>
          [`${options.output} goes to the directory's desk; read it these words:`, wordsLine(words)].join("\n"),
        )
      }),
    )

  relay
    .command("serve")
    .description("mirror the directory's log and carry envelopes, until told to end")
    .requiredOption("--directory <url>", "where the directory's service is reached")
    .option("--host <address>", "where to listen", "127.0.0.1")
    .option("--port <n>", "0 is any free one", port, 8443)
    .option("--tls-cert <file>", "PEM: TLS ends here")
    .option("--tls-key <file>", "PEM")
    .option("--tls-hash-of <file>", "PEM: the certificate of the proxy in front that ends TLS")
    .option("--proxy <address...>", "proxies whose X-Forwarded-For names the client")
    .option("--log <file>", "JSON lines; stderr by default")
    .addHelpText("after", example("valise relay serve --help"))
    .action(
      action<RelayOptions>(async (io, options) => {
        const { proxy: proxies = [], ...rest } = options
        await runRelay({ ...rest, proxies, folder: folderGiven(options, "relay") }, ({ host, notes, url }) => {
          print(io, { listening: url, host }, () => `the relay ${host} listens at ${url}`)
          for (const note of notes) io.err(`valise: note: ${note}\n`)
        })
        process.exitCode = 0
      }),
    )

  relay
    .command("inspect")
    .description("everything that the relay keeps, beside what an operator who watches live could see")
    .option("--store <dir>", "the relay's folder; the sandbox's by default")
    .addHelpText("after", example("valise relay inspect"))
    .action(
      action<{ store?: string; data: string }>((io, options) => {
        const inspected = describeRelay(inspectStore(options.store ?? storeOf(options.data)).contents)
        print(io, inspected, () => inspectionWords(inspected))
      }),
    )
}

/** A relay's own folder, or the one in the sandbox's. */
const storeOf = (data: string): string => (existsSync(join(data, "relay.json")) ? data : join(data, "relay"))

interface InitOptions {
  readonly data: string
  readonly host: string
  readonly url?: readonly string[]
  readonly organisation: string
  readonly trust: string
  readonly output: string
}

interface RelayOptions {
  readonly data: string
  readonly directory: string
  readonly host: string
  readonly port: number
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly tlsHashOf?: string
  readonly proxy?: readonly string[]
  readonly log?: string
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
