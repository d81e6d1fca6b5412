#!/usr/bin/env node
// The command `valise`: finds the project's own Node, whatever Node started this, and runs cli/main.ts with it. What
// that Node makes of the program's text is kept, in the project's own folder: whoever could write it could write the
// program itself. It halves what a command costs; where nothing can be written, nothing is kept.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire, enableCompileCache } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

const here = dirname(fileURLToPath(import.meta.url))
if (Number(process.versions.node.split(".")[0]) >= 24) {
  enableCompileCache(join(here, "..", "node_modules", ".cache", "valise"))
  await import("./main.ts")
} else {
  const own = ownNode()
  if (!own) {
    process.stderr.write(
      "valise: error: this needs Node 24 or later\nvalise: hint: run `npm install` in the project's folder; it brings its own\n",
    )
    process.exit(1)
  }
  const done = spawnSync(own, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" })
  process.exit(done.status ?? 130)
}

function ownNode() {
  try {
    const found = join(dirname(createRequire(import.meta.url).resolve("node/package.json")), "bin", "node")
    return existsSync(found) ? found : undefined
  } catch {
    return undefined
  }
}
