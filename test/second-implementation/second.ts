/** Runs the second implementation as a program of its own. */
import { execFile, execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { TestContext } from "vitest"
import { need } from "../fault/machine.ts"

// Debian's own, whatever other Python comes first in the path: its packages are this one's.
const python = "/usr/bin/python3"
const program = fileURLToPath(new URL("second.py", import.meta.url))

export function needPython(context: TestContext): void {
  need(context, "Python with cryptography, nacl and websocket", () =>
    execFileSync(python, ["-c", "import cryptography, nacl, websocket"], { stdio: "pipe" }),
  )
}

/** What it prints, or `refused:` with the reason that it gives. Any other end is a failure of the program. */
export async function second(...args: readonly string[]): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    execFile(python, ["-B", program, ...args], { encoding: "utf8", timeout: 30_000 }, (error, stdout, stderr) => {
      if (!error) resolve(JSON.parse(stdout))
      else if (error.code === 4) resolve(`refused: ${stderr.trim()}`)
      else reject(new Error(stderr, { cause: error }))
    })
  })
}
