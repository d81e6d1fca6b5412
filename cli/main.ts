/** The command `valise`. Thin: every verb opens a home and calls the SDK; docs: README, "The command". */
import { Command, CommanderError } from "commander"
import { ValiseError } from "../protocol/errors.ts"
import { processIo, report } from "./io.ts"
import { consentVerbs } from "./verbs/consents.ts"
import { directoryVerbs } from "./verbs/directory.ts"
import { enrolVerbs } from "./verbs/enrol.ts"
import { evidenceVerbs } from "./verbs/evidence.ts"
import { memberVerbs } from "./verbs/members.ts"
import { example, messageVerbs } from "./verbs/messages.ts"
import { relayVerbs } from "./verbs/relay.ts"
import { sandboxVerbs } from "./verbs/sandbox.ts"

export function program(): Command {
  const command = new Command("valise")
    .description("sealed, receipted messages between national cyber Points of Contact")
    .option("--as <address>", "act as this PoC of the sandbox, e.g. sg/technical")
    .option("--data <dir>", "the sandbox's folder", ".valise")
    .option("--home <dir>", "a home of your own (or set VALISE_HOME)", process.env["VALISE_HOME"])
    .option("--relay <url>", "where the relay is reached, if not where the directory lists it")
    .option("--passphrase-file <file>", "where the vault's passphrase stands, on one line")
    .option("--json", "one JSON object per line on stdout; errors as { code, hint } on stderr")
    .option("--no-input", "never ask; fail instead")
    .addHelpText("after", example("valise --as ke/technical whoami"))
  messageVerbs(command)
  memberVerbs(command)
  consentVerbs(command)
  evidenceVerbs(command)
  relayVerbs(command)
  enrolVerbs(command)
  directoryVerbs(command)
  sandboxVerbs(command)
  for (const each of [command, ...command.commands, ...command.commands.flatMap((verb) => verb.commands)])
    each
      .exitOverride()
      .configureOutput({ outputError: () => {}, writeErr: (text) => wantsJson || process.stderr.write(text) })
  return command
}

/** Known before the options are parsed, because what is wrong with them is said in the same form. */
const wantsJson = process.argv.includes("--json")

process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))

try {
  await program().parseAsync(process.argv)
} catch (error) {
  process.exitCode = finish(error)
}

function finish(error: unknown): number {
  const io = processIo(wantsJson)
  if (!(error instanceof CommanderError)) return report(io, error)
  if (error.exitCode === 0) return 0
  const message = error.message.replace(/^error: /, "").replaceAll("\n", " ")
  const usage = error.code === "commander.help" ? "which verb?" : message
  return report(io, new ValiseError("ERR_USAGE", usage, { hint: "valise --help, or valise VERB --help" }))
}
