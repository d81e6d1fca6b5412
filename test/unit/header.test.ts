import { describe, expect, test } from "vitest"
import type { Hash, Incarnation, MessageId, PrekeyId } from "../../protocol/address.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { merkleTree } from "../../protocol/hash.ts"
import {
  decodeEntry,
  decodeHeader,
  encodeEntry,
  encodeHeader,
  headerNames,
  type Entry,
  type Header,
} from "../../protocol/header.ts"
import { codeOf } from "../support/errors.ts"
import { kenya, nowSeconds, officer, randomOf, singapore } from "../support/sealing.ts"

const random = randomOf("header")
const entry: Entry = {
  poc: singapore.poc,
  device: singapore.id,
  prekeyId: random(16) as PrekeyId,
  kind: "rotating",
  pairSequence: { incarnation: random(16) as Incarnation, n: 0 },
  enc: random(32) as Hash,
}
const header: Header = {
  v: 1,
  suite: 1,
  mode: "live",
  messageId: random(16) as MessageId,
  sender: { poc: kenya.poc, device: kenya.id, officer: officer.id },
  recipientsRoot: random(32) as Hash,
  recipientsCount: 1,
  created: nowSeconds,
  expires: nowSeconds + 60,
  checkpoint: random(32) as Hash,
}

/** Each with one field that does not fit. */
const badHeaders: Record<string, object> = {
  "no message id": { messageId: undefined },
  "a short message id": { messageId: random(15) },
  "an unknown mode": { mode: "test" },
  "a sender that is no address": { sender: { poc: "kenya", device: kenya.id } },
  "an address in capitals": { sender: { poc: "KE/technical/baobab", device: kenya.id } },
  "an unknown field of the sender": { sender: { ...header.sender, title: "duty officer" } },
  "a root of 31 bytes": { recipientsRoot: random(31) },
  "no recipient": { recipientsCount: 0 },
  "too many recipients": { recipientsCount: 4097 },
  "a time before 1970": { created: -1 },
  "a time beyond all clocks": { expires: 2 ** 41 },
  "a checkpoint as text": { checkpoint: "checkpoint" },
  "critical fields as text": { crit: "expires" },
  "17 critical fields": { crit: Array.from({ length: 17 }, () => "expires") },
}

describe("header", () => {
  test("reads what it wrote, with or without an officer", () => {
    expect(decodeHeader(encodeHeader(header))).toEqual(header)
    const { poc, device } = header.sender
    const alone = { ...header, sender: { poc, device } }
    expect(decodeHeader(encodeHeader(alone))).toEqual(alone)
  })

  test.each(Object.keys(badHeaders))("with %s is malformed", (name) => {
    expect(codeOf(() => decodeHeader(encodeCbor({ ...header, ...badHeaders[name] })))).toBe("ERR_MALFORMED")
  })

  test("with a float is malformed, in a known field or in an unknown one", () => {
    for (const name of ["created", "later"]) {
      const bytes = encodeCbor({ ...header, [name]: 0 })
      const at = Buffer.from(bytes).indexOf(name) + name.length
      expect(codeOf(() => decodeHeader(bytes))).toBe("none")
      const float = Uint8Array.of(...bytes.subarray(0, at), 0xf9, 0x3e, 0x00, ...bytes.subarray(at + 1))
      expect(codeOf(() => decodeHeader(float))).toBe("ERR_MALFORMED")
    }
  })

  test("names an entry at its own place only", () => {
    const entries = [entry, { ...entry, kind: "one-time" } as const].map(encodeEntry)
    const tree = merkleTree(entries)
    const of = { ...header, recipientsRoot: tree.root as Hash, recipientsCount: 2 }
    expect(headerNames(of, entries[0]!, 0, tree.path(0))).toBe(true)
    expect(headerNames(of, entries[1]!, 1, tree.path(1))).toBe(true)
    expect(headerNames(of, entries[0]!, 1, tree.path(0))).toBe(false)
    expect(headerNames(of, entries[0]!, 2, tree.path(0))).toBe(false)
    expect(headerNames({ ...of, recipientsCount: 1 }, entries[0]!, 0, tree.path(0))).toBe(false)
    expect(headerNames(of, entries[0]!, 0, [])).toBe(false)
  })
})

describe("entry", () => {
  const badEntries: Record<string, object> = {
    "an unknown kind": { kind: "eternal" },
    "an unknown field": { more: 1 },
    "a negative number": { pairSequence: { ...entry.pairSequence, n: -1 } },
    "a number beyond 2^48": { pairSequence: { ...entry.pairSequence, n: 2 ** 48 + 1 } },
    "no encapsulation": { enc: undefined },
  }

  test("reads what it wrote", () => {
    expect(decodeEntry(encodeEntry(entry))).toEqual(entry)
  })

  test.each(Object.keys(badEntries))("with %s is malformed", (name) => {
    expect(codeOf(() => decodeEntry(encodeCbor({ ...entry, ...badEntries[name] })))).toBe("ERR_MALFORMED")
  })
})
