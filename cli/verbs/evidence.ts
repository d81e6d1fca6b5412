/** Evidence: export a case to one file, and check such a file offline. */
import { readFileSync, writeFileSync } from "node:fs"
import type { Command } from "commander"
import { ValiseError } from "../../client-sdk/index.ts"
import { describeEvidence } from "../../client-sdk/evidence/describe.ts"
import { exportWarning, verifyEvidence } from "../../client-sdk/evidence/verify.ts"
import { readTrustFile } from "../../pki/anchor.ts"
import { seconds } from "../../system/machine.ts"
import { nodeClock } from "../../system/node.ts"
import { print } from "../io.ts"
import { example, find } from "./messages.ts"
import { action, withPoc } from "./with-poc.ts"

export function evidenceVerbs(program: Command): void {
  program
    .command("evidence")
    .description("proof of a case, for others")
    .addHelpText("after", example("valise --as ke/technical evidence export latest"))
    .command("export")
    .description("write the evidence of a case to one file that anybody can check offline")
    .argument("<id>", "the case or one of its messages, by any unique beginning of its id, or `latest`")
    .option("-o, --output <file>", "where to write; by default case-ID.valise here")
    .addHelpText("after", example("valise --as ke/technical evidence export latest -o case.valise"))
    .action(
      withPoc(false, (io, poc, options: { output?: string }, id) => {
        const caseId = id === "latest" ? find(poc, id, "any").view.case : id
        const bytes = poc.exportEvidence(caseId)
        const file = options.output ?? `case-${caseId.slice(0, 8)}.valise`
        writeFileSync(file, bytes, { mode: 0o600 })
        const warning = exportWarning(bytes)
        print(io, { file, bytes: bytes.length, ...(warning && { warning }) }, () =>
          [
            `${bytes.length} bytes written to ${file}`,
            ...(warning ? [warning] : []),
            `Check it with: valise verify ${file} --trust FILE`,
          ].join("\n"),
        )
      }),
    )

  program
    .command("verify")
    .description("check an evidence file offline: what it proves, what it does not, and to whom")
    .argument("<file>", "the evidence")
    .option("--trust <file>", "the directory's trust file; without it nothing is anchored, and that is not success")
    .addHelpText("after", example("valise verify case.valise --trust .valise/trust.txt"))
    .action(
      action<{ trust?: string }>((io, options, file) => {
        const anchor = options.trust === undefined ? undefined : readTrustFile(read(options.trust).toString("utf8"))
        const report = verifyEvidence(new Uint8Array(read(file)), anchor, { nowSeconds: seconds(nodeClock) })
        print(io, report, () => describeEvidence(report))
        if (!anchor)
          throw new ValiseError("ERR_NOT_ANCHORED", "consistent, not anchored: nothing says whose keys these are", {
            hint: "give the directory's trust file with --trust",
          })
      }),
    )
}

function read(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ValiseError("ERR_USAGE", "the file cannot be read", { cause, hint: path })
  }
}
