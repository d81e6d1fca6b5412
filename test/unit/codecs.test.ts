/**
 * Every codec against the same list: whole, cut anywhere, with bytes after its end, with a bit flipped, and garbage. A
 * decoder throws its one error only, and whatever it takes has one encoding. Coverage-guided: `test/fuzz`.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { fromHex, fromUtf8, utf8 } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../protocol/cbor.ts"
import { parseEnvelope } from "../../protocol/envelope.ts"
import { ValiseError, type ErrorCode } from "../../protocol/errors.ts"
import { decodeEntry, decodeHeader, encodeEntry, encodeHeader } from "../../protocol/header.ts"
import { pad, unpad } from "../../protocol/padding.ts"
import { decodePayload, encodePayload } from "../../protocol/payload.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { readDeviceReceipt, readOfficerReceipt } from "../../protocol/receipts.ts"
import { relayReceiptShape, signBatch } from "../../protocol/relay-receipt.ts"
import { signedShape, signStatement } from "../../protocol/statement.ts"
import { seal } from "../../protocol/seal.ts"
import { readTrustFile, writeTrustFile } from "../../pki/anchor.ts"
import { checkpointText, parseCheckpointText } from "../../pki/checkpoint.ts"
import { contentOf, der, tag } from "../../pki/der.ts"
import { approvalStructure, bodyStructures, entryStructure, revocationStructure } from "../../pki/entries.ts"
import { encodeNote, encodeVerifierKey, parseNote, parseVerifierKey } from "../../pki/note.ts"
import { parsePolicy } from "../../pki/policy.ts"
import { decodeBundle, encodeBundle, parseTilePath, tilePath } from "../../pki/tiles.ts"
import { decodeHeader as decodeVaultHeader, encodeHeader as encodeVaultHeader } from "../../client-sdk/vault/header.ts"
import { decodeJournalRecord, emptyJournal, nextJournalRecord } from "../../client-sdk/vault/journal.ts"
import { lock } from "../../client-sdk/vault/lock.ts"
import { nodeRandom } from "../../system/node.ts"
import { bytesOf, vectors } from "../fuzz/vectors.ts"
import { exercise, messageOf } from "../support/sealing.ts"
import { deviceReceipt, device, officer, officerReceipt } from "../support/receipts.ts"

interface Codec {
  readonly name: string
  readonly samples: readonly Uint8Array[]
  /** What is written of what was read; `undefined` for what is refused without an error. */
  readonly again: (bytes: Uint8Array) => Uint8Array | undefined
  readonly codes: readonly ErrorCode[]
  /** Whether a beginning of it can be a whole one, too: lists of lines that may end earlier. */
  readonly mayEndEarlier?: true
}

const structure = <T>(
  name: string,
  samples: readonly Uint8Array[],
  { decode, encode }: { readonly decode: (bytes: Uint8Array) => T; readonly encode: (value: T) => Uint8Array },
): Codec => ({
  name,
  samples,
  again: (bytes) => encode(decode(bytes)),
  // `ERR_UNTRUSTED`: signed by another than it names, which only readers of signed ones say.
  codes: ["ERR_MALFORMED", "ERR_VERSION", ...(name.endsWith("receipt") ? (["ERR_UNTRUSTED"] as const) : [])],
})

const text = (name: string, samples: readonly string[], again: (text: string) => string | undefined): Codec => ({
  name,
  samples: samples.map(utf8),
  again: (bytes) => {
    const written = again(Buffer.from(bytes).toString())
    return written === undefined ? undefined : utf8(written)
  },
  codes: ["ERR_MALFORMED", "ERR_UNTRUSTED"],
})

interface Pki {
  readonly trustFile: string
  readonly certificates: readonly { readonly der: string }[]
  readonly log: { readonly entries: readonly { readonly leaf: string }[] }
}
interface Log {
  readonly keys: readonly { readonly vkey: string }[]
  readonly checkpoint: { readonly note: string; readonly text: string }
  readonly witnessed: { readonly note: string; readonly policy: string }
  readonly tilePaths: readonly { readonly path: string }[]
  readonly bundle: { readonly bytes: string }
}
interface Envelope {
  readonly header: string
  readonly recipients: readonly { readonly entry: string; readonly payload: string }[]
}

const pki = vectors<Pki>("pki")
const log = vectors<Log>("log")
const message = vectors<Envelope>("envelope-deflated")
const leaves = pki.log.entries.map(({ leaf }) => fromHex(leaf))
const entries = leaves.map((leaf) => entryStructure.decode(leaf))
const revocations = entries
  .filter(({ kind }) => kind === "revocation")
  .map(({ body }) => bodyStructures.revocation.decode(body).statement.bytes)
const { batch, receipt } = signBatch(new SigningKey(new Uint8Array(32)), exercise, "relay.example", [
  { blind: new Uint8Array(32), digest: deviceReceipt.digest, mailbox: new Uint8Array(16) as never, minute: 7 },
])
const locked = await lock({ kind: "key-file", key: new Uint8Array(32) }, "a lock", utf8("secret"), nodeRandom)

const codecs: readonly Codec[] = [
  structure("header", bytesOf(message.header), { decode: decodeHeader, encode: encodeHeader }),
  structure("entry", bytesOf(...message.recipients.map(({ entry }) => entry)), {
    decode: decodeEntry,
    encode: encodeEntry,
  }),
  structure("payload", bytesOf(...message.recipients.map(({ payload }) => payload)), {
    decode: decodePayload,
    encode: encodePayload,
  }),
  structure("signed pair", [encodeCbor(batch)], { decode: (b) => decodeCbor(signedShape, b), encode: encodeCbor }),
  structure("relay receipt", [encodeCbor(receipt(0))], {
    decode: (b) => decodeCbor(relayReceiptShape, b),
    encode: encodeCbor,
  }),
  structure("device receipt", [encodeCbor(deviceReceipt)], {
    decode: (b) => readDeviceReceipt(device.publicKey, exercise, signStatement(device, exercise, "device-receipt", b)),
    encode: encodeCbor,
  }),
  structure("officer receipt", [encodeCbor(officerReceipt)], {
    decode: (b) =>
      readOfficerReceipt(officer.key.publicKey, exercise, signStatement(officer.key, exercise, "officer-receipt", b)),
    encode: encodeCbor,
  }),
  structure("log entry", leaves.slice(0, 6), entryStructure),
  ...Object.entries(bodyStructures).map(([kind, each]) =>
    structure<never>(
      `body of ${kind}`,
      entries
        .filter((entry) => entry.kind === kind)
        .map(({ body }) => body)
        .slice(0, 2),
      each as never,
    ),
  ),
  structure(
    "approval",
    entries.flatMap(({ approvals = [] }) => approvals.map(({ bytes }) => bytes)).slice(0, 2),
    approvalStructure,
  ),
  structure("revocation", revocations.slice(0, 2), revocationStructure),
  structure("journal record", [nextJournalRecord(emptyJournal, 1, "opened", { n: 1 }).bytes], {
    decode: decodeJournalRecord,
    encode: encodeCbor,
  }),
  {
    name: "vault header",
    samples: [encodeVaultHeader(locked)],
    again: (bytes) => encodeVaultHeader(decodeVaultHeader(bytes)),
    codes: ["ERR_VAULT_TAMPERED", "ERR_VAULT"],
  },
  {
    name: "envelope",
    samples: [seal(messageOf()).envelopes[0]!.bytes],
    again: (bytes) => {
      const parts = parseEnvelope(bytes)
      return parts && Buffer.concat([parts.aad, parts.ciphertext])
    },
    codes: [],
  },
  {
    name: "padding",
    samples: [pad(utf8("a body"))!],
    again: (bytes) => {
      const body = unpad(bytes)
      return body && pad(body)
    },
    codes: [],
  },
  {
    name: "certificate's DER",
    samples: pki.certificates.slice(0, 3).map((certificate) => fromHex(certificate.der)),
    again: (bytes) => der(tag.sequence, contentOf(tag.sequence, bytes)),
    codes: ["ERR_MALFORMED"],
  },
  {
    name: "bundle of log entries",
    samples: bytesOf(log.bundle.bytes),
    again: (bytes) => encodeBundle(decodeBundle(bytes, 3)),
    codes: ["ERR_MALFORMED"],
  },
  {
    name: "note",
    samples: [log.checkpoint.note, log.witnessed.note].map(utf8),
    again: (bytes) => encodeNote(parseNote(bytes)),
    codes: ["ERR_MALFORMED"],
    mayEndEarlier: true,
  },
  {
    ...text("checkpoint", [log.checkpoint.text], (said) => checkpointText(parseCheckpointText(said))),
    mayEndEarlier: true,
  },
  { ...text("policy", [log.witnessed.policy], (said) => parsePolicy(said).text), mayEndEarlier: true },
  { ...text("trust file", [pki.trustFile], (said) => writeTrustFile(readTrustFile(said))), mayEndEarlier: true },
  text("verifier key", [log.keys[0]!.vkey], (said) => encodeVerifierKey(parseVerifierKey(said))),
  {
    ...text(
      "path of a tile",
      log.tilePaths.map(({ path }) => path),
      (said) => {
        const tile = parseTilePath(said)
        return tile && tilePath(tile)
      },
    ),
    mayEndEarlier: true,
  },
]

describe.each(codecs)("$name", ({ samples, again, codes, mayEndEarlier }) => {
  /** What is written of what was read, or `undefined`: refused as it should be. */
  function taken(bytes: Uint8Array): Uint8Array | undefined {
    try {
      return again(bytes)
    } catch (error) {
      expect(error).toBeInstanceOf(ValiseError)
      expect(codes).toContain((error as ValiseError).code)
      return undefined
    }
  }
  const refusedOrOne = (bytes: Uint8Array): void => {
    const written = taken(bytes)
    // Text that is not UTF-8 is judged after it has been decoded.
    if (written && isText(bytes)) expect(Buffer.from(written).equals(bytes)).toBe(true)
  }

  test("whole: what is read is what was written", () => {
    expect(samples.length).toBeGreaterThan(0)
    for (const sample of samples) expect(Buffer.from(again(sample)!).equals(sample)).toBe(true)
  })

  test("cut anywhere, or with bytes after its end: refused", () => {
    for (const sample of samples) {
      const step = Math.ceil(sample.length / 700)
      for (let end = 0; end < sample.length; end += step)
        if (mayEndEarlier) refusedOrOne(sample.subarray(0, end))
        else expect(taken(sample.subarray(0, end)), `cut at ${end}`).toBeUndefined()
      for (const more of [[0], [0xff], [0xf6], [0x0a], [...sample.subarray(0, 9)], [...sample]])
        if (mayEndEarlier) refusedOrOne(Uint8Array.from([...sample, ...more]))
        else expect(taken(Uint8Array.from([...sample, ...more])), `${more.length} more`).toBeUndefined()
    }
  })

  test("a bit flipped, or garbage: its one error, or the one encoding of something else", () => {
    const one = fc.record({ sample: fc.constantFrom(...samples), at: fc.nat(), bit: fc.nat(7) })
    fc.assert(
      fc.property(one, fc.uint8Array({ maxLength: 60 }), ({ sample, at, bit }, garbage) => {
        const flipped = sample.slice()
        flipped[at % sample.length]! ^= 1 << bit
        refusedOrOne(flipped)
        refusedOrOne(garbage)
        refusedOrOne(Uint8Array.from([...sample, ...garbage]))
      }),
      { numRuns: 150 },
    )
  })
})

function isText(bytes: Uint8Array): boolean {
  try {
    return fromUtf8(bytes) !== "" || bytes.length === 0
  } catch {
    return false
  }
}
