// Installs what is missing, exactly as the lock file says, and nothing else. Plain JavaScript for any Node from 18 on,
// because it runs before the project's own Node is there. Everything it prints goes to stderr.
import { spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const node = join(root, "node_modules", "node", "bin", process.platform === "win32" ? "node.exe" : "node")
const marker = join(root, "node_modules", ".valise-installed")

/** @param {boolean} needsDevelopment also what tests, types and lint need; kept where it is there already */
export function ensureInstalled(needsDevelopment) {
  const development = needsDevelopment || existsSync(join(root, "node_modules", "vitest"))
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex")
  const have = existsSync(marker) ? readFileSync(marker, "utf8").split(" ") : []
  if (have[0] === lock && (have[1] === "development" || !development) && existsSync(node)) return
  process.stderr.write("valise: installing packages (once; about a minute on a slow link)\n")
  const wanted = development ? [] : ["--omit=dev"]
  const options = ["ci", ...wanted, "--no-audit", "--no-fund", "--loglevel=error"]
  const npm = process.platform === "win32" ? "npm.cmd" : "npm"
  const done = spawnSync(npm, options, { cwd: root, stdio: ["ignore", 2, 2], shell: process.platform === "win32" })
  if (done.status !== 0) {
    process.stderr.write("valise: error: the packages could not be installed\n")
    process.stderr.write("valise: hint: check the network and the npm registry's settings, then start again\n")
    process.exit(1)
  }
  writeFileSync(marker, `${lock} ${development ? "development" : "production"}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) ensureInstalled(process.argv.includes("--dev"))
