import { defineConfig } from "vitest/config"
import { groups } from "./groups.ts"

export default defineConfig({
  test: {
    include: [...groups[process.env.VALISE_MUTATION!]!.tests],
    testTimeout: 60_000,
    testNamePattern: /^(?!.* by default$)/,
  },
})
