/** The sandbox: a whole network in one process, in `exercise` mode, with invented agencies. What `npm start` runs. */
import type { Command } from "commander"
import { port } from "../options.ts"
import { runSandbox } from "../sandbox/sandbox.ts"
import { example, readBundle } from "./messages.ts"
import { action } from "./with-poc.ts"

export function sandboxVerbs(program: Command): void {
  program
    .command("sandbox")
    .description("run directory, relay and five PoCs here, and tell the basic scenario")
    .option("--once", "end after the scenario: 0 if every step came true")
    .option("--input <file>", "a STIX 2.1 bundle or MISP event to send instead of the sample")
    .option("--port <n>", "the relay's port on the loopback interface; any free one by default", port)
    .addHelpText("after", example("valise --data .valise sandbox --once"))
    .action(
      action<{ once?: boolean; input?: string | boolean; port?: number }>(async (io, options) => {
        const indicators = typeof options.input === "string" ? readBundle(options.input) : undefined
        await runSandbox(io, {
          folder: options.data,
          once: options.once ?? false,
          port: options.port ?? 0,
          stop: options.stop,
          ...(indicators && { indicators }),
        })
      }),
    )
}
