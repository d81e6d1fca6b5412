/** P1 and row 10 under `kill -9`: what was accepted is there, once; what was taken never comes back. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { openSegmentStore } from "../../relay/store-segment.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { contentOf, deviceOf, linesOf, mailboxOf, nameOf, seededRandom } from "./store-load.ts"

/** Any number of rounds by command: VALISE_KILL_ROUNDS=100 vitest run test/fault/store-kill */
const rounds = Number(process.env.VALISE_KILL_ROUNDS ?? 6)
const random = seededRandom(20_261_121)

const title = `${rounds} kills under load: nothing accepted is lost or doubled, no prekey is handed out twice`
test(title, { timeout: 600_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "valise-kill-"))
  const seen = new Seen()
  for (let round = 1; round <= rounds; round++) {
    seen.note(await killed(folder, round))
    const store = await openSegmentStore(folder)
    await seen.check(store)
    if (round % 5 === 0) await seen.empty(store)
    await store.close()
  }
  expect(seen.acceptedEver).toBeGreaterThan(20 * rounds)
  expect(seen.taken.size).toBeGreaterThan(5 * rounds)
  rmSync(folder, { recursive: true, force: true })
})

/** The lines of a child that was killed at a random moment of its work. */
async function killed(folder: string, round: number): Promise<string[][]> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "store-child.ts"), folder, `${round}`], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  let output = ""
  child.stdout.setEncoding("utf8")
  child.stdout.on("data", (text: string) => (output += text))
  const exited = once(child, "close")
  await Promise.race([once(child.stdout, "data"), exited])
  await new Promise((resolve) => setTimeout(resolve, random() * 500))
  expect(child.kill("SIGKILL"), "the child ended by itself").toBe(true)
  await exited
  return linesOf(output)
}

/** What the children said, round after round, held against what the store has. */
class Seen {
  acceptedEver = 0
  readonly taken = new Set<string>()
  /** By name of the envelope. */
  readonly #accepted = new Map<string, { mailbox: number; minute: number }>()
  readonly #found = new Set<string>()
  readonly #collecting = new Set<string>()
  readonly #collected = new Set<string>()
  readonly #lastSequence = new Map<number, number>()
  #published = 0
  #kills = 0

  note(lines: readonly string[][]): void {
    this.#kills += 1
    for (const [what, ...words] of lines) {
      if (what === "accepted") this.#accept(Number(words[0]), words[1]!, Number(words[2]))
      else if (what === "collecting") this.#collecting.add(words[0]!)
      else if (what === "collected") this.#collected.add(words[0]!)
      else if (what === "published") this.#published += 1
      else if (what === "taken") this.#take(words[0]!)
    }
  }

  async check(store: MailboxStore): Promise<void> {
    const { counters, ...inspected } = await store.inspect()
    expect(inspected).toMatchObject({ intact: true, quarantined: { envelopes: [], prekeys: 0 } })
    const found = new Set<string>()
    for (const mailbox of [0, 1, 2, 3, 4]) {
      for (const { sequence, minute, bytes } of await store.read(mailboxOf(mailbox), 0, 1_000_000)) {
        const name = nameOf(bytes)
        expect(found.has(name), `${name} stands twice`).toBe(false)
        found.add(name)
        expect(Buffer.from(contentOf(name)).equals(bytes), name).toBe(true)
        const accepted = this.#accepted.get(name)
        if (accepted) expect({ mailbox, minute }, name).toEqual(accepted)
        if (!this.#found.has(name)) expect(sequence, name).toBeGreaterThan(this.#lastSequence.get(mailbox) ?? 0)
        this.#found.add(name)
      }
      const counter = counters.find((each) => each.mailbox[0] === mailbox + 1)
      if (counter) this.#lastSequence.set(mailbox, counter.next - 1)
    }
    for (const name of this.#accepted.keys())
      if (!found.has(name)) expect(this.#collecting.has(name), `${name} was accepted and is lost`).toBe(true)
    for (const name of this.#collected) expect(found.has(name), `${name} was collected and is back`).toBe(false)
    await this.#checkPrekeys(store)
  }

  /** Everything expires; what comes later must still have numbers of its own. */
  async empty(store: MailboxStore): Promise<void> {
    await store.expire(2 ** 40)
    this.#accepted.clear()
    this.#collected.clear()
  }

  #accept(mailbox: number, name: string, minute: number): void {
    const before = this.#accepted.get(name)
    if (before) expect(minute, `${name}, a retry`).toBe(before.minute)
    else this.acceptedEver += 1
    this.#accepted.set(name, before ?? { mailbox, minute })
  }

  async #checkPrekeys(store: MailboxStore): Promise<void> {
    let held = 0
    for (const device of [0, 1]) {
      const prekey = await store.takePrekey(deviceOf(device))
      if (prekey) this.#take(Buffer.from(prekey).toString())
      held += await store.countPrekeys(deviceOf(device))
    }
    // A kill can come between a taking and its being said: one for each of six takers.
    expect(held).toBeGreaterThanOrEqual(this.#published - this.taken.size - 6 * this.#kills)
  }

  #take(prekey: string): void {
    expect(this.taken.has(prekey), `${prekey} was handed out twice`).toBe(false)
    this.taken.add(prekey)
  }
}
