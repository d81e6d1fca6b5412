/** P10: whatever call of the disk fails, nothing is acknowledged that is not kept, and what is kept can be read. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { openSegmentStore } from "../../relay/store-segment.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { mountTmpfs, needStrace, straced } from "./machine.ts"
import { contentOf, deviceOf, linesOf, mailboxOf, nameOf } from "./store-load.ts"

const child = join(import.meta.dirname, "store-fault-child.ts")

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-disk-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** One failure of the disk: strace makes the call with this number fail, or from this number on all. */
interface Failure {
  readonly error: "EIO" | "ENOSPC"
  readonly call: "fsync" | "fdatasync" | "pwrite64"
  readonly when: string
}

/**
 * The child's life has 30 syncs of the prekeys and of the folder, 28 of the segment file, and 116 writes. Some of them
 * fail here; all by command: VALISE_FAULTS=all
 */
const some = process.env.VALISE_FAULTS === "all" ? 1 : 4
const failures: Failure[] = [
  ...upTo(28, some).map((n): Failure => ({ error: "EIO", call: "fdatasync", when: `${n}` })),
  ...upTo(28, 7 * some).map((n): Failure => ({ error: "ENOSPC", call: "fdatasync", when: `${n}+` })),
  ...upTo(30, some).map((n): Failure => ({ error: "EIO", call: "fsync", when: `${n}` })),
  ...upTo(30, 4 * some).map((n): Failure => ({ error: "ENOSPC", call: "fsync", when: `${n}+` })),
  ...upTo(116, 6 * some).map((n): Failure => ({ error: "EIO", call: "pwrite64", when: `${n}` })),
  ...upTo(116, 9 * some).map((n): Failure => ({ error: "ENOSPC", call: "pwrite64", when: `${n}+` })),
]

function upTo(last: number, step: number): number[] {
  return Array.from({ length: Math.ceil(last / step) }, (_, i) => last - i * step)
}

const title = "$error at $call $when"
test.concurrent.for(failures)(title, { timeout: 60_000 }, async ({ error, call, when }, context) => {
  needStrace(context)
  const place = join(folder, `${error}-${call}-${when}`)
  const inject = [
    "--seccomp-bpf",
    "-o",
    "/dev/null",
    "-e",
    `trace=${call}`,
    "-e",
    `inject=${call}:error=${error}:when=${when}`,
  ]
  const howItEnds = Number.parseInt(when) % 2 === 0 ? ["--die"] : []
  const said = linesOf(await straced(inject, child, [place, "run", ...howItEnds]))
  const store = await openSegmentStore(place)
  if (said[0]![0] === "ready") await compare(store, said)
  else expect(said).toEqual([["unopened", "ERR_STORE_UNAVAILABLE"]])
  expect(await append(store, 100)).toMatchObject({ outcome: "stored" })
  expect(await store.inspect()).toMatchObject({ intact: true, quarantined: { envelopes: [], prekeys: 0 } })
  await store.close()
})

async function compare(store: MailboxStore, said: readonly string[][]): Promise<void> {
  const wordsOf = (what: string) => said.filter(([first]) => first === what).map(([, word]) => word!)
  for (const refusal of said.filter(([what]) => what === "refused"))
    expect(refusal.at(-1)).toBe("ERR_STORE_UNAVAILABLE")

  const firstRefusal = said.findIndex(([what]) => what === "refused")
  const afterwards = firstRefusal === -1 ? [] : said.slice(firstRefusal)
  expect(afterwards.filter(([what]) => ["accepted", "published", "emptied"].includes(what!))).toEqual([])
  expect(afterwards.filter(([what, word]) => what === "taken" && word !== "none")).toEqual([])

  const accepted = wordsOf("accepted")
  expect(said.find(([what]) => what === "read")!.slice(1)).toEqual(accepted)
  expect(said.find(([what]) => what === "inspected")![1]).toBe(`${accepted.length}`)
  const held = await store.read(mailboxOf(0), 0, 100)
  expect(held.map(({ bytes }) => nameOf(bytes))).toEqual(accepted)
  for (const { bytes } of held) expect(Buffer.from(contentOf(nameOf(bytes))).equals(bytes)).toBe(true)

  // Where the first change to the prekeys failed: one that was refused may be there, one on its way out may be gone.
  const out = [...wordsOf("taken").filter((word) => word !== "none"), ...(await takeAll(store))]
  const published = wordsOf("published")
  expect(new Set(out).size).toBe(out.length)
  for (const prekey of out) expect([...published, ...wordsOf("refused")]).toContain(prekey)
  expect(published.filter((prekey) => !out.includes(prekey)).length).toBeLessThan(2)
}

async function takeAll(store: MailboxStore): Promise<string[]> {
  const taken: string[] = []
  for (let prekey = await store.takePrekey(deviceOf(0)); prekey; prekey = await store.takePrekey(deviceOf(0)))
    taken.push(Buffer.from(prekey).toString())
  return taken
}

const mailbox = mailboxOf(7)
const append = (store: MailboxStore, bytes: number) => store.append(mailbox, randomBytes(32), 1, randomBytes(bytes))
const sizesIn = async (store: MailboxStore) => (await store.read(mailbox, 0, 10_000)).map(({ bytes }) => bytes.length)

const fillsUp = "a disk that fills up: accepts no more, can be read, also after a restart; with room again, all is well"
test(fillsUp, async (context) => {
  const disk = join(folder, "full-disk")
  const unmount = mountTmpfs(context, disk, "500k")
  try {
    const accepted: number[] = []
    const store = await openSegmentStore(disk, { headroomBytes: 0 })
    const fillUp = async (into: MailboxStore) => {
      for (let bytes = 2000; ; bytes += 100) {
        await append(into, bytes)
        accepted.push(bytes)
      }
    }
    await expect(fillUp(store)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", retryable: true })
    expect(accepted.length).toBeGreaterThan(10)
    await expect(append(store, 1)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(await sizesIn(store)).toEqual(accepted)
    await store.close()

    // Nothing of the disk is left, not even for the store's own small files.
    try {
      writeFileSync(join(disk, "ballast"), randomBytes(500_000))
    } catch {
      // It took what there was.
    }
    const restarted = await openSegmentStore(disk, { headroomBytes: 0 })
    expect(await sizesIn(restarted)).toEqual(accepted)
    // What it gave up of its own to start at all may hold a few more.
    await expect(fillUp(restarted)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect(await sizesIn(restarted)).toEqual(accepted)
    await restarted.close()

    execFileSync("mount", ["-o", "remount,size=8m", disk])
    const roomy = await openSegmentStore(disk, { headroomBytes: 0 })
    expect(await append(roomy, 6000)).toMatchObject({ outcome: "stored" })
    expect(await sizesIn(roomy)).toEqual([...accepted, 6000])
    await roomy.close()
  } finally {
    unmount()
  }
})

const heals =
  "with headroom a full disk heals by itself: collecting makes room, and acceptance goes on without a restart"
test(heals, async (context) => {
  const disk = join(folder, "healing-disk")
  const unmount = mountTmpfs(context, disk, "6m")
  try {
    const store = await openSegmentStore(disk, { headroomBytes: 3_000_000 })
    const fillUp = async () => {
      for (;;) await append(store, 5300)
    }
    await expect(fillUp()).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    const held = await store.read(mailbox, 0, 10_000)
    expect(held.length).toBeGreaterThan(50)
    await store.collect(
      mailbox,
      held.map(({ sequence }) => sequence),
    )
    await store.expire(0)
    expect(await append(store, 5300)).toMatchObject({ outcome: "stored" })
    await store.close()
  } finally {
    unmount()
  }
})
