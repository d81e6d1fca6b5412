// `npm start`: installs what running needs, then runs the sandbox under the project's own Node.
import { spawn } from "node:child_process"
import { join } from "node:path"
import { ensureInstalled, node, root } from "./ensure.mjs"

ensureInstalled(false)
const child = spawn(node, [join(root, "cli", "valise.mjs"), "sandbox", ...process.argv.slice(2)], { stdio: "inherit" })
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal))
child.on("exit", (code, signal) => process.exit(signal ? 130 : (code ?? 1)))
