import { beforeAll, describe, expect, test } from "vitest"
import { concat, u32be, utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { taggedHash } from "../../protocol/hash.ts"
import { decodeBundle, encodeBundle } from "../../client-sdk/evidence/bundle.ts"
import { kenyasCase, outcome } from "../support/evidence.ts"

let bytes: Uint8Array
beforeAll(async () => {
  bytes = (await kenyasCase()).bytes
})

const decoded = (file: Uint8Array): string => outcome(() => decodeBundle(file))

/** Where each part of the file lies, by its own table. */
function places(file: Uint8Array): { name: string; start: number; end: number }[] {
  const { sections } = tableOf(file)
  let at = 21 + new DataView(file.buffer, file.byteOffset).getUint32(17) + 32
  const found = [{ name: "contents", start: 0, end: at }]
  for (const { name, length } of sections) found.push({ name, start: at, end: (at += length) })
  return [...found, { name: "end", start: at, end: at + 32 }]
}

interface Table {
  readonly sections: readonly { readonly name: string; readonly length: number }[]
}
const tableOf = (file: Uint8Array): Table => {
  const { about: _, ...rest } = decodeBundle(file)
  const part = (name: string, section: object) => ({ name, length: encodeCbor(section).length })
  const numbered = (kind: string, all: readonly object[]) => all.map((section, i) => part(`${kind}-${i + 1}`, section))
  return {
    sections: [
      part("about", decodeBundle(file).about),
      part("directory", { entries: rest.directory }),
      ...numbered("message", rest.messages),
      ...numbered("receipt", rest.receipts),
      ...numbered("relay-receipt", rest.relayReceipts),
    ],
  }
}

/** A file with this table and these bytes behind it, and every hash right. */
function fileOf(sections: readonly { name: string; bytes: Uint8Array; length?: number }[]): Uint8Array {
  const rows = sections.map(({ name, bytes: section, length = section.length }) => ({
    name,
    length,
    hash: taggedHash("evidence", "section", name, section),
  }))
  const table = encodeCbor({ sections: rows })
  const start = concat(utf8("valise-evidence\n"), Uint8Array.of(1), u32be(table.length), table)
  const body = concat(start, taggedHash("evidence", "contents", start), ...sections.map((section) => section.bytes))
  return concat(body, taggedHash("evidence", "whole", body))
}

const parts = (): { name: string; bytes: Uint8Array }[] =>
  places(bytes)
    .slice(1, -1)
    .map(({ name, start, end }) => ({ name, bytes: bytes.slice(start, end) }))

test("decoding and encoding again gives the same bytes, also from the description of the format", () => {
  expect(encodeBundle(decodeBundle(bytes))).toEqual(bytes)
  expect(fileOf(parts())).toEqual(bytes)
})

test("every byte flipped, one at a time: found, and the part that it lies in is named", () => {
  const file = bytes.slice()
  const wrong: string[] = []
  for (const { name, start, end } of places(bytes))
    for (let at = start; at < end; at++) {
      file[at] = bytes[at]! ^ (1 << (at % 8))
      const said = decoded(file)
      if (!said.startsWith(`${name}: `)) wrong.push(`byte ${at} of ${name}: ${said}`)
      file[at] = bytes[at]!
    }
  expect(wrong).toEqual([])
}, 120_000)

test("cut anywhere: found, and the part in which the file ends is named", () => {
  const wrong: string[] = []
  for (const { name, start, end } of places(bytes))
    for (const length of new Set([start, start + 1, Math.floor((start + end) / 2), end - 1])) {
      const said = decoded(bytes.subarray(0, length))
      const expected = [`${name}: truncated`, ...(name === "contents" && length < 21 ? ["contents: not-evidence"] : [])]
      if (!expected.includes(said)) wrong.push(`${length} bytes, in ${name}: ${said}`)
    }
  expect(wrong).toEqual([])
})

describe("whatever else somebody could hand over", () => {
  test.each([
    ["nothing", () => new Uint8Array(0), "contents: not-evidence"],
    [
      "something else",
      () => utf8("%PDF-1.7 and so on, for some length that is enough for a header"),
      "contents: not-evidence",
    ],
    ["bytes behind the end", () => concat(bytes, Uint8Array.of(0)), "end: trailing"],
    ["the file twice", () => concat(bytes, bytes), "end: trailing"],
    ["a later version", () => Uint8Array.from(bytes, (byte, i) => (i === 16 ? 2 : byte)), "contents: version"],
    [
      "a table of 4 GB",
      () => Uint8Array.from(bytes, (byte, i) => (i >= 17 && i < 21 ? 255 : byte)),
      "contents: truncated",
    ],
    ["no messages", () => encodeBundle({ ...decodeBundle(bytes), messages: [] }), "contents: malformed"],
    ["no directory", () => fileOf(parts().filter(({ name }) => name !== "directory")), "contents: order"],
    ["sections swapped", () => fileOf([...parts().slice(2), ...parts().slice(0, 2)]), "contents: order"],
    ["a section twice", () => fileOf([...parts(), parts().at(-1)!]), "contents: order"],
    ["a number left out", () => fileOf(parts().filter(({ name }) => name !== "receipt-1")), "contents: order"],
    ["an unknown section", () => fileOf([...parts(), { name: "verdict", bytes: utf8("x") }]), "contents: malformed"],
    ["a receipt in a message's place", () => fileOf(withBytes("message-1", "receipt-1")), "message-1: malformed"],
    [
      "trailing bytes in a section",
      () => fileOf(parts().map((x) => (x.name === "about" ? longer(x) : x))),
      "about: malformed",
    ],
    ["entries out of order", () => fileOf(withDirectory((entries) => entries.toReversed())), "directory: malformed"],
    ["an entry twice", () => fileOf(withDirectory((entries) => [entries[0], ...entries])), "directory: malformed"],
  ])("%s", (_, file, expected) => {
    expect(decoded(file())).toBe(expected)
  })
})

test("a case that does not fit is refused when it is written", () => {
  const bundle = decodeBundle(bytes)
  const huge = { ...bundle.messages[0]!, leaves: [{ name: "body", value: new Uint8Array(64 * 1024 * 1024) }] }
  expect(() => encodeBundle({ ...bundle, messages: [huge] })).toThrow("does not fit one evidence file")
})

const longer = ({ name, bytes: section }: { name: string; bytes: Uint8Array }) => ({
  name,
  bytes: concat(section, Uint8Array.of(0)),
})
const withBytes = (name: string, from: string) => {
  const other = parts().find((part) => part.name === from)!.bytes
  return parts().map((part) => (part.name === name ? { name, bytes: other } : part))
}
const withDirectory = (change: (entries: readonly object[]) => readonly unknown[]) => {
  const entries = change(decodeBundle(bytes).directory) as object[]
  return parts().map((part) => (part.name === "directory" ? { ...part, bytes: encodeCbor({ entries }) } : part))
}
