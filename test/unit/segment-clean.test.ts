/** What cleaning does to several segment files: which go, which stay, what moves, and in what order notes disappear. */
import { randomBytes } from "node:crypto"
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { clean, removeEmptied, saveCounters, type CleanParts } from "../../relay/segment-clean.ts"
import type { Entry, Segment } from "../../relay/segment-index.ts"
import { openSegments } from "../../relay/segment-open.ts"
import { readBody } from "../../relay/segment-read.ts"
import { blindOf } from "../../relay/segment-record.ts"
import { scanSegment } from "../../relay/segment-scan.ts"

const mailbox = new Uint8Array(16).fill(1)
const mebibyte = 1024 * 1024

let folder: string
let parts: CleanParts
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-clean-"))
  parts = { folder, ...(await openSegments(folder)), bodyOf: readBody }
})
afterEach(async () => {
  for (const { handle } of parts.log.segments) await handle?.close()
  rmSync(folder, { recursive: true, force: true })
})

async function add(length: number): Promise<Entry> {
  const { index, log } = parts
  const box = index.box(mailbox) ?? index.makeBox(mailbox)
  const blind = randomBytes(32)
  const sequence = box.next++
  const added = log.add({ kind: "envelope", mailbox, sequence, minute: 1, body: [blind, randomBytes(length)] })
  const of = { box, sequence, minute: 1, blind: blindOf(blind), length, state: "kept", alike: undefined } as const
  const entry: Entry = { ...added, ...of }
  index.add(entry)
  await log.commit()
  entry.body = undefined
  return entry
}
/** A note that this was collected, in the newest file. */
async function collect(entry: Entry): Promise<void> {
  const body = Buffer.alloc(8)
  body.writeBigUInt64BE(BigInt(entry.sequence))
  const { segment, at, bytes } = parts.log.add({ kind: "collected", mailbox, sequence: 0, minute: 0, body: [body] })
  segment.notes.push({ at, bytes })
  parts.index.delete(entry)
  await parts.log.commit()
}
const kindsIn = (segment: Segment): string[] => [...scanSegment(segment, true)].map(({ head }) => head.kind)
const exist = (...segments: Segment[]): boolean[] => segments.map(({ path }) => existsSync(path))
const bodyBytes = async (entry: Entry): Promise<number | undefined> => (await readBody(entry))?.length

describe("between two runs of clean", () => {
  test("an empty file goes, also behind one of which nothing was deleted; the newest stays", async () => {
    const first = await add(100)
    parts.log.roll()
    await add(100)
    parts.log.roll()
    const third = await add(100)
    parts.log.roll()
    const newest = await add(100)
    for (const entry of [first, third, newest]) parts.index.delete(entry)
    const [a, b, c, d] = parts.log.segments
    await removeEmptied(parts)
    expect(exist(a!, b!, c!, d!)).toEqual([false, true, false, true])
    expect(parts.log.segments).toEqual([b, d])
  })

  test("none goes behind one of which something was deleted: its notes may be in there", async () => {
    const [gone] = [await add(100), await add(100)]
    parts.log.roll()
    const second = await add(100)
    parts.log.roll()
    await collect(gone)
    parts.index.delete(second)
    const all = [...parts.log.segments]
    await removeEmptied(parts)
    expect(parts.log.segments).toEqual(all)
    expect(exist(...all)).toEqual([true, true, true])
  })
})

describe("clean", () => {
  test("overwrites each stretch of what is deleted as one gap, and its notes, and keeps the rest", async () => {
    const entries = [await add(100), await add(100), await add(100), await add(100), await add(100)]
    for (const i of [2, 0, 1, 4]) await collect(entries[i]!)
    const [segment] = parts.log.segments
    await clean(parts)
    // Notes are overwritten after what they are about, so they are a gap of their own.
    expect(kindsIn(segment!)).toEqual(["gap", "envelope", "gap", "gap", "counters"])
    expect([segment!.dirty, segment!.notes, segment!.live]).toEqual([[], [], 1])
    expect(await bodyBytes(entries[3]!)).toBe(132)
  })

  test("writes gaps of a mebibyte at most, unless one record is longer", async () => {
    const entries = [
      await add(mebibyte / 2 - 80),
      await add(mebibyte / 2 - 80),
      await add(100),
      await add(2 * mebibyte),
    ]
    await add(3 * mebibyte)
    for (const entry of entries) parts.index.delete(entry)
    const [segment] = parts.log.segments
    await clean(parts)
    const gaps = [...scanSegment(segment!, true)].filter(({ head }) => head.kind === "gap")
    expect(gaps.map(({ bytes }) => bytes)).toEqual([mebibyte, entries[2]!.bytes, entries[3]!.bytes])
  })

  test("removes an empty file with the notes that are in it, overwrites those elsewhere", async () => {
    const [gone, stays] = [await add(100), await add(100)]
    parts.log.roll()
    await collect(gone)
    const second = await add(100)
    parts.log.roll()
    parts.index.delete(second)
    const third = await add(100)
    await collect(third)
    const [a, b, c] = parts.log.segments
    await clean(parts)
    expect(exist(a!, b!, c!)).toEqual([true, false, true])
    expect(parts.log.segments).toEqual([a, c])
    expect(kindsIn(a!)).toEqual(["gap", "envelope"])
    expect(kindsIn(c!)).toEqual(["gap", "gap", "counters"])
    expect(await bodyBytes(stays)).toBe(132)
  })

  test("begins a new file when the newest is longer than a mebibyte, and not before", async () => {
    const short = await add(mebibyte / 2)
    await clean(parts)
    expect(parts.log.segments).toHaveLength(1)
    const long = await add(mebibyte)
    const [segment] = parts.log.segments
    for (const entry of [short, long]) parts.index.delete(entry)
    await clean(parts)
    expect(parts.log.segments).toHaveLength(1)
    expect(exist(segment!)).toEqual([false])
  })
})

describe("moving out of a file of which little is kept", () => {
  /** One of three is kept. */
  async function sparse(): Promise<[Entry, Segment]> {
    const entries = [await add(mebibyte), await add(100), await add(mebibyte)]
    parts.index.delete(entries[0]!)
    parts.index.delete(entries[2]!)
    parts.log.roll()
    await add(100)
    return [entries[1]!, entries[1]!.segment]
  }

  test("what is kept moves with its numbers, and is read from the disk then; the file goes", async () => {
    const [entry, segment] = await sparse()
    await clean(parts)
    expect(exist(segment)).toEqual([false])
    expect(entry).toMatchObject({ sequence: 2, minute: 1, state: "kept", body: undefined })
    expect(entry.segment).toBe(parts.log.newest)
    expect(await bodyBytes(entry)).toBe(132)
    expect(parts.log.newest.live).toBe(2)
  })

  test("what has decayed stays where it is, and so does its file", async () => {
    const [entry, segment] = await sparse()
    await clean({ ...parts, bodyOf: async () => undefined })
    expect(exist(segment)).toEqual([true])
    expect(entry.segment).toBe(segment)
    expect(kindsIn(segment)).toEqual(["gap", "envelope", "gap"])
  })

  test("what is collected while it is read stays deleted", async () => {
    const [entry, segment] = await sparse()
    const bodyOf = async (of: Entry) => {
      const body = await readBody(of)
      parts.index.delete(of)
      return body
    }
    await clean({ ...parts, bodyOf })
    expect(exist(segment)).toEqual([false])
    expect(entry.state).toBe("deleted")
    expect(kindsIn(parts.log.newest)).toEqual(["envelope", "counters"])
  })

  test("nothing moves where there is damage, where a quarter is kept, or in a short file", async () => {
    const [entry, segment] = await sparse()
    segment.damaged.push({ at: 0, bytes: 16, minute: 1, guess: undefined as never })
    await clean(parts)
    expect(entry.segment).toBe(segment)

    const [kept, gone] = [await add(mebibyte), await add(2 * mebibyte)]
    parts.index.delete(gone)
    const full = kept.segment
    parts.log.roll()
    const [little, more] = [await add(100), await add(mebibyte / 2)]
    parts.index.delete(more)
    const short = little.segment
    parts.log.roll()
    await add(100)
    await clean(parts)
    expect([kept.segment, little.segment]).toEqual([full, short])
    expect(statSync(full.path).size).toBeGreaterThan(3 * mebibyte)
  })
})

test("of saved counters the last ones count; those before are a note to overwrite", async () => {
  await add(100)
  await saveCounters(parts)
  const before = parts.index.counters!
  await saveCounters(parts)
  expect(parts.index.counters!.place.at).toBeGreaterThan(before.place.at)
  expect(before.segment.notes).toEqual([before.place])
})
