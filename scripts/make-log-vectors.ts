/** Writes `protocol/vectors/log.json`: the transparency log's formats with all keys, times and leaves given (SPEC, section Transparency log). */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { concat, fromUtf8, hex, utf8 } from "../protocol/bytes.ts"
import { SigningKey } from "../protocol/primitives.ts"
import { checkpointText, cosign, openCheckpoint, signCheckpoint } from "../pki/checkpoint.ts"
import { encodeNote, encodeVerifierKey, parseNote, verifierKey } from "../pki/note.ts"
import { describePolicy, parsePolicy } from "../pki/policy.ts"
import { encodeBundle, newTiles, tilePath } from "../pki/tiles.ts"
import { MerkleLog } from "../pki/tree.ts"

const seed = (byte: number) => new Uint8Array(32).fill(byte)
const nowSeconds = 1_800_000_000

export function logVectors() {
  return {
    about: "SPEC, section Transparency log. Bytes are hexadecimal, notes are text.",
    ...keys(),
    ...tree(),
    ...checkpoints(),
    ...tiles(),
  }
}

function keys() {
  const one = (name: string, type: "ed25519" | "cosignature", byte: number) => {
    const key = verifierKey(name, type, new SigningKey(seed(byte)).publicKey)
    return {
      name,
      type,
      seed: hex(seed(byte)),
      publicKey: hex(key.publicKey),
      id: hex(key.id),
      vkey: encodeVerifierKey(key),
    }
  }
  return {
    keys: [
      one("directory.example/log", "ed25519", 1),
      one("directory.example/log", "cosignature", 1),
      one("witness-a.example", "cosignature", 2),
      one("witness-b.example", "cosignature", 3),
    ],
  }
}

function tree() {
  const leaves = Array.from({ length: 11 }, (_, i) => utf8("leaf ".repeat(i)))
  const log = new MerkleLog()
  for (const leaf of leaves) log.append(leaf)
  const pairs = Array.from({ length: 12 }, (_, to) =>
    Array.from({ length: to + 1 }, (_, from) => ({ from, to })),
  ).flat()
  return {
    leaves: leaves.map(hex),
    roots: Array.from({ length: 12 }, (_, size) => hex(log.rootAt(size))),
    inclusion: pairs
      .filter(({ from, to }) => from < to)
      .map(({ from, to }) => ({ index: from, size: to, proof: log.inclusionProof(from, to).map(hex) })),
    consistency: pairs.map(({ from, to }) => ({ from, to, proof: log.consistencyProof(from, to).map(hex) })),
  }
}

function checkpoints() {
  const origin = "directory.example/log"
  const body = { origin, size: 11, root: Uint8Array.from(Buffer.from(tree().roots[11]!, "hex")) }
  const logKey = new SigningKey(seed(1))
  const [a, b] = [new SigningKey(seed(2)), new SigningKey(seed(3))]
  const bytes = signCheckpoint(logKey, body, nowSeconds)
  const note = parseNote(bytes)
  const text = checkpointText({ ...body, extensions: [] })
  const witnessed = encodeNote({
    text,
    signatures: [
      ...note.signatures,
      cosign(a, "witness-a.example", text, nowSeconds - 60),
      cosign(b, "witness-b.example", text, nowSeconds - 3600),
    ],
  })
  const [, , vkeyA, vkeyB] = keys().keys.map(({ vkey }) => vkey)
  const policy = `witness a ${vkeyA}\nwitness b ${vkeyB}\ngroup both all a b\nquorum both\n`
  const trust = { logKey: keys().keys[0]!.vkey, policy: parsePolicy(policy) }
  return {
    nowSeconds,
    checkpoint: {
      text,
      signature: hex(note.signatures[0]!.signature),
      cosignedMessage: `cosignature/v1\ntime ${nowSeconds}\n${text}`,
      cosignature: hex(note.signatures[1]!.signature),
      note: fromUtf8(bytes),
    },
    witnessed: {
      note: fromUtf8(witnessed),
      policy,
      policyInWords: describePolicy(trust.policy),
      cosignedAt: openCheckpoint(witnessed, trust, nowSeconds).cosignedAt,
    },
  }
}

function tiles() {
  const tile = { level: 0, index: 0, width: 256 }
  return {
    tilePaths: [
      tile,
      { ...tile, width: 7 },
      { ...tile, index: 1_234_067 },
      { level: 2, index: 999, width: 1 },
      { level: "entries" as const, index: 1000, width: 256 },
    ].map((one) => ({ ...one, path: tilePath(one) })),
    newTiles: [
      { before: 0, size: 3 },
      { before: 255, size: 257 },
      { before: 0, size: 70_000 },
    ].map((step) => ({
      ...step,
      paths: [...newTiles(step.before, step.size)].map(tilePath).filter((path) => /\.p\/|\/000$/.test(path)),
    })),
    bundle: {
      entries: [hex(new Uint8Array(0)), "07", hex(concat(seed(9), seed(8)))],
      bytes: hex(encodeBundle([new Uint8Array(0), Uint8Array.of(7), concat(seed(9), seed(8))])),
    },
  }
}

if (import.meta.main)
  writeFileSync(join(import.meta.dirname, "../protocol/vectors/log.json"), `${JSON.stringify(logVectors(), null, 1)}\n`)
