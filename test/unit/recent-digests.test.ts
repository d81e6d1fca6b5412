import { randomBytes } from "node:crypto"
import { expect, test } from "vitest"
import { sha3 } from "../../protocol/primitives.ts"
import { RecentDigests } from "../../relay/recent-digests.ts"

test("is SHA3-256, also of an envelope that begins like another, and of one that was forgotten", () => {
  const digests = new RecentDigests()
  const first = new Uint8Array(randomBytes(5298))
  const alike = first.slice()
  alike[5000]! ^= 1
  const many = Array.from({ length: 300 }, () => new Uint8Array(randomBytes(5298)))
  for (const envelope of [first, alike, first, first, alike, ...many, ...many, first])
    expect(digests.of(envelope)).toEqual(sha3(envelope))
})
