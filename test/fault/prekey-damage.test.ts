/** Bit rot in the file of the prekeys: one flipped byte costs at most the record it is in; nothing altered is given out. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { ValiseError } from "../../protocol/errors.ts"
import { shelfPath } from "../../relay/prekey-shelf-file.ts"
import { ShelfWriter } from "../../relay/prekey-shelf-writer.ts"
import { storeContents } from "../../relay/store-inspect.ts"
import { seededRandom } from "./store-load.ts"

const device = new Uint8Array(32).fill(9)
const prekeys = Array.from({ length: 8 }, (_, i) => `a signed statement ${i} `.repeat(70))
const rotating = "a rotating statement ".repeat(70)
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text))
const random = seededRandom(44)

let folder: string
let whole: Buffer
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "valise-damage-"))
  const writer = new ShelfWriter(folder)
  const put = { kind: "put", device, reset: false, rotating: bytesOf(rotating) } as const
  writer.apply([
    { ...put, oneTime: ["gone", ...prekeys].map(bytesOf) },
    { kind: "take", device },
  ])
  writer.close()
  whole = readFileSync(shelfPath(folder))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test("a damaged prekey is not handed out", () => {
  writeFileSync(shelfPath(folder), flipped(whole.indexOf(prekeys[0]!) + 77))
  expect(storeContents(folder)).toMatchObject({ quarantined: { prekeys: 1 }, intact: true })
  const writer = new ShelfWriter(folder)
  for (const statement of [...prekeys.slice(1), rotating, rotating]) expect(take(writer)).toBe(statement)
  writer.close()
})

test("a flipped byte anywhere: what is given out is right, once, and nothing is missing without being reported", () => {
  // The structure of the file is in the first bytes of its pages: more is lost there, and nothing worse happens.
  const pages = Array.from({ length: whole.length / 4096 }, (_, page) => 4096 * page)
  const structure = pages.flatMap((page) => [page, page + 2, page + 3, page + 5, page + 9])
  const anywhere = Array.from({ length: 150 }, () => Math.floor(random() * whole.length))
  const outcomes = { refused: 0, readOnly: 0, quarantined: 0, unharmed: 0 }
  for (const at of [...structure, ...anywhere]) {
    const place = join(folder, `flip-${at}`)
    mkdirSync(place, { recursive: true })
    writeFileSync(join(place, basename(shelfPath(place))), flipped(at))
    outcomes[check(place, `byte ${at}`)] += 1
    rmSync(place, { recursive: true })
  }
  expect(outcomes.quarantined).toBeGreaterThan(25)
  expect(outcomes.refused + outcomes.readOnly).toBeLessThan(structure.length + 20)
})

type Outcome = "refused" | "readOnly" | "quarantined" | "unharmed"

function check(place: string, when: string): Outcome {
  let writer: ShelfWriter
  try {
    writer = new ShelfWriter(place)
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    expect(["ERR_STORE_UNAVAILABLE", "ERR_VERSION"], when).toContain(error.code)
    return "refused"
  }
  try {
    const { quarantined } = storeContents(place)
    if (writer.trouble) {
      expect(() => take(writer), when).toThrow(expect.objectContaining({ code: "ERR_STORE_UNAVAILABLE" }))
      return "readOnly"
    }
    const taken: (string | undefined)[] = []
    for (let prekey = take(writer); prekey !== undefined && prekey !== rotating; prekey = take(writer))
      taken.push(prekey)
    for (const prekey of taken) expect(prekeys, when).toContain(prekey)
    expect(new Set(taken).size, when).toBe(taken.length)
    const missing = prekeys.length - taken.length + (take(writer) === rotating ? 0 : 1)
    expect(missing, when).toBe(quarantined.prekeys)
    expect(
      writer.apply([{ kind: "put", device, reset: false, rotating: undefined, oneTime: [bytesOf("new")] }]),
    ).toEqual([1])
    expect(take(writer), when).toBe("new")
    return missing > 0 ? "quarantined" : "unharmed"
  } finally {
    writer.close()
  }
}

function take(writer: ShelfWriter): string | undefined {
  const [prekey] = writer.apply([{ kind: "take", device }])
  return prekey instanceof Uint8Array ? Buffer.from(prekey).toString() : undefined
}

function flipped(at: number): Uint8Array {
  const copy = new Uint8Array(whole)
  copy[at]! ^= 1 << (at % 8)
  return copy
}
