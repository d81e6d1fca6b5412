import { spawn, spawnSync } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { utf8 } from "../../protocol/bytes.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { durableFiles, type Files } from "../../directory/files.ts"
import { LogWriter } from "../../directory/log-writer.ts"
import { readCheckpoint } from "../../pki/checkpoint.ts"
import { MerkleLog } from "../../pki/tree.ts"
import { nodeClock } from "../../system/node.ts"

const key = new SigningKey(new Uint8Array(32).fill(1))
const optionsOf = (files: Files) => ({ files, origin: "directory.example/log", key, clock: nodeClock })
const entry = (index: number) => utf8(`entry ${index}`)
const child = join(import.meta.dirname, "log-writer-child.ts")

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "valise-log-"))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** Opens the log anew and checks that it holds exactly the entries that it ought to, under the root that it signs. */
async function recovered(atLeast: number): Promise<number> {
  const writer = await LogWriter.open(optionsOf(durableFiles(folder)))
  const source = writer.source()
  const checkpoint = readCheckpoint(await source.checkpoint())!
  expect(checkpoint.size).toBe(writer.size)
  expect(writer.size).toBeGreaterThanOrEqual(atLeast)
  const entries = await source.entries(0, writer.size + 10)
  const tree = new MerkleLog()
  for (const bytes of entries) tree.append(bytes)
  expect(entries).toEqual(Array.from({ length: writer.size }, (_, i) => entry(i)))
  expect(tree.rootAt(checkpoint.size)).toEqual(checkpoint.root)
  await writer.close()
  return writer.size
}

describe("the log's writer, killed", () => {
  test("kill -9 at random moments: nothing acknowledged is lost, nothing signed is unsaid", async () => {
    let size = 0
    for (let round = 0; round < 12; round++) {
      const running = spawn(process.execPath, [child, folder], { stdio: ["ignore", "pipe", "inherit"] })
      const gone = new Promise((resolve) => running.once("exit", resolve))
      let acknowledged = size
      const lines = createInterface(running.stdout)
      let left = 1 + ((round * 5) % 9)
      for await (const line of lines) {
        acknowledged = Number(line)
        // The kill lands somewhere in the appends that follow, never at the same point twice.
        if (--left === 0) setTimeout(() => running.kill("SIGKILL"), (round * 7) % 11)
      }
      await gone
      expect(acknowledged).toBeGreaterThan(size)
      size = await recovered(acknowledged)
    }
  })

  test("a crash before or after every single operation on the disk", async () => {
    const batches = [3, 200, 60, 1, 300]
    for (const moment of ["before", "after"] as const) {
      for (let crashAt = 0, done = false; !done; crashAt++) {
        await rm(folder, { recursive: true, force: true })
        let acknowledged = -1
        const writes = { count: 0 }
        const files = crashing(durableFiles(folder), writes, crashAt, moment)
        try {
          const writer = await LogWriter.create(optionsOf(files))
          for (const batch of batches) {
            acknowledged = writer.size
            await writer.append(Array.from({ length: batch }, (_, i) => entry(writer.size + i)))
          }
          acknowledged = writer.size
          // A failed removal of partial tiles comes after the publication and is reported too.
          done = true
          await writer.close()
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_DISK" })
        }
        if (acknowledged < 0) continue // it died before the first checkpoint
        const size = await recovered(acknowledged)
        // All of a batch, or nothing of it.
        const sizes = batches.map((_, i) => batches.slice(0, i + 1).reduce((a, b) => a + b))
        expect([0, ...sizes]).toContain(size)
        const again = await LogWriter.open(optionsOf(durableFiles(folder)))
        await again.append(Array.from({ length: 30 }, (_, i) => entry(again.size + i)))
        await again.close()
        expect(await recovered(size + 30)).toBe(size + 30)
      }
    }
  }, 120_000)

  test("after one failed write nothing more is appended, and what was published stays readable", async () => {
    const writes = { count: 0 }
    const files = crashing(durableFiles(folder), writes, 6, "before", "once")
    const writer = await LogWriter.create(optionsOf(files))
    await writer.append([entry(0)])
    await expect(writer.append([entry(1)])).rejects.toMatchObject({ code: "ERR_DISK", retryable: true })
    await expect(writer.append([entry(1)])).rejects.toMatchObject({ code: "ERR_DISK" })
    await expect(writer.redate()).rejects.toMatchObject({ code: "ERR_DISK" })
    expect(await writer.source().entries(0, 10)).toEqual([entry(0)])
    await writer.close()
    expect(await recovered(1)).toBe(1)
  })

  const hasStrace = spawnSync("strace", ["-V"]).status === 0
  test.skipIf(!hasStrace)(
    "each file is synced before it gets its name, each folder after it, the checkpoint last",
    () => {
      const traced = spawnSync(
        "strace",
        ["-f", "-y", "-s", "4096", "-e", "trace=fsync,fdatasync,rename,mkdir", process.execPath, child, folder, "2"],
        { encoding: "utf8" },
      )
      expect(traced.stdout.trim().split("\n")).toHaveLength(2)
      const call = /(fsync|fdatasync|rename|mkdir)\((?:\d+<([^>]*)>|"([^"]*)"(?:, "([^"]*)")?)/
      const calls = traced.stderr
        .split("\n")
        .flatMap((line) => (line.includes("EEXIST") || line.includes("ENOENT") ? [] : [call.exec(line) ?? []]))
        .map(([, call, fd, from, to]) => ({ call, path: fd ?? to ?? from ?? "", from }))
        .filter(({ path }) => path.startsWith(folder))
      const renames = calls.flatMap((call, at) => (call.call === "rename" ? [{ ...call, at }] : []))
      expect(renames.length).toBeGreaterThan(6)
      for (const { path, from, at } of renames) {
        expect(calls[at - 1], path).toMatchObject({ call: "fsync", path: from })
        expect(calls[at + 1], path).toMatchObject({ call: "fsync", path: dirname(path) })
      }
      const folders = calls.filter(({ call }) => call === "mkdir").map(({ path }) => path)
      for (const made of folders)
        expect(calls.some(({ call, path }) => call === "fsync" && path === dirname(made))).toBe(true)
      expect(renames.at(-1)!.path).toBe(join(folder, "checkpoint"))
    },
  )
})

/** Files whose n-th write or removal fails, before or after it was done; and, like a dead process, all that follow. */
function crashing(
  files: Files,
  writes: { count: number },
  at: number,
  moment: "before" | "after",
  how = "for good",
): Files {
  const guarded = async (work: () => Promise<void>) => {
    const now = writes.count++
    if (now > at && how === "for good") throw new Error("dead")
    if (now === at && moment === "before") throw new Error("crash")
    await work()
    if (now === at) throw new Error("crash")
  }
  return {
    ...files,
    write: (path, bytes) => guarded(() => files.write(path, bytes)),
    remove: (path) => guarded(() => files.remove(path)),
  }
}
