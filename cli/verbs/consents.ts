/** Consent-gated forwarding: ask, see, grant, refuse, withdraw, forward. */
import type { Command } from "commander"
import { ValiseError, type ConsentView, type Message, type Poc } from "../../client-sdk/index.ts"
import { print } from "../io.ts"
import { consentWords, sentWords, waitingWords } from "../words.ts"
import { drained, example, seconds, settled, type Patience } from "./messages.ts"
import { withPoc } from "./with-poc.ts"

export function consentVerbs(program: Command): void {
  const consent = program
    .command("consent")
    .description("who may be shown what: nothing is passed on without everyone involved")
    .addHelpText("after", example("valise --as ke/technical consent"))

  consent
    .command("list", { isDefault: true })
    .description("requests and what has been said to them")
    .addHelpText("after", example("valise --as br/technical consent list"))
    .action(
      withPoc(false, (io, poc) => {
        const consents = poc.consents()
        print(io, { consents }, () => consents.map(consentWords).join("\n\n") || "no request for consent yet")
      }),
    )

  consent
    .command("request")
    .description("ask everyone involved whether named parts may go to a third PoC")
    .argument("<id>", "the message, by any unique beginning of its id, or `latest`: the newest that has these parts")
    .requiredOption("--with <address>", "the third PoC")
    .requiredOption("--share <name...>", "the parts, e.g. indicators")
    .requiredOption("--purpose <text>", "what for; everyone who is asked reads it")
    .option("--wait <seconds>", "how long to wait for the relay's receipts", seconds, 10)
    .addHelpText(
      "after",
      example(
        'valise --as sg/technical consent request latest --with fr/technical --share indicators --purpose "same campaign"',
      ),
    )
    .action(
      withPoc(true, async (io, poc, options: RequestOptions, id) => {
        const handle = findWith(poc, id, options.share).requestConsent({
          with: options.with,
          leaves: options.share,
          purpose: options.purpose,
        })
        const outcome = await drained(poc, options)
        print(io, { consent: handle.view, ...outcome }, () =>
          [consentWords(handle.view), ...waitingWords(outcome)].join("\n"),
        )
      }),
    )

  for (const [name, description, change] of changes)
    consent
      .command(name)
      .description(description)
      .argument("<request>", "any unique beginning of the request's id, or `latest`")
      .option("--wait <seconds>", "how long to wait for the relay's receipts", seconds, 10)
      .addHelpText("after", example(`valise --as ke/technical consent ${name} latest`))
      .action(
        withPoc(true, async (io, poc, options: Patience, id) => {
          const view = change(poc, requestId(poc, id))
          const outcome = await drained(poc, options)
          print(io, { consent: view, ...outcome }, () => [consentWords(view), ...waitingWords(outcome)].join("\n"))
        }),
      )

  program
    .command("forward")
    .description("pass agreed parts on; refused without the consent of everyone involved and the sender's attestation")
    .argument("<id>", "the message, by any unique beginning of its id, or `latest`: the newest that has these parts")
    .requiredOption("--to <address>", "the third PoC")
    .requiredOption("--share <name...>", "the parts, as they were agreed")
    .option("--wait <seconds>", "how long to wait for the relay's receipt", seconds, 10)
    .addHelpText("after", example("valise --as sg/technical forward latest --to fr/technical --share indicators"))
    .action(
      withPoc(true, async (io, poc, options: ForwardOptions, id) => {
        const sent = findWith(poc, id, options.share).forward({ to: options.to, leaves: options.share })
        const outcome = await settled(poc, sent, options)
        print(io, { message: sent.view, ...outcome }, () => sentWords(sent.view, outcome))
      }),
    )
}

interface RequestOptions extends Patience {
  readonly with: string
  readonly share: string[]
  readonly purpose: string
}

interface ForwardOptions extends Patience {
  readonly to: string
  readonly share: string[]
}

const changes = [
  [
    "grant",
    "say yes; the sender's yes is its attestation, which goes out when everyone has consented",
    (poc, id) => poc.grant(id),
  ],
  ["refuse", "say no; no reason is needed", (poc, id) => poc.refuse(id)],
  ["withdraw", "take a consent back; too late for what has been read already", (poc, id) => poc.withdraw(id)],
] as const satisfies [string, string, (poc: Poc, id: string) => ConsentView][]

function findWith(poc: Poc, id: string, parts: readonly string[]): Message {
  if (id !== "latest") return poc.message(id)
  const newest = poc.received().findLast((view) => parts.every((name) => view.parts.some((part) => part.name === name)))
  if (!newest) throw new ValiseError("ERR_NOT_FOUND", `no message received here has ${parts.join(" and ")}`)
  return poc.message(newest.id)
}

function requestId(poc: Poc, id: string): string {
  if (id !== "latest") return id
  const newest = poc.consents().at(-1)
  if (!newest) throw new ValiseError("ERR_NOT_FOUND", "there is no request for consent yet")
  return newest.requestId
}
