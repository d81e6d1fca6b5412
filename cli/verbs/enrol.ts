/** The PoC's side: enrol with a code, trust a directory, renew what ends. */
import type { Command } from "commander"
import { enrol, type EnrolOptions } from "../enrolling.ts"
import { anchorHome } from "../founding.ts"
import type { HomeOptions } from "../homes.ts"
import { print } from "../io.ts"
import { renew } from "../renewing.ts"
import { dateOf, wordsLine } from "../words-directory.ts"
import { example } from "./messages.ts"
import { action } from "./with-poc.ts"

export function enrolVerbs(program: Command): void {
  program
    .command("enrol")
    .description("make this PoC's keys here and ask the directory, with the code of its invitation, to list them")
    .requiredOption("--directory <url>", "where the directory's service is reached, e.g. https://directory.example/")
    .requiredOption("--code <code>", "as the directory's desk sent it")
    .option(
      "--officer-title <text>",
      "the duty of this home's officer; the holder's name stays at home",
      "duty officer",
    )
    .option("--relay-host <host>", "the relay that keeps the mailbox; the first that the log lists by default")
    .option("--no-wait", "hand in and return; the same command goes on later")
    .addHelpText("after", example("valise enrol --help"))
    .action(
      action<EnrolOptions>(async (io, options) => {
        const isListed = await enrol(options, ({ poc, words }) => {
          print(io, { event: "handed-in", poc, words: words.join(" ") }, () =>
            [
              `handed in for ${poc}; two officers of the directory approve it`,
              wordsLine(words),
              "When the directory's desk telephones, read these ten words out.",
            ].join("\n"),
          )
        })
        print(io, { event: isListed ? "enrolled" : "waiting" }, () =>
          isListed
            ? "approved: this home is in the directory"
            : "it waits for approval; the same command goes on later",
        )
      }),
    )

  program
    .command("renew")
    .description("renew manifest and certificate, if they end within a month; needs the PoC's key")
    .option("--now", "also what holds for longer")
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise renew --help"))
    .action(
      action<HomeOptions & { directory?: string; now?: boolean }>(async (io, options) => {
        const { certificateUntil, manifestUntil, renewed } = await renew(options)
        const [certificate, manifest] = [certificateUntil, manifestUntil].map((at) => dateOf(at))
        print(io, { renewed, certificateUntil: certificate, manifestUntil: manifest }, () =>
          [
            renewed.length > 0 ? `renewed: ${renewed.join(", ")}` : "nothing is due",
            `the certificate holds until ${certificate}, the manifest until ${manifest}`,
          ].join("\n"),
        )
      }),
    )

  program
    .command("trust")
    .description("anchor a home that was made before its directory, once")
    .argument("<file>", "the directory's trust file, from somebody you trust")
    .option("--directory <url>", "where the directory's service is reached")
    .addHelpText("after", example("valise trust --help"))
    .action(
      action<HomeOptions & { directory?: string }>(async (io, options, file) => {
        await anchorHome(options, file)
        print(io, { trusted: file }, () => "this home trusts that directory from now on")
      }),
    )
}
