/** The store that a relay uses: its contract, and what is its own: deletions, room, what it says of decay. */
import { randomBytes } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import type { MailboxStore, StoreContents } from "../../relay/store.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"
import { openStoreHere } from "../support/shelf-here.ts"

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
const reopen = async (options?: Parameters<typeof openSegmentStore>[1]): Promise<void> => {
  await store.close()
  store = await openSegmentStore(folder, options)
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

test("the store on disk and the one in memory answer alike, whatever is asked in whatever order", async () => {
  const mailboxes = [mailbox, other]
  const devices = [1, 2].map((n) => new Uint8Array(32).fill(n) as DeviceId)
  const small = fc.nat({ max: 5 })
  const either = fc.nat({ max: 1 })
  const weights = { append: 6, collect: 3, put: 3, take: 3, expire: 1, forget: 1, reopen: 1 }
  const step = fc.oneof(
    ...Object.entries(weights).map(([kind, weight]) => ({
      weight,
      arbitrary: fc.tuple(fc.constant(kind), either, small, small),
    })),
  )
  const quota = { envelopesMax: 4, bytesMax: 12 }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const place = mkdtempSync(join(folder, "run-"))
      const disk = new MemoryDisk()
      const stores = [await openStoreHere(place, { quota }), disk.open(quota)]
      for (const [kind, which, a, b] of steps) {
        if (kind === "reopen") {
          await Promise.all(stores.map((each) => each.close()))
          stores.splice(0, 2, await openStoreHere(place, { quota }), disk.open(quota))
          continue
        }
        const [one, alike] = await Promise.all(
          stores.map(async (each) => {
            const box = mailboxes[which]!
            const owner = devices[which]!
            if (kind === "append") return each.append(box, new Uint8Array(32).fill(a), b, new Uint8Array(b).fill(a))
            if (kind === "collect") return each.collect(box, [a, b])
            if (kind === "expire") return each.expire(a)
            if (kind === "forget") return each.forget(box, owner)
            if (kind === "take") return each.takePrekey(owner)
            const rotating = b === 0 ? {} : { rotating: new Uint8Array([9, b]) }
            return each.putPrekeys(owner, {
              reset: b === 5,
              oneTime: [Uint8Array.of(a), Uint8Array.of(b)],
              ...rotating,
            })
          }),
        )
        expect(one, kind).toEqual(alike)
        for (const box of mailboxes) {
          const [read, readAlike] = await Promise.all(stores.map((each) => each.read(box, 0, 100)))
          expect(read).toEqual(readAlike)
        }
      }
      const [seen, alike] = await Promise.all(stores.map(async (each) => sorted(await each.inspect())))
      expect(seen).toEqual(alike)
      await Promise.all(stores.map((each) => each.close()))
    }),
    { numRuns: 12, endOnFailure: true },
  )
})

const sorted = (contents: StoreContents): unknown =>
  Object.fromEntries(
    Object.entries(contents).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.map((each) => JSON.stringify(each)).toSorted() : value,
    ]),
  )

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

test("a prekey that was forgotten or taken leaves no byte in any file by the next expire", async () => {
  const [taken, forgotten] = [randomBytes(1400), randomBytes(1400)]
  await store.putPrekeys(device, { reset: false, oneTime: [taken, forgotten] })
  expect([holds(taken), holds(forgotten)]).not.toContainEqual([])
  await store.takePrekey(device)
  await store.expire(0)
  expect(holds(taken)).toEqual([])
  await store.forget(mailbox, device)
  expect(holds(forgotten)).toEqual([])
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

test("too little room on the disk: nothing is added, while collecting and prekeys go on; room again: all goes on", async () => {
  const blind = randomBytes(32)
  await store.append(mailbox, blind, 1, randomBytes(0))
  await store.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(1)] })

  await reopen({ headroomBytes: 2 ** 60 })
  const refused = expect.objectContaining({ code: "ERR_STORE_UNAVAILABLE", retryable: true })
  await expect(store.append(mailbox, randomBytes(32), 2, randomBytes(10))).rejects.toEqual(refused)
  await expect(store.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(2)] })).rejects.toEqual(refused)
  expect(await store.append(mailbox, blind, 2, randomBytes(0))).toEqual({ outcome: "stored", minute: 1 })
  expect(await store.takePrekey(device)).toEqual(Uint8Array.of(1))
  await store.collect(mailbox, [1])
  expect(await store.read(mailbox, 0, 10)).toEqual([])

  await reopen()
  expect(await store.append(mailbox, randomBytes(32), 2, randomBytes(10))).toMatchObject({ outcome: "stored" })
})

test("more than the disk can keep up with is refused, and what was taken on is kept", async () => {
  const outcomes = await Promise.allSettled(
    Array.from({ length: 1200 }, () => store.append(mailbox, randomBytes(32), 1, new Uint8Array(66_000))),
  )
  const refused = outcomes.filter(({ status }) => status === "rejected")
  expect(refused.length).toBeGreaterThan(0)
  for (const each of refused) expect(each).toMatchObject({ reason: { code: "ERR_STORE_UNAVAILABLE" } })
  expect(await store.read(mailbox, 0, 2000)).toHaveLength(1200 - refused.length)
  const puts = await Promise.allSettled(
    Array.from({ length: 70 }, () => store.putPrekeys(device, { reset: true, oneTime: [new Uint8Array(1_000_000)] })),
  )
  expect(puts[0]).toMatchObject({ value: 1 })
  expect(puts.at(-1)).toMatchObject({ reason: { code: "ERR_STORE_UNAVAILABLE" } })
  // The disk has not failed: all goes on.
  expect(await store.append(other, randomBytes(32), 1, randomBytes(10))).toMatchObject({ outcome: "stored" })
  expect(await store.takePrekey(device)).toHaveLength(1_000_000)
})

test("the folder disappears: nothing is accepted, and nothing crashes", async () => {
  await fill(1, randomBytes(10))
  rmSync(folder, { recursive: true })
  await expect(store.append(mailbox, randomBytes(32), 1, randomBytes(10))).rejects.toMatchObject({
    code: "ERR_STORE_UNAVAILABLE",
  })
  mkdirSync(folder)
})

test("one blind for many envelopes costs nobody anything, and each is kept", async () => {
  const blind = randomBytes(32)
  const all = Array.from({ length: 40 }, (_, i) => new Uint8Array([i]))
  for (const bytes of all) await store.append(mailbox, blind, 1, bytes)
  expect((await store.read(mailbox, 0, 100)).map(({ bytes }) => bytes)).toEqual(all)
})
