import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { concat, utf8 } from "../../protocol/bytes.ts"
import { chosen, fixed } from "../../protocol/limits.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { durableFiles, lockFolder } from "../../directory/files.ts"
import { LogWriter, type LogWriterOptions } from "../../directory/log-writer.ts"
import { openCheckpoint } from "../../pki/checkpoint.ts"
import { encodeVerifierKey, verifierKey } from "../../pki/note.ts"
import { noWitnesses } from "../../pki/policy.ts"
import { sha256 } from "../../pki/sha256.ts"
import { MerkleLog, verifyConsistency } from "../../pki/tree.ts"
import type { Clock } from "../../system/machine.ts"

const origin = "directory.example/log"
const key = new SigningKey(new Uint8Array(32).fill(1))
const trust = { logKey: encodeVerifierKey(verifierKey(origin, "ed25519", key.publicKey)), policy: noWitnesses }
const entries = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => utf8(`entry ${from + i}`))

/** A clock that is moved by hand. */
function handClock(nowSeconds: number) {
  const timers: { at: number; call: () => void }[] = []
  let now = nowSeconds * 1000
  const clock: Clock = {
    now: () => now,
    monotonic: () => now,
    after: (delayMs, call) => {
      const timer = { at: now + delayMs, call }
      timers.push(timer)
      return () => void timers.splice(timers.indexOf(timer), 1)
    },
  }
  const advance = (seconds: number) => {
    now += seconds * 1000
    for (const timer of timers.filter(({ at }) => at <= now)) {
      timers.splice(timers.indexOf(timer), 1)
      timer.call()
    }
  }
  return { clock, advance, timers }
}

let folder: string
let options: LogWriterOptions
let hand: ReturnType<typeof handClock>
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "valise-log-"))
  hand = handClock(1_800_000_000)
  options = { files: durableFiles(join(folder, "log")), origin, key, clock: hand.clock }
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const opened = async (writer: LogWriter) =>
  openCheckpoint(await writer.source().checkpoint(), trust, hand.clock.now() / 1000)

describe("the log's writer", () => {
  test("an empty log has a checkpoint; entries are read back by everybody; old checkpoints stay true", async () => {
    const writer = await LogWriter.create(options)
    const seen = [await opened(writer)]
    for (const size of [1, 2, 255, 256, 257, 600]) {
      expect(await writer.append(entries(writer.size, size))).toBe(seen.at(-1)!.size)
      seen.push(await opened(writer))
    }
    expect(seen.map(({ size }) => size)).toEqual([0, 1, 2, 255, 256, 257, 600])
    expect(await writer.source().entries(0, 1000)).toEqual(entries(0, 600))
    const tree = new MerkleLog()
    for (const entry of entries(0, 600)) tree.append(entry)
    for (const [i, newer] of seen.entries())
      for (const older of seen.slice(0, i))
        expect(
          verifyConsistency(
            older.size,
            older.root,
            newer.size,
            newer.root,
            tree.consistencyProof(older.size, newer.size),
          ),
        ).toBe(true)
    await writer.close()
  })

  test("its files are those of tlog-tiles; partial ones give way to full ones", async () => {
    const writer = await LogWriter.create(options)
    await writer.append(entries(0, 5))
    expect(await options.files.list("tile/entries/000.p")).toEqual(["5"])
    await writer.append(entries(5, 300))
    expect(await options.files.list("tile/entries")).toEqual(["000", "001.p"])
    expect(await options.files.list("tile/0")).toEqual(["000", "001.p"])
    expect(await options.files.list("tile/1/000.p")).toEqual(["1"])
    const hashes = entries(0, 256).map((entry) => sha256(Uint8Array.of(0), entry))
    expect(await options.files.read("tile/0/000")).toEqual(concat(...hashes))
    await writer.close()
  })

  test("concurrent appends come one after the other", async () => {
    const writer = await LogWriter.create(options)
    const first = await Promise.all([0, 1, 2, 3].map((i) => writer.append(entries(10 * i, 10 * i + 10))))
    expect(first).toEqual([0, 10, 20, 30])
    expect(await writer.source().entries(0, 100)).toEqual(entries(0, 40))
    await writer.close()
  })

  test("the checkpoint is dated anew at start and every hour, and no more once it is closed", async () => {
    const writer = await LogWriter.create(options)
    await writer.append(entries(0, 1))
    for (let hour = 1; hour <= 3; hour++) {
      hand.advance(chosen.checkpointEverySeconds)
      await writer.append([])
      expect((await opened(writer)).cosignedAt).toBe(1_800_000_000 + hour * 3600)
      expect(hand.timers).toHaveLength(1)
    }
    await writer.close()
    expect(hand.timers).toHaveLength(0)
    hand.advance(100 * 3600)
    await expect(opened(writer)).rejects.toMatchObject({ code: "ERR_DIRECTORY_STALE" })
    await expect(writer.append(entries(1, 2))).rejects.toMatchObject({ code: "ERR_ABORTED" })
    const again = await LogWriter.open(options)
    expect(await opened(again)).toMatchObject({ size: 1, cosignedAt: hand.clock.now() / 1000 })
    await again.close()
  })

  test("an entry that no bundle can hold is refused, and nothing of its batch is appended", async () => {
    const writer = await LogWriter.create(options)
    const tooLarge = [utf8("a"), new Uint8Array(fixed.logEntryBytesMax + 1)]
    await expect(writer.append(tooLarge)).rejects.toMatchObject({ code: "ERR_TOO_LARGE" })
    expect(await writer.append([new Uint8Array(fixed.logEntryBytesMax)])).toBe(0)
    await writer.close()
  })

  test("a log is never begun twice, nor opened where there is none", async () => {
    await expect(LogWriter.open(options)).rejects.toMatchObject({ code: "ERR_NOT_FOUND" })
    await (await LogWriter.create(options)).close()
    await expect(LogWriter.create(options)).rejects.toMatchObject({ code: "ERR_USAGE" })
  })

  test("a flipped byte in checkpoint or entries: refused, never signed over", async () => {
    const writer = await LogWriter.create(options)
    await writer.append(entries(0, 20))
    await writer.close()
    for (const path of ["log/checkpoint", "log/tile/entries/000.p/20"]) {
      const file = join(folder, path)
      const good = await readFile(file)
      for (let at = 0; at < good.length; at += 7) {
        const bad = Buffer.from(good)
        bad[at]! ^= 1
        await writeFile(file, bad)
        // The log's second line, its own date, is not needed to recover: it is signed anew.
        const outcome = await LogWriter.open(options).then(
          async (again) => again.close().then(() => "opened"),
          (error: { code: string; hint: string }) => `${error.code}: ${error.hint}`,
        )
        const isDate = path.endsWith("checkpoint") && good.subarray(0, at).toString().split("\n— ").length > 2
        if (!isDate) expect(outcome, `${path} ${at}`).toMatch(/ERR_DISK: restore the whole folder from a mirror/)
        await writeFile(file, good)
      }
    }
  })

  test("another key's log is not continued", async () => {
    await (await LogWriter.create(options)).close()
    const other = { ...options, key: new SigningKey(new Uint8Array(32).fill(2)) }
    await expect(LogWriter.open(other)).rejects.toMatchObject({ code: "ERR_DISK" })
    await expect(LogWriter.open({ ...options, origin: "other.example/log" })).rejects.toMatchObject({
      code: "ERR_DISK",
    })
  })

  test("a damaged or missing hash tile is written again", async () => {
    const writer = await LogWriter.create(options)
    await writer.append(entries(0, 300))
    await writer.close()
    const good = await options.files.read("tile/0/000")
    await writeFile(join(folder, "log/tile/0/000"), "x")
    await rm(join(folder, "log/tile/1"), { recursive: true })
    await (await LogWriter.open(options)).close()
    expect(await options.files.read("tile/0/000")).toEqual(good)
    expect(await options.files.list("tile/1/000.p")).toEqual(["1"])
  })
})

describe("the directory's files", () => {
  test("are their owner's only", async () => {
    await options.files.write("a/b/c", utf8("x"))
    const mode = async (path: string) => ((await stat(join(folder, path))).mode & 0o777).toString(8)
    expect(await Promise.all(["log", "log/a", "log/a/b", "log/a/b/c"].map(mode))).toEqual(["700", "700", "700", "600"])
  })

  test("what the disk refuses is one error with a hint", async () => {
    await options.files.write("a", utf8("x"))
    const { files } = options
    for (const call of [() => files.write("a/b", utf8("x")), () => files.read("a/b"), () => files.list("a")])
      await expect(call()).rejects.toMatchObject({ code: "ERR_DISK", hint: expect.stringContaining("space") })
    expect(await options.files.read("b")).toBeUndefined()
    expect(await options.files.list("b")).toEqual([])
  })

  test("one writer at a time", () => {
    const release = lockFolder(folder)
    expect(() => lockFolder(folder)).toThrow(expect.objectContaining({ code: "ERR_USAGE" }))
    release()
    lockFolder(folder)()
  })
})
