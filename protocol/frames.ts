/**
 * Every frame of the connection, with its byte layout beside it (SPEC, "Connection"). One WebSocket binary message is one frame.
 *
 *   before login   type u8 ‖ fields                          hello, challenge, proof
 *   after login    type u8 ‖ counter u64 ‖ mac 32 ‖ fields   everything else, both directions
 *
 * Integers are big-endian; `…` is the rest of the frame. Counters start at 1 and each is the one before plus 1, so a
 * gap shows too. `mac` is over type ‖ counter ‖ fields, where an envelope enters by its SHA3-256 digest. Answers name
 * the frame that they answer by its counter (`about`). Client frames have types below 0x80, relay frames above.
 *
 * Version 1: as written here.
 */
import { z } from "zod"
import { shapes, type DeviceId, type Hash, type MailboxId } from "./address.ts"
import { concat, equal, fromUtf8, u16be, u32be, u64be, utf8 } from "./bytes.ts"
import { decodeCbor, encodeCbor } from "./cbor.ts"
import { ValiseError } from "./errors.ts"
import { fixed } from "./limits.ts"
import { constantTimeEqual, mac, macBytes, sha3 } from "./primitives.ts"
import { signedShape, type Signed } from "./statement.ts"

export const connectionVersion = 1
export const subprotocol = "valise.v1"

/** `device` proves itself; `submit-only` is reserved for unlinkable submission and refused in version 1. */
export type ConnectionKind = "device" | "submit-only"

export type ClientFrame =
  | { readonly type: "submit"; readonly mailbox: MailboxId; readonly blind: Uint8Array; readonly envelope: Uint8Array }
  | { readonly type: "collected"; readonly sequences: readonly number[] }
  | { readonly type: "fetch-prekeys"; readonly device: DeviceId }
  | ({ readonly type: "publish-prekeys" } & PublishedPrekeys)
  | { readonly type: "sync-log"; readonly from: number }
  | { readonly type: "bye" }

export type RelayFrame =
  | ({ readonly type: "welcome" } & Welcome)
  | { readonly type: "accepted"; readonly batch: Signed; readonly items: readonly Acceptance[] }
  | { readonly type: "envelope"; readonly sequence: number; readonly minute: number; readonly envelope: Uint8Array }
  | { readonly type: "prekeys"; readonly about: number; readonly prekey: Signed | undefined }
  | ({ readonly type: "log"; readonly about: number } & LogAnswer)
  | ({ readonly type: "notice" } & Notice)
  | { readonly type: "error"; readonly about: number; readonly code: number; readonly retryAfterSeconds: number }

/** The frames of the login; they have neither counter nor MAC. */
export type LoginFrame =
  | {
      readonly type: "hello"
      readonly kind: ConnectionKind
      readonly nonce: Uint8Array
      readonly ephemeral: Uint8Array
      readonly host: string
    }
  | {
      readonly type: "challenge"
      readonly nonce: Uint8Array
      readonly ephemeral: Uint8Array
      readonly signature: Uint8Array
      readonly certificate: Uint8Array
    }
  | { readonly type: "proof"; readonly device: DeviceId; readonly signature: Uint8Array }

export type Frame = LoginFrame | ClientFrame | RelayFrame
export type FrameName = Frame["type"]

/** A frame as it arrived: the digest of an envelope comes with it, because the MAC needed it already. */
export type Received<F extends Frame> = F extends { readonly envelope: Uint8Array } ? F & { readonly digest: Hash } : F

/** One submission's place in the batch that `accepted` signs (a relay receipt less what the submitter knows). */
export interface Acceptance {
  /** The counter of the `submit` frame. */
  readonly about: number
  readonly index: number
  readonly minute: number
  readonly path: readonly Uint8Array[]
}

const publishedShape = z.looseObject({
  incarnation: shapes.incarnation,
  /** Drops the prekeys that the relay holds of this device: a new incarnation. */
  reset: z.boolean(),
  rotating: signedShape.optional(),
  oneTime: z.array(signedShape).max(fixed.prekeysPerPublish),
})
export type PublishedPrekeys = z.infer<typeof publishedShape>

const welcomeShape = z.looseObject({
  timeSeconds: shapes.seconds,
  /** Submissions that may be unanswered at a time. */
  credits: shapes.counter,
  /** One-time prekeys that the relay holds of this device. */
  oneTimePrekeys: shapes.counter,
  /** Log entries that the relay can serve. */
  logSize: shapes.counter,
  tlsCertificateHash: shapes.hash.optional(),
})
export type Welcome = z.infer<typeof welcomeShape>

const logShape = z.looseObject({ checkpoint: shapes.bytes, entries: z.array(shapes.bytes) })
export type LogAnswer = z.infer<typeof logShape>

/** A kind that the reader does not know is to be ignored. */
export const noticeKinds = ["drain", "prekeys-low", "prekeys-stored", "replaced"] as const
const noticeShape = z.looseObject({
  kind: z.string().max(32),
  /** Of `prekeys-stored`: the counter of the `publish-prekeys` frame. */
  about: shapes.counter.optional(),
  /** Of the two about prekeys: one-time prekeys held now. */
  count: shapes.counter.optional(),
  /** Of `drain`. */
  retryAfterSeconds: shapes.counter.optional(),
})
export type Notice = z.infer<typeof noticeShape>

/** In `decode`, type and counter stand after a spread CBOR map: a peer's map must not name them. */
interface Codec<F> {
  readonly type: number
  /** The fields, whole or in parts; an envelope is a part of its own, the last. */
  readonly encode: (frame: F) => Uint8Array | readonly Uint8Array[]
  readonly decode: (fields: FieldReader) => F
}

const codecs: { readonly [N in FrameName]: Codec<Extract<Frame, { readonly type: N }>> } = {
  // version u8 = 1 ‖ kind u8 (1 device, 2 submit-only) ‖ nonce 32 ‖ ephemeral X25519 key 32 ‖ length u8 ‖ host
  hello: {
    type: 0x01,
    encode: (f) => {
      const host = utf8(f.host)
      return concat(Uint8Array.of(1, kindNumber[f.kind]), f.nonce, f.ephemeral, Uint8Array.of(host.length), host)
    },
    decode: (r) => {
      if (r.u8() !== connectionVersion) throw new ValiseError("ERR_VERSION", "a hello of another version")
      return { type: "hello", kind: kindOf(r.u8()), nonce: r.bytes(32), ephemeral: r.bytes(32), host: hostOf(r) }
    },
  },
  // device 32 ‖ signature 64
  proof: {
    type: 0x02,
    encode: (f) => concat(f.device, f.signature),
    decode: (r) => ({ type: "proof", device: r.bytes(32) as DeviceId, signature: r.bytes(64) }),
  },
  // mailbox 16 ‖ blind 32 ‖ envelope…
  submit: {
    type: 0x03,
    encode: (f) => [f.mailbox, f.blind, f.envelope],
    decode: (r) => ({ type: "submit", mailbox: r.bytes(16) as MailboxId, blind: r.bytes(32), envelope: r.rest() }),
  },
  // count u16, at least 1 ‖ count × sequence u64
  collected: {
    type: 0x04,
    encode: (f) => concat(u16be(f.sequences.length), ...f.sequences.map(u64be)),
    decode: (r) => ({ type: "collected", sequences: r.times(atLeastOne(r.u16()), () => r.u64()) }),
  },
  // device 32
  "fetch-prekeys": {
    type: 0x05,
    encode: (f) => f.device,
    decode: (r) => ({ type: "fetch-prekeys", device: r.bytes(32) as DeviceId }),
  },
  // CBOR { incarnation 16, reset, rotating?: Signed, oneTime: [Signed] }…
  "publish-prekeys": {
    type: 0x06,
    encode: (f) => encodeCbor({ ...f, type: undefined }),
    decode: (r) => ({ ...decodeCbor(publishedShape, r.rest()), type: "publish-prekeys" }),
  },
  // from u64: index of the first log entry wanted
  "sync-log": {
    type: 0x07,
    encode: (f) => u64be(f.from),
    decode: (r) => ({ type: "sync-log", from: r.u64() }),
  },
  // nothing
  bye: {
    type: 0x08,
    encode: () => new Uint8Array(0),
    decode: () => ({ type: "bye" }),
  },
  // nonce 32 ‖ ephemeral X25519 key 32 ‖ signature 64 ‖ certificate (DER)…
  challenge: {
    type: 0x81,
    encode: (f) => concat(f.nonce, f.ephemeral, f.signature, f.certificate),
    decode: (r) => ({
      type: "challenge",
      nonce: r.bytes(32),
      ephemeral: r.bytes(32),
      signature: r.bytes(64),
      certificate: r.rest(),
    }),
  },
  // CBOR { timeSeconds, credits, oneTimePrekeys, logSize, tlsCertificateHash? }…
  welcome: {
    type: 0x82,
    encode: (f) => encodeCbor({ ...f, type: undefined }),
    decode: (r) => ({ ...decodeCbor(welcomeShape, r.rest()), type: "welcome" }),
  },
  // length u16 ‖ batch ‖ signature 64 ‖ count u16, at least 1 ‖ count × { about u64 ‖ index u32 ‖ minute u64 ‖ path u8 ‖ path × hash 32 }
  accepted: {
    type: 0x83,
    encode: (f) =>
      concat(
        u16be(f.batch.bytes.length),
        f.batch.bytes,
        f.batch.signature,
        u16be(f.items.length),
        ...f.items.map((item) =>
          concat(
            u64be(item.about),
            u32be(item.index),
            u64be(item.minute),
            Uint8Array.of(item.path.length),
            ...item.path,
          ),
        ),
      ),
    decode: (r) => ({
      type: "accepted",
      batch: { bytes: r.bytes(r.u16()), signature: r.bytes(64) },
      items: r.times(atLeastOne(r.u16()), () => ({
        about: r.u64(),
        index: r.u32(),
        minute: r.u64(),
        path: r.times(atMost(fixed.receiptPathMax, r.u8()), () => r.bytes(32)),
      })),
    }),
  },
  // sequence u64 ‖ minute u64 ‖ envelope…
  envelope: {
    type: 0x84,
    encode: (f) => [u64be(f.sequence), u64be(f.minute), f.envelope],
    decode: (r) => ({ type: "envelope", sequence: r.u64(), minute: r.u64(), envelope: r.rest() }),
  },
  // about u64 ‖ CBOR Signed…, or nothing: the device has no prekey here
  prekeys: {
    type: 0x85,
    encode: (f) => concat(u64be(f.about), f.prekey ? encodeCbor(f.prekey) : new Uint8Array(0)),
    decode: (r) => {
      const about = r.u64()
      const rest = r.rest()
      return { type: "prekeys", about, prekey: rest.length > 0 ? decodeCbor(signedShape, rest) : undefined }
    },
  },
  // about u64 ‖ CBOR { checkpoint, entries: [bytes] }…
  log: {
    type: 0x86,
    encode: (f) => concat(u64be(f.about), encodeCbor({ ...f, type: undefined, about: undefined })),
    decode: (r) => {
      const about = r.u64()
      return { ...decodeCbor(logShape, r.rest()), type: "log", about }
    },
  },
  // CBOR { kind, about?, count?, retryAfterSeconds? }…
  notice: {
    type: 0x87,
    encode: (f) => encodeCbor({ ...f, type: undefined }),
    decode: (r) => ({ ...decodeCbor(noticeShape, r.rest()), type: "notice" }),
  },
  // about u64 ‖ code u16 (SPEC, "Errors") ‖ retryAfterSeconds u32, 0 if there is nothing to say
  error: {
    type: 0x88,
    encode: (f) => concat(u64be(f.about), u16be(f.code), u32be(f.retryAfterSeconds)),
    decode: (r) => ({ type: "error", about: r.u64(), code: r.u16(), retryAfterSeconds: r.u32() }),
  },
}

/** Name and type byte of every frame. */
export const frameTypes = Object.fromEntries(
  Object.entries(codecs).map(([name, codec]) => [name, codec.type]),
) as Readonly<Record<FrameName, number>>

/** Type, counter and MAC before the fields. */
export const frameHeadBytes = 1 + 8 + macBytes

export function encodeLoginFrame(frame: LoginFrame): Uint8Array {
  return concat(Uint8Array.of(frameTypes[frame.type]), ...fieldsOf(frame))
}

/** `undefined`: a type that is unknown here. Throws `ERR_MALFORMED`, and `ERR_VERSION` for another version's hello. */
export function decodeLoginFrame(bytes: Uint8Array): LoginFrame | undefined {
  const type = typeOf(bytes, 1)
  const name = nameOfType.get(type)
  if (name === undefined) return undefined
  // Before the fields: a stranger does not get to have those of later states read.
  if (!loginNames.has(name)) throw new ValiseError("ERR_MALFORMED", "a frame of a later state without its MAC")
  return decodeFields(name, bytes.subarray(1)) as LoginFrame
}

/** SHA3-256: the most costly part of a frame, so whoever has the digest already may say it. */
export type EnvelopeHash = (envelope: Uint8Array) => Hash
const envelopeHash: EnvelopeHash = (envelope) => sha3(envelope) as Hash

export function encodeFrame(
  key: Uint8Array,
  counter: number,
  frame: ClientFrame | RelayFrame,
  hashOf: EnvelopeHash = envelopeHash,
): Uint8Array {
  const type = frameTypes[frame.type]
  const head = concat(Uint8Array.of(type), u64be(counter))
  const fields = fieldsOf(frame)
  const digest = envelopeOffset.has(type) ? hashOf(fields.at(-1)!) : undefined
  return concat(head, frameMac(key, head, fields, digest), ...fields)
}

/**
 * Checks counter and MAC before anything else is looked at. `undefined`: an authentic frame of an unknown type.
 * Throws `ERR_FRAME_AUTHENTICATION`, then `ERR_MALFORMED`.
 * @param counter the only one that is right here.
 */
export function decodeFrame(
  key: Uint8Array,
  counter: number,
  bytes: Uint8Array,
  hashOf: EnvelopeHash = envelopeHash,
): Received<ClientFrame | RelayFrame> | undefined {
  const type = typeOf(bytes, frameHeadBytes)
  const fields = bytes.subarray(frameHeadBytes)
  const at = envelopeOffset.get(type)
  const digest = at === undefined ? undefined : hashOf(fields.subarray(at))
  const isNext = equal(bytes.subarray(1, 9), u64be(counter))
  if (!isNext) throw unauthentic("a frame is missing, repeated or out of order") // defence: 30 counter
  const parts = at === undefined ? [fields] : [fields.subarray(0, at), fields.subarray(at)]
  const expected = frameMac(key, bytes.subarray(0, 9), parts, digest)
  const isAuthentic = constantTimeEqual(expected, bytes.subarray(9, frameHeadBytes))
  if (!isAuthentic) throw unauthentic("a frame's MAC is wrong") // defence: 30 mac
  const name = nameOfType.get(type)
  if (name === undefined) return undefined
  if (loginNames.has(name)) throw new ValiseError("ERR_MALFORMED", "a login frame after the login")
  const frame = decodeFields(name, fields)
  return (digest ? { ...frame, digest } : frame) as Received<ClientFrame | RelayFrame>
}

/** Reads fields in their order; whatever does not fit exactly is `ERR_MALFORMED`. */
class FieldReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4))
  }

  /** Numbers above 2^53 - 1 mean nothing in this protocol. */
  u64(): number {
    const value = Number(this.#view.getBigUint64(this.#take(8)))
    if (!Number.isSafeInteger(value)) throw malformed()
    return value
  }

  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  rest(): Uint8Array {
    return this.bytes(this.#bytes.length - this.#at)
  }

  times<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, read)
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw malformed()
  }

  #take(length: number): number {
    const at = this.#at
    if (at + length > this.#bytes.length) throw malformed()
    this.#at = at + length
    return at
  }
}

const kindNumber = { device: 1, "submit-only": 2 } as const

function kindOf(number: number): ConnectionKind {
  if (number === 1) return "device"
  if (number === 2) return "submit-only"
  throw malformed()
}

/** Visible ASCII: a host never needs decoding, folding or escaping. */
function hostOf(r: FieldReader): string {
  const bytes = r.bytes(atLeastOne(r.u8()))
  if (!bytes.every((byte) => byte > 0x20 && byte < 0x7f)) throw malformed()
  return fromUtf8(bytes)
}

function atLeastOne(count: number): number {
  if (count === 0) throw malformed()
  return count
}

function atMost(max: number, count: number): number {
  if (count > max) throw malformed()
  return count
}

const malformed = (): ValiseError => new ValiseError("ERR_MALFORMED", "a frame has the wrong layout")
const unauthentic = (message: string): ValiseError => new ValiseError("ERR_FRAME_AUTHENTICATION", message)

function typeOf(bytes: Uint8Array, lengthMin: number): number {
  if (bytes.length < lengthMin) throw malformed()
  return bytes[0]!
}

function fieldsOf(frame: Frame): readonly Uint8Array[] {
  const fields = (codecs[frame.type] as Codec<Frame>).encode(frame)
  return fields instanceof Uint8Array ? [fields] : fields
}

function decodeFields(name: FrameName, fields: Uint8Array): Frame {
  const reader = new FieldReader(fields)
  const frame = codecs[name].decode(reader)
  reader.end()
  return frame
}

/** @param fields in parts, of which the last is the envelope if there is a digest */
function frameMac(
  key: Uint8Array,
  head: Uint8Array,
  fields: readonly Uint8Array[],
  digest: Hash | undefined,
): Uint8Array {
  const covered = digest ? [...fields.slice(0, -1), digest] : fields // defence: 30 envelope-in-mac => const covered = digest ? fields.slice(0, -1) : fields
  return mac(key, head, ...covered) // defence: 30 counter-in-mac => return mac(key, head.subarray(0, 1), ...covered)
}

const loginNames: ReadonlySet<string> = new Set(["hello", "challenge", "proof"])
const nameOfType: ReadonlyMap<number, FrameName> = new Map(
  Object.entries(frameTypes).map(([name, type]) => [type, name as FrameName]),
)

/** Where the envelope begins in the fields of the two frames that carry one. */
const envelopeOffset: ReadonlyMap<number, number> = new Map([
  [frameTypes.submit, 16 + 32],
  [frameTypes.envelope, 8 + 8],
])
