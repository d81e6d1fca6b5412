import { defineConfig } from "vitest/config"
import PlainReporter from "./scripts/plain-reporter.ts"

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
