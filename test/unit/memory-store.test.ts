import { expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

const disks = new Map<string, MemoryDisk>()
mailboxStoreContract("memory", async (folder, quota) => {
  const disk = disks.get(folder) ?? new MemoryDisk()
  disks.set(folder, disk)
  return disk.open(quota)
})

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const device = new Uint8Array(32).fill(2) as DeviceId
const blindOf = (n: number) => new Uint8Array(32).fill(n)
const bytes = Uint8Array.of(1, 2, 3)

/** A disk that syncs when told. */
function heldDisk(): { disk: MemoryDisk; sync: () => void } {
  const waiting: (() => void)[] = []
  return { disk: new MemoryDisk((sync) => waiting.push(sync)), sync: () => waiting.splice(0).forEach((each) => each()) }
}

test("nothing is answered, and nothing can be read, before the sync", async () => {
  const { disk, sync } = heldDisk()
  const store = disk.open()
  let answered = false
  const appended = store.append(mailbox, blindOf(1), 1, bytes).finally(() => (answered = true))
  expect(await store.read(mailbox, 0, 10)).toEqual([])
  expect(answered).toBe(false)
  sync()
  expect(await appended).toEqual({ outcome: "stored", minute: 1 })
  expect(await store.read(mailbox, 0, 10)).toHaveLength(1)
})

test("a crash loses what was not synced, and nothing else", async () => {
  const { disk, sync } = heldDisk()
  const store = disk.open()
  const kept = store.append(mailbox, blindOf(1), 1, bytes)
  const put = store.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(1)] })
  sync()
  await Promise.all([kept, put])
  const unanswered = [
    store.append(mailbox, blindOf(2), 1, bytes),
    store.collect(mailbox, [1]),
    store.takePrekey(device),
  ].map((each) => each.then(() => "answered"))
  disk.crash()
  sync()
  await expect(store.read(mailbox, 0, 10)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  expect(await Promise.race([...unanswered, Promise.resolve("nothing")])).toBe("nothing")

  const reopened = disk.open()
  expect(await reopened.read(mailbox, 0, 10)).toMatchObject([{ sequence: 1, minute: 1 }])
  expect(await reopened.countPrekeys(device)).toBe(1)
})

test("after a failed sync every write is refused until the store is opened anew, while reading goes on", async () => {
  const disk = new MemoryDisk()
  const store = disk.open()
  await store.append(mailbox, blindOf(1), 1, bytes)
  disk.break()
  const refused = { code: "ERR_STORE_UNAVAILABLE", retryable: true }
  await expect(store.append(mailbox, blindOf(2), 1, bytes)).rejects.toMatchObject(refused)
  disk.mend()
  await expect(store.append(mailbox, blindOf(3), 1, bytes)).rejects.toMatchObject(refused)
  await expect(store.takePrekey(device)).rejects.toMatchObject(refused)
  expect(await store.read(mailbox, 0, 10)).toHaveLength(1)
  await store.close()
  const reopened = disk.open()
  expect(await reopened.append(mailbox, blindOf(2), 2, bytes)).toEqual({ outcome: "stored", minute: 2 })
  expect(await reopened.read(mailbox, 0, 10)).toHaveLength(2)
})

test("a torn write leaves the first of what waited, and answers nobody", async () => {
  const { disk } = heldDisk()
  const store = disk.open()
  let answered = 0
  for (const n of [1, 2, 3]) void store.append(mailbox, blindOf(n), n, bytes).finally(() => answered++)
  disk.crash((waiting) => waiting - 1)
  const minutes = (await disk.open().read(mailbox, 0, 10)).map(({ minute }) => minute)
  expect({ answered, minutes }).toEqual({ answered: 0, minutes: [1, 2] })
})

test("a copy of a disk goes its own way", async () => {
  const disk = new MemoryDisk()
  await disk.open().append(mailbox, blindOf(1), 1, bytes)
  const copy = disk.copy()
  await copy.open().append(mailbox, blindOf(2), 2, bytes)
  disk.crash()
  expect(await disk.open().read(mailbox, 0, 10)).toHaveLength(1)
})
