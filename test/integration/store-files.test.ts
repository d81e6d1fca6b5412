/** The folder of a mailbox store: who may open it, what lies in it, and how it is inspected, also beside and after a relay. */
import { execFileSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { shelfPath } from "../../relay/prekey-shelf-file.ts"
import { partMax, type ContentsPart } from "../../relay/store-inspect-thread.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { StoreThread } from "../../relay/store-thread.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { openStoreHere } from "../support/shelf-here.ts"

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-store-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const device = new Uint8Array(32).fill(2) as DeviceId
const fill = (store: MailboxStore, count: number, bytes: Uint8Array) =>
  Promise.all(Array.from({ length: count }, () => store.append(mailbox, randomBytes(32), 1, bytes)))
/** Opens in another process; the code of the failure, or "opened". */
const openElsewhere = (): string =>
  execFileSync(process.execPath, ["--input-type=module-typescript", "--eval", elsewhere, folder], {
    encoding: "utf8",
    cwd: import.meta.dirname,
  })
const elsewhere = `
  import { openSegmentStore } from "../../relay/store-segment.ts"
  try { await (await openSegmentStore(process.argv[1])).close(); process.stdout.write("opened") }
  catch (error) { process.stdout.write(error.code) }`

describe("files", () => {
  test("are readable to the relay's user alone, also in a folder that was not, however deep; inspection sees all", async () => {
    const deep = join(folder, "a", "b")
    mkdirSync(deep, { recursive: true, mode: 0o755 })
    chmodSync(deep, 0o755)
    const store = await openSegmentStore(deep)
    await fill(store, 1, randomBytes(100))
    expect(statSync(deep).mode & 0o777).toBe(0o700)
    const names = readdirSync(deep)
    expect(names.slice(1)).toEqual(
      ["lock", "prekeys", "prekeys-shm", "prekeys-wal", "reserve"].map((name) => `mailboxes.${name}`),
    )
    for (const name of names) expect(statSync(join(deep, name)).mode & 0o777, name).toBe(0o600)
    expect(inspectStore(deep).files.map(({ name }) => name)).toEqual(names)
    await store.close()
  })

  test("of a newer release are refused and left as they are", async () => {
    const made = await openStoreHere(folder)
    await made.close()
    const db = new DatabaseSync(shelfPath(folder))
    db.exec("PRAGMA user_version = 2")
    db.close()
    const before = readFileSync(shelfPath(folder))
    await expect(openSegmentStore(folder)).rejects.toMatchObject({ code: "ERR_VERSION" })
    expect(() => inspectStore(folder)).toThrow(expect.objectContaining({ code: "ERR_VERSION" }))
    expect(readFileSync(shelfPath(folder))).toEqual(before)
  })

  test.each([
    ["a text", () => writeFileSync(shelfPath(folder), "not a database at all, but long enough".repeat(9))],
    [
      "another program's database",
      () => new DatabaseSync(shelfPath(folder)).exec("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)"),
    ],
    ["a folder", () => mkdirSync(shelfPath(folder))],
  ])("that are %s are refused", async (_, make) => {
    make()
    await expect(openSegmentStore(folder)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
  })

  test("in a folder that cannot be made: refused", async () => {
    writeFileSync(join(folder, "file"), "")
    await expect(openSegmentStore(join(folder, "file", "store"))).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
    })
  })
})

test("one relay: another process is refused, also after this one has inspected itself, until this one closes", async () => {
  const store = await openSegmentStore(folder)
  await fill(store, 3, randomBytes(100))
  for (const inspection of [inspectStore(folder), inspectStore(folder)])
    expect([...inspection.rawBytes()].length).toBeGreaterThan(0)
  expect(openElsewhere()).toBe("ERR_STORE_UNAVAILABLE")
  expect(inspectStore(folder).contents.envelopes).toHaveLength(3)
  await store.close()
  expect(openElsewhere()).toBe("opened")
})

describe("inspection", () => {
  test("of no store: not found, and nothing is made", () => {
    expect(() => inspectStore(folder)).toThrow(expect.objectContaining({ code: "ERR_NOT_FOUND" }))
    expect(() => inspectStore(join(folder, "none"))).toThrow(expect.objectContaining({ code: "ERR_NOT_FOUND" }))
    expect(readdirSync(folder)).toEqual([])
  })

  test("sees the same in a running, a crashed and a stopped store, and leaves the stopped one as it was", async () => {
    const store = await openSegmentStore(folder)
    await fill(store, 3, randomBytes(100))
    await store.putPrekeys(device, { reset: false, oneTime: [Uint8Array.of(1)], rotating: Uint8Array.of(2) })
    const running = inspectStore(folder)
    expect(running.contents).toEqual(await store.inspect())
    expect(running.contents).toMatchObject({ envelopes: { length: 3 }, prekeys: [{ oneTime: 1 }] })

    const crashed = join(folder, "crashed")
    mkdirSync(crashed)
    for (const { name } of running.files)
      if (!/-shm|lock/.test(name)) copyFileSync(join(folder, name), join(crashed, name))
    expect(inspectStore(crashed).contents).toEqual(running.contents)
    const again = await openSegmentStore(crashed)
    expect(await again.inspect()).toEqual(running.contents)
    await again.close()
    rmSync(crashed, { recursive: true })

    await store.close()
    const files = () => readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString("hex")])
    const before = files()
    expect(inspectStore(folder).contents).toEqual(running.contents)
    expect(files()).toEqual(before)
  })

  test("yields every byte of every file, whole in at least one chunk", async () => {
    const store = await openStoreHere(folder)
    await store.append(mailbox, randomBytes(32), 1, randomBytes(2_100_000))
    await store.close()
    const [segment] = readdirSync(folder)
    for (const overlap of [0, 63, 5000]) {
      const { files, rawBytes } = inspectStore(folder)
      for (const { name, bytes } of files) {
        const whole = new Uint8Array(bytes)
        for (const chunk of rawBytes(overlap)) if (chunk.file === name) whole.set(chunk.bytes, chunk.at)
        expect(Buffer.from(whole).equals(readFileSync(join(folder, name))), name).toBe(true)
      }
      const file = readFileSync(join(folder, segment!))
      for (let at = 1_048_576 - 40; at < 1_048_576 + 40; at += 13) {
        const needle = file.subarray(at, at + 64)
        const found = [...rawBytes(overlap)].some(({ bytes }) => Buffer.from(bytes).includes(needle))
        if (overlap >= 63) expect(found, `${overlap} ${at}`).toBe(true)
      }
    }
  })

  test("passes over a file that its relay has removed meanwhile", async () => {
    const store = await openSegmentStore(folder)
    await fill(store, 3, randomBytes(100))
    // It is listed, and gone when it is to be opened.
    symlinkSync("nowhere", join(folder, "mailboxes.00000000.0123456789abcdef"))
    const { envelopes, quarantined } = await store.inspect()
    expect({ kept: envelopes.length, decayed: quarantined.envelopes }).toEqual({ kept: 3, decayed: [] })
    await store.close()
  })

  test("of a large store comes in parts, which hold up nobody", async () => {
    const store = await openStoreHere(folder)
    await fill(store, 2 * partMax + 1, new Uint8Array(10))
    const script = new URL("../../relay/store-inspect-thread.ts", import.meta.url)
    const thread = new StoreThread<string, ContentsPart>(script)
    const parts: ContentsPart[] = []
    for (let i = 0; i < 4; i++) parts.push(await thread.ask(folder))
    expect(parts.map((part) => ("length" in part ? part.length : "the rest"))).toEqual([
      partMax,
      partMax,
      1,
      "the rest",
    ])
    await expect(thread.ask(folder)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    expect((await store.inspect()).envelopes).toEqual(parts.slice(0, 3).flat())
    await store.close()
  })
})
