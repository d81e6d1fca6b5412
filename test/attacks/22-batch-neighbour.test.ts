import { expect, test } from "vitest"
import type { MailboxId } from "../../protocol/address.ts"
import { equal, u64be } from "../../protocol/bytes.ts"
import { consentFor } from "../../protocol/consent.ts"
import { taggedHash } from "../../protocol/hash.ts"
import { sha3 } from "../../protocol/primitives.ts"
import { signBatch, verifyRelayReceipt, type AcceptedItem } from "../../protocol/relay-receipt.ts"
import { bytesOf, hashOf, officerOf, P, R, S, signingKeyOf, T, terms } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const relay = signingKeyOf("relay")
const minute = 30_000_000
const item = (name: string): AcceptedItem => ({
  blind: bytesOf(32, `blind ${name}`),
  digest: hashOf(`envelope ${name}`),
  mailbox: bytesOf(16, `mailbox ${name}`) as MailboxId,
  minute,
})

test("22 evidence laundering: a batch neighbour's receipt does not date an envelope, whatever its holder knows of it", () => {
  const [mine, neighbour] = [item("mine"), item("neighbour")]
  const signed = signBatch(relay, live, "relay.example", [mine, neighbour])
  const receipt = signed.receipt(1)
  expect(verifyRelayReceipt(relay.publicKey, live, receipt, neighbour)).toBe(true)

  // The recipient of `mine` has its bytes, so digest, mailbox and minute; and it colludes with the neighbour.
  const { digest, mailbox } = mine
  const guesses = [
    digest,
    taggedHash("accepted", digest, mailbox, u64be(minute)),
    taggedHash("accepted", new Uint8Array(32), digest, mailbox, u64be(minute)),
    taggedHash("accepted", new Uint8Array(0), digest, mailbox, u64be(minute)),
    taggedHash("accepted", neighbour.blind, digest, mailbox, u64be(minute)),
  ]
  const hashes = guesses.flatMap((guess) => [guess, sha3(Uint8Array.of(0), guess)])
  for (const shown of receipt.path) expect(hashes.some((hash) => equal(hash, shown))).toBe(false)

  // What would convince: the blind, which the submitter alone has. Without it the same place is anybody's.
  const place = { ...receipt, index: 0, path: signed.receipt(0).path }
  expect(verifyRelayReceipt(relay.publicKey, live, place, mine)).toBe(true)
  expect(verifyRelayReceipt(relay.publicKey, live, place, { ...mine, blind: neighbour.blind })).toBe(false)
})

test("22 evidence laundering: a consent is signed for S alone", () => {
  const copy = (reader: typeof S) => consentFor(reader, terms, live, officerOf(P).key)
  expect(copy(S).signature).toHaveLength(64)
  for (const reader of [R, T]) expect(copy(reader)).toEqual({ bytes: copy(S).bytes })
})
