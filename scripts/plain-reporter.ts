/** A reporter for vitest: after everything else, one line for programs, `N passed, N failed`, and `N skipped` if any were. */
import { writeSync } from "node:fs"
import type { Reporter, SerializedError, TestModule } from "vitest/node"

export default class PlainReporter implements Reporter {
  #line: string | undefined

  onInit(): void {
    // Other reporters say their last words when the run ends.
    process.once("exit", () => {
      if (this.#line !== undefined) writeSync(process.stdout.fd, `${this.#line}\n`)
    })
  }

  /** A file that does not load counts as one failure, and so does an error outside every test. */
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const count = { passed: 0, failed: errors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      count.failed += module.errors().length
      for (const test of module.children.allTests()) count[test.result().state] += 1
    }
    // A test that was never run is no success.
    const { failed, passed, pending, skipped } = count
    this.#line = `${passed} passed, ${failed + pending} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`
  }
}
