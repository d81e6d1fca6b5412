/**
 * A process that works on a vault: `node vault-worker.ts WORK PATH [NAME] [TIMES]`. It says each transaction that
 * returned as one line on its standard output. Time and randomness are the machine's.
 */
import { writeSync } from "node:fs"
import { tryAcquireLine } from "../../client-sdk/vault/line.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { nodeMachine } from "../../system/node.ts"
import { keySecret, testSchema, type TestVault } from "./vault-schema.ts"

const [work, path, name = "worker", times = "Infinity"] = process.argv.slice(2)
const say = (line: string | number): number => writeSync(1, `${line}\n`)

const works: Record<string, () => Promise<void>> = {
  /** One message after another: archive, replay entry, counter, journal; the prekey erased. */
  receive: async () => {
    const vault = await opened()
    for (let n = next(vault); n < Number(times); n++) {
      receive(vault, n)
      say(n)
      if (n % 50 === 49) vault.scrub()
    }
    await vault.close()
  },
  /** Receives until it fails and says how; then what can still be read. */
  "receive-or-fail": async () => {
    const vault = await opened()
    for (let n = next(vault), failures = 0; n < Number(times) && failures < 3;) {
      try {
        receive(vault, n)
        say(n++)
      } catch (error) {
        failures++
        say(error instanceof ValiseError ? error.code : String(error))
      }
    }
    say(`readable ${next(vault)}`)
  },
  /** Dies between archiving and erasing. */
  "die-halfway": async () => {
    const vault = await opened()
    vault.transaction((tx) => {
      tx.put("archive", "m1", { subject: "half", n: 1 })
      process.kill(process.pid, "SIGKILL")
      tx.put("replay", "m1", { content: new Uint8Array(32) })
      tx.delete("prekeys", "k1")
    })
  },
  /** Holds the line until it is killed. */
  "hold-line": async () => {
    const line = tryAcquireLine(path!)
    say(line ? "held" : "busy")
    setInterval(() => undefined, 1000)
    await Promise.resolve()
  },
}

await works[work!]!()

function opened(): Promise<TestVault> {
  return Vault.open(openVaultFile(path!), keySecret(), nodeMachine, testSchema)
}

function next(vault: TestVault): number {
  return vault.read((tx) => tx.get("counters", name)?.n ?? -1) + 1
}

function receive(vault: TestVault, n: number): void {
  vault.transaction((tx) => {
    tx.put("archive", `${name}/${n}`, { subject: `message ${n}`, n, body: new Uint8Array(37 * (n % 97)) })
    tx.put("replay", `${name}/${n}`, { content: new Uint8Array(32).fill(n) })
    tx.put("counters", name, { n })
    const all = tx.get("counters", "all")?.n ?? 0
    tx.put("counters", "all", { n: all + 1 })
    tx.delete("prekeys", `${name}/${n - 1}`)
    tx.put("prekeys", `${name}/${n}`, { seed: new Uint8Array(32).fill(n) })
    tx.appendJournal({ event: "received", details: { n } })
  })
}
