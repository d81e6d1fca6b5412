/** P10: whatever call of the disk fails, nothing is acknowledged that is not kept, and what is kept can be read. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { MailboxId } from "../../protocol/address.ts"
import { openSqliteStore } from "../../relay/store-sqlite.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { mountTmpfs, needStrace, straced } from "./machine.ts"
import { contentOf, deviceOf, linesOf, mailboxOf, nameOf } from "./store-load.ts"

const child = join(import.meta.dirname, "store-fault-child.ts")

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-disk-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** The child's life has 46 syncs: opening, a commit each, and two or three for each emptying of the log. */
const syncs = Array.from({ length: 46 }, (_, i) => i + 1)
const failures: [string, string[]][] = [
  ...syncs.map((n): [string, string[]] => [`EIO at sync ${n}`, ["-e", `inject=fsync,fdatasync:error=EIO:when=${n}`]]),
  ...[13, 14, 15, 22, 23, 30].map((n): [string, string[]] => [
    `EIO at every sync from ${n}`,
    ["-e", `inject=fsync,fdatasync:error=EIO:when=${n}+`],
  ]),
  ...[13, 16, 20, 23].map((n): [string, string[]] => [
    `ENOSPC at sync ${n}`,
    ["-e", `inject=fsync,fdatasync:error=ENOSPC:when=${n}`],
  ]),
  ...[3, 20, 45, 70, 90, 110, 130, 150, 170, 200, 230, 260, 300, 340].flatMap((n): [string, string[]][] => [
    [`EIO at write ${n}`, ["-e", `inject=pwrite64:error=EIO:when=${n}`]],
    [`no room from write ${n} on`, ["-e", `inject=pwrite64:error=ENOSPC:when=${n}+`]],
  ]),
]

test.for([...failures.entries()])("%j", { timeout: 60_000 }, async ([number, [, injected]], context) => {
  needStrace(context)
  const trace = ["-o", "/dev/null", "-e", "trace=fsync,fdatasync,pwrite64", ...injected]
  const died = number % 2 === 0
  const lines = linesOf(await straced(trace, child, [folder, "run", ...(died ? ["--die"] : [])]))
  if (lines[0]![0] === "ready") await compare(lines)
  else expect(lines).toEqual([["unopened", "ERR_STORE_UNAVAILABLE"]])

  const store = await openSqliteStore(folder)
  expect(await store.append(mailboxOf(1), randomBytes(32), 1, randomBytes(100))).toMatchObject({ outcome: "stored" })
  expect(await store.inspect()).toMatchObject({ intact: true, quarantined: { envelopes: [], prekeys: 0 } })
  await store.close()

  async function compare(said: readonly string[][]): Promise<void> {
    const wordsOf = (what: string) => said.filter(([first]) => first === what).map(([, word]) => word!)
    const refusals = said.filter(([what]) => what === "refused")
    for (const refusal of refusals) expect(refusal.at(-1)).toBe("ERR_STORE_UNAVAILABLE")
    const firstRefusal = said.findIndex(([what]) => what === "refused")
    const acknowledging = new Set(["accepted", "published", "emptied"])
    if (firstRefusal >= 0)
      expect(
        said
          .slice(firstRefusal)
          .filter(([what, word]) => acknowledging.has(what!) || (what === "taken" && word !== "none")),
      ).toEqual([])

    const accepted = wordsOf("accepted")
    expect(said.find(([what]) => what === "read")!.slice(1)).toEqual(accepted)
    expect(said.find(([what]) => what === "inspected")![1]).toBe(`${accepted.length}`)

    const reopened = await openSqliteStore(folder)
    const held = await reopened.read(mailboxOf(0), 0, 100)
    expect(held.map(({ bytes }) => nameOf(bytes))).toEqual(accepted)
    for (const { bytes } of held) expect(Buffer.from(contentOf(nameOf(bytes))).equals(bytes)).toBe(true)
    const taken = new Set(wordsOf("taken").filter((word) => word !== "none"))
    const left = await takeAll(reopened)
    expect([...taken, ...left].toSorted()).toEqual(wordsOf("published").toSorted())
    await reopened.close()
  }
})

async function takeAll(store: MailboxStore): Promise<string[]> {
  const taken: string[] = []
  for (let prekey = await store.takePrekey(deviceOf(0)); prekey; prekey = await store.takePrekey(deviceOf(0)))
    taken.push(Buffer.from(prekey).toString())
  return taken
}

const mailbox = mailboxOf(7)
const append = (store: MailboxStore, bytes: number) => store.append(mailbox, randomBytes(32), 1, randomBytes(bytes))
const sizesIn = async (store: MailboxStore) => (await store.read(mailbox, 0, 10_000)).map(({ bytes }) => bytes.length)

test("a disk that fills up: accepts no more, can be read, also after a restart; with room again, all is well", async (context) => {
  const disk = join(folder, "disk")
  const unmount = mountTmpfs(context, disk, "500k")
  try {
    const accepted: number[] = []
    const store = await openSqliteStore(disk, { headroomBytes: 0 })
    const fillUp = async () => {
      for (let bytes = 2000; ; bytes += 100) {
        await append(store, bytes)
        accepted.push(bytes)
      }
    }
    await expect(fillUp()).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE", retryable: true })
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
    const restarted = await openSqliteStore(disk, { headroomBytes: 0 })
    expect(await sizesIn(restarted)).toEqual(accepted)
    await expect(append(restarted, 6000)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    await restarted.close()

    execFileSync("mount", ["-o", "remount,size=8m", disk])
    const roomy = await openSqliteStore(disk, { headroomBytes: 0 })
    expect(await append(roomy, 6000)).toMatchObject({ outcome: "stored" })
    expect(await sizesIn(roomy)).toEqual([...accepted, 6000])
    await roomy.close()
  } finally {
    unmount()
  }
})

test("with headroom a full disk heals by itself: collecting makes room, and acceptance goes on without a restart", async (context) => {
  const disk = join(folder, "disk")
  const unmount = mountTmpfs(context, disk, "6m")
  try {
    const store = await openSqliteStore(disk, { headroomBytes: 3_000_000 })
    const fillUp = async () => {
      for (;;) await append(store, 5300)
    }
    await expect(fillUp()).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    const held = await store.read(mailbox, 0, 10_000)
    expect(held.length).toBeGreaterThan(100)
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

test("what fits on no disk is not even tried: a mailbox is full first", async () => {
  const store = await openSqliteStore(folder, { quota: { envelopesMax: 1, bytesMax: 10 } })
  expect(await store.append(mailbox as MailboxId, randomBytes(32), 1, randomBytes(11))).toEqual({ outcome: "full" })
  await store.close()
})
