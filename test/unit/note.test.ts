import { createPublicKey, verify } from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { base64, concat, fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { fixed } from "../../protocol/limits.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import {
  encodeNote,
  encodeVerifierKey,
  parseNote,
  parseVerifierKey,
  signaturesBy,
  verifierKey,
} from "../../pki/note.ts"

// The example of the reference implementation, golang.org/x/mod/sumdb/note.
const vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
const seed = Buffer.from("gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM=", "base64")
const text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
const line =
  "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
const note = `${text}\n${line}`

const refused = (call: () => unknown) => expect(call).toThrow(expect.objectContaining({ code: "ERR_MALFORMED" }))

describe("verifier keys", () => {
  test("the reference example is read and written as published", () => {
    const key = parseVerifierKey(vkey)
    expect(key).toMatchObject({ name: "PeterNeumann", type: "ed25519" })
    expect(hex(key.id)).toBe("c74f20a3")
    expect(encodeVerifierKey(key)).toBe(vkey)
    expect(verifierKey("PeterNeumann", "ed25519", new SigningKey(seed).publicKey)).toEqual(key)
  })

  test("a published witness key: type 4 enters the id", () => {
    const witness = "test-witness+26349ef0+BIQDFTUlktisMqJzWn8qhteWrRr4dLcQ9R37T+8LQyQF"
    expect(parseVerifierKey(witness).type).toBe("cosignature")
    expect(encodeVerifierKey(parseVerifierKey(witness))).toBe(witness)
  })

  test("every part and every changed character of the example is refused", () => {
    for (let i = 0; i <= vkey.length; i++)
      for (let j = i + 1; j <= vkey.length; j++)
        if (j - i < vkey.length) refused(() => parseVerifierKey(vkey.slice(i, j)))
    for (let i = 0; i < vkey.length; i++)
      refused(() =>
        parseVerifierKey(vkey.slice(0, i) + String.fromCharCode(vkey.charCodeAt(i) + 1) + vkey.slice(i + 1)),
      )
  })

  test.each([
    ["wrong length with its right id", "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="],
    ["unknown type with its right id", "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"],
    ["an upper-case id", vkey.replace("c74f20a3", "C74F20A3")],
    ["trailing bytes", `${vkey}\n`],
    ["something before it", `a+${vkey}`],
  ])("%s is refused", (_, text) => refused(() => parseVerifierKey(text)))

  test("a key of another length cannot sign", () => {
    for (const length of [0, 31, 33])
      expect(() => verifierKey("a", "ed25519", new Uint8Array(length))).toThrow(
        expect.objectContaining({ code: "ERR_USAGE" }),
      )
  })

  test.each(["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\nb", "a\u0000b"])("the name %j cannot sign", (name) => {
    expect(() => verifierKey(name, "ed25519", new Uint8Array(32))).toThrow(
      expect.objectContaining({ code: "ERR_USAGE" }),
    )
  })
})

describe("notes", () => {
  test("the reference example is reproduced byte for byte", () => {
    const key = parseVerifierKey(vkey)
    const signature = new SigningKey(seed).sign(utf8(text))
    expect(encodeNote({ text, signatures: [{ ...key, signature }] })).toEqual(utf8(note))
    expect(parseNote(utf8(note))).toMatchObject({ text, signatures: [{ name: key.name, id: key.id, signature }] })
  })

  test("a published checkpoint of a public log is read, and its signature is over exactly our text", () => {
    const published =
      "transparency.dev/armored-witness/firmware_transparency/ci/3\n59\nkOFMkeamIdrYFLx5zbWFhflak6dlEEDOU++fxYEZMBw=\n\n" +
      "— transparency.dev-aw-ftlog-ci-3 P2iVIt3Jsaha3E2i0MHdKZ6fgYJTgXO86nUsxKPVq6uTwRSclTSh/ELnDGbNL+XDyD3EkWIdL2AGGNmbN7IN2rB/7gE=\n" +
      "— ArmoredWitness-weathered-rain CnjfIAAAAABnGRrHjQi7IZQqVea4YnU/ADsv844r1ezGjvubUy1MMJm4as9bRiT70xNWQ67RCA76LMy7SdX4qJNIzL3eSS1BGFWqCw==\n" +
      "— ArmoredWitness-floral-sky x88LbQAAAABnGRrDEq4Tfy7IIVPqkdXbcufUkCzRRbE3fABZ/jvtg5aFHVMuMR8cV6dVqECDBiH1zRxhNaCQOXSwNLSeJs+NzWt1BA==\n"
    const key = parseVerifierKey("transparency.dev-aw-ftlog-ci-3+3f689522+Aa1Eifq6rRC8qiK+bya07yV1fXyP156pEMsX7CFBC6gg")
    const parsed = parseNote(utf8(published))
    expect(encodeNote(parsed)).toEqual(utf8(published))
    const [signature] = signaturesBy(parsed, key)
    // An independent verifier (OpenSSL's), over the text as parsed.
    const spki = concat(fromHex("302a300506032b6570032100"), key.publicKey)
    const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" })
    expect(verify(null, utf8(parsed.text), publicKey, signature!)).toBe(true)
    expect(parsed.signatures.map(({ signature }) => signature.length)).toEqual([64, 72, 72])
  })

  test("the largest note is one, and no larger one", () => {
    const filled = (length: number) => utf8(`${"a".repeat(length - utf8(line).length - 2)}\n\n${line}`)
    expect(parseNote(filled(fixed.noteBytesMax)).signatures).toHaveLength(1)
    refused(() => parseNote(filled(fixed.noteBytesMax + 1)))
  })

  test("something before a signature line, or no empty line before the first, is refused", () => {
    refused(() => parseNote(utf8(`${text}\nx${line}`)))
    refused(() => parseNote(utf8(`x${line}`)))
  })

  test.each(["no newline", "a\u0000b\n", ""])("the text %j cannot be written", (bad) => {
    expect(() => encodeNote({ text: bad, signatures: [] })).toThrow(expect.objectContaining({ code: "ERR_USAGE" }))
  })

  test("the text ends at the last empty line, so a text may hold empty lines", () => {
    expect(parseNote(utf8(`a\n\nb\n\n${line}`)).text).toBe("a\n\nb\n")
    expect(parseNote(utf8(`a\n\n${line}`)).text).toBe("a\n")
  })

  test("only name and id together claim a key", () => {
    const key = parseVerifierKey(vkey)
    const other = verifierKey("Other", "ed25519", new SigningKey(new Uint8Array(32)).publicKey)
    const lines = [
      { name: key.name, id: other.id, signature: new Uint8Array(64) },
      { name: other.name, id: key.id, signature: new Uint8Array(64).fill(1) },
      { name: key.name, id: key.id, signature: new Uint8Array(64).fill(2) },
    ]
    expect(signaturesBy({ text, signatures: lines }, key)).toEqual([lines[2]!.signature])
  })

  test.each([
    ["nothing", ""],
    ["a text without signatures", text],
    ["an empty signature part", `${text}\n`],
    ["no empty line between", text + line],
    ["a missing last newline", note.slice(0, -1)],
    ["another character for the last newline", `${note.slice(0, -1)}x`],
    ["an empty line at the end", `${note}\n`],
    ["a hyphen for the dash", note.replace("—", "-")],
    ["two spaces", note.replace("— ", "—  ")],
    ["a third word", note.replace("M=\n", "M= x\n")],
    ["a name with a plus", note.replace("— PeterNeumann", "— Peter+Neumann")],
    ["a name with a no-break space", note.replace("— PeterNeumann", "— Peter\u00a0Neumann")],
    ["base64 with a line break's CR", note.replace("M=\n", "M=\r\n")],
    ["base64 that is not canonical", note.replace("nAM=", "nAN=")],
    ["base64 without padding", note.replace("nAM=", "nAM")],
    ["a key id alone", `${text}\n— PeterNeumann x08gow==\n`],
    ["a tab in the text", note.replace("cryptography", "crypto\tgraphy")],
    ["a null in the text", note.replace("cryptography", "crypto\0graphy")],
  ])("%s is refused", (_, bad) => refused(() => parseNote(utf8(bad))))

  test("malformed UTF-8 is refused", () => refused(() => parseNote(concat(Uint8Array.of(0xff), utf8(note)))))

  test("the limits hold, and sixteen post-quantum signatures fit", () => {
    const lines = (count: number, length: number) =>
      utf8(`a\n\n${`— n ${base64(new Uint8Array(length))}\n`.repeat(count)}`)
    expect(parseNote(lines(fixed.noteSignaturesMax, 68)).signatures).toHaveLength(fixed.noteSignaturesMax)
    expect(parseNote(lines(16, 2432)).signatures).toHaveLength(16)
    refused(() => parseNote(lines(fixed.noteSignaturesMax + 1, 68)))
    refused(() => parseNote(lines(1, fixed.noteBytesMax)))
  })

  test("whatever is read is written back as it was; arbitrary bytes are refused with one error", () => {
    const name = fc.stringMatching(/^[a-z./é—]{1,20}$/)
    const signature = fc.record({
      name,
      id: fc.uint8Array({ minLength: 4, maxLength: 4 }),
      signature: fc.uint8Array({ minLength: 1, maxLength: 80 }),
    })
    const text = fc.stringMatching(/^[ -~é\n]{0,60}$/).map((body) => `${body}\n`)
    fc.assert(
      fc.property(text, fc.array(signature, { minLength: 1, maxLength: 5 }), (text, signatures) => {
        expect(parseNote(encodeNote({ text, signatures }))).toEqual({ text, signatures })
      }),
    )
    fc.assert(
      fc.property(fc.nat(note.length), fc.uint8Array({ maxLength: 4 }), (at, noise) => {
        const bytes = concat(utf8(note).subarray(0, at), noise, utf8(note).subarray(at))
        try {
          expect(encodeNote(parseNote(bytes))).toEqual(bytes)
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_MALFORMED" })
        }
      }),
    )
  })
})
