/** The bench works: every group at a tiny size, our side alone. What it measures is not judged here. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { expect, test } from "vitest"

const root = join(import.meta.dirname, "..", "..")
const groups = {
  seal: ["seal-open-vs-openpgp", "seal-fanout-1700"],
  relay: ["relay-end-to-end", "accept-p99-vs-fsync"],
  scale: ["idle-kb-per-connection", "idle-kb-per-connection-tls", "backlog-send-ratio", "backlog-read-ratio"],
}

test.concurrent.for(Object.entries(groups))("%s prints its figures", { timeout: 60_000 }, async ([group, ids]) => {
  const command = [join(root, "bench", "main.ts"), group, "--tiny", "--json"]
  const { stdout } = await promisify(execFile)(process.execPath, command)
  const { bench, machine, figures } = JSON.parse(stdout)
  expect(bench).toBe(group)
  expect(machine).toMatchObject({ node: process.version })
  expect(figures.map(({ id }: { id: string }) => id)).toEqual(ids)
  for (const figure of figures)
    expect(figure).toMatchObject({
      value: expect.any(Number),
      unit: expect.any(String),
      runs: 1,
      min: figure.value,
      max: figure.value,
    })
})
