/**
 * The evidence file: what one PoC can show of one case (SPEC, "Evidence files").
 *
 *   0    16  magic               "valise-evidence\n"
 *   16    1  version             evidenceVersion
 *   17    4  length of the table, u32be
 *   21    …  table of contents   CBOR { sections: [{ name, length, hash }] }
 *   …    32  TH("evidence", "contents", all bytes before)
 *   …     …  the sections, in the order of the table, nothing between them
 *   …    32  TH("evidence", "whole", all bytes before)
 *
 * A section's hash is TH("evidence", "section", name, bytes), so a flipped byte is found where it is. Hashes find accidents;
 * whoever means harm computes them anew, and is stopped by signatures and proofs (`examine.ts`).
 */
import { z } from "zod"
import { shapes, type DeviceId, type Hash, type MailboxId, type MessageId } from "../../protocol/address.ts"
import type { Mode, PocAddress } from "../../protocol/address.ts"
import { concat, equal, u32be, utf8 } from "../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../protocol/cbor.ts"
import { ValiseError } from "../../protocol/errors.ts"
import { taggedHash } from "../../protocol/hash.ts"
import type { Leaf } from "../../protocol/leaves.ts"
import { fixed } from "../../protocol/limits.ts"
import { relayReceiptShape, type RelayReceipt } from "../../protocol/relay-receipt.ts"
import { signedShape, type Signed } from "../../protocol/statement.ts"
import { proofHashesMax } from "../../pki/tree.ts"
import { refuse } from "./reasons.ts"

export const evidenceVersion = 1

export interface Bundle {
  readonly about: About
  /** Part of the log, ascending by index: what is needed to judge the keys in this file, and nothing about other PoCs. */
  readonly directory: readonly LoggedEntry[]
  /** Ascending by `created`, then by message id. */
  readonly messages: readonly MessageSection[]
  /** Ascending by the signed bytes. */
  readonly receipts: readonly ReceiptSection[]
  /** Ascending by `blind`. */
  readonly relayReceipts: readonly RelayReceiptSection[]
}

/** The exporter's word, all of it, except the checkpoint. */
export interface About {
  readonly origin: string
  readonly mode: Mode
  readonly case: Uint8Array
  readonly exporter: PocAddress
  /** Seconds. */
  readonly time: number
  /** Messages and receipts of the case that no longer prove anything, e.g. because their key was revoked. */
  readonly leftOut: number
  /** The exporter's trust file: what the file is consistent with. A reader takes its own from somewhere else. */
  readonly trust: string
  /** The signed note of the log checkpoint to which the entries are proved. */
  readonly checkpoint: Uint8Array
}

export interface LoggedEntry {
  readonly index: number
  readonly bytes: Uint8Array
  /** RFC 6962 inclusion proof to the file's checkpoint. */
  readonly proof: readonly Uint8Array[]
}

export type MessageSection = SentSection | ReceivedSection

interface MessageParts {
  readonly header: Signed
  readonly release?: Uint8Array | undefined
  /** The signed note that the header names, and the proof that the file's checkpoint extends it. */
  readonly checkpoint: Uint8Array
  readonly consistency: readonly Uint8Array[]
  /** All salts follow from it. */
  readonly contentKey: Uint8Array
  readonly leaves: readonly Leaf[]
}

export interface SentSection extends MessageParts {
  readonly direction: "sent"
}

/** With the entry, its place and its path, by which the header names the exporter's device as a recipient. */
export interface ReceivedSection extends MessageParts {
  readonly direction: "received"
  readonly entry: Uint8Array
  readonly index: number
  readonly path: readonly Uint8Array[]
}

/** Given to the exporter for a message that it sent. */
export interface ReceiptSection {
  readonly kind: "device-receipt" | "officer-receipt"
  readonly signed: Signed
}

/** Of one envelope of a message that the exporter sent. */
export interface RelayReceiptSection {
  readonly message: MessageId
  readonly poc: PocAddress
  readonly device: DeviceId
  readonly mailbox: MailboxId
  readonly blind: Uint8Array
  readonly digest: Hash
  readonly receipt: RelayReceipt
}

/** Throws `ERR_TOO_LARGE`. */
export function encodeBundle(bundle: Bundle): Uint8Array {
  const sections = sectionsOf(bundle)
  const listed = sections.map(({ name, bytes }) => ({ name, length: bytes.length, hash: sectionHash(name, bytes) }))
  const contents = encodeCbor({ sections: listed })
  const start = concat(magic, Uint8Array.of(evidenceVersion), u32be(contents.length), contents)
  const body = concat(start, partHash("contents", start), ...sections.map(({ bytes }) => bytes))
  if (sections.length > fixed.evidenceSectionsMax || body.length + hashBytes > fixed.evidenceBytesMax)
    throw new ValiseError("ERR_TOO_LARGE", "the case does not fit one evidence file")
  return concat(body, partHash("whole", body))
}

/** Throws `EvidenceError` for whatever `encodeBundle` would not have written. Signatures and proofs are not its business. */
export function decodeBundle(bytes: Uint8Array): Bundle {
  const { table, end } = readContents(bytes)
  const sections = new Map<string, Uint8Array>()
  let at = end
  for (const { name, length, hash } of table) {
    const section = bytes.subarray(at, at + length)
    if (section.length < length) refuse(name, "truncated")
    if (!equal(sectionHash(name, section), hash)) refuse(name, "altered")
    sections.set(name, section)
    at += length
  }
  if (bytes.length < at + hashBytes) refuse("end", "truncated")
  if (bytes.length > at + hashBytes) refuse("end", "trailing")
  if (!equal(partHash("whole", bytes.subarray(0, at)), bytes.subarray(at))) refuse("end", "altered")
  const read = <T>(name: string, shape: z.ZodType<T>): T => readSection(name, sections.get(name)!, shape)
  const readAll = <T>(kind: SectionKind, shape: z.ZodType<T>): T[] =>
    [...sections.keys()].filter((name) => kindOf(name) === kind).map((name) => read(name, shape))
  return {
    about: read("about", aboutShape),
    directory: read("directory", directoryShape).entries,
    messages: readAll("message", messageShape),
    receipts: readAll("receipt", receiptShape),
    relayReceipts: readAll("relay-receipt", relayReceiptSectionShape),
  }
}

export type SectionKind = "message" | "receipt" | "relay-receipt"

/** Sections of a kind are numbered from 1 on, in their order. */
export const sectionName = (kind: SectionKind, index: number): string => `${kind}-${index + 1}`

interface TableRow {
  readonly name: string
  readonly length: number
  readonly hash: Uint8Array
}

function readContents(bytes: Uint8Array): { table: readonly TableRow[]; end: number } {
  if (!equal(bytes.subarray(0, magic.length), magic)) refuse("contents", "not-evidence")
  if (bytes.length > fixed.evidenceBytesMax) refuse("contents", "too-large")
  if (bytes.length < tableAt) refuse("contents", "truncated")
  if (bytes[magic.length] !== evidenceVersion) refuse("contents", "version")
  const length = new DataView(bytes.buffer, bytes.byteOffset + magic.length + 1).getUint32(0)
  const end = tableAt + length
  if (bytes.length < end + hashBytes) refuse("contents", "truncated")
  if (!equal(partHash("contents", bytes.subarray(0, end)), bytes.subarray(end, end + hashBytes)))
    refuse("contents", "altered")
  const { sections } = readSection("contents", bytes.subarray(tableAt, end), contentsShape)
  const names = sections.map(({ name }) => name)
  if (names.join() !== expectedNames(names).join()) refuse("contents", "order")
  return { table: sections, end: end + hashBytes }
}

/** The one list of names that these could be. */
function expectedNames(names: readonly string[]): string[] {
  const numbered = sectionKinds.flatMap((kind) =>
    names.filter((name) => kindOf(name) === kind).map((_, i) => sectionName(kind, i)),
  )
  return ["about", "directory", ...numbered]
}

function sectionsOf(bundle: Bundle): { name: string; bytes: Uint8Array }[] {
  const { about, directory, messages, receipts, relayReceipts } = bundle
  const numbered = (kind: SectionKind, all: readonly object[]) =>
    all.map((section, i) => ({ name: sectionName(kind, i), bytes: encodeCbor(section) }))
  return [
    { name: "about", bytes: encodeCbor(about) },
    { name: "directory", bytes: encodeCbor({ entries: directory }) },
    ...numbered("message", messages),
    ...numbered("receipt", receipts),
    ...numbered("relay-receipt", relayReceipts),
  ]
}

function readSection<T>(name: string, bytes: Uint8Array, shape: z.ZodType<T>): T {
  try {
    return decodeCbor(shape, bytes)
  } catch {
    return refuse(name, "malformed")
  }
}

const kindOf = (name: string): string => name.replace(/-\d+$/, "")

const partHash = (part: "contents" | "whole", bytes: Uint8Array): Uint8Array => taggedHash("evidence", part, bytes)
const sectionHash = (name: string, bytes: Uint8Array): Uint8Array => taggedHash("evidence", "section", name, bytes)

const sectionKinds = ["message", "receipt", "relay-receipt"] as const satisfies readonly SectionKind[]
const magic = utf8("valise-evidence\n")
const tableAt = magic.length + 1 + 4
const hashBytes = 32

const exactly = (length: number) => z.custom<Uint8Array>((x) => x instanceof Uint8Array && x.length === length)
const note = z.custom<Uint8Array>((x) => x instanceof Uint8Array && x.length <= fixed.noteBytesMax)
const proof = z.array(shapes.hash).max(proofHashesMax)

const contentsShape = z.strictObject({
  sections: z
    .array(
      z.strictObject({
        name: z.string().regex(/^(about|directory|(message|receipt|relay-receipt)-[1-9]\d{0,4})$/),
        length: z.number().int().min(1).max(fixed.evidenceBytesMax),
        hash: shapes.hash,
      }),
    )
    .max(fixed.evidenceSectionsMax)
    .refine((sections) => sections.some(({ name }) => name === sectionName("message", 0))),
})

const aboutShape: z.ZodType<About> = z.strictObject({
  origin: z.string().max(fixed.hostBytesMax),
  mode: shapes.mode,
  case: exactly(16),
  exporter: shapes.poc,
  time: shapes.seconds,
  leftOut: shapes.counter,
  trust: z.string().max(fixed.trustFileCharactersMax),
  checkpoint: note,
})

const directoryShape = z.strictObject({
  entries: z
    .array(z.strictObject({ index: shapes.counter, bytes: shapes.bytes, proof }))
    .max(fixed.evidenceEntriesMax)
    .refine((entries) => entries.every(({ index }, i) => i === 0 || entries[i - 1]!.index < index)),
})

const messageParts = {
  header: signedShape,
  release: shapes.signature.optional(),
  checkpoint: note,
  consistency: proof,
  contentKey: exactly(32),
  leaves: z.array(z.strictObject({ name: z.string(), value: shapes.bytes })).max(fixed.leavesMax),
}
const messageShape: z.ZodType<MessageSection> = z.discriminatedUnion("direction", [
  z.strictObject({ direction: z.literal("sent"), ...messageParts }),
  z.strictObject({
    direction: z.literal("received"),
    ...messageParts,
    entry: shapes.bytes,
    index: shapes.counter.max(fixed.recipientsMax - 1),
    path: z.array(shapes.hash).max(Math.ceil(Math.log2(fixed.recipientsMax))),
  }),
])

const receiptShape: z.ZodType<ReceiptSection> = z.strictObject({
  kind: z.enum(["device-receipt", "officer-receipt"]),
  signed: signedShape,
})

const relayReceiptSectionShape: z.ZodType<RelayReceiptSection> = z.strictObject({
  message: shapes.messageId,
  poc: shapes.poc,
  device: shapes.device,
  mailbox: shapes.mailbox,
  blind: exactly(32),
  digest: shapes.hash,
  receipt: relayReceiptShape,
})
