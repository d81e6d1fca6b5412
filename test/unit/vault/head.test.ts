import { describe, expect, test } from "vitest"
import { checkFingerprint, emptyFingerprint, toggled, type Head } from "../../../client-sdk/vault/head.ts"
import { emptyJournal } from "../../../client-sdk/vault/journal.ts"
import { RecordCipher } from "../../../client-sdk/vault/record-cipher.ts"
import type { StorageReadTx, StoredRecord } from "../../../client-sdk/vault/storage.ts"
import { VaultKeys } from "../../../client-sdk/vault/vault-keys.ts"
import { compare, utf8 } from "../../../protocol/bytes.ts"
import { codeOf } from "../../support/errors.ts"
import { about, testMachine } from "../../support/vault.ts"

const keys = new VaultKeys(new Uint8Array(32).fill(1), testMachine().random)
const cipher = new RecordCipher(keys, undefined)
const collection = keys.collectionTag("archive")
const records = Array.from({ length: 5 }, (_, n) => {
  const place = { collection, id: keys.recordId("archive", `m${n}`), volatile: false }
  return cipher.seal(place, `m${n}`, utf8(`value ${n}`))
}).toSorted((a, b) => compare(a.id, b.id))
const head: Head = {
  v: 1,
  about,
  transactions: 1,
  fingerprint: records.reduce((fingerprint, record) => toggled(fingerprint, keys, record), emptyFingerprint),
  journal: emptyJournal,
}

/** As a storage whose tree may be damaged in ways that SQLite does not see. */
const check = (entries: readonly StoredRecord[]) =>
  codeOf(() => checkFingerprint({ entries: () => entries } as Partial<StorageReadTx> as StorageReadTx, keys, head))

describe("the fingerprint of all records", () => {
  test("is that of the records in their order", () => {
    expect(check(records)).toBe("none")
  })

  test("is not that of fewer, more, other or older records", () => {
    const again = cipher.seal(records[2]!, "m", utf8("value 2"))
    for (const others of [[], records.slice(1), records.slice(0, -1), records.with(2, again), [...records, again]])
      expect(check(others)).toBe("ERR_VAULT_TAMPERED")
  })

  test("out of order is refused, because look-ups could miss; thrice the same too, whose elements cancel out", () => {
    expect(check(records.toReversed())).toBe("ERR_VAULT_TAMPERED")
    expect(check(records.toSpliced(1, 0, records[1]!, records[1]!))).toBe("ERR_VAULT_TAMPERED")
  })
})
