/** What some tests need of the machine. Where it is missing they say so, and where CI=true they fail. */
import { execFile, execFileSync } from "node:child_process"
import { mkdirSync } from "node:fs"
import { promisify } from "node:util"
import type { TestContext } from "vitest"

/** Tracing takes ptrace, which containers may forbid, so it is tried and not only looked for. */
export function needStrace(context: TestContext): void {
  need(context, "strace", () => execFileSync("strace", ["-o", "/dev/null", "true"], { stdio: "pipe" }))
}

/** Mounts a memory disk of this size; the result unmounts it. */
export function mountTmpfs(context: TestContext, folder: string, size: string): () => void {
  mkdirSync(folder, { recursive: true })
  need(context, "a mounted tmpfs", () =>
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=700`, "tmpfs", folder], { stdio: "pipe" }),
  )
  // Lazily: a failed test may have left the store open.
  return () => execFileSync("umount", ["--lazy", folder], { stdio: "pipe" })
}

/** Runs a script of this folder under strace with these options; what it wrote to its standard output. */
export async function straced(options: readonly string[], script: string, args: readonly string[]): Promise<string> {
  const command = ["-f", ...options, process.execPath, script, ...args]
  return execFileAsync("strace", command, { encoding: "utf8", maxBuffer: 2 ** 28 }).then(
    ({ stdout }) => stdout,
    (error: unknown) => {
      // A child that kills itself has said what it had to say.
      if (error instanceof Error && "stdout" in error && "signal" in error && error.signal === "SIGKILL")
        return String(error.stdout)
      throw error
    },
  )
}

const execFileAsync = promisify(execFile)

/** Skips the test, and says so, if the machine has not what it needs; where CI=true that is a failure. */
export function need(context: TestContext, what: string, attempt: () => unknown): void {
  try {
    attempt()
  } catch (cause) {
    const message = `NOT TESTED: ${context.task.name}: this machine has no ${what} (scripts/install-test-tools.sh)`
    if (process.env.CI === "true") throw new Error(message, { cause })
    console.warn(message)
    context.skip(message)
  }
}
