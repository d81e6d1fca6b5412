import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  checkJournal,
  decodeJournalRecord,
  emptyJournal,
  nextJournalRecord,
  type JournalHead,
} from "../../../client-sdk/vault/journal.ts"
import { utf8 } from "../../../protocol/bytes.ts"
import { taggedHash } from "../../../protocol/hash.ts"
import { ValiseError } from "../../../protocol/errors.ts"

function chain(length: number): { records: Uint8Array[]; head: JournalHead } {
  const records: Uint8Array[] = []
  let head = emptyJournal
  for (let i = 0; i < length; i++) {
    const next = nextJournalRecord(head, 1000 + i, i % 2 ? "received" : "erased", { n: i, id: utf8("x") })
    records.push(next.bytes)
    head = next.head
  }
  return { records, head }
}
const check = (records: readonly Uint8Array[], head: JournalHead) => checkJournal(head, (i) => records[i])

describe("the journal's chain", () => {
  test("each record carries its number, time, event, details and the hash of the one before", () => {
    const { records, head } = chain(2)
    const [first, second] = records.map(decodeJournalRecord)
    expect(first).toEqual({ i: 0, at: 1000, event: "erased", details: { n: 0, id: utf8("x") }, previous: new Uint8Array(32) }) // prettier-ignore
    expect(second!.previous).toEqual(taggedHash("journal", new Uint8Array(32), records[0]!))
    expect(head).toEqual({ count: 2, hash: taggedHash("journal", second!.previous, records[1]!) })
  })

  test("an honest one is whole, also when empty", () => {
    const { records, head } = chain(7)
    expect(check(records, head)).toEqual({ ok: true, head })
    expect(check([], emptyJournal)).toEqual({ ok: true, head: emptyJournal })
  })

  test("deletion, truncation, reordering, alteration and insertion are found, and where", () => {
    const { records, head } = chain(7)
    const other = nextJournalRecord({ count: 3, hash: head.hash }, 1003, "received", {}).bytes
    const fork = nextJournalRecord({ count: 6, hash: decodeJournalRecord(records[6]!).previous }, 9, "erased", {}).bytes
    const without = (i: number) => records.filter((_, n) => n !== i)
    expect(check(without(3), head)).toEqual({ ok: false, at: 3, reason: "order" })
    expect(check(without(6), head)).toEqual({ ok: false, at: 6, reason: "missing" })
    expect(check(records.slice(0, 5), { ...head, count: 5 })).toEqual({ ok: false, at: 5, reason: "truncated" })
    expect(check(records.with(2, records[3]!).with(3, records[2]!), head)).toEqual({ ok: false, at: 2, reason: "order" }) // prettier-ignore
    expect(check(records.with(3, other), head)).toEqual({ ok: false, at: 3, reason: "chain" })
    expect(check(records.with(6, fork), head)).toEqual({ ok: false, at: 7, reason: "truncated" })
    expect(check([records[0]!, ...records], head)).toEqual({ ok: false, at: 1, reason: "order" })
    expect(check(records.with(4, utf8("nonsense")), head)).toEqual({ ok: false, at: 4, reason: "altered" })
  })

  test("property: any other sequence of the same length is refused", () => {
    const { records, head } = chain(6)
    const sequence = fc.array(fc.nat(5), { minLength: 6, maxLength: 6 })
    fc.assert(
      fc.property(sequence, (picks) => {
        const honest = picks.every((pick, i) => pick === i)
        const chosen = picks.map((pick) => records[pick]!)
        return check(chosen, head).ok === honest
      }),
    )
  })

  test("property: any flipped bit is found", () => {
    const { records, head } = chain(4)
    fc.assert(
      fc.property(fc.nat(3), fc.nat(), fc.nat(7), (i, at, bit) => {
        const flipped = records[i]!.slice()
        flipped[at % flipped.length]! ^= 1 << bit
        return !check(records.with(i, flipped), head).ok
      }),
    )
  })

  test("a record that the vault refuses to open counts as altered; other errors pass", () => {
    const { head } = chain(2)
    const failing = (error: Error) => () =>
      checkJournal(head, () => {
        throw error
      })
    expect(failing(new ValiseError("ERR_VAULT_TAMPERED", "altered"))()).toMatchObject({ ok: false, reason: "altered" })
    expect(failing(new ValiseError("ERR_DISK", "disk"))).toThrow("disk")
  })
})
