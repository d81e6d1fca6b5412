// How `npm run mutation` (scripts/mutation.ts) runs Stryker on one group.
import { tmpdir } from "node:os"
import { join } from "node:path"
import { groups } from "./groups.ts"

const name = process.env.VALISE_MUTATION
const here = import.meta.dirname

export default {
  mutate: groups[name].sources,
  testRunner: "vitest",
  vitest: { configFile: "test/mutation/vitest.config.ts", related: false },
  plugins: ["@stryker-mutator/vitest-runner", join(here, "texts.mjs")],
  ignorers: ["texts"],
  coverageAnalysis: "perTest",
  concurrency: 2,
  // Generous, since a machine that does something else beside must not pass for a change after which the code hangs.
  timeoutMS: 20_000,
  thresholds: { break: 80 },
  reporters: ["progress-append-only", "clear-text", "json"],
  clearTextReporter: { logTests: false, reportTests: false, allowColor: false },
  jsonReporter: { fileName: join(here, "report", `${name}.json`) },
  tempDirName: join(tmpdir(), `valise-mutation-${process.pid}`),
  cleanTempDir: "always",
  ignorePatterns: ["/docs", "/bench", "/test/e2e", "/test/mutation/report", ".valise"],
  allowEmpty: false,
}
