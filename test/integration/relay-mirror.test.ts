import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import type { MailboxId, PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { signCheckpoint } from "../../pki/checkpoint.ts"
import { MerkleLog } from "../../pki/tree.ts"
import { DirectoryMirror } from "../../relay/directory-mirror.ts"
import { logFolder } from "../../relay/log-folder.ts"
import { relayLog, silentLog } from "../../relay/log.ts"
import type { Clock } from "../../system/machine.ts"
import {
  day,
  deviceEntry,
  deviceKeyOf,
  deviceOf,
  makeAuthorities,
  pocKeyOf,
  start,
  TestDirectory,
  type Authorities,
} from "../support/directory.ts"
import { signingKeyOf } from "../support/papers.ts"

const kenya = "ke/technical/ke-cirt" as PocAddress
const singapore = "sg/technical/sg-cirt" as PocAddress
const host = "relay.example"

let authorities: Authorities
beforeAll(async () => {
  authorities = await makeAuthorities()
})

/** Time passes only when told to. */
class TestClock implements Clock {
  ms = start * 1000
  readonly #timers: { readonly at: number; readonly call: () => void }[] = []

  now(): number {
    return this.ms
  }

  monotonic(): number {
    return this.ms
  }

  after(delayMs: number, call: () => void): () => void {
    const timer = { at: this.ms + delayMs, call }
    this.#timers.push(timer)
    return () => void this.#timers.splice(this.#timers.indexOf(timer), 1)
  }

  async pass(ms: number): Promise<void> {
    this.ms += ms
    for (const timer of this.#timers.splice(0)) {
      if (timer.at <= this.ms) timer.call()
      else this.#timers.push(timer)
    }
    await new Promise(setImmediate)
  }
}

const clock = new TestClock()
const mirrors: DirectoryMirror[] = []
afterEach(() => {
  for (const mirror of mirrors.splice(0)) mirror.stop()
})

const logKey = signingKeyOf("log")

/** A log of these leaves, with its newest checkpoint; `leaves` may grow. */
function sourceOf(leaves: readonly Uint8Array[]) {
  const checkpointOf = (rows: readonly Uint8Array[]) => {
    const tree = new MerkleLog()
    for (const leaf of rows) tree.append(leaf)
    const root = tree.rootAt(tree.size)
    return signCheckpoint(logKey, { origin: "directory.example/log", size: tree.size, root }, source.dated())
  }
  const source = {
    covered: () => leaves,
    dated: () => clock.ms / 1000,
    checkpoint: async () => checkpointOf(source.covered()),
    entries: async (from: number, max: number) => leaves.slice(from, from + Math.min(max, 3)),
  }
  return source
}

async function mirrorOf(directory: TestDirectory, source = sourceOf(directory.leaves)) {
  const lines: string[] = []
  const log = relayLog({ write: (line) => void lines.push(line) })
  const mirror = new DirectoryMirror({ anchor: directory.anchor, host, source, clock, log })
  mirrors.push(mirror)
  const left: string[] = []
  await mirror.follow(async (device, mailbox) => void left.push(`${hex(device)} ${hex(mailbox)}`))
  return { mirror, left, lines, source }
}

const nameOf = (poc: PocAddress, device = "first") => {
  const entry = deviceEntry(authorities.realm, poc, device)
  return `${hex(entry.device)} ${hex(entry.mailbox)}`
}

describe("the copy in the relay's folder", () => {
  const gone = { checkpoint: () => Promise.reject(new Error("away")), entries: async () => [] }
  const folder = mkdtempSync(join(tmpdir(), "valise-mirror-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test("is verified at the next start, whole or not at all, and stands in for the directory", async () => {
    const directory = await TestDirectory.create(authorities)
    await directory.enrol(kenya)
    const { keep, source } = logFolder(folder)
    const parts = { anchor: directory.anchor, host, clock, log: silentLog }
    const first = new DirectoryMirror({ ...parts, source: sourceOf(directory.leaves), keep })
    await first.sync()
    const recalled = new DirectoryMirror({ ...parts, source: gone })
    await recalled.recall(source)
    expect([recalled.size, recalled.deviceOfMailbox(deviceEntry(authorities.realm, kenya).mailbox)?.poc]).toEqual([
      first.size,
      kenya,
    ])

    const bundle = join(folder, "tile/entries", readdirSync(join(folder, "tile/entries/000.p"))[0]!)
    const path = bundle.replace("entries/", "entries/000.p/")
    writeFileSync(
      path,
      readFileSync(path).map((byte, i) => (i === 40 ? byte ^ 1 : byte)),
    )
    const damaged = new DirectoryMirror({ ...parts, source: sourceOf(directory.leaves), keep })
    await damaged.recall(source)
    expect(damaged.size).toBe(0)
    await damaged.sync()
    const mended = new DirectoryMirror({ ...parts, source: gone })
    await mended.recall(source)
    expect(mended.size).toBe(first.size)
  })
})

describe("the relay's mirror of the directory", () => {
  test("serves the devices that are listed with this relay, and the log's own bytes", async () => {
    const directory = await TestDirectory.create(authorities)
    await directory.enrol(kenya)
    await directory.enrol(singapore)
    const elsewhere = deviceEntry(authorities.realm, singapore, "first", "other-relay.example")
    directory.must(directory.logManifest(singapore, { devices: [elsewhere] }))
    const { mirror, source, left } = await mirrorOf(directory)
    const { device, mailbox, key } = deviceEntry(authorities.realm, kenya)
    expect(mirror.device(device)).toEqual({ device, mailbox, key, poc: kenya })
    expect(mirror.deviceOfMailbox(mailbox)).toEqual({ device, mailbox, key, poc: kenya })
    expect(mirror.device(deviceOf(singapore))).toBeUndefined()
    expect(mirror.deviceOfMailbox(elsewhere.mailbox)).toBeUndefined()
    expect(mirror.deviceOfMailbox(new Uint8Array(16) as MailboxId)).toBeUndefined()
    expect(mirror.size).toBe(directory.leaves.length)
    expect(await mirror.log.checkpoint()).toEqual(await source.checkpoint())
    expect(await mirror.log.entries(2, 3)).toEqual(directory.leaves.slice(2, 5))
    // Its mailbox here, from its first manifest, is no longer its own.
    expect(left).toEqual([nameOf(singapore)])
  })

  test("learns of a revocation and of a device taken off the list, and tells it once", async () => {
    const directory = await TestDirectory.create(authorities)
    await directory.enrol(kenya)
    await directory.enrol(singapore)
    const { mirror, left } = await mirrorOf(directory)
    expect(left).toEqual([])
    const second = deviceEntry(authorities.realm, singapore, "second")
    directory.time += 10
    directory.must(directory.logManifest(singapore, { devices: [second] }))
    const target = { kind: "device", poc: kenya, device: deviceOf(kenya) } as const
    directory.must(directory.revoke(target, deviceKeyOf(kenya)))
    await clock.pass(14_000)
    expect(left).toEqual([])
    await clock.pass(1000)
    expect(left.toSorted()).toEqual([nameOf(kenya), nameOf(singapore)].toSorted())
    expect(mirror.device(deviceOf(kenya))).toBeUndefined()
    expect(mirror.device(second.device)).toBeDefined()
    await clock.pass(15_000)
    expect(left).toHaveLength(2)
  })

  test("is looked at sooner for a device that is not listed yet, however many ask, but not at once again", async () => {
    const directory = await TestDirectory.create(authorities)
    const { mirror, source } = await mirrorOf(directory)
    const honest = source.checkpoint
    let looks = 0
    source.checkpoint = () => {
      looks += 1
      return honest()
    }
    await clock.pass(5000)
    await directory.enrol(kenya)
    const flood = () => {
      for (let i = 0; i < 1000; i++) mirror.lookSoon()
    }
    flood()
    await clock.pass(0)
    expect(looks).toBe(1)
    expect(mirror.device(deviceOf(kenya))).toBeDefined()
    for (let second = 0; second < 10; second++) {
      flood()
      await clock.pass(1000)
    }
    expect(looks).toBe(6)
    await clock.pass(14_000)
    expect(looks).toBe(6)
    await clock.pass(1000)
    expect(looks).toBe(7)
  })

  test("a relay that was off when a device left is told at its start", async () => {
    const directory = await TestDirectory.create(authorities)
    await directory.enrol(kenya)
    directory.time += 10
    directory.must(directory.revoke(directory.certificateTarget(kenya), pocKeyOf(kenya)))
    const { left } = await mirrorOf(directory)
    expect(left).toEqual([nameOf(kenya)])
  })

  test("a log that contradicts itself, withholds entries or goes stale changes nothing, and is logged by its code", async () => {
    const directory = await TestDirectory.create(authorities)
    await directory.enrol(kenya)
    const { mirror, source, lines } = await mirrorOf(directory)
    const before = { size: mirror.size, checkpoint: await mirror.log.checkpoint() }
    const honest = source.covered
    const frozen = () => start - 4 * day
    const attempts: [string, () => readonly Uint8Array[], () => number][] = [
      ["ERR_DIRECTORY_SPLIT", () => directory.leaves.with(2, directory.leaves[1]!), source.dated],
      ["ERR_DIRECTORY_SPLIT", () => [...directory.leaves.slice(0, -1), new Uint8Array(9)], source.dated],
      ["ERR_DIRECTORY_SPLIT", () => directory.leaves.slice(1), source.dated],
      ["ERR_DIRECTORY_STALE", () => [...directory.leaves, new Uint8Array(9)], source.dated],
      ["ERR_DIRECTORY_STALE", honest, frozen],
    ]
    for (const [code, covered, dated] of attempts) {
      Object.assign(source, { covered, dated })
      await clock.pass(15_000)
      expect(lines.at(-1), code).toContain(`"code":"${code}"`)
      expect({ size: mirror.size, checkpoint: await mirror.log.checkpoint() }).toEqual(before)
      expect(mirror.device(deviceOf(kenya))).toBeDefined()
    }
    source.dated = () => clock.ms / 1000
    source.covered = honest
    await directory.enrol(singapore)
    await clock.pass(15_000)
    expect(mirror.device(deviceOf(singapore))).toBeDefined()
  })

  test("a source that fails is tried again; until then there is nobody to serve", async () => {
    const directory = await TestDirectory.create(authorities)
    await directory.enrol(kenya)
    const source = sourceOf(directory.leaves)
    const checkpoint = source.checkpoint
    source.checkpoint = () => Promise.reject(new Error("the log cannot be reached"))
    const { mirror, lines } = await mirrorOf(directory, source)
    expect(lines.at(-1)).toContain("relay.fault")
    expect(lines.join("")).not.toContain("cannot be reached")
    expect(mirror.size).toBe(0)
    expect(mirror.device(deviceOf(kenya))).toBeUndefined()
    await expect(mirror.log.checkpoint()).rejects.toThrow("mirrored yet")
    source.checkpoint = checkpoint
    await clock.pass(15_000)
    expect(mirror.device(deviceOf(kenya))).toBeDefined()
  })
})
