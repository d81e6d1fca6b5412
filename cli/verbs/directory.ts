/** The Secretariat's side: found a directory, nominate, invite, approve by two, serve. */
import { readFileSync } from "node:fs"
import type { Command } from "commander"
import { ValiseError } from "../../client-sdk/index.ts"
import { parsePocAddress, type Realm } from "../../protocol/address.ts"
import { approveProposal, showProposal, waitingProposals, type ApproveOptions } from "../approving.ts"
import { withDesk } from "../desk.ts"
import { runDirectory } from "../directory-serving.ts"
import { invitationCode } from "../enrolling.ts"
import { foundDirectory, makeApprover, readBytes, trustFileOf } from "../founding.ts"
import { print, safe, strong, table } from "../io.ts"
import { folderGiven, port } from "../options.ts"
import { nominationsWords, proposalsWords, wordsLine } from "../words-directory.ts"
import { example } from "./messages.ts"
import { action } from "./with-poc.ts"

interface Data {
  readonly data: string
}

export function directoryVerbs(program: Command): void {
  const directory = program
    .command("directory")
    .description("the Secretariat's side: who is in the directory, approved by two officers")
    .addHelpText("after", example("valise --data directory directory status"))
  foundingVerbs(directory)
  deskVerbs(directory)

  directory
    .command("approve")
    .description("list what waits, show one change, or approve it with --words; as an officer, from a home of your own")
    .argument("[id]", "any unique beginning of the proposal's id")
    .option("--words <words>", "the ten words, as the other side read them out")
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise --home officer-1 directory approve"))
    .action(
      action<ApproveOptions>(async (io, options, id) => {
        if (id === undefined) {
          const proposals = await waitingProposals(options)
          return print(io, { proposals }, () => proposalsWords(proposals))
        }
        const { words } = options
        if (words === undefined) {
          const { facts, proposal, words: shown } = await showProposal(options, id)
          return print(io, { ...proposal, facts: Object.fromEntries(facts), words: shown.join(" ") }, () =>
            [
              strong(`${proposal.kind}  ${proposal.id}`),
              table(facts.map(([label, value]) => [`  ${label}`, safe(value)])),
              wordsLine(shown),
              "Have the other side read its ten words to you, over a channel of your own. If they are the same:",
              `  valise directory approve ${proposal.id.slice(0, 8)} --words "…"`,
            ].join("\n"),
          )
        }
        const outcome = await approveProposal({ ...options, words }, id)
        print(io, outcome, () =>
          outcome.outcome === "logged"
            ? `approved and logged, entry ${outcome.index}`
            : `approved; ${outcome.approvals} of 2 so far, another officer is still to approve`,
        )
      }),
    )

  directory
    .command("serve")
    .description("answer enrolments, approvals and readers of the log, until told to end")
    .option("--host <address>", "where to listen", "127.0.0.1")
    .option("--port <n>", "0 is any free one", port, 8470)
    .option("--tls-cert <file>", "PEM; without it a proxy in front ends TLS")
    .option("--tls-key <file>", "PEM")
    .option("--proxy <address...>", "proxies whose X-Forwarded-For names the asker")
    .option("--log <file>", "JSON lines; stderr by default")
    .addHelpText("after", example("valise --data directory directory serve"))
    .action(
      action<Data & ServeOptions>(async (io, options) => {
        const { proxy: proxies = [], ...rest } = options
        await runDirectory({ ...rest, proxies, folder: folderGiven(options, "directory") }, ({ rootIsHere, url }) => {
          print(io, { listening: url }, () => `the directory listens at ${url}`)
          if (rootIsHere) io.err("valise: note: the folder `root` is still here; it belongs offline\n")
        })
        process.exitCode = 0
      }),
    )
}

interface ServeOptions {
  readonly host: string
  readonly port: number
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly proxy?: readonly string[]
  readonly log?: string
}

interface FoundingOptions {
  readonly origin: string
  readonly mode: string
  readonly agency: string
  readonly organisation: string
  readonly relayHost: string
  readonly home?: string
}

function foundingVerbs(directory: Command): void {
  const founding = (command: Command): Command =>
    command
      .requiredOption("--origin <name>", "the directory's name, e.g. directory.example; bound into everything signed")
      .requiredOption("--agency <name>", "the Secretariat's, e.g. unoda")
      .requiredOption("--relay-host <host>", "the relay that will keep this PoC's mailboxes")
      .option("--mode <mode>", "live or exercise", "live")

  founding(directory.command("officer"))
    .description("make an approving officer's key, at his own machine, before the directory is founded")
    .requiredOption("--title <text>", 'the duty, e.g. "approving officer 1"; the holder\'s name stays at home')
    .requiredOption("-o, --output <file>", "the public part, for `directory init`")
    .addHelpText("after", example("valise directory officer --help"))
    .action(
      action<FoundingOptions & { title: string; output: string }>(async (io, options) => {
        const words = await makeApprover({ ...options, realm: realmOf(options), home: homeGiven(options) })
        print(io, { file: options.output, words: words.join(" ") }, () =>
          [`${options.output} goes to whoever founds the directory`, wordsLine(words)].join("\n"),
        )
      }),
    )

  founding(directory.command("init"))
    .description("found a directory: root, issuing CA, log, and the Secretariat's own home")
    .requiredOption("--organisation <name>", "who runs it")
    .argument("<files...>", "of two or more approving officers")
    .addHelpText("after", example("valise directory init --help"))
    .action(
      action<FoundingOptions & Data>(async (io, options, ...officerFiles) => {
        const folder = folderGiven(options, "directory")
        const place = { folder, home: homeGiven(options), officerFiles, realm: realmOf(options) }
        const officers = await foundDirectory({ ...options, ...place })
        const listed = officers.map(({ officer, words }) => ({ title: officer.title, words: words.join(" ") }))
        print(io, { trust: trustFileOf(folder), officers: listed }, () =>
          [
            `the directory is in ${folder}, the Secretariat's home in ${place.home}`,
            ...listed.map(({ title, words }) => `${safe(title)}: ${words}`),
            `${trustFileOf(folder)} goes to everybody, over a channel that they trust`,
            `${folder}/root goes offline now; it is needed to renew the issuing CA, and for nothing else`,
          ].join("\n"),
        )
      }),
    )
}

function deskVerbs(directory: Command): void {
  directory
    .command("nominate")
    .description("enter what a State has nominated; clerk's work, which counts for nothing by itself")
    .argument("<address>", "e.g. ke/technical/baobab")
    .requiredOption("--organisation <name>", "the agency, as its certificate will say")
    .addHelpText("after", example("valise directory nominate --help"))
    .action(
      action<Data & { organisation: string }>(async (io, options, text) => {
        const { address: poc } = parsePocAddress(text)
        await withDesk(folderGiven(options, "directory"), ({ desk }) =>
          desk.nominate({ poc, organisation: options.organisation }),
        )
        print(io, { poc }, () => `${poc} is nominated; invite it next`)
      }),
    )

  directory
    .command("nominate-relay")
    .description("enter a relay's nomination; two officers approve it")
    .argument("<file>", "made by `valise relay init`")
    .addHelpText("after", example("valise directory nominate-relay --help"))
    .action(
      action<Data>(async (io, options, file) => {
        const request = readBytes(file)
        const outcome = await withDesk(folderGiven(options, "directory"), ({ desk }) => desk.nominateRelay(request))
        const id = outcome.outcome === "waiting" ? outcome.id : ""
        print(io, { id }, () => `proposal ${id} waits for two officers`)
      }),
    )

  directory
    .command("invite")
    .description("make the code that goes to the agency out of band; an earlier one ends")
    .argument("<address>", "of a nominated PoC")
    .addHelpText("after", example("valise directory invite --help"))
    .action(
      action<Data>(async (io, options, text) => {
        const { address: poc } = parsePocAddress(text)
        const folder = folderGiven(options, "directory")
        const { expires, secret } = await withDesk(folder, ({ desk }) => desk.invite(poc))
        const code = invitationCode(secret, new Uint8Array(readFileSync(trustFileOf(folder))))
        const until = new Date(expires * 1000).toISOString().slice(0, 10)
        print(io, { poc, code, until }, () => `${code}\nfor ${poc}, once, until ${until}`)
      }),
    )

  directory
    .command("status")
    .description("nominations, what waits for approval, relays, and what must be renewed")
    .addHelpText("after", example("valise --data directory directory status"))
    .action(
      action<Data>(async (io, options) => {
        const folder = folderGiven(options, "directory")
        const [nominations, proposals] = await withDesk(folder, async ({ desk, directory: asked }) => [
          await desk.nominations(),
          await asked.proposals(),
        ])
        print(io, { nominations, proposals }, () =>
          [
            strong("Nominations"),
            nominationsWords(nominations),
            "",
            strong("Waiting for approval"),
            proposalsWords(proposals),
          ].join("\n"),
        )
      }),
    )

  directory
    .command("withdraw")
    .description("drop a proposal")
    .argument("<id>", "the whole id")
    .addHelpText("after", example("valise directory withdraw --help"))
    .action(
      action<Data>(async (io, options, id) => {
        await withDesk(folderGiven(options, "directory"), ({ desk }) => desk.withdraw(id))
        print(io, { id }, () => "withdrawn")
      }),
    )

  directory
    .command("renew-ca")
    .description("a new issuing CA; needs the offline folder `root` back for the moment")
    .addHelpText("after", example("valise directory renew-ca --help"))
    .action(
      action<Data>(async (io, options) => {
        const outcome = await withDesk(folderGiven(options, "directory"), ({ desk }) => desk.renewCa())
        print(io, outcome, () => "the issuing CA is renewed; take the folder `root` away again")
      }),
    )
}

function homeGiven({ home }: { readonly home?: string }): string {
  if (home !== undefined) return home
  throw new ValiseError("ERR_USAGE", "where shall the home be made?", { hint: "give --home DIR" })
}

function realmOf({ mode, origin }: { readonly mode: string; readonly origin: string }): Realm {
  if (mode === "live" || mode === "exercise") return { origin, mode }
  throw new ValiseError("ERR_USAGE", "not a mode", { hint: "live or exercise" })
}
