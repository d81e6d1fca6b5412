import { describe, expect, test } from "vitest"
import { fixed } from "../../protocol/limits.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { cosign, openCheckpoint, signCheckpoint } from "../../pki/checkpoint.ts"
import { encodeNote, encodeVerifierKey, parseNote, verifierKey } from "../../pki/note.ts"
import { noWitnesses, parsePolicy } from "../../pki/policy.ts"

const now = 1_800_000_000
const origin = "directory.example/log"
const logKey = new SigningKey(new Uint8Array(32).fill(1))
const vkey = encodeVerifierKey(verifierKey(origin, "ed25519", logKey.publicKey))
const tree = { origin, size: 5, root: new Uint8Array(32) }
const stale = now - fixed.checkpointSecondsMax - 1

describe("21 frozen checkpoint", () => {
  test("21 frozen checkpoint: what a relay has held back for more than 72 hours is refused", () => {
    const frozen = signCheckpoint(logKey, tree, stale)
    expect(openCheckpoint(frozen, { logKey: vkey, policy: noWitnesses }, now - 1).cosignedAt).toBe(stale)
    expect(() => openCheckpoint(frozen, { logKey: vkey, policy: noWitnesses }, now)).toThrow(
      expect.objectContaining({ code: "ERR_DIRECTORY_STALE", retryable: true }),
    )
  })

  test("21 frozen checkpoint: the operator's fresh signature does not stand in for the witnesses' old ones", () => {
    const witness = new SigningKey(new Uint8Array(32).fill(2))
    const policy = parsePolicy(
      `witness w ${encodeVerifierKey(verifierKey("w.example", "cosignature", witness.publicKey))}\nquorum w\n`,
    )
    const note = parseNote(signCheckpoint(logKey, tree, now))
    const line = cosign(witness, "w.example", note.text, stale)
    const bytes = encodeNote({ ...note, signatures: [...note.signatures, line] })
    expect(() => openCheckpoint(bytes, { logKey: vkey, policy }, now)).toThrow(
      expect.objectContaining({ code: "ERR_DIRECTORY_STALE" }),
    )
  })

  test("21 frozen checkpoint: a date moved by hand does not verify", () => {
    const note = parseNote(signCheckpoint(logKey, tree, stale))
    const dated = note.signatures[1]!
    const redated = { ...dated, signature: dated.signature.with(7, dated.signature[7]! ^ 1) }
    const bytes = encodeNote({ ...note, signatures: [note.signatures[0]!, redated] })
    expect(() => openCheckpoint(bytes, { logKey: vkey, policy: noWitnesses }, now)).toThrow(
      expect.objectContaining({ code: "ERR_UNTRUSTED" }),
    )
  })
})
