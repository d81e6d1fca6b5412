/** Bodies of envelopes, from memory and from a disk that fails, decays, or is cleaned meanwhile. */
import type { FileHandle } from "node:fs/promises"
import { describe, expect, test } from "vitest"
import { newSegment, type Entry } from "../../relay/segment-index.ts"
import { readBody, readNow, Recent } from "../../relay/segment-read.ts"
import { guessHead, headBytes, kinds, recordBytes, writeHead } from "../../relay/segment-record.ts"
import { segmentName } from "../../relay/segment-scan.ts"

const mailbox = new Uint8Array(16).fill(7)
const segmentOn = (read: (record: Buffer) => Promise<unknown>) => ({
  ...newSegment(segmentName("/nowhere", 1, "0123456789abcdef")),
  handle: { fd: -1, read } as unknown as FileHandle,
})
/** The record of 40 bytes that stands at 160. */
function recordOf(sequence: number, length = 40): Buffer {
  const record = Buffer.alloc(recordBytes(length), 5)
  writeHead(record, segmentOn(async () => {}).nonce, 160, { kind: "envelope", mailbox, sequence, minute: 3, length })
  return record
}
const holding = (record: Buffer) => segmentOn(async (into) => void record.copy(into))
const failing = (code: string, meanwhile = () => {}) =>
  segmentOn(async () => {
    meanwhile()
    throw Object.assign(new Error(`it is ${code}`), { code })
  })
const entryOn = (segment: Entry["segment"]): Entry =>
  ({ segment, at: 160, bytes: 96, sequence: 9, state: "kept", body: undefined, box: { mailbox } }) as unknown as Entry

describe("a body", () => {
  test("comes from memory while it is there, and else from the disk", async () => {
    const entry = entryOn(failing("EIO"))
    entry.body = Buffer.from("here")
    expect(await readBody(entry)).toBe(entry.body)
    expect(await readBody(entryOn(holding(recordOf(9))))).toEqual(Buffer.alloc(40, 5))
  })

  test.each([
    ["another number", recordOf(8)],
    ["another mailbox", Buffer.from(recordOf(9)).fill(1, 16, 17)],
    ["a flipped bit", Buffer.from(recordOf(9)).fill(4, headBytes, headBytes + 1)],
    ["nothing", Buffer.alloc(96)],
  ])("is none where the disk has %s", async (_, record) => {
    expect(await readBody(entryOn(holding(record)))).toBeUndefined()
  })

  test("has decayed where the disk cannot be read any more; other failures are the store's", async () => {
    expect(await readBody(entryOn(failing("EIO")))).toBeUndefined()
    await expect(readBody(entryOn(failing("EBADF")))).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    await expect(readBody(entryOn(segmentOn(() => Promise.reject(new Error("EIO")))))).rejects.toMatchObject({
      code: "ERR_STORE_UNAVAILABLE",
    })
    expect(readNow(entryOn(failing("EIO")))).toBeUndefined()
  })

  test("that is deleted while it is read is none, and one that has moved is read where it is now", async () => {
    const deleted: Entry = entryOn(failing("EBADF", () => (deleted.state = "deleted")))
    expect(await readBody(deleted)).toBeUndefined()
    const moved: Entry = entryOn(failing("EBADF", () => (moved.segment = holding(recordOf(9)))))
    expect(await readBody(moved)).toEqual(Buffer.alloc(40, 5))
  })
})

test("the newest 8 MiB stay in memory, however many there were before", () => {
  const recent = new Recent()
  const entries = Array.from({ length: 9000 }, () => ({ bytes: 4096, body: Buffer.alloc(0) }) as unknown as Entry)
  for (const [i, entry] of entries.entries()) {
    recent.add(entry)
    expect(entry.body).toBeDefined()
    if (i >= 2048) expect(entries[i - 2048]!.body).toBeUndefined()
    expect(entries[Math.max(0, i - 2047)]!.body).toBeDefined()
  }
})

describe("a record", () => {
  test("is not one when it is shorter than its head says, or than a head", async () => {
    expect(await readBody({ ...entryOn(holding(recordOf(9))), bytes: 40 })).toBeUndefined()
    expect(await readBody({ ...entryOn(holding(recordOf(9))), bytes: 80 })).toBeUndefined()
  })

  test("with a damaged kind is guessed to be of the nearest", () => {
    for (const [kind, byte] of Object.entries(kinds))
      for (const bit of [0, 1, 2, 3, 4, 5, 6, 7])
        expect(guessHead(Buffer.from(recordOf(9)).fill(byte ^ (1 << bit), 4, 5)).kind, `${kind} ${bit}`).toBe(kind)
  })

  test("is written over whatever stood in its place before, and only an envelope's says how its blind begins", () => {
    const write = (kind: "envelope" | "collected" | "gap") => {
      const record = recordOf(9)
      record.fill(0xff, 0, headBytes)
      writeHead(record, 0, 0, { kind, mailbox, sequence: 1, minute: 1, length: 40 })
      return record
    }
    expect([...write("envelope").subarray(4, 8)]).toEqual([kinds.envelope, 5, 5, 5])
    expect([...write("collected").subarray(4, 8)]).toEqual([kinds.collected, 0, 0, 0])
    expect([...write("gap").subarray(4, 16)]).toEqual([kinds.gap, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 0])
  })
})
