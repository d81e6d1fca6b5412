import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { openSqliteStore } from "../../relay/store-sqlite.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { mailboxStoreContract } from "../contract/mailbox-store.ts"

mailboxStoreContract("SQLite", (folder, quota) => openSqliteStore(folder, quota && { quota }))

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-store-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const device = new Uint8Array(32).fill(2) as DeviceId
const newBlind = () => new Uint8Array(randomBytes(32))
const fill = (store: MailboxStore, count: number, bytes: Uint8Array) =>
  Promise.all(Array.from({ length: count }, () => store.append(mailbox, newBlind(), 1, bytes)))
/** Opens in another process; the code of the failure, or "opened". */
const openElsewhere = (): string =>
  execFileSync(process.execPath, ["--input-type=module-typescript", "--eval", elsewhere, folder], {
    encoding: "utf8",
    cwd: import.meta.dirname,
  })
const elsewhere = `
  import { openSqliteStore } from "../../relay/store-sqlite.ts"
  try { await (await openSqliteStore(process.argv[1])).close(); process.stdout.write("opened") }
  catch (error) { process.stdout.write(error.code) }`

test("an SQLite store and the one in memory answer alike, whatever is asked in whatever order", async () => {
  const mailboxes = [1, 2].map((n) => new Uint8Array(16).fill(n) as MailboxId)
  const devices = [1, 2].map((n) => new Uint8Array(32).fill(n) as DeviceId)
  const small = fc.nat({ max: 5 })
  const either = fc.nat({ max: 1 })
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.tuple(fc.constant("append"), either, small, small) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("collect"), either, small, small) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("put"), either, small, small) },
    { weight: 3, arbitrary: fc.tuple(fc.constant("take"), either, small, small) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("expire"), either, small, small) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("forget"), either, small, small) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("reopen"), either, small, small) },
  )
  const quota = { envelopesMax: 4, bytesMax: 12 }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60 }), async (steps) => {
      const place = mkdtempSync(join(folder, "run-"))
      const disk = new MemoryDisk()
      const stores = [await openSqliteStore(place, { quota }), disk.open(quota)]
      for (const [kind, which, a, b] of steps) {
        if (kind === "reopen") {
          await Promise.all(stores.map((store) => store.close()))
          stores.splice(0, 2, await openSqliteStore(place, { quota }), disk.open(quota))
          continue
        }
        const [one, other] = await Promise.all(
          stores.map(async (store) => {
            const box = mailboxes[which]!
            const owner = devices[which]!
            if (kind === "append") return store.append(box, new Uint8Array(32).fill(a), b, new Uint8Array(b).fill(a))
            if (kind === "collect") return store.collect(box, [a, b])
            if (kind === "expire") return store.expire(a)
            if (kind === "forget") return store.forget(box, owner)
            if (kind === "take") return store.takePrekey(owner)
            const rotating = b === 0 ? {} : { rotating: new Uint8Array([9, b]) }
            return store.putPrekeys(owner, {
              reset: b === 5,
              oneTime: [Uint8Array.of(a), Uint8Array.of(b)],
              ...rotating,
            })
          }),
        )
        expect(one, kind).toEqual(other)
        for (const box of mailboxes) {
          const [read, alike] = await Promise.all(stores.map((store) => store.read(box, 0, 100)))
          expect(read).toEqual(alike)
        }
      }
      const [seen, alike] = await Promise.all(stores.map(async (store) => sorted(await store.inspect())))
      expect(seen).toEqual(alike)
      await Promise.all(stores.map((store) => store.close()))
    }),
    { numRuns: 12, endOnFailure: true },
  )
}, 120_000)

/** As text, with every list in one order. */
const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, item: unknown) =>
    Array.isArray(item) ? item.map((each) => JSON.stringify(each)).toSorted() : item,
  )

describe("files", () => {
  test("are readable to the relay's user alone, also in a folder that was not", async () => {
    chmodSync(folder, 0o755)
    const store = await openSqliteStore(folder)
    await fill(store, 1, randomBytes(100))
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    const names = readdirSync(folder)
    expect(names).toEqual(["mailboxes.lock", "mailboxes.sqlite", "mailboxes.sqlite-shm", "mailboxes.sqlite-wal"])
    for (const name of names) expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600)
    await store.close()
  })

  test("are made with their folder, however deep", async () => {
    const store = await openSqliteStore(join(folder, "a", "b"))
    expect(statSync(join(folder, "a", "b")).mode & 0o777).toBe(0o700)
    await store.close()
  })

  test("of a newer release are refused and left as they are", async () => {
    const made = await openSqliteStore(folder)
    await made.close()
    const db = new DatabaseSync(join(folder, "mailboxes.sqlite"))
    db.exec("PRAGMA user_version = 2")
    db.close()
    const before = readFileSync(join(folder, "mailboxes.sqlite"))
    await expect(openSqliteStore(folder)).rejects.toMatchObject({ code: "ERR_VERSION" })
    expect(() => inspectStore(folder)).toThrow(expect.objectContaining({ code: "ERR_VERSION" }))
    expect(readFileSync(join(folder, "mailboxes.sqlite"))).toEqual(before)
  })

  test.each([
    [
      "a text",
      () => writeFileSync(join(folder, "mailboxes.sqlite"), "not a database at all, but long enough".repeat(9)),
    ],
    [
      "another program's database",
      () =>
        new DatabaseSync(join(folder, "mailboxes.sqlite")).exec(
          "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)",
        ),
    ],
    ["a folder", () => mkdirSync(join(folder, "mailboxes.sqlite"))],
  ])("that are %s are refused", async (_, make) => {
    make()
    await expect(openSqliteStore(folder)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  })

  test("in a folder that cannot be made: refused", async () => {
    writeFileSync(join(folder, "file"), "")
    await expect(openSqliteStore(join(folder, "file", "store"))).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
    })
  })
})

describe("one writer", () => {
  test("another process is refused, until this one closes", async () => {
    const store = await openSqliteStore(folder)
    expect(openElsewhere()).toBe("ERR_STORE_UNAVAILABLE")
    await store.close()
    expect(openElsewhere()).toBe("opened")
  })

  test("still after this process has inspected its own store byte for byte", async () => {
    const store = await openSqliteStore(folder)
    await fill(store, 3, randomBytes(100))
    for (const inspection of [inspectStore(folder), inspectStore(folder)])
      expect([...inspection.rawBytes()].length).toBeGreaterThan(0)
    expect(openElsewhere()).toBe("ERR_STORE_UNAVAILABLE")
    expect(inspectStore(folder).contents.envelopes).toHaveLength(3)
    await store.close()
  })
})

describe("inspectStore", () => {
  test("of no store: not found, and nothing is made", () => {
    expect(() => inspectStore(folder)).toThrow(expect.objectContaining({ code: "ERR_NOT_FOUND" }))
    expect(readdirSync(folder)).toEqual([])
  })

  test("sees the same in a running and in a stopped store, and leaves the stopped one as it was", async () => {
    const store = await openSqliteStore(folder)
    await fill(store, 3, randomBytes(100))
    await store.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(1)], rotating: Uint8Array.of(2) })
    const running = inspectStore(folder)
    expect(running.contents).toEqual(await store.inspect())
    await store.close()
    const files = () => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("hex")])
    const before = files()
    expect(inspectStore(folder).contents).toEqual(running.contents)
    expect(files()).toEqual(before)
  })

  test("yields every byte of every file, whole in at least one chunk", async () => {
    const store = await openSqliteStore(folder)
    const canary = randomBytes(1500)
    const big = Buffer.concat([randomBytes(1_200_000), canary, randomBytes(900_000)])
    await store.append(mailbox, newBlind(), 1, big)
    await store.close()
    for (const overlap of [0, 63, 5000]) {
      const { files, rawBytes } = inspectStore(folder)
      for (const { name, bytes } of files) {
        const whole = new Uint8Array(bytes)
        for (const chunk of rawBytes(overlap)) if (chunk.file === name) whole.set(chunk.bytes, chunk.at)
        expect(Buffer.from(whole).equals(readFileSync(join(folder, name))), name).toBe(true)
      }
      const file = readFileSync(join(folder, "mailboxes.sqlite"))
      for (let at = 1_048_576 - 40; at < 1_048_576 + 40; at += 13) {
        const needle = file.subarray(at, at + 64)
        const found = [...rawBytes(overlap)].some(({ bytes }) => Buffer.from(bytes).includes(needle))
        if (overlap >= 63) expect(found, `${overlap} ${at}`).toBe(true)
      }
    }
  })
})

describe("deleting", () => {
  const holds = (needle: Uint8Array): string[] =>
    [...inspectStore(folder).rawBytes(needle.length)]
      .filter(({ bytes }) => Buffer.from(bytes).includes(Buffer.from(needle)))
      .map(({ file }) => file)

  const removals: [string, (store: MailboxStore) => Promise<unknown>][] = [
    ["expire", (store) => store.expire(2)],
    ["forget", (store) => store.forget(mailbox, device)],
    [
      "collect, then the next expire,",
      async (store) => {
        const held = await store.read(mailbox, 0, 100)
        const sequences = held.map(({ sequence }) => sequence)
        await store.collect(mailbox, sequences)
        await store.expire(0)
      },
    ],
  ]
  test.each(removals)("by %s leaves no byte of it in any file, while the store runs", async (_, remove) => {
    const store = await openSqliteStore(folder)
    const canary = randomBytes(24)
    const blind = newBlind()
    await store.append(mailbox, blind, 1, Buffer.concat([randomBytes(3000), canary, randomBytes(3000)]))
    await fill(store, 20, randomBytes(5300))
    expect(holds(canary)).not.toEqual([])
    expect(holds(blind)).not.toEqual([])
    await remove(store)
    expect(holds(canary)).toEqual([])
    expect(holds(blind)).toEqual([])
    await store.close()
  })

  test("gives room back to the disk", async () => {
    const store = await openSqliteStore(folder)
    await fill(store, 500, randomBytes(5300))
    await store.expire(0)
    const before = statSync(join(folder, "mailboxes.sqlite")).size
    expect(before).toBeGreaterThan(2_500_000)
    expect(await store.expire(2)).toBe(500)
    expect(statSync(join(folder, "mailboxes.sqlite")).size).toBeLessThan(before / 3)
    await store.close()
  })
})

test("reading does not wait for writing", async () => {
  const store = await openSqliteStore(folder)
  await fill(store, 1, randomBytes(100))
  let written = 0
  const writing = Array.from({ length: 600 }, async () => {
    await store.append(mailbox, newBlind(), 1, randomBytes(66_000))
    written += 1
  })
  await writing[0]
  await store.read(mailbox, 0, 1)
  expect(written).toBeLessThan(600)
  await Promise.all(writing)
  await store.close()
}, 60_000)

test("too little room on the disk: nothing is added, while collecting and prekeys go on; room again: all goes on", async () => {
  const first = await openSqliteStore(folder)
  const blind = newBlind()
  await first.append(mailbox, blind, 1, randomBytes(0))
  await first.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(1)] })
  await first.close()

  const cramped = await openSqliteStore(folder, { headroomBytes: 2 ** 60 })
  const refused = expect.objectContaining({ code: "ERR_STORE_UNAVAILABLE", retryable: true })
  await expect(cramped.append(mailbox, newBlind(), 2, randomBytes(10))).rejects.toEqual(refused)
  await expect(cramped.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(2)] })).rejects.toEqual(refused)
  expect(await cramped.append(mailbox, blind, 2, randomBytes(0))).toEqual({ outcome: "stored", minute: 1 })
  expect(await cramped.takePrekey(device)).toEqual(Uint8Array.of(1))
  await cramped.collect(mailbox, [1])
  expect(await cramped.read(mailbox, 0, 10)).toEqual([])
  await cramped.close()

  const roomy = await openSqliteStore(folder)
  expect(await roomy.append(mailbox, newBlind(), 2, randomBytes(10))).toMatchObject({ outcome: "stored" })
  await roomy.close()
})

test("more than the disk can keep up with is refused, and what was taken on is kept", async () => {
  const store = await openSqliteStore(folder)
  const bytes = randomBytes(66_000)
  const outcomes = await Promise.allSettled(
    Array.from({ length: 1200 }, () => store.append(mailbox, newBlind(), 1, bytes)),
  )
  const refused = outcomes.filter(({ status }) => status === "rejected")
  expect(refused.length).toBeGreaterThan(0)
  for (const each of refused) expect(each).toMatchObject({ reason: { code: "ERR_STORE_UNAVAILABLE" } })
  expect((await store.inspect()).envelopes).toHaveLength(1200 - refused.length)
  expect(await store.append(mailbox, newBlind(), 1, bytes)).toMatchObject({ outcome: "stored" })
  await store.close()
}, 60_000)
