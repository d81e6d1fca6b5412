import { describe, expect, test } from "vitest"
import { utf8 } from "../../protocol/bytes.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { checkpointText, isSignedByLog, signCheckpoint } from "../../pki/checkpoint.ts"
import { encodeNote, encodeVerifierKey, parseNote, verifierKey } from "../../pki/note.ts"
import { judgeView } from "../../pki/split-view.ts"
import { MerkleLog } from "../../pki/tree.ts"

const origin = "directory.example/log"
const logKey = new SigningKey(new Uint8Array(32).fill(1))
const vkey = encodeVerifierKey(verifierKey(origin, "ed25519", logKey.publicKey))

/** The operator's log as one victim sees it: the same entries, but for the one that is different. */
const viewOf = (size: number, differs?: number) => {
  const tree = new MerkleLog()
  for (let i = 0; i < size; i++) tree.append(Uint8Array.of(i, i === differs ? 1 : 0))
  const note = (at = size, key = logKey) =>
    signCheckpoint(key, { origin, size: at, root: tree.rootAt(at) }, 1_800_000_000)
  return { tree, note, own: { checkpoint: note(), rootAt: (at: number) => tree.rootAt(at) } }
}

describe("20 split view", () => {
  const honest = viewOf(10)
  const forked = viewOf(10, 4)

  test("20 split view: two signed checkpoints of one size with different roots are evidence", () => {
    const judged = judgeView(honest.own, forked.note(), vkey)
    expect(judged).toEqual({ view: "split", evidence: [honest.own.checkpoint, forked.note()] })
    if (judged.view === "split") for (const note of judged.evidence) expect(isSignedByLog(note, vkey)).toBe(true)
  })

  test("20 split view: also against an older tree of ours", () => {
    expect(judgeView(honest.own, forked.note(7), vkey).view).toBe("split")
    expect(judgeView(honest.own, forked.note(4), vkey).view).toBe("agrees")
  })

  test("20 split view: a mismatch without the log's signature is the peer's word", () => {
    const peers = parseNote(forked.note())
    const unsigned = encodeNote({ ...peers, signatures: peers.signatures.slice(1) })
    const impostor = forked.note(10, new SigningKey(new Uint8Array(32).fill(2)))
    for (const note of [unsigned, impostor]) expect(judgeView(honest.own, note, vkey)).toEqual({ view: "hearsay" })
    const ownUnsigned = {
      ...honest.own,
      checkpoint: encodeNote({ ...parseNote(honest.own.checkpoint), signatures: parseNote(impostor).signatures }),
    }
    expect(judgeView(ownUnsigned, forked.note(), vkey)).toEqual({ view: "hearsay" })
  })

  test("20 split view: neither another log nor garbage is a view of this one", () => {
    const other = signCheckpoint(logKey, { origin: "other.example/log", size: 10, root: new Uint8Array(32) }, 1)
    const text = checkpointText({ origin: "other.example/log", size: 10, root: new Uint8Array(32), extensions: [] })
    const [line] = parseNote(honest.own.checkpoint).signatures
    const underOurName = encodeNote({ text, signatures: [{ ...line!, signature: logKey.sign(utf8(text)) }] })
    expect(isSignedByLog(underOurName, vkey)).toBe(true)
    for (const note of [other, underOurName, new Uint8Array(), new Uint8Array(100).fill(65)])
      expect(judgeView(honest.own, note, vkey)).toEqual({ view: "hearsay" })
  })

  test("20 split view: agreement and a larger tree are told apart", () => {
    expect(judgeView(honest.own, honest.note(), vkey).view).toBe("agrees")
    expect(judgeView(honest.own, honest.note(0), vkey).view).toBe("agrees")
    expect(judgeView(honest.own, viewOf(11).note(), vkey).view).toBe("ahead")
    const unsignedAhead = viewOf(11).note(11, new SigningKey(new Uint8Array(32).fill(2)))
    expect(judgeView(honest.own, unsignedAhead, vkey).view).toBe("hearsay")
  })
})
