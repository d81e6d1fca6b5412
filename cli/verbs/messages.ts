/** The verbs of a duty officer: who am I, whom can I reach, write, read, acknowledge, answer. */
import { readFileSync, writeFileSync } from "node:fs"
import type { Command } from "commander"
import {
  dispositions,
  ValiseError,
  type Disposition,
  type Message,
  type Poc,
  type Tlp,
} from "../../client-sdk/index.ts"
import { tlpLabels } from "../../protocol/tlp.ts"
import { checkBundle } from "../../client-sdk/indicators.ts"
import { print, type Io } from "../io.ts"
import {
  contactsWords,
  inboxWords,
  messageWords,
  noticeWords,
  sentWords,
  waitingWords,
  whoamiWords,
  withAlarms,
  type Outcome,
} from "../words.ts"
import { withPoc } from "./with-poc.ts"

export function messageVerbs(program: Command): void {
  program
    .command("whoami")
    .description("which PoC, device and officer this vault is")
    .addHelpText("after", example("valise --as ke/technical whoami"))
    .action(
      withPoc(false, (io, poc) => {
        const identity = poc.whoami()
        printAlarmed(io, poc, identity, () => whoamiWords(identity))
      }),
    )

  const notices = program
    .command("notices")
    .description("alarms and whatever else a duty officer must know")
    .addHelpText("after", example("valise --as ke/technical notices"))
  notices
    .command("list", { isDefault: true })
    .description("all that are kept, oldest first; those marked with ! nobody has read yet")
    .addHelpText("after", example("valise --as ke/technical notices"))
    .action(
      withPoc(false, (io, poc) => {
        const all = poc.notices()
        print(io, { notices: all }, () => (all.length > 0 ? all.map(noticeWords).join("\n") : "nothing to tell"))
      }),
    )
  notices
    .command("seen")
    .description("say that a notice has been read, or all of them: they are kept, and no longer shown everywhere")
    .argument("[id]", "any unique beginning of its id")
    .addHelpText("after", example("valise --as ke/technical notices seen"))
    .action(
      withPoc(false, (io, poc, _options: object, id?: string) => {
        poc.markSeen(id)
        const unread = poc.notices().filter(({ seen }) => seen === undefined)
        print(io, { notices: unread }, () => (unread.length > 0 ? unread.map(noticeWords).join("\n") : "all read"))
      }),
    )

  program
    .command("contacts")
    .description("every PoC of the directory, from the local mirror of its log")
    .addHelpText("after", example("valise --as ke/technical contacts"))
    .action(
      withPoc(false, (io, poc) => {
        const contacts = poc.contacts()
        print(io, { contacts }, () => contactsWords(contacts))
      }),
    )

  program
    .command("send")
    .description("write a notification; it is durable here before this returns, online or not")
    .requiredOption("--to <address...>", "recipients, e.g. sg/technical")
    .requiredOption("--subject <text>", "one line; like all content, nobody but the recipients reads it")
    .requiredOption("--text <text>", "what happened")
    .option("--action <action>", "what is asked: investigate, block, contact, inform, none", "inform")
    .option("--tlp <label>", `who may read it: ${tlpLabels.join(", ")}`, "AMBER")
    .option("--indicators <file>", "a STIX 2.1 bundle or MISP event, carried byte for byte")
    .option(
      "--wait <seconds>",
      "how long to wait for the relay's receipt, also while it cannot be reached",
      seconds,
      10,
    )
    .addHelpText(
      "after",
      example(
        'valise --as ke/technical send --to sg/technical --subject "Beaconing" --text "Three hosts beacon." --indicators cli/sandbox/sample.json',
      ),
    )
    .action(
      withPoc(true, async (io, poc, options: SendOptions) => {
        const indicators = options.indicators === undefined ? undefined : readBundle(options.indicators)
        const message = poc.send({
          to: options.to,
          tlp: tlp(options.tlp),
          subject: options.subject,
          content: { summary: options.subject, observed: options.text, requestedAction: options.action },
          ...(indicators && { indicators }),
        })
        const outcome = await settled(poc, message, options)
        printAlarmed(io, poc, { message: message.view, ...outcome }, () => sentWords(message.view, outcome))
      }),
    )

  program
    .command("sent")
    .description("what was sent, and how far each has come")
    .addHelpText("after", example("valise --as ke/technical sent"))
    .action(
      withPoc(false, (io, poc) => {
        const messages = poc.sent()
        printAlarmed(io, poc, { messages }, () => inboxWords(messages, "nothing has been sent yet"))
      }),
    )

  const inbox = program
    .command("inbox")
    .description("what has arrived")
    .addHelpText("after", example("valise --as sg/technical inbox"))
  inbox
    .command("list", { isDefault: true })
    .description("the messages, oldest first")
    .addHelpText("after", example("valise --as sg/technical inbox"))
    .action(
      withPoc(false, (io, poc) => {
        const messages = poc.received()
        printAlarmed(io, poc, { messages }, () => inboxWords(messages, "nothing has arrived yet"))
      }),
    )
  inbox
    .command("read")
    .description("one message in full, or the exact bytes of one of its parts")
    .argument("<id>", "any unique beginning of the id, or `latest`")
    .option("--share <name>", "the part, e.g. indicators")
    .option("-o, --output <file>", "where its bytes go; `-` is stdout", "-")
    .addHelpText("after", example("valise --as sg/technical inbox read latest"))
    .action(
      withPoc(false, (io, poc, options: { share?: string; output: string }, id) => {
        const message = find(poc, id, "received")
        if (options.share === undefined) return print(io, { message: message.view }, () => messageWords(message.view))
        const bytes = message.part(options.share)
        if (options.output === "-") return void process.stdout.write(bytes)
        writeFileSync(options.output, bytes, { mode: 0o600 })
        print(
          io,
          { part: options.share, bytes: bytes.length, file: options.output },
          () => `${bytes.length} bytes written to ${options.output}`,
        )
      }),
    )
  inbox
    .command("watch")
    .description("messages as they arrive, until interrupted")
    .option("--count <n>", "stop after so many messages", seconds)
    .addHelpText("after", example("valise --as sg/technical inbox watch --count 1"))
    .action(
      withPoc(true, async (io, poc, options: { count?: number; stop: AbortSignal }) => {
        let left = options.count ?? Number.POSITIVE_INFINITY
        for await (const message of poc.inbox(options.stop)) {
          print(io, { message: message.view }, () => `${messageWords(message.view)}\n`)
          if (--left <= 0) return
        }
      }),
    )

  program
    .command("show")
    .description("one message: who has it, who signed for it, what is next")
    .argument("<id>", "any unique beginning of the id, or `latest`")
    .addHelpText("after", example("valise --as ke/technical show latest"))
    .action(
      withPoc(false, (io, poc, _options: object, id) => {
        const message = find(poc, id, "any")
        const others = poc.case(message.view.case).filter((view) => view.id !== message.id)
        print(io, { message: message.view, case: others }, () => messageWords(message.view, others))
      }),
    )

  program
    .command("acknowledge")
    .description("sign that an officer has seen it; this does not indicate concurrence")
    .argument("<id>", "any unique beginning of the id, or `latest`")
    .option(
      "--wait <seconds>",
      "how long to wait for the relay's receipt, also while it cannot be reached",
      seconds,
      10,
    )
    .addHelpText("after", example("valise --as sg/technical acknowledge latest"))
    .action(
      withPoc(true, async (io, poc, options: Patience, id) => {
        const message = find(poc, id, "received")
        message.acknowledge()
        const outcome = await drained(poc, options)
        print(io, { message: message.view, ...outcome }, () =>
          [`signed as seen; this does not indicate concurrence`, ...waitingWords(outcome)].join("\n"),
        )
      }),
    )

  program
    .command("respond")
    .description(`the substantive answer: ${dispositions.join(", ")}`)
    .argument("<id>", "any unique beginning of the id, or `latest`")
    .argument("<disposition>", "one of the words above")
    .option("--note <text>", "words for everyone involved; reasons are optional, also for `declined`")
    .option("--disputes <part>", "with `disputed`: the part whose facts are disputed")
    .option("--redirect-to <address>", "with `redirected`: the PoC to turn to")
    .option(
      "--wait <seconds>",
      "how long to wait for the relay's receipt, also while it cannot be reached",
      seconds,
      10,
    )
    .addHelpText("after", example('valise --as sg/technical respond latest acting --note "Host isolated."'))
    .action(
      withPoc(true, async (io, poc, options: RespondOptions, id, disposition) => {
        const response = find(poc, id, "received").respond({
          disposition: dispositionOf(disposition),
          ...(options.note !== undefined && { note: options.note }),
          ...(options.disputes !== undefined && { disputes: options.disputes }),
          ...(options.redirectTo !== undefined && { redirectedTo: options.redirectTo }),
        })
        const outcome = await settled(poc, response, options)
        print(io, { message: response.view, ...outcome }, () => sentWords(response.view, outcome))
      }),
    )

  program
    .command("reply")
    .description("write on in the case, to everyone involved")
    .argument("<id>", "any unique beginning of the id, or `latest`")
    .requiredOption("--text <text>", "the reply")
    .option(
      "--wait <seconds>",
      "how long to wait for the relay's receipt, also while it cannot be reached",
      seconds,
      10,
    )
    .addHelpText("after", example('valise --as ke/technical reply latest --text "The first contact was on 3 March."'))
    .action(
      withPoc(true, async (io, poc, options: Patience & { text: string }, id) => {
        const reply = find(poc, id, "any").reply({ text: options.text })
        const outcome = await settled(poc, reply, options)
        print(io, { message: reply.view, ...outcome }, () => sentWords(reply.view, outcome))
      }),
    )
}

interface SendOptions extends Patience {
  readonly to: string[]
  readonly subject: string
  readonly text: string
  readonly action: string
  readonly tlp: string
  readonly indicators?: string
}

interface RespondOptions extends Patience {
  readonly note?: string
  readonly disputes?: string
  readonly redirectTo?: string
}

/** A result, and above it what nobody has read yet; with `--json` beside it, as `notices` and `staleDirectory`. */
function printAlarmed(io: Io, poc: Poc, data: object, words: () => string): void {
  const notices = poc.notices().filter(({ seen }) => seen === undefined)
  const isStale = poc.whoami().log.stale
  print(io, { ...data, notices, staleDirectory: isStale }, () => withAlarms(words(), { isStale, notices }))
}

/** `latest` is the newest message; everything else a unique beginning of an id. */
export function find(poc: Poc, id: string, among: "received" | "any"): Message {
  return id === "latest" ? poc.latest(among) : poc.message(id)
}

/** Waits for the relay's receipts. Without them the message is durable here and goes out later. */
export async function settled(poc: Poc, message: Message, patience: Patience): Promise<Outcome> {
  return within(poc, patience, (signal) => message.accepted(signal))
}

/** Waits until nothing that this process could send is left. */
export async function drained(poc: Poc, patience: Patience): Promise<Outcome> {
  return within(poc, patience, (signal) => poc.drain(signal))
}

/** How long a verb waits for the relay. */
export interface Patience {
  /** Seconds. */
  readonly wait: number
  readonly stop: AbortSignal
}

/** Waits to the end: a relay that is away or does not know a new device yet may be there, or know it, a moment later. */
async function within(poc: Poc, patience: Patience, wait: (signal: AbortSignal) => Promise<unknown>): Promise<Outcome> {
  let link = poc.status
  const off = poc.on((event) => {
    // That it is being tried again says less than how the last attempt ended.
    if (event.kind === "link" && event.status.state !== "connecting") link = event.status
  })
  try {
    await wait(AbortSignal.any([patience.stop, AbortSignal.timeout(patience.wait * 1000)]))
    return { accepted: true, link }
  } catch (error) {
    if (error instanceof ValiseError && error.code === "ERR_ABORTED") return { accepted: false, link }
    throw error
  } finally {
    off()
  }
}

export const example = (command: string): string => `\nExample:\n  $ ${command}`

export function seconds(text: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0)
    throw new ValiseError("ERR_USAGE", "not a whole number", { hint: "e.g. --wait 10" })
  return value
}

function tlp(text: string): Tlp {
  const label = tlpLabels.find((label) => label === text.toUpperCase().replace(/^TLP:/, ""))
  if (!label) throw new ValiseError("ERR_USAGE", "not a TLP label", { hint: tlpLabels.join(", ") })
  return label
}

function dispositionOf(text: string): Disposition {
  const found = dispositions.find((disposition) => disposition === text)
  if (!found) throw new ValiseError("ERR_USAGE", "not a disposition", { hint: dispositions.join(", ") })
  return found
}

/** Throws `ERR_CONTENT` with a hint for an empty, truncated, huge or foreign file. */
export function readBundle(path: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = new Uint8Array(readFileSync(path))
  } catch (cause) {
    throw new ValiseError("ERR_USAGE", "the input file cannot be read", { cause, hint: path })
  }
  checkBundle(bytes)
  return bytes
}
