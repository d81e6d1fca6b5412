/** Ends a test run with one plain line, `N passed, N failed`, that any program can read. */
import type { Reporter } from "vitest/node"

export const plainReporter: Reporter = {
  onTestRunEnd(modules, unhandled) {
    const count = { passed: 0, failed: unhandled.length, skipped: 0 }
    for (const module of modules) {
      const tests = [...module.children.allTests()]
      // A file that could not even be loaded has no tests, and has failed.
      if (module.state() === "failed" && tests.length === 0) count.failed += 1
      for (const test of tests) {
        const { state } = test.result()
        if (state !== "pending") count[state] += 1
      }
    }
    const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : ""
    setImmediate(() => process.stdout.write(`\n${count.passed} passed, ${count.failed} failed${skipped}\n`))
  },
}
