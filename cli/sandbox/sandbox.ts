/** What `npm start` runs: open the network, tell the scenario, print the closing table, and stay up for messages of your own. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { ValiseError } from "../../client-sdk/index.ts"
import { nodeClock } from "../../system/node.ts"
import { strong, table, type Io } from "../io.ts"
import { cast, names } from "./agencies.ts"
import { answerAutomatically } from "./automatic.ts"
import { Network } from "./network.ts"
import { playScenario, type Outcome } from "./scenario.ts"
import { Story } from "./story.ts"

export interface SandboxOptions {
  readonly folder: string
  readonly once: boolean
  readonly port: number
  /** A STIX 2.1 bundle or MISP event; the project's own sample by default. */
  readonly indicators?: Uint8Array
  readonly stop: AbortSignal
}

/** Resolves when the story is told, or the signal has ended what stays up. Throws if a step did not come true. */
export async function runSandbox(io: Io, options: SandboxOptions): Promise<void> {
  const story = new Story(io, nodeClock)
  story.tell(strong("Valise: an exercise with invented agencies, on this machine alone"))
  const network = await Network.open({ ...options, told: (words) => story.tell(words) })
  try {
    story.happened(
      "relay.ready",
      { url: network.url, folder: options.folder },
      `the relay listens on ${network.url}; all data is in ${options.folder}`,
    )
    const outcome = await playScenario(network, story, options.indicators ?? sample(), options.stop)
    story.tell(`\n${closingTable(outcome)}`)
    story.happened(
      "complete",
      { ok: true, case: outcome.caseId, evidence: outcome.evidence, trust: network.trustFile },
      undefined,
    )
    if (!options.once) await stayUp(network, story, options)
  } catch (error) {
    if (options.stop.aborted) throw error
    const failure = error instanceof ValiseError && error.code === "ERR_ABORTED" ? lateStep(network, error) : error
    const code = failure instanceof ValiseError ? failure.code : "ERR_INTERNAL"
    story.happened("complete", { ok: false, code }, undefined)
    throw failure
  } finally {
    await network.close()
  }
}

async function stayUp(network: Network, story: Story, options: SandboxOptions): Promise<void> {
  const automatic = names.filter((name) => cast[name].automatic)
  for (const name of automatic) await network.becomeAutomatic(name)
  const data = options.folder === ".valise" ? "" : ` --data ${options.folder}`
  story.tell(
    [
      "",
      strong("The network stays up. Write a message of your own from a second terminal, in this folder:"),
      `  npx valise${data} --as ke/technical send --to sg/technical --subject "Test" --text "Do you see this?"`,
      `  npx valise${data} --as ke/technical show latest`,
      `  npx valise${data} --as sg/technical inbox`,
      "Or link a second device of Singapore, and see both get the same mail (README, “See it work”):",
      `  npx valise${data} --as sg/second device link --poc sg/technical`,
      "Singapore, Brazil and France answer by themselves, and say so. Ctrl-C ends the sandbox; nothing is lost.",
      "",
    ].join("\n"),
  )
  const told = (words: string): void => story.tell(words)
  await Promise.all(automatic.map((name) => answerAutomatically(network.pocs[name], told, options.stop)))
}

/** A step that did not come true in time; what the PoCs have noticed says why, if anything does. */
function lateStep(network: Network, cause: ValiseError): ValiseError {
  const noticed = names.flatMap((name) => network.pocs[name].notices().map(({ at, text }) => ({ at, text })))
  const newest = noticed.toSorted((a, b) => a.at.localeCompare(b.at)).at(-1)
  const hint = newest
    ? `the newest notice of a PoC, ${newest.at}: ${newest.text}`
    : "start it again: what was accepted is not lost"
  return new ValiseError("ERR_TIMEOUT", "a step of the story did not come true in time", { cause, hint })
}

const sample = (): Uint8Array => new Uint8Array(readFileSync(join(import.meta.dirname, "sample.json")))

/** Who ends up with what. What was observed in this run decides where it can. */
function closingTable({ inspection, observed }: Outcome): string {
  const yes = "yes"
  const no = "no"
  const relayReads = inspection.found.length > 0 ? "FOUND" : "no (searched)"
  const rows = [
    ["", "reads the message", "reads the indicators", "knows that they talked", "can prove to others"],
    ["Kenya", "yes (wrote it)", "yes (wrote them)", yes, "what it wrote, and who signed for it"],
    ["Singapore", yes, yes, yes, "that Kenya wrote to it after a time; not what"],
    ["Brazil", yes, yes, yes, "that Kenya wrote to it after a time; not what"],
    [
      "France",
      observed.franceReadsMessage ? "YES" : no,
      observed.franceReadsIndicators ? yes : "NO",
      yes,
      "nothing of the content: its papers are deniable",
    ],
    ["the relay", relayReads, relayReads, "keeps no; could watch yes", "that it stored sealed bytes, and when"],
    ["the Secretariat", no, no, "as operator, could watch", "who is who: the public log"],
  ]
  return table(rows)
}
