/** The log of segment files and the store upon it, where a write fails, waits, or is asked for what is no number. */
import { mkdtempSync, rmSync } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { SegmentLog } from "../../relay/segment-log.ts"
import { recordBytes } from "../../relay/segment-record.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { openStoreHere } from "../support/shelf-here.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-segment-log-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const mailbox = new Uint8Array(16).fill(7) as MailboxId
const device = new Uint8Array(32).fill(3) as DeviceId
const blind = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const unavailable = { code: "ERR_STORE_UNAVAILABLE" }
const oneTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe("the log", () => {
  const record = { kind: "envelope", mailbox, sequence: 1, minute: 2, body: [new Uint8Array(100)] } as const
  const fresh = (): SegmentLog => {
    const log = new SegmentLog(folder, [])
    log.roll()
    return log
  }

  test("counts what waits, until it is on the disk", async () => {
    const log = fresh()
    expect([log.isIdle, log.unsyncedBytes]).toEqual([true, 0])
    log.add(record)
    log.add(record)
    expect([log.isIdle, log.unsyncedBytes]).toEqual([false, 2 * recordBytes(100)])
    await log.commit()
    await oneTurn()
    expect([log.isIdle, log.unsyncedBytes, log.error]).toEqual([true, 0, undefined])
    await log.newest.handle!.close()
  })

  test("gives files rising numbers", () => {
    const log = fresh()
    log.roll()
    expect(log.segments.map(({ number }) => number)).toEqual([1, 2])
  })

  test.each([
    ["fails", () => Promise.reject(Object.assign(new Error("no"), { code: "EIO" }))],
    ["takes only a part", async () => ({ bytesWritten: 1 })],
  ])("refuses what waits when the disk %s, cuts it off, and takes nothing more", async (_, write) => {
    const log = fresh()
    const cut: number[] = []
    const handle = { write, datasync: async () => undefined, truncate: async (at: number) => void cut.push(at) }
    log.newest.handle = handle as unknown as FileHandle
    log.add(record)
    const both = [log.commit(), log.commit()]
    for (const refused of await Promise.allSettled(both)) expect(refused).toMatchObject({ reason: unavailable })
    expect([cut, log.error]).toEqual([[0], expect.objectContaining(unavailable)])
    await expect(log.commit()).rejects.toBe(log.error)
    expect(log.fail(new Error("later"))).toBe(log.error)
  })
})

describe("the store", () => {
  const refusing = async (store: MailboxStore): Promise<void> => {
    for (const attempt of [
      store.append(mailbox, blind(9), 1, new Uint8Array(10)),
      store.collect(mailbox, [1]),
      store.expire(1),
      store.forget(mailbox, device),
      store.putPrekeys(device, { reset: false, oneTime: [] }),
      store.takePrekey(device),
    ])
      await expect(attempt).rejects.toMatchObject(unavailable)
  }

  test("forgets what the disk has refused, and takes nothing more", async () => {
    const store = await openStoreHere(folder)
    const under = store.append(mailbox, blind(1), 1, new Uint8Array(10))
    rmSync(folder, { recursive: true })
    await expect(under).rejects.toMatchObject(unavailable)
    expect(await store.read(mailbox, 0, 5)).toEqual([])
    await refusing(store)
    await store.close()
  })

  test("takes nothing more when its folder has gone", async () => {
    const store = await openStoreHere(folder)
    await store.append(mailbox, blind(1), 1, new Uint8Array(10))
    await oneTurn()
    rmSync(folder, { recursive: true })
    await refusing(store)
    await store.close()
  })

  test("adds nothing without room on the disk, and says so; what is there can be read", async () => {
    const store = await openStoreHere(folder)
    await store.append(mailbox, blind(1), 1, new Uint8Array(10))
    await store.close()
    const full = await openStoreHere(folder, { headroomBytes: 2 ** 60 })
    const message = expect.stringContaining("almost full") as string
    await expect(full.append(mailbox, blind(2), 1, new Uint8Array(10))).rejects.toMatchObject({
      ...unavailable,
      message,
    })
    const put = full.putPrekeys(device, { reset: false, oneTime: [] })
    await expect(put).rejects.toMatchObject({ ...unavailable, message })
    expect(await full.read(mailbox, 0, 5)).toHaveLength(1)
    await full.close()
  })

  test("refuses what would wait too long for the disk, and goes on when it has caught up", async () => {
    const store = await openStoreHere(folder, { quota: { envelopesMax: 1000, bytesMax: 2 ** 40 } })
    const large = new Uint8Array(16 * 1024 * 1024)
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => store.append(mailbox, blind(n), 1, large)))
    expect(outcomes.map(({ status }) => status)).toEqual([...Array(3).fill("fulfilled"), "rejected", "rejected"])
    expect(outcomes[4]).toMatchObject({ reason: { ...unavailable, message: expect.stringContaining("behind") } })
    expect(await store.append(mailbox, blind(6), 1, new Uint8Array(10))).toMatchObject({ outcome: "stored" })
    await store.close()
  })

  test("is asked with numbers and names of the right form only", async () => {
    const store = await openStoreHere(folder)
    const short = new Uint8Array(15) as MailboxId
    for (const attempt of [
      store.read(short, 0, 1),
      store.read(mailbox, -1, 1),
      store.read(mailbox, 0, 1.5),
      store.collect(short, [1]),
      store.expire(-1),
      store.forget(short, device),
    ])
      await expect(attempt).rejects.toMatchObject({ code: "ERR_MALFORMED" })
    await store.close()
  })
})
