/** Reading segment files record by record: whole ones, damaged ones, and what stands at the end. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { headBytes, recordBytes, writeHead, type RecordKind } from "../../relay/segment-record.ts"
import { scanSegment, segmentName, segmentsIn, type SegmentName } from "../../relay/segment-scan.ts"

let folder: string
let name: SegmentName
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-scan-"))
  name = segmentName(folder, 1, "0123456789abcdef")
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const mailbox = new Uint8Array(16).fill(7)

/** These records in a row. */
function fileOf(...records: readonly (readonly [RecordKind, number])[]): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (const [i, [kind, length]] of records.entries()) {
    const record = Buffer.alloc(recordBytes(length))
    record.fill(i + 1, headBytes, headBytes + length)
    writeHead(record, name.nonce, at, { kind, mailbox, sequence: i + 1, minute: 10 * i, length })
    parts.push(record)
    at += record.length
  }
  return Buffer.concat(parts)
}
interface Seen {
  readonly places: readonly (readonly [at: number, bytes: number, damaged: string | undefined])[]
  readonly bodies: readonly (string | undefined)[]
  readonly end: number
}
function scan(file: Buffer, withBodies = true): Seen {
  writeFileSync(name.path, file)
  const records = scanSegment(name, withBodies)
  const places: Seen["places"][number][] = []
  const bodies: (string | undefined)[] = []
  for (let step = records.next(); ; step = records.next()) {
    if (step.done) return { places, bodies, end: step.value }
    const { at, bytes, damaged, record } = step.value
    places.push([at, bytes, damaged])
    bodies.push(record && `${record.length} ${record[headBytes]}`)
  }
}
const flip = (file: Buffer, ...places: number[]): Buffer => {
  for (const at of places) file[at]! ^= 4
  return file
}

test("every record in its order, to the last byte; bodies of envelopes only if asked for", () => {
  const file = fileOf(["envelope", 100], ["collected", 8], ["counters", 24], ["gap", 48], ["envelope", 0])
  const places = [
    [0, 160],
    [160, 64],
    [224, 80],
    [304, 96],
    [400, 48],
  ].map(([at, bytes]) => [at, bytes, undefined])
  expect(scan(file)).toEqual({ places, end: 448, bodies: ["160 1", "64 2", "80 3", "96 4", "48 undefined"] })
  expect(scan(file, false)).toEqual({ places, end: 448, bodies: [undefined, "64 2", "80 3", undefined, undefined] })
  expect(scan(Buffer.alloc(0))).toEqual({ places: [], end: 0, bodies: [] })
})

describe("damage", () => {
  const four = () => fileOf(["envelope", 100], ["envelope", 20], ["envelope", 20], ["envelope", 20])

  test("of a body: told if bodies are read, and the next record is in its place", () => {
    const file = flip(four(), 160 + 50)
    const [first, second, ...rest] = scan(file).places
    expect([first, second?.[2], rest.map(([, , damaged]) => damaged)]).toEqual([
      [0, 160, undefined],
      "body",
      [undefined, undefined],
    ])
    expect(scan(file, false).places.every(([, , damaged]) => damaged === undefined)).toBe(true)
  })

  test("of one head and of two in a row: one stretch up to the next whole head", () => {
    expect(scan(flip(four(), 20)).places).toEqual([
      [0, 160, "head"],
      [160, 80, undefined],
      [240, 80, undefined],
      [320, 80, undefined],
    ])
    expect(scan(flip(four(), 160, 240)).places).toEqual([
      [0, 160, undefined],
      [160, 160, "head"],
      [320, 80, undefined],
    ])
    expect(scan(flip(four(), 160 + 60, 240 + 60)).places.map(([, , damaged]) => damaged)).toEqual([
      undefined,
      "body",
      "body",
      undefined,
    ])
    expect(scan(flip(four(), 60, 170)).places.map(([at, , damaged]) => [at, damaged])).toEqual([
      [0, "body"],
      [160, "head"],
      [240, undefined],
      [320, undefined],
    ])
  })

  test("before the last record, which has no body: found all the same", () => {
    const file = flip(fileOf(["envelope", 4], ["envelope", 0]), 1)
    expect(scan(file).places).toEqual([
      [0, 64, "head"],
      [64, 48, undefined],
    ])
  })

  test("of a head in front of more than is searched at once: the next one is found", () => {
    const length = 2_500_000
    const file = flip(fileOf(["envelope", length], ["envelope", 20]), 1)
    expect(scan(file).places.map(([at, , damaged]) => [at, damaged])).toEqual([
      [0, "head"],
      [recordBytes(length), undefined],
    ])
  })

  test("at the end is what a crash has torn: not told, and the file ends before it", () => {
    expect(scan(flip(four(), 320 + 60))).toMatchObject({ end: 320, places: { length: 3 } })
    expect(scan(flip(four(), 320))).toMatchObject({ end: 320, places: { length: 3 } })
    expect(scan(flip(four(), 240 + 60, 320))).toMatchObject({ end: 240, places: { length: 2 } })
    for (const cut of [1, 16, 31, 32, 33, 79]) expect(scan(four().subarray(0, 400 - cut))).toMatchObject({ end: 320 })
    expect(scan(flip(four(), 240).subarray(0, 399))).toMatchObject({ end: 240, places: { length: 2 } })
  })
})

test("a file is closed when it has been read, and when nobody reads on", () => {
  const openFiles = () => readdirSync("/proc/self/fd").length
  const before = openFiles()
  scan(fileOf(["envelope", 1], ["envelope", 2]))
  const records = scanSegment(name, true)
  records.next()
  records.return(0)
  expect(openFiles()).toBe(before)
})

test("segments are known by their names, in the order of their numbers", () => {
  const nonce = "00000000000000ff"
  const made = [12, 3, 7].map((number) => segmentName(folder, number, nonce).path)
  const others = [`x${basename(made[0]!)}`, `${basename(made[0]!)}0`, "mailboxes.prekeys", `mailboxes.1.${nonce}`]
  for (const path of [...made, ...others.map((other) => join(folder, other))]) writeFileSync(path, "")
  expect(segmentsIn(folder)).toEqual([3, 7, 12].map((number) => segmentName(folder, number, nonce)))
})
