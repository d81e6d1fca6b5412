/** P1 and P2 under `kill -9` of relay and clients: what was accepted arrives, once, and nothing is damaged. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { runKills } from "./relay-client-kill-run.ts"

/** For longer: node scripts/kill-test.ts --rounds N */
const roundsMaxMs = 25_000

test("relay, sender and receiver killed at random moments under load: nothing accepted is lost, nothing arrives twice", async () => {
  const folder = mkdtempSync(join(tmpdir(), "valise-kills-"))
  const told: string[] = []
  try {
    const outcome = await runKills({
      folder: join(folder, "network"),
      rounds: 25,
      seed: 20_261_121,
      roundsMaxMs,
      told: (words) => told.push(words),
    })
    expect(outcome.faults, told.join("\n")).toEqual([])
    expect(outcome.kills).toBeGreaterThan(5)
    expect(outcome.accepted).toBeGreaterThan(outcome.kills)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 300_000)
