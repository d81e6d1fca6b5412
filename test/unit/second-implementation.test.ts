/**
 * Opening, written a second time from SPEC alone, over other libraries and without a line of `protocol/`. It reads the
 * vectors: what the two implementations agree on is what SPEC says, not what one of them happens to do.
 */
import { createDecipheriv, createHash, createPublicKey, verify } from "node:crypto"
import { readFileSync } from "node:fs"
import { inflateRawSync } from "node:zlib"
import { ml_kem768_x25519 as XWing } from "@noble/post-quantum/hybrid.js"
import { decode } from "cborg"
import { describe, expect, test } from "vitest"

const bytes = (x: string | Uint8Array): Buffer => Buffer.from(x)
const fromHex = (x: string): Buffer => Buffer.from(x, "hex")
const u16 = (x: number): Buffer => Buffer.of(x >> 8, x & 255)
const u32 = (x: number): Buffer => Buffer.of(x >>> 24, (x >> 16) & 255, (x >> 8) & 255, x & 255)
const sha3 = (...parts: Uint8Array[]): Buffer => createHash("sha3-256").update(Buffer.concat(parts)).digest()
const LP = (x: string | Uint8Array): Buffer => Buffer.concat([u32(bytes(x).length), bytes(x)])
const TH = (...parts: (string | Uint8Array)[]): Buffer => sha3(LP("valise/v1"), ...parts.map(LP))

/** HPKE's one-stage key schedule. */
function hpke(sharedSecret: Uint8Array, info: Uint8Array) {
  const lp = (x: string | Uint8Array): Buffer => Buffer.concat([u16(bytes(x).length), bytes(x)])
  const suiteId = Buffer.concat([bytes("HPKE"), u16(0x647a), u16(0x0011), u16(0x0003)])
  const derive = (ikm: Uint8Array, label: string, context: Uint8Array, length: number): Buffer =>
    createHash("shake256", { outputLength: length })
      .update(Buffer.concat([ikm, bytes("HPKE-v1"), suiteId, lp(label), u16(length), context]))
      .digest()
  const ikm = Buffer.concat([lp(""), lp(sharedSecret)])
  const secret = derive(ikm, "secret", Buffer.concat([Buffer.of(0), lp(""), lp(info)]), 108)
  return {
    open: (aad: Uint8Array, ciphertext: Uint8Array): Buffer => {
      const decipher = createDecipheriv("chacha20-poly1305", secret.subarray(0, 32), secret.subarray(32, 44), {
        authTagLength: 16,
      })
      decipher.setAAD(aad, { plaintextLength: ciphertext.length - 16 })
      decipher.setAuthTag(ciphertext.subarray(-16))
      return Buffer.concat([decipher.update(ciphertext.subarray(0, -16)), decipher.final()])
    },
    export: (context: string, length: number): Buffer => derive(secret.subarray(44), "sec", bytes(context), length),
  }
}

function verifies(publicKey: string, realm: Realm, label: string, message: Uint8Array, signature: Uint8Array): boolean {
  const der = Buffer.concat([fromHex("302a300506032b6570032100"), fromHex(publicKey)])
  const prefix = `valise/v1\0${realm.origin}\0${realm.mode}\0${label}\0`
  const key = createPublicKey({ key: der, format: "der", type: "spki" })
  return verify(null, Buffer.concat([bytes(prefix), message]), key, signature)
}

/** RFC 6962 §2.1.1, the other way round: from a leaf and its path to the root. */
function rootOf(leaf: Uint8Array, index: number, size: number, path: Uint8Array[]): Buffer {
  if (size === 1) return sha3(Buffer.of(0), leaf)
  const left = 2 ** Math.ceil(Math.log2(size) - 1)
  const [sibling, rest] = [path.at(-1)!, path.slice(0, -1)]
  return index < left
    ? sha3(Buffer.of(1), rootOf(leaf, index, left, rest), sibling)
    : sha3(Buffer.of(1), sibling, rootOf(leaf, index - left, size - left, rest))
}

describe.each(["envelope", "envelope-deflated"])("a second implementation of SPEC opens %s.json", (name) => {
  const url = new URL(`../../protocol/vectors/${name}.json`, import.meta.url)
  const vector = JSON.parse(readFileSync(url, "utf8")) as Vector
  const { realm, sender } = vector

  test.each(vector.recipients.map((to) => [to.poc, to] as const))("for %s", (_, to) => {
    const device = TH("device", to.poc, fromHex(to.signingKey))
    const { secretKey, publicKey } = XWing.keygen(fromHex(to.kemSeed))
    const prekeyId = TH("prekey", publicKey).subarray(0, 16)

    const envelope = fromHex(to.envelope)
    const [aad, encapsulation] = [envelope.subarray(0, 1186), envelope.subarray(66, 1186)]
    expect([...envelope.subarray(0, 2)]).toEqual([1, 1])
    expect(envelope.subarray(2, 18)).toEqual(TH("mailbox", device, to.relay).subarray(0, 16))
    expect(envelope.subarray(18, 34)).toEqual(prekeyId)
    const info = TH("info", Buffer.of(1), realm.mode, realm.origin, device, prekeyId, to.kind)
    const context = hpke(XWing.decapsulate(encapsulation, secretKey), info)
    expect(envelope.subarray(34, 66)).toEqual(context.export("commit", 32))

    const padded = context.open(aad, envelope.subarray(1186))
    expect(padded.length).toBe(4096)
    const length = padded.readUInt32BE()
    expect(padded.subarray(4 + length).every((byte) => byte === 0)).toBe(true)
    const payload = decode(padded.subarray(4, 4 + length)) as Payload
    const header = decode(payload.header.bytes) as Header
    expect(header).toMatchObject({ v: 1, suite: 1, mode: realm.mode, created: vector.created, expires: vector.expires })
    expect(bytes(header.checkpoint)).toEqual(TH("statement", payload.checkpoint))
    expect(bytes(header.sender.device)).toEqual(TH("device", sender.poc, fromHex(sender.signingKey)))
    expect(verifies(sender.signingKey, realm, "header", payload.header.bytes, payload.header.signature)).toBe(true)
    expect(verifies(vector.officer.publicKey, realm, "release", payload.header.bytes, payload.release)).toBe(true)

    const entry = decode(payload.entry) as Entry
    expect(entry).toMatchObject({ poc: to.poc, kind: to.kind })
    expect(bytes(entry.device)).toEqual(device)
    expect(bytes(entry.prekeyId)).toEqual(prekeyId)
    expect(bytes(entry.enc)).toEqual(TH("enc", encapsulation))
    const root = rootOf(payload.entry, payload.index, header.recipientsCount, payload.path)
    expect(root).toEqual(bytes(header.recipientsRoot))

    const leaves = payload.leaves.map((leaf) => ({
      name: leaf.name,
      value: bytes(leaf.deflated ? inflateRawSync(leaf.value) : leaf.value),
    }))
    expect(leaves).toEqual(vector.leaves.map((leaf) => ({ name: leaf.name, value: fromHex(leaf.value) })))
    const hashes = leaves.map(({ name: of, value }) => TH("leaf", TH("salt", payload.contentKey, of), of, value))
    expect(TH("content", TH("header", payload.header.bytes), ...hashes).toString("hex")).toBe(vector.contentHash)
  })
})

interface Realm {
  origin: string
  mode: string
}

interface Vector {
  realm: Realm
  sender: { poc: string; signingKey: string }
  officer: { publicKey: string }
  created: number
  expires: number
  leaves: { name: string; value: string }[]
  contentHash: string
  recipients: { poc: string; signingKey: string; relay: string; kemSeed: string; kind: string; envelope: string }[]
}

interface Payload {
  header: { bytes: Uint8Array; signature: Uint8Array }
  release: Uint8Array
  checkpoint: Uint8Array
  entry: Uint8Array
  index: number
  path: Uint8Array[]
  contentKey: Uint8Array
  leaves: { name: string; deflated: boolean; value: Uint8Array }[]
}

interface Header {
  sender: { device: Uint8Array }
  recipientsRoot: Uint8Array
  recipientsCount: number
  checkpoint: Uint8Array
}

interface Entry {
  device: Uint8Array
  prekeyId: Uint8Array
  enc: Uint8Array
}
