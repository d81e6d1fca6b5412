/** What other programs, and other parts of this one, do beside a running store; and how it looks after a crash. */
import { randomBytes } from "node:crypto"
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { openSqliteStore } from "../../relay/store-sqlite.ts"
import type { MailboxStore } from "../../relay/store.ts"

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const device = new Uint8Array(32).fill(2) as DeviceId
const append = (bytes: Uint8Array, minute = 1) => store.append(mailbox, randomBytes(32), minute, bytes)
const walSize = () => statSync(join(folder, "mailboxes.sqlite-wal")).size
const unavailable = { code: "ERR_STORE_UNAVAILABLE" }

let folder: string
let store: MailboxStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-beside-"))
  store = await openSqliteStore(folder)
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

test("somebody who reads for long holds up nothing; the write-ahead log is emptied when they are done", async () => {
  await append(randomBytes(5300))
  const reader = new DatabaseSync(join(folder, "mailboxes.sqlite"), { readOnly: true })
  reader.exec("BEGIN; SELECT count(*) FROM envelope")
  for (let n = 0; n < 20; n++) {
    expect(await append(randomBytes(5300))).toMatchObject({ outcome: "stored" })
    expect(await store.expire(1)).toBe(0)
  }
  expect(walSize()).toBeGreaterThan(100_000)
  expect(reader.prepare("SELECT count(*) AS n FROM envelope").get()?.n).toBe(1)
  reader.exec("ROLLBACK")
  await store.expire(1)
  expect(walSize()).toBe(0)
  reader.close()
})

test("the write-ahead log stays below twice its usual length under load", async () => {
  for (let round = 0; round < 12; round++) {
    await Promise.all(Array.from({ length: 100 }, () => append(randomBytes(60_000))))
    expect(walSize()).toBeLessThan(32 * 1024 * 1024)
  }
}, 60_000)

test("somebody else who writes, lock or no lock, ends the writing here; reading goes on", async () => {
  await append(randomBytes(10))
  const intruder = new DatabaseSync(join(folder, "mailboxes.sqlite"), { timeout: 5000 })
  intruder.exec("UPDATE counter SET next = 1")
  await expect(append(randomBytes(20))).rejects.toMatchObject(unavailable)
  await expect(store.takePrekey(device)).rejects.toMatchObject(unavailable)
  expect(await store.read(mailbox, 0, 10)).toHaveLength(1)
  intruder.close()
  await store.close()
  // The counter was tampered with and its checksum with it not: numbers go on far above.
  store = await openSqliteStore(folder)
  await append(randomBytes(30))
  const [first, second] = await store.read(mailbox, 0, 10)
  expect(second!.sequence - first!.sequence).toBeGreaterThan(2 ** 31)
})

test("the folder disappears: nothing is accepted, and nothing crashes", async () => {
  await append(randomBytes(10))
  rmSync(folder, { recursive: true })
  await expect(append(randomBytes(10))).rejects.toMatchObject(unavailable)
  mkdirSync(folder)
})

test("one blind for many envelopes costs nobody anything, and each is kept", async () => {
  const blind = randomBytes(32)
  const all = Array.from({ length: 40 }, (_, i) => new Uint8Array([i]))
  for (const bytes of all) await store.append(mailbox, blind, 1, bytes)
  expect((await store.read(mailbox, 0, 100)).map(({ bytes }) => bytes)).toEqual(all)
})

test("after a crash the store can be inspected before it is opened again, and opens with everything", async () => {
  await append(randomBytes(5300))
  await store.expire(1)
  await append(randomBytes(100))
  await store.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(1)] })
  const crashed = join(folder, "crashed")
  mkdirSync(crashed)
  for (const name of ["mailboxes.sqlite", "mailboxes.sqlite-wal"]) copyFileSync(join(folder, name), join(crashed, name))
  const expected = await store.inspect()
  expect(expected.envelopes).toHaveLength(2)
  expect(inspectStore(crashed).contents).toEqual(expected)
  const again = await openSqliteStore(crashed)
  expect(await again.inspect()).toEqual(expected)
  await again.close()
})
