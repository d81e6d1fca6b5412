/** What is the segment files' own: their contract, their deletions, their files. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { openSqliteStore } from "../../relay/store-sqlite.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

mailboxStoreContract("segments", (folder, quota) => openSegmentStore(folder, quota && { quota }))

let folder: string
let store: MailboxStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-store-"))
  store = await openSegmentStore(folder)
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const other = new Uint8Array(16).fill(2) as MailboxId
const device = new Uint8Array(32).fill(2) as DeviceId
const fill = (count: number, bytes: Uint8Array, to = mailbox) =>
  Promise.all(Array.from({ length: count }, () => store.append(to, randomBytes(32), 1, bytes)))
const reopen = async (): Promise<void> => {
  await store.close()
  store = await openSegmentStore(folder)
}
const holds = (needle: Uint8Array): string[] =>
  [...inspectStore(folder).rawBytes(needle.length)]
    .filter(({ bytes }) => Buffer.from(bytes).includes(Buffer.from(needle)))
    .map(({ file }) => file)
const bytesOnDisk = (): number =>
  readdirSync(folder)
    .filter((name) => name.startsWith("mailboxes.0"))
    .reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
const collectAll = async (from: MailboxId): Promise<void> => {
  const held = await store.read(from, 0, 1_000_000)
  await store.collect(
    from,
    held.map(({ sequence }) => sequence),
  )
}

test("envelopes that an SQLite store accepted are not passed over: the folder is refused until they have left", async () => {
  await store.close()
  const earlier = await openSqliteStore(folder)
  await earlier.append(mailbox, randomBytes(32), 1, randomBytes(700))
  await earlier.close()
  await expect(openSegmentStore(folder)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  const again = await openSqliteStore(folder)
  await again.collect(mailbox, [1])
  await again.close()
  store = await openSegmentStore(folder)
})

const removals: [string, () => Promise<unknown>][] = [
  ["expire", () => store.expire(2)],
  ["forget", () => store.forget(mailbox, device)],
  ["collect, then the next expire,", async () => [await collectAll(mailbox), await store.expire(0)]],
]
test.each(removals)("deleting by %s leaves no byte of it in any file, while the store runs", async (_, remove) => {
  const [canary, blind] = [randomBytes(24), randomBytes(32)]
  await store.append(other, randomBytes(32), 9, randomBytes(700))
  await store.append(mailbox, blind, 1, Buffer.concat([randomBytes(3000), canary, randomBytes(3000)]))
  await fill(20, randomBytes(5300))
  await store.append(other, randomBytes(32), 9, randomBytes(700))
  expect([holds(canary).length, holds(blind).length]).toEqual([1, 1])
  await remove()
  expect([holds(canary), holds(blind)]).toEqual([[], []])
  expect(await store.read(other, 0, 10)).toHaveLength(2)
  await reopen()
  expect(await store.read(mailbox, 0, 10)).toEqual([])
  expect(await store.read(other, 0, 10)).toHaveLength(2)
  expect((await store.inspect()).quarantined).toEqual({ envelopes: [], prekeys: 0 })
})

test("gives room back to the disk, and moves what little is left, with its number", async () => {
  const kept = randomBytes(5300)
  await fill(300, randomBytes(5300))
  await store.append(other, randomBytes(32), 5, kept)
  await fill(300, randomBytes(5300))
  const before = bytesOnDisk()
  await store.expire(2)
  expect(bytesOnDisk()).toBeLessThan(before / 10)
  await reopen()
  expect(await store.read(other, 0, 10)).toEqual([{ sequence: 1, minute: 5, bytes: new Uint8Array(kept) }])
  expect((await store.read(mailbox, 0, 10)).length).toBe(0)
  await fill(1, randomBytes(10))
  expect((await store.read(mailbox, 0, 10))[0]?.sequence).toBe(601)
})

test("a mailbox in use needs no more room than a few files, without any expiry", async () => {
  for (let round = 0; round < 30; round++) {
    await fill(100, randomBytes(66_000))
    await collectAll(mailbox)
  }
  // 30 × 6.6 MB have gone through; a file has 64 MB.
  expect(bytesOnDisk()).toBeLessThan(140_000_000)
}, 60_000)

test("files are readable to the relay's user alone, and all are searched by an inspection", async () => {
  await fill(1, randomBytes(100))
  const names = readdirSync(folder)
  for (const name of names) expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600)
  expect(inspectStore(folder).files.map(({ name }) => name)).toEqual(names)
  expect(inspectStore(folder).contents).toEqual(await store.inspect())
})

test("more than the disk can keep up with is refused, and what was taken on is kept", async () => {
  const outcomes = await Promise.allSettled(
    Array.from({ length: 1200 }, () => store.append(mailbox, randomBytes(32), 1, new Uint8Array(66_000))),
  )
  const refused = outcomes.filter(({ status }) => status === "rejected")
  expect(refused.length).toBeGreaterThan(0)
  for (const each of refused) expect(each).toMatchObject({ reason: { code: "ERR_STORE_UNAVAILABLE" } })
  expect(await store.read(mailbox, 0, 2000)).toHaveLength(1200 - refused.length)
})
