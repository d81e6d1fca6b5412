import { createPrivateKey, sign } from "node:crypto"
import { describe, expect, test } from "vitest"
import { concat, fromHex, fromUtf8, u64be, utf8 } from "../../protocol/bytes.ts"
import { fixed } from "../../protocol/limits.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import {
  checkpointText,
  cosign,
  openCheckpoint,
  parseCheckpointText,
  signCheckpoint,
  verifyCheckpoint,
} from "../../pki/checkpoint.ts"
import { encodeNote, encodeVerifierKey, parseNote, verifierKey } from "../../pki/note.ts"
import { noWitnesses, parsePolicy } from "../../pki/policy.ts"

const now = 1_800_000_000
const hour = 3600
const origin = "directory.example/log"
const keyOf = (byte: number) => new SigningKey(new Uint8Array(32).fill(byte))
const logKey = keyOf(1)
const trust = { logKey: encodeVerifierKey(verifierKey(origin, "ed25519", logKey.publicKey)), policy: noWitnesses }
const tree = { origin, size: 3, root: new Uint8Array(32).fill(7) }

const [w1, w2, w3] = [keyOf(11), keyOf(12), keyOf(13)]
const witnessLine = (name: string, key: SigningKey) =>
  `witness ${name} ${encodeVerifierKey(verifierKey(`${name}.example`, "cosignature", key.publicKey))}\n`
const witnessed = {
  ...trust,
  policy: parsePolicy(
    `${witnessLine("w1", w1)}${witnessLine("w2", w2)}${witnessLine("w3", w3)}group q 2 w1 w2 w3\nquorum q\n`,
  ),
}
/** The log's checkpoint with further cosignature lines. */
const cosigned = (...lines: readonly (readonly [string, SigningKey, number])[]) => {
  const note = parseNote(signCheckpoint(logKey, tree, now))
  return encodeNote({
    ...note,
    signatures: [...note.signatures, ...lines.map(([name, key, at]) => cosign(key, `${name}.example`, note.text, at))],
  })
}

const code = (call: () => unknown, expected: string) =>
  expect(call).toThrow(expect.objectContaining({ code: expected }))

describe("the text", () => {
  test("reads as tlog-checkpoint has it", () => {
    expect(checkpointText({ ...tree, extensions: ["an extension"] })).toBe(
      "directory.example/log\n3\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nan extension\n",
    )
  })

  test.each([
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    "x\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n",
    "a name with spaces\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\none\ntwo\n",
  ])("is read and written back: %j", (text) => expect(checkpointText(parseCheckpointText(text))).toBe(text))

  const root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
  test.each([
    "",
    "\n",
    "x\n1\n",
    `x\n1\n${root}`,
    `\n1\n${root}\n`,
    `x\n01\n${root}\n`,
    `x\n-1\n${root}\n`,
    `x\n1.0\n${root}\n`,
    `x\n1e3\n${root}\n`,
    `x\n 1\n${root}\n`,
    `x\n0x1\n${root}\n`,
    `x\n\n${root}\n`,
    `x\n9007199254740992\n${root}\n`,
    `x\n1\n${root.slice(0, -1)}\n`,
    `x\n1\n${root.slice(4)}\n`,
    `x\n1\n${root.replace("U=", "V=")}\n`,
    `x\n1\n${root}\n\n`,
    `x\n1\n${root}\na\n\nb\n`,
  ])("%j is refused", (text) => code(() => parseCheckpointText(text), "ERR_MALFORMED"))
})

describe("cosignatures", () => {
  test("an independent signer makes the same bytes from the specification's description", () => {
    const text = checkpointText({ ...tree, extensions: [] })
    const seed = new Uint8Array(32).fill(11)
    const pkcs8 = concat(fromHex("302e020100300506032b657004220420"), seed)
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" })
    const expected = concat(u64be(now), sign(null, utf8(`cosignature/v1\ntime ${now}\n${text}`), key))
    expect(cosign(w1, "w1.example", text, now).signature).toEqual(expected)
  })

  test("the log's two lines have one name, two ids, and never stand for one another", () => {
    const note = parseNote(signCheckpoint(logKey, tree, now))
    const [first, second] = note.signatures
    expect([first!.name, second!.name]).toEqual([origin, origin])
    expect(first!.id).not.toEqual(second!.id)
    const swapped = [
      { ...first!, signature: second!.signature.subarray(8) },
      { ...second!, signature: concat(u64be(now), first!.signature) },
    ]
    code(
      () => verifyCheckpoint(encodeNote({ ...note, signatures: [swapped[0]!, second!] }), trust, now),
      "ERR_UNTRUSTED",
    )
    code(
      () => verifyCheckpoint(encodeNote({ ...note, signatures: [first!, swapped[1]!] }), trust, now),
      "ERR_UNTRUSTED",
    )
  })
})

describe("opening, without witnesses", () => {
  test("the log's word and its own time", () => {
    expect(openCheckpoint(signCheckpoint(logKey, tree, now - hour), trust, now)).toEqual({
      ...tree,
      extensions: [],
      cosignedAt: now - hour,
    })
  })

  test("72 hours are the limit", () => {
    const at = (seconds: number) => signCheckpoint(logKey, tree, seconds)
    const edge = now - fixed.checkpointSecondsMax
    expect(openCheckpoint(at(edge), trust, now).cosignedAt).toBe(edge)
    code(() => openCheckpoint(at(edge - 1), trust, now), "ERR_DIRECTORY_STALE")
    expect(verifyCheckpoint(at(edge - 1), trust, now).cosignedAt).toBe(edge - 1)
  })

  test("a time ahead of our clock counts only within the allowed skew", () => {
    const at = (seconds: number) => signCheckpoint(logKey, tree, seconds)
    expect(openCheckpoint(at(now + fixed.clockSkewSecondsMax), trust, now).size).toBe(3)
    code(() => openCheckpoint(at(now + fixed.clockSkewSecondsMax + 1), trust, now), "ERR_UNTRUSTED")
  })

  test("an undated checkpoint, another log, another key, a policy for another log: all refused", () => {
    const note = parseNote(signCheckpoint(logKey, tree, now))
    const undated = encodeNote({ ...note, signatures: note.signatures.slice(0, 1) })
    const unsigned = encodeNote({ ...note, signatures: note.signatures.slice(1) })
    const elsewhere = signCheckpoint(logKey, { ...tree, origin: "other.example/log" }, now)
    const impostor = signCheckpoint(keyOf(2), tree, now)
    const otherLog = encodeVerifierKey(verifierKey(origin, "ed25519", keyOf(3).publicKey))
    const cosignerAsLog = encodeVerifierKey(verifierKey(origin, "cosignature", logKey.publicKey))
    const otherText = checkpointText({ ...tree, origin: "other.example/log", extensions: [] })
    const [line] = note.signatures
    const signedForOther = encodeNote({
      text: otherText,
      signatures: [{ ...line!, signature: logKey.sign(utf8(otherText)) }, cosign(logKey, origin, otherText, now)],
    })
    for (const bytes of [undated, unsigned, elsewhere, impostor, signedForOther])
      code(() => openCheckpoint(bytes, trust, now), "ERR_UNTRUSTED")
    const good = signCheckpoint(logKey, tree, now)
    const policy = parsePolicy(`log ${otherLog}\nquorum none\n`)
    code(() => openCheckpoint(good, { ...trust, policy }, now), "ERR_UNTRUSTED")
    code(() => openCheckpoint(good, { ...trust, logKey: cosignerAsLog }, now), "ERR_UNTRUSTED")
  })

  test("each changed byte of the published checkpoint is refused, or changes nothing that is said", () => {
    const good = signCheckpoint(logKey, tree, now)
    for (let i = 0; i < good.length; i++)
      for (const flip of [1, 0x20]) {
        const bad = good.with(i, good[i]! ^ flip)
        expect(() => openCheckpoint(bad, trust, now), `byte ${i}`).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^ERR_(MALFORMED|UNTRUSTED)$/) }),
        )
      }
  })
})

test("a policy may list further logs, and of several cosignatures by one key the newest counts", () => {
  const ours = encodeVerifierKey(verifierKey(origin, "ed25519", logKey.publicKey))
  const another = encodeVerifierKey(verifierKey(origin, "ed25519", keyOf(3).publicKey))
  const policy = parsePolicy(`log ${another}\nlog ${ours}\nquorum none\n`)
  const note = parseNote(signCheckpoint(logKey, tree, now - hour))
  const later = cosign(logKey, origin, note.text, now)
  for (const signatures of [
    [...note.signatures, later],
    [later, ...note.signatures],
  ])
    expect(openCheckpoint(encodeNote({ ...note, signatures }), { ...trust, policy }, now).cosignedAt).toBe(now)
})

test("one false signature by the log condemns the note, though another is right", () => {
  const note = parseNote(signCheckpoint(logKey, tree, now))
  const [right] = note.signatures
  const wrong = { ...right!, signature: right!.signature.with(0, right!.signature[0]! ^ 1) }
  code(
    () => openCheckpoint(encodeNote({ ...note, signatures: [wrong, ...note.signatures] }), trust, now),
    "ERR_UNTRUSTED",
  )
})

describe("opening, with a quorum of 2 of 3", () => {
  test.each([
    ["nobody", [], "ERR_UNTRUSTED"],
    ["one", [["w1", w1, now]], "ERR_UNTRUSTED"],
    [
      "one witness twice",
      [
        ["w1", w1, now],
        ["w1", w1, now - 1],
      ],
      "ERR_UNTRUSTED",
    ],
    [
      "one and a stranger",
      [
        ["w1", w1, now],
        ["w9", keyOf(9), now],
      ],
      "ERR_UNTRUSTED",
    ],
    [
      "one and another's name",
      [
        ["w1", w1, now],
        ["w2", w1, now],
      ],
      "ERR_UNTRUSTED",
    ],
    [
      "two, one of them long ago",
      [
        ["w1", w1, now],
        ["w3", w3, now - 73 * hour],
      ],
      "ERR_DIRECTORY_STALE",
    ],
    [
      "two, one of them in the future",
      [
        ["w1", w1, now],
        ["w3", w3, now + hour],
      ],
      "ERR_UNTRUSTED",
    ],
  ] as const)("%s: refused", (_, lines, expected) => {
    code(() => openCheckpoint(cosigned(...lines), witnessed, now), expected)
  })

  test("two are enough, and the older of them dates it", () => {
    const lines = [
      ["w1", w1, now - hour],
      ["w3", w3, now - 2 * hour],
    ] as const
    expect(openCheckpoint(cosigned(...lines), witnessed, now).cosignedAt).toBe(now - 2 * hour)
    expect(openCheckpoint(cosigned(...lines, ["w2", w2, now + hour]), witnessed, now).cosignedAt).toBe(now - 2 * hour)
  })

  test("a known witness's line that does not verify condemns the note", () => {
    const note = parseNote(cosigned(["w1", w1, now], ["w2", w2, now], ["w3", w3, now]))
    for (const bad of [
      note.signatures[4]!.signature.with(20, note.signatures[4]!.signature[20]! ^ 1),
      note.signatures[4]!.signature.with(7, 1),
      note.signatures[4]!.signature.with(0, 255),
      note.signatures[4]!.signature.subarray(0, 71),
      note.signatures[4]!.signature.subarray(0, 3),
      concat(note.signatures[4]!.signature, Uint8Array.of(0)),
    ]) {
      const signatures = note.signatures.with(4, { ...note.signatures[4]!, signature: bad })
      code(() => openCheckpoint(encodeNote({ ...note, signatures }), witnessed, now), "ERR_UNTRUSTED")
    }
  })

  test("the log is not a witness of itself, even if the policy lists its key", () => {
    const selfName = encodeVerifierKey(verifierKey(origin, "cosignature", logKey.publicKey))
    const policy = parsePolicy(`witness self ${selfName}\nquorum self\n`)
    code(() => openCheckpoint(signCheckpoint(logKey, tree, now), { ...trust, policy }, now), "ERR_UNTRUSTED")
  })

  test("a checkpoint is text that people can read", () => {
    expect(
      fromUtf8(cosigned(["w1", w1, now]))
        .split("\n")
        .slice(0, 2),
    ).toEqual([origin, "3"])
  })
})
