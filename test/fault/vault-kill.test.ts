import { expect, test } from "vitest"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { fileVault, openVault, startWorker, type TestVault } from "../support/vault.ts"

const workers = ["one", "two"]

test("kill -9 at random moments of two processes under load: all that returned is there, nothing is half there", async () => {
  const { path, vault } = await fileVault()
  await vault.close()
  let before = 0
  for (let round = 0; round < 8; round++) {
    const said = await Promise.all(workers.map((name, i) => runAndKill(path, name, 3 + ((round * 7 + i * 5) % 23), (round * 3 + i) % 13))) // prettier-ignore
    const again = await openVault(openVaultFile(path))
    const done = workers.map((name, i) => transactionsOf(again, name, said[i]!))
    const all = done.reduce((a, b) => a + b)
    expect(again.read((tx) => tx.get("counters", "all")?.n)).toBe(all)
    expect(again.verifyJournal()).toMatchObject({ ok: true, head: { count: all + 1 } })
    again.verify()
    expect(all).toBeGreaterThan(before)
    before = all
    await again.close()
  }
}, 120_000)

/** Lets the worker finish some transactions, then kills it somewhere in those that follow. The last one it said. */
async function runAndKill(path: string, name: string, after: number, delayMs: number): Promise<number> {
  const { child, ended, lines } = startWorker("receive", path, name)
  let last = -1
  let left = after
  for await (const line of lines) {
    last = Number(line)
    if (--left === 0) setTimeout(() => child.kill("SIGKILL"), delayMs)
  }
  await ended
  return last
}

/** How many transactions of this worker are in the vault, each of them whole. */
function transactionsOf(vault: TestVault, name: string, said: number): number {
  return vault.read((tx) => {
    const last = tx.get("counters", name)!.n
    expect(last).toBeGreaterThanOrEqual(said)
    const prefix = `${name}/`
    expect([...tx.list("archive", { prefix })]).toHaveLength(last + 1)
    expect([...tx.list("replay", { prefix })]).toHaveLength(last + 1)
    expect(Array.from(tx.list("prekeys", { prefix }), ([key]) => key)).toEqual([`${name}/${last}`])
    for (let n = 0; n <= last; n++) expect(tx.get("archive", `${name}/${n}`)?.n).toBe(n)
    return last + 1
  })
}
