/**
 * Relay, sender and receiver as processes on real files, killed at random moments under load and started again; in the
 * end everything settles, and what the vaults and the store hold is compared with what was said to be sure.
 */
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { Network } from "../../cli/sandbox/network.ts"
import { withVault } from "../../cli/sandbox/home.ts"
import { perDevice, type HomeVault } from "../../client-sdk/collections.ts"
import { hex } from "../../protocol/bytes.ts"
import { describeRelay } from "../../relay/inspect.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { seededRandom } from "./store-load.ts"

export interface KillRun {
  readonly folder: string
  readonly rounds: number
  readonly seed: number
  /** No new round after this; what is under way is finished. */
  readonly roundsMaxMs: number
  readonly told: (words: string) => void
}

export interface KillOutcome {
  readonly rounds: number
  readonly kills: number
  readonly composed: number
  readonly accepted: number
  /** Everything that should not be; empty, or a promise is broken. */
  readonly faults: readonly string[]
}

/** Settling takes seconds; a slow machine gets its time. */
const settleMaxMs = 120_000
const roles = ["relay", "sender", "receiver"] as const
type Role = (typeof roles)[number]

export async function runKills({ folder, rounds, seed, roundsMaxMs, told }: KillRun): Promise<KillOutcome> {
  const stop = new AbortController()
  const network = await Network.open({ folder, port: 0, told: () => {}, stop: stop.signal })
  await network.close()
  const cast = new Cast(folder)
  const random = seededRandom(seed)
  const deadline = performance.now() + roundsMaxMs
  let round = 0
  try {
    await cast.start("relay")
    await Promise.all([cast.start("sender"), cast.start("receiver")])
    while (round < rounds && performance.now() < deadline) {
      round += 1
      // Most kills come under load, some while a process still starts.
      if (random() < 0.7) await cast.progress()
      await pause(random() * 900)
      const victims = roles.filter(() => random() < 0.45)
      await Promise.all(victims.map((role) => cast.kill(role)))
      await pause(random() < 0.5 ? 0 : random() * 400)
      for (const role of victims) await cast.start(role)
      told(`round ${round}: ${victims.join(", ") || "nobody"} killed; ${cast.accepted.size} accepted so far`)
    }
    await cast.settle()
  } finally {
    await cast.killAll()
  }
  return {
    rounds: round,
    kills: cast.kills,
    composed: cast.composed.size,
    accepted: cast.accepted.size,
    faults: await faultsOf(folder, cast),
  }
}

/** The three processes, and what they have said. */
class Cast {
  kills = 0
  readonly composed = new Set<string>()
  readonly accepted = new Set<string>()
  readonly faults: string[] = []
  readonly #folder: string
  readonly #children = new Map<Role, ChildProcess>()
  readonly #arrived = new Set<string>()
  #port = 0
  #url = ""
  #runs = 0
  readonly #lines = new Set<() => void>()

  constructor(folder: string) {
    this.#folder = folder
  }

  async start(role: Role, as?: "settle"): Promise<void> {
    this.#runs += 1
    const child = this.#spawn(role, as)
    this.#children.set(role, child)
    // Its port is the same for ever, because that is where the others look for it.
    while (role === "relay" && !this.#url && child.exitCode === null) await this.#line(1000)
  }

  async kill(role: Role): Promise<void> {
    const child = this.#children.get(role)!
    if (child.exitCode !== null) this.faults.push(`the ${role} ended by itself with ${child.exitCode}`)
    else this.kills += 1
    child.kill("SIGKILL")
    if (child.exitCode === null && child.signalCode === null) await once(child, "close")
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.#children.keys()].map((role) => this.kill(role)))
  }

  /** Resolves when something more was accepted, or after a while. */
  async progress(): Promise<void> {
    const before = this.accepted.size
    const giveUp = performance.now() + 20_000
    while (this.accepted.size === before && performance.now() < giveUp) await this.#line(500)
  }

  /** Nothing new is written; resolves when the sender knows all as delivered and nothing is under way, or much too late. */
  async settle(): Promise<void> {
    await Promise.all([this.kill("sender"), this.kill("receiver")])
    await Promise.all([this.start("sender", "settle"), this.start("receiver", "settle")])
    const giveUp = performance.now() + settleMaxMs
    while (performance.now() < giveUp) {
      await pause(1000)
      const left = await Promise.all(
        (["ke", "sg"] as const).map((name) => withVault(this.#folder, name, async (vault) => leftOf(vault))),
      )
      if (left.every((count) => count === 0) && waitingAt(this.#folder) === 0) return
    }
    this.faults.push("it did not settle")
  }

  #spawn(role: Role, as: string | undefined): ChildProcess {
    const script = join(import.meta.dirname, `relay-client-kill-${role === "relay" ? "relay" : "poc"}.ts`)
    const home = join(this.#folder, "pocs", role === "sender" ? "ke-technical" : "sg-technical")
    const task = as ?? (role === "sender" ? "send" : "receive")
    const args = role === "relay" ? [this.#folder, String(this.#port)] : [home, this.#url, task, String(this.#runs)]
    const child = spawn(process.execPath, [script, ...args], { stdio: ["pipe", "pipe", "pipe"] })
    let rest = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n")
      rest = lines.pop()!
      for (const line of lines) this.#hear(role, line)
      for (const heard of this.#lines) heard()
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => this.faults.push(`the ${role} said: ${text}`))
    child.on("close", () => {
      for (const heard of this.#lines) heard()
    })
    return child
  }

  #hear(role: Role, line: string): void {
    const [what, word] = line.split(" ") as [string, string]
    if (what === "listening") {
      this.#url = word
      this.#port = Number(new URL(word).port)
    } else if (what === "composed") this.composed.add(word)
    else if (what === "accepted" && role === "sender") this.accepted.add(word)
    else if (what === "arrived") {
      if (this.#arrived.has(word)) this.faults.push(`${word} arrived twice`)
      this.#arrived.add(word)
    }
  }

  /** Resolves at the next line of anybody, or after this time. */
  #line(maxMs: number): Promise<void> {
    return new Promise((resolve) => {
      const heard = (): void => {
        clearTimeout(timer)
        this.#lines.delete(heard)
        resolve()
      }
      const timer = setTimeout(heard, maxMs)
      this.#lines.add(heard)
    })
  }
}

/** Messages of this vault that have not left, and those sent that no device has signed for. */
function leftOf(vault: HomeVault): number {
  return vault.read((tx) => {
    const signed = new Set([...tx.list("receipts")].map(([, row]) => `${row.kind} ${hex(row.message)}`))
    const silent = [...tx.list("messages")].filter(
      ([key, row]) => row.direction === "out" && row.type === "notification" && !signed.has(`device-receipt ${key}`),
    )
    return tx.count("outbox") + silent.length
  })
}

/** How many envelopes the relay still holds. */
function waitingAt(folder: string): number {
  const { mailboxes } = describeRelay(inspectStore(join(folder, "relay")).contents)
  return mailboxes.reduce((sum, { waiting }) => sum + waiting.length, 0)
}

/** Compares what was said with what is on the disks. */
async function faultsOf(folder: string, cast: Cast): Promise<string[]> {
  const faults = [...cast.faults]
  const expect = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault)
  }
  const sent = await withVault(folder, "ke", async (vault) => {
    vault.verify()
    expect(vault.read((tx) => tx.count("outbox")) === 0, "the sender's outbox is not empty")
    faults.push(...alarms(vault, "sender"))
    return vault.read((tx) =>
      [...tx.list("messages")]
        .filter(([, row]) => row.direction === "out" && row.type === "notification")
        .map(([id, { devices = [] }]) => {
          const accepted = devices.filter(({ device }) => tx.get("accepted", perDevice(id, device)))
          return [id, accepted.length] as const
        }),
    )
  })
  const inVault = new Map(sent)
  for (const id of cast.composed) expect(inVault.has(id), `${id} was durable and is lost`)
  for (const id of cast.accepted) expect(inVault.get(id)! > 0, `${id} was accepted and the receipt is lost`)
  await withVault(folder, "sg", async (vault) => {
    vault.verify()
    expect(vault.read((tx) => tx.count("outbox")) === 0, "the receiver's outbox is not empty")
    faults.push(...alarms(vault, "receiver"))
    const { archived, opened } = vault.read((tx) => ({
      archived: [...tx.list("messages")].filter(([, row]) => row.type === "notification").map(([key]) => key),
      opened: [...tx.journal()]
        .filter(({ event }) => event === "opened")
        .flatMap(({ details }) => (typeof details["message"] === "string" ? [details["message"]] : [])),
    }))
    const times = Map.groupBy(opened, (id) => id)
    for (const [id, accepted] of sent)
      if (accepted > 0) expect(archived.includes(id), `${id} was accepted and never arrived`)
    for (const id of archived) {
      expect(inVault.has(id), `${id} arrived and was never sent`)
      expect(times.get(id)?.length === 1, `${id} was opened ${times.get(id)?.length ?? 0} times`)
    }
  })
  const kept = describeRelay(inspectStore(join(folder, "relay")).contents)
  expect(kept.intact, "the relay's store is damaged")
  expect(
    kept.quarantined.envelopes.length + kept.quarantined.prekeys === 0,
    "the relay's store has quarantined records",
  )
  return faults
}

/**
 * A kill is no attack, and nothing of what is done to survive it may look like one; but for a prekey that was handed out
 * and lost by the kill, which nobody can tell from one that is withheld.
 */
function alarms(vault: HomeVault, who: string): string[] {
  return vault
    .read((tx) => [...tx.list("notices")])
    .filter(([, { kind }]) => kind !== "withholding")
    .map(([, { kind, text }]) => `a notice at the ${who}: ${kind}: ${text}`)
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
