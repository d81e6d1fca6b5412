import { join } from "node:path"
import { defineConfig } from "vitest/config"
import PlainReporter from "./scripts/plain-reporter.ts"

// Tests start hundreds of processes and threads: what Node makes of the program's text is kept, as `valise` itself does.
process.env["NODE_COMPILE_CACHE"] = join(import.meta.dirname, "node_modules", ".cache", "valise")

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ["default", new PlainReporter()],
    // Two cores: one file more than that waits for the disk or for a child process most of its time.
    maxWorkers: 3,
  },
})
