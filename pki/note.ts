/** C2SP signed-note v1: a text, and lines of signatures by named keys under it (SPEC, "Transparency log"). */
import { base64, concat, equal, fromBase64, fromHex, fromUtf8, hex, utf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { signingKeyBytes } from "../protocol/primitives.ts"
import { sha256 } from "./sha256.ts"

/** `ed25519` signs the text itself; `cosignature` is the timestamped statement of tlog-cosignature v1. */
export const signatureTypes = { ed25519: 0x01, cosignature: 0x04 } as const
export type SignatureType = keyof typeof signatureTypes

/** Name and id together say which key made a signature line. */
export interface KeyRef {
  readonly name: string
  /** The first 4 bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key). A name tag, not a commitment. */
  readonly id: Uint8Array
}

/** A verifier key ("vkey"): an Ed25519 public key with the name and the one purpose that it is trusted for. */
export interface VerifierKey extends KeyRef {
  readonly type: SignatureType
  readonly publicKey: Uint8Array
}

export interface NoteSignature extends KeyRef {
  /** What follows the key id: 64 bytes for `ed25519`, 72 for `cosignature`, anything for unknown keys. */
  readonly signature: Uint8Array
}

export interface Note {
  /** With its final newline: the bytes that are signed. */
  readonly text: string
  readonly signatures: readonly NoteSignature[]
}

/** Throws `ERR_USAGE` for a name that cannot stand in a note, or a key of the wrong length. */
export function verifierKey(name: string, type: SignatureType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name) || publicKey.length !== signingKeyBytes)
    throw new ValiseError("ERR_USAGE", "not a name and key for a signed note", {
      hint: "a name has no spaces and no plus sign; it usually reads like directory.example/log",
    })
  const id = sha256(utf8(`${name}\n`), Uint8Array.of(signatureTypes[type]), publicKey).subarray(0, 4)
  return { name, id, type, publicKey }
}

/** `<name>+<key id in hex>+<base64 of type and key>`. */
export const encodeVerifierKey = (key: VerifierKey): string =>
  `${key.name}+${hex(key.id)}+${base64(concat(Uint8Array.of(signatureTypes[key.type]), key.publicKey))}`

/** Throws `ERR_MALFORMED` for anything that `encodeVerifierKey` would not have written. */
export function parseVerifierKey(text: string): VerifierKey {
  const [, name, id, material] = /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(text) ?? refuseKey()
  try {
    const bytes = fromBase64(material!)
    const type = typeOfByte.get(bytes[0]!) ?? refuseKey()
    const key = verifierKey(name!, type, bytes.subarray(1))
    return equal(key.id, fromHex(id!)) ? key : refuseKey()
  } catch (cause) {
    return refuseKey(cause)
  }
}

/** Strict: throws `ERR_MALFORMED` for bytes that are not a note with at least one signature. Verifies nothing. */
export function parseNote(bytes: Uint8Array): Note {
  if (bytes.length > fixed.noteBytesMax) return refuseNote()
  const note = decoded(bytes)
  const split = note.lastIndexOf("\n\n")
  if (hasControlCharacter(note) || split < 0 || !note.endsWith("\n")) return refuseNote()
  const lines = note.slice(split + 2, -1).split("\n")
  if (lines.length > fixed.noteSignaturesMax) return refuseNote()
  return { text: note.slice(0, split + 1), signatures: lines.map(parseSignatureLine) }
}

/** Throws `ERR_USAGE` for a text that cannot be a note. */
export function encodeNote({ text, signatures }: Note): Uint8Array {
  if (!text.endsWith("\n") || hasControlCharacter(text))
    throw new ValiseError("ERR_USAGE", "a note's text is lines of text, each ending in a newline")
  const lines = signatures.map(({ name, id, signature }) => `— ${name} ${base64(concat(id, signature))}\n`)
  return utf8(`${text}\n${lines.join("")}`)
}

/** The signatures that claim to be by this key; all others are none of its business. */
export const signaturesBy = (note: Note, key: KeyRef): readonly Uint8Array[] =>
  note.signatures.filter(({ name, id }) => name === key.name && equal(id, key.id)).map(({ signature }) => signature)

function parseSignatureLine(line: string): NoteSignature {
  const [, name, material] = /^— ([^ ]+) ([^ ]+)$/.exec(line) ?? refuseNote()
  if (!isKeyName(name!)) return refuseNote()
  let bytes: Uint8Array
  try {
    bytes = fromBase64(material!)
  } catch (cause) {
    return refuseNote(cause)
  }
  if (bytes.length <= 4) return refuseNote()
  return { name: name!, id: bytes.subarray(0, 4), signature: bytes.subarray(4) }
}

function decoded(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes)
  } catch (cause) {
    return refuseNote(cause)
  }
}

function refuseKey(cause?: unknown): never {
  throw new ValiseError("ERR_MALFORMED", "not a verifier key", { cause, hint: "a verifier key reads name+id+base64" })
}

function refuseNote(cause?: unknown): never {
  throw new ValiseError("ERR_MALFORMED", "not a signed note", { cause })
}

const isKeyName = (name: string): boolean => /^[^\s+\p{Cc}]+$/u.test(name)
/** Those below U+0020 but the newline: signed-note forbids them anywhere. */
const hasControlCharacter = (text: string): boolean => Array.from(text).some((c) => c < " " && c !== "\n")
const typeOfByte = new Map<number, SignatureType>(
  Object.entries(signatureTypes).map(([type, byte]) => [byte, type as SignatureType]),
)
