import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { SigningKey } from "../../protocol/primitives.ts"
import { signCheckpoint } from "../../pki/checkpoint.ts"
import {
  decodeBundle,
  encodeBundle,
  newTiles,
  parseTilePath,
  tilePath,
  tileSource,
  tilesOf,
  type Tile,
} from "../../pki/tiles.ts"

describe("paths", () => {
  test.each<[Tile, string]>([
    [{ level: 0, index: 0, width: 256 }, "tile/0/000"],
    [{ level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"],
    [{ level: 5, index: 1234, width: 17 }, "tile/5/x001/234.p/17"],
    [{ level: "entries", index: 999, width: 1 }, "tile/entries/999.p/1"],
    [{ level: "entries", index: 1000, width: 256 }, "tile/entries/x001/000"],
    [{ level: 63, index: 999_999, width: 255 }, "tile/63/x999/999.p/255"],
  ])("%j is %s", (tile, path) => {
    expect(tilePath(tile)).toBe(path)
    expect(parseTilePath(path)).toEqual(tile)
  })

  test.each([
    "",
    "checkpoint",
    "tile/0",
    "tile/0/0",
    "tile/0/0000",
    "tile/00/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/0/x000/000",
    "tile/0/001/234",
    "tile/0/x001/x234",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/07",
    "tile/0/000.p/",
    "tile/0/000/",
    "/tile/0/000",
    "tile/Entries/000",
    "tile/0/../000",
    "tile/0/000\n",
    "tile/0/x999/x999/x999/x999/x999/999",
  ])("%j is no path of a tile", (path) => expect(parseTilePath(path)).toBeUndefined())

  test("a tree of 70,000 leaves has the tiles that the specification counts", () => {
    const widths = (level: Tile["level"]) => [...tilesOf(level, 70_000)].map(({ width }) => width)
    expect(widths(0)).toEqual([...Array.from({ length: 273 }, () => 256), 112])
    expect(widths("entries")).toEqual(widths(0))
    expect(widths(1)).toEqual([256, 17])
    expect(widths(2)).toEqual([1])
    expect(widths(3)).toEqual([])
    expect([...tilesOf(0, 256)]).toEqual([{ level: 0, index: 0, width: 256 }])
    expect([...tilesOf(1, 256)]).toEqual([{ level: 1, index: 0, width: 1 }])
    expect([...tilesOf(0, 0)]).toEqual([])
  })
})

describe("what a growing tree adds", () => {
  const paths = (before: number, size: number) => [...newTiles(before, size)].map(tilePath)

  test.each([
    [0, 0, []],
    [5, 5, []],
    [0, 1, ["tile/entries/000.p/1", "tile/0/000.p/1"]],
    [255, 256, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]],
    [300, 301, ["tile/entries/001.p/45", "tile/0/001.p/45"]],
    [256, 257, ["tile/entries/001.p/1", "tile/0/001.p/1"]],
    [
      255,
      513,
      [
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/1",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/1",
        "tile/1/000.p/2",
      ],
    ],
  ])("from %i to %i leaves", (before, size, expected) => expect(paths(before, size)).toEqual(expected))
})

describe("bundles", () => {
  test("are two length bytes and the entry, again and again", () => {
    const bundle = encodeBundle([Uint8Array.of(), Uint8Array.of(7), new Uint8Array(300)])
    expect(bundle.subarray(0, 7)).toEqual(Uint8Array.of(0, 0, 0, 1, 7, 1, 44))
    expect(decodeBundle(bundle, 3)).toHaveLength(3)
  })

  test("the largest entry fits, a larger one is refused", () => {
    const largest = new Uint8Array(65_535).fill(1)
    expect(decodeBundle(encodeBundle([largest]), 1)).toEqual([largest])
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(expect.objectContaining({ code: "ERR_TOO_LARGE" }))
  })

  test("only exactly as many entries as asked for, and nothing after them", () => {
    const entries = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 })
    fc.assert(
      fc.property(entries, fc.nat(400), (entries, cutAt) => {
        const bundle = encodeBundle(entries)
        expect(decodeBundle(bundle, entries.length)).toEqual(entries)
        const bad = [() => decodeBundle(bundle, entries.length + 1)]
        if (entries.length > 0) bad.push(() => decodeBundle(bundle, entries.length - 1))
        if (cutAt < bundle.length) bad.push(() => decodeBundle(bundle.subarray(0, cutAt), entries.length))
        bad.push(() => decodeBundle(Uint8Array.of(...bundle, 0), entries.length))
        for (const call of bad) expect(call).toThrow(expect.objectContaining({ code: "ERR_MALFORMED" }))
      }),
    )
  })
})

describe("reading a log from its tiles", () => {
  const entries = Array.from({ length: 600 }, (_, i) => Uint8Array.of(i, i >> 8))
  const key = new SigningKey(new Uint8Array(32))
  /** The files of a log of this size; `full` as they are after it has grown beyond. */
  const folder = (size: number, { partials = true } = {}) => {
    const files = new Map([
      ["checkpoint", signCheckpoint(key, { origin: "l.example", size, root: new Uint8Array(32) }, 1)],
    ])
    for (const tile of tilesOf("entries", size)) {
      const start = tile.index * 256
      if (partials || tile.width === 256)
        files.set(tilePath(tile), encodeBundle(entries.slice(start, start + tile.width)))
      else files.set(tilePath({ ...tile, width: 256 }), encodeBundle(entries.slice(start, start + 256)))
    }
    return { files, source: tileSource(async (path) => files.get(path)) }
  }

  test("any piece, across bundles, up to the checkpoint's size", async () => {
    const { source } = folder(600)
    for (const [from, max] of [
      [0, 600],
      [0, 1],
      [255, 2],
      [256, 1],
      [300, 1000],
      [599, 5],
      [10, 0],
    ] as const)
      expect(await source.entries(from, max)).toEqual(entries.slice(from, from + max))
    expect(await source.entries(600, 10)).toEqual([])
    expect(await source.entries(5000, 10)).toEqual([])
    expect(await folder(0).source.entries(0, 10)).toEqual([])
  })

  test("a partial bundle that has given way to the full one", async () => {
    expect(await folder(500, { partials: false }).source.entries(250, 400)).toEqual(entries.slice(250, 500))
  })

  test("missing or malformed files are errors, not short answers", async () => {
    const { files, source } = folder(600)
    files.set("tile/entries/001", files.get("tile/entries/001")!.subarray(1))
    await expect(source.entries(200, 100)).rejects.toMatchObject({ code: "ERR_MALFORMED" })
    files.delete("tile/entries/001")
    await expect(source.entries(200, 100)).rejects.toMatchObject({ code: "ERR_NOT_FOUND" })
    files.delete("checkpoint")
    await expect(source.checkpoint()).rejects.toMatchObject({ code: "ERR_NOT_FOUND" })
  })
})
