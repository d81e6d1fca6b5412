import { describe, expect, test } from "vitest"
import { concat, u32be, utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { leafHashesOf, type PackedLeaf } from "../../protocol/leaves.ts"
import { fixed } from "../../protocol/limits.ts"
import { open, type Opened } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"
import { nodeDeflate } from "../../system/node.ts"
import {
  messageOf,
  opened,
  openerOf,
  recipientOf,
  sealDishonestly,
  singapore,
  type Deceit,
} from "../support/sealing.ts"

const input = messageOf({ recipients: [recipientOf(singapore)] })
const sealedWith = (deceit: Deceit): Opened => open(openerOf(singapore, sealDishonestly(input, deceit)))
const withLeaves = (leaves: readonly PackedLeaf[]): Opened =>
  sealedWith({ payload: (payload) => ({ ...payload, leaves }) })
const raw = (name: string, value = utf8("x")): PackedLeaf => ({ name, deflated: false, value })

describe("18 padding", () => {
  test("18 non-zero padding is refused, wherever it stands", () => {
    for (const at of [-1, -100])
      expect(sealedWith({ padded: (bytes) => bytes.fill(1, bytes.length + at, bytes.length + at + 1) })).toMatchObject({
        reason: "padding",
      })
    const first = (bytes: Uint8Array): Uint8Array => {
      const length = 4 + new DataView(bytes.buffer).getUint32(0)
      return bytes.fill(128, length, length + 1)
    }
    expect(sealedWith({ padded: first })).toMatchObject({ reason: "padding" })
  })

  test("18 length overflow: a length beyond the payload, by one or by far, is refused", () => {
    for (const length of [4093, 4096, 2 ** 31, 2 ** 32 - 1])
      expect(sealedWith({ padded: (bytes) => concat(u32be(length), bytes.subarray(4)) })).toMatchObject({
        reason: "padding",
      })
  })
})

describe("18 trailing bytes", () => {
  test("18 after the envelope", () => {
    const { bytes } = seal(input).envelopes[0]!
    const parts = concat(bytes, Uint8Array.of(0))
    expect(open(openerOf(singapore, parts))).toMatchObject({ reason: "size" })
    expect(open(openerOf(singapore, bytes.subarray(0, -1)))).toMatchObject({ reason: "size" })
  })

  test("18 inside, after payload, header or entry", () => {
    expect(sealedWith({ body: (body) => concat(body, Uint8Array.of(0)) })).toMatchObject({ reason: "payload" })
    const signed = (bytes: Uint8Array) => ({ bytes: concat(bytes, Uint8Array.of(0)), signature: new Uint8Array(64) })
    expect(sealedWith({ headerSigned: signed })).toMatchObject({ reason: "payload" })
    const longer = (payload: { readonly entry: Uint8Array }) => concat(payload.entry, Uint8Array.of(0))
    expect(sealedWith({ payload: (payload) => ({ ...payload, entry: longer(payload) }) })).toMatchObject({
      reason: "payload",
    })
  })
})

describe("18 one encoding", () => {
  const contentKey = encodeCbor("contentKey")
  const bodies: Record<string, (body: Uint8Array) => Uint8Array> = {
    "a duplicate key": (body) => concat(Uint8Array.of(body[0]! + 1), replaced(body.subarray(1), contentKey, twice)),
    "an unsorted map": (body) => {
      const at = indexOf(body, contentKey)
      const item = body.subarray(at, at + contentKey.length + 34)
      return concat(body.subarray(0, 1), item, body.subarray(1, at), body.subarray(at + item.length))
    },
    "a map of indefinite length": (body) => concat(Uint8Array.of(0xbf), body.subarray(1), Uint8Array.of(0xff)),
    "a map's length not in its shortest form": (body) => concat(Uint8Array.of(0xb8, body[0]! & 31), body.subarray(1)),
    "a tag": (body) => concat(Uint8Array.of(0xd9, 0xd9, 0xf7), body),
    "an unknown field": (body) =>
      concat(Uint8Array.of(body[0]! + 1), body.subarray(1), encodeCbor("zzzzzzzzzzzz"), Uint8Array.of(0)),
    "text that is not UTF-8": (body) => replaced(body, utf8("deflated"), () => Uint8Array.of(0xff, ...utf8("eflated"))),
    "a length beyond the end": (body) =>
      replaced(body, contentKey, (key) => concat(Uint8Array.of(0x7f), key.subarray(1))),
    nothing: () => new Uint8Array(0),
  }
  test.each(Object.keys(bodies))("18 a payload with %s is refused", (name) => {
    expect(sealedWith({ body: bodies[name]! })).toMatchObject({ ok: false, reason: "payload" })
  })

  const twice = (key: Uint8Array): Uint8Array => concat(key, encodeCbor(new Uint8Array(32)), key)
})

describe("18 leaves", () => {
  test("18 names that are not unique or do not fit, none or too many, are refused", () => {
    expect(opened(withLeaves([raw("type"), raw("body")])).leaves.length).toBe(2)
    const bad = [[raw("type"), raw("type")], [raw("")], [raw("Type")], [raw("a b")], [raw("a".repeat(65))], []]
    for (const leaves of bad) expect(withLeaves(leaves)).toMatchObject({ reason: "leaves" })
    const many = Array.from({ length: 65 }, (_, i) => raw(`n${i}`))
    expect(withLeaves(many)).toMatchObject({ reason: "payload" })
    expect(withLeaves(many.slice(1)).ok).toBe(true)
  })

  test("18 a stream that is malformed, cut, followed by more, or longer than what it holds is refused", () => {
    const value = nodeDeflate.deflate(utf8("a".repeat(500)))
    const deflated = (stream: Uint8Array) => withLeaves([{ name: "body", deflated: true, value: stream }])
    expect(opened(deflated(value)).leaves[0]!.value).toEqual(utf8("a".repeat(500)))
    const stored = nodeDeflate.deflate(utf8("x"))
    for (const stream of [value.subarray(1), value.subarray(0, -1), concat(value, Uint8Array.of(0)), stored, utf8("")])
      expect(deflated(stream)).toMatchObject({ reason: "leaves" })
  })

  test("18 inflation bomb: all leaves together inflate to the limit and no further", () => {
    const zeros = (length: number) => nodeDeflate.deflate(new Uint8Array(length))
    const bomb = (name: string, length: number): PackedLeaf => ({ name, deflated: true, value: zeros(length) })
    expect(withLeaves([bomb("body", fixed.contentBytesMax)]).ok).toBe(true)
    expect(withLeaves([bomb("body", fixed.contentBytesMax + 1)])).toMatchObject({ reason: "leaves" })
    expect(withLeaves([bomb("body", 40 * fixed.contentBytesMax)])).toMatchObject({ reason: "leaves" })
    const half = fixed.contentBytesMax / 2
    expect(withLeaves([bomb("a", half), bomb("b", half)]).ok).toBe(true)
    expect(withLeaves([bomb("a", half), bomb("b", half), raw("c")])).toMatchObject({ reason: "leaves" })
    expect(withLeaves([bomb("a", half), raw("c"), bomb("b", half)])).toMatchObject({ reason: "leaves" })
  })

  test("18 inflation is never asked for more than what is left of the limit", () => {
    const asked: number[] = []
    const deflate = {
      ...nodeDeflate,
      inflate: (bytes: Uint8Array, lengthMax: number) => {
        asked.push(lengthMax)
        return nodeDeflate.inflate(bytes, lengthMax)
      },
    }
    const leaves = ["a", "b"].map((name) => ({ name, value: new Uint8Array(1000) }))
    const { bytes } = seal(messageOf({ leaves, recipients: input.recipients })).envelopes[0]!
    const message = opened(open({ ...openerOf(singapore, bytes), deflate }))
    expect(asked).toEqual([fixed.contentBytesMax, fixed.contentBytesMax - 1000])
    expect(message.leafHashes).toEqual(leafHashesOf(message.contentKey, leaves))
  })
})

function indexOf(bytes: Uint8Array, part: Uint8Array): number {
  return bytes.findIndex((_, at) => part.every((byte, i) => bytes[at + i] === byte))
}

function replaced(bytes: Uint8Array, part: Uint8Array, by: (part: Uint8Array) => Uint8Array): Uint8Array {
  const at = indexOf(bytes, part)
  return concat(bytes.subarray(0, at), by(part), bytes.subarray(at + part.length))
}
