import { describe, expect, test } from "vitest"
import fc from "fast-check"
import type { DeviceId, MessageId } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { parseEnvelope, wireSizes } from "../../protocol/envelope.ts"
import { decodeEntry, decodeHeader, headerNames } from "../../protocol/header.ts"
import { unpackLeaves } from "../../protocol/leaves.ts"
import { open } from "../../protocol/open.ts"
import { seal, type SealInput } from "../../protocol/seal.ts"
import { verifyStatement } from "../../protocol/statement.ts"
import { nodeDeflate } from "../../system/node.ts"
import {
  brazil,
  deviceOf,
  kenya,
  leaf,
  live,
  messageOf,
  officer,
  opened,
  openerOf,
  prekeyOf,
  randomOf,
  recipientOf,
  sealDishonestly,
  singapore,
} from "../support/sealing.ts"
import { codeOf } from "../support/errors.ts"

describe("an honest message", () => {
  const input = messageOf()
  const sealed = seal(input)

  test("opens at each of its recipients, whole", () => {
    for (const [i, device] of [singapore, brazil].entries()) {
      const envelope = sealed.envelopes[i]!
      const message = opened(open(openerOf(device, envelope.bytes)))
      expect(message.leaves).toEqual(input.leaves)
      expect(message.header.messageId).toEqual(input.messageId)
      expect(message.header.sender).toEqual({ poc: kenya.poc, device: kenya.id, officer: officer.id })
      expect(message.headerSigned).toEqual(sealed.header)
      expect(message.release).toEqual(sealed.release)
      expect(message.headerHash).toEqual(sealed.headerHash)
      expect(message.contentHash).toEqual(sealed.contentHash)
      expect(message.leafHashes).toEqual(sealed.leafHashes)
      expect(message.contentKey).toEqual(input.contentKey)
      expect(message.checkpoint).toEqual(input.checkpoint)
      expect(message.digest).toEqual(envelope.digest)
      expect(message.kind).toBe("one-time")
      expect(message.pairSequence).toEqual(input.recipients[i]!.pairSequence)
      expect({ entry: message.entry, index: message.index, path: message.path }).toEqual({
        entry: envelope.entry,
        index: envelope.index,
        path: envelope.path,
      })
    }
  })

  test("leaves its sender with evidence of whom it was sealed to", () => {
    const header = decodeHeader(sealed.header.bytes)
    expect(verifyStatement(kenya.key.publicKey, live, "header", sealed.header)).toBe(true)
    expect(verifyStatement(officer.key.publicKey, live, "release", sealed.release!)).toBe(true)
    for (const { entry, index, path, device } of sealed.envelopes) {
      expect(headerNames(header, entry, index, path)).toBe(true)
      expect(decodeEntry(entry).device).toEqual(device)
    }
  })

  test("travels outside as mailbox and prekey id, in a size of the closed set", () => {
    for (const [i, { bytes, mailbox }] of sealed.envelopes.entries()) {
      const parts = parseEnvelope(bytes)!
      expect(parts.mailbox).toEqual(mailbox)
      expect(parts.prekeyId).toEqual(input.recipients[i]!.prekey.id)
      expect(wireSizes).toContain(bytes.length)
    }
  })

  test("shares no ciphertext between its recipients", () => {
    const [a, b] = sealed.envelopes.map((envelope) => parseEnvelope(envelope.bytes)!.ciphertext)
    expect(equal(a!, b!)).toBe(false)
  })

  test("gives each recipient the place that chance gives it, not that in which it was named", () => {
    const recipients = Array.from({ length: 5 }, (_, i) => recipientOf(deviceOf(`sg/technical/merlion-${i}`)))
    const lots = [3, 1, 4, 0, 2]
    const drawn = lots.map((lot) => new Uint8Array(16).fill(lot))
    const random = (length: number) => (length === 16 ? drawn.shift()! : input.random(length))
    const { envelopes } = seal(messageOf({ recipients, random }))
    expect(envelopes.map(({ index }) => index)).toEqual(lots)
  })

  test("needs no officer when the device itself speaks", () => {
    const [envelope] = seal(messageOf({ officer: undefined })).envelopes
    const message = opened(open(openerOf(singapore, envelope!.bytes)))
    expect(message.release).toBeUndefined()
    expect(message.header.sender.officer).toBeUndefined()
  })

  test("resent under the same content key keeps its leaf hashes, but is another message", () => {
    const again = seal({ ...input, messageId: randomOf("again")(16) as MessageId })
    expect(again.leafHashes).toEqual(sealed.leafHashes)
    expect(again.contentHash).not.toEqual(sealed.contentHash)
  })

  test("passes the judge's banners on, and its refusals", () => {
    const { bytes } = sealed.envelopes[0]!
    const opener = openerOf(singapore, bytes)
    const judged = open({
      ...opener,
      judgeSender: (header, note) => {
        expect(header.sender.device).toEqual(kenya.id)
        expect(note).toEqual(input.checkpoint)
        return { ok: true, deviceKey: kenya.key.publicKey, officerKey: officer.key.publicKey, banners: ["grace"] }
      },
    })
    expect(opened(judged).banners).toEqual(["grace"])
    expect(open({ ...opener, judgeSender: () => ({ ok: false, reason: "revoked" }) })).toEqual({
      ok: false,
      reason: "revoked",
      notYet: false,
    })
    expect(open({ ...opener, judgeSender: () => ({ ok: false, reason: "checkpoint", notYet: true }) })).toEqual({
      ok: false,
      reason: "checkpoint",
      notYet: true,
    })
  })

  test("with any leaves and any number of recipients opens to what was sealed", () => {
    const name = fc.stringMatching(/^[a-z][A-Za-z0-9]{0,63}$/)
    const leaves = fc.uniqueArray(fc.record({ name, value: fc.uint8Array({ maxLength: 3000 }) }), {
      selector: (x) => x.name,
      minLength: 1,
      maxLength: 8,
    })
    fc.assert(
      fc.property(leaves, fc.integer({ min: 1, max: 9 }), fc.nat(), (values, count, pick) => {
        const devices = Array.from({ length: count }, (_, i) => deviceOf(`sg/technical/merlion-${i}`))
        const made = seal(messageOf({ leaves: values, recipients: devices.map((device) => recipientOf(device)) }))
        const i = pick % count
        const message = opened(open(openerOf(devices[i]!, made.envelopes[i]!.bytes)))
        expect(message.leaves).toEqual(values)
        expect(made.envelopes.map((envelope) => envelope.index).toSorted((a, b) => a - b)).toEqual(
          devices.map((_, place) => place),
        )
      }),
      { numRuns: 40 },
    )
  })
})

describe("what cannot be sealed", () => {
  const refusal = (change: Partial<SealInput>): string => codeOf(() => seal(messageOf(change)))

  test("names of leaves that do not fit", () => {
    expect(refusal({ leaves: [] })).toBe("ERR_CONTENT")
    expect(refusal({ leaves: [leaf("type", "a"), leaf("type", "b")] })).toBe("ERR_CONTENT")
    for (const name of ["", "Type", "a b", "1a", "ä", "a".repeat(65), "a\n"])
      for (const leaves of [[leaf(name, "")], [leaf("type", ""), leaf(name, "")]])
        expect(refusal({ leaves })).toBe("ERR_CONTENT")
    const many = Array.from({ length: 65 }, (_, i) => leaf(`n${i}`, ""))
    expect(refusal({ leaves: many })).toBe("ERR_CONTENT")
    expect(refusal({ leaves: many.slice(1) })).toBe("none")
  })

  test("more than the largest payload, or than the content's limit, with a hint", () => {
    const noise = randomOf("noise")(65_000)
    expect(refusal({ leaves: [{ name: "body", value: noise }] })).toBe("ERR_TOO_LARGE")
    expect(refusal({ leaves: [{ name: "body", value: new Uint8Array(1_048_576) }] })).toBe("none")
    expect(refusal({ leaves: [{ name: "body", value: new Uint8Array(1_048_577) }] })).toBe("ERR_TOO_LARGE")
    expect(() => seal(messageOf({ leaves: [{ name: "body", value: noise }] }))).toThrow(
      expect.objectContaining({ hint: "send the largest part as an attachment" }),
    )
  })

  test("no recipient, too many, one twice, or one with another's or a malformed prekey", () => {
    const recipient = recipientOf(singapore)
    const { prekey } = recipient
    expect(refusal({ recipients: [] })).toBe("ERR_USAGE")
    expect(refusal({ recipients: [recipient, recipientOf(singapore, prekeyOf(singapore, "rotating"))] })).toBe(
      "ERR_USAGE",
    )
    const others = recipientOf(singapore, prekeyOf(brazil))
    expect(refusal({ recipients: [others] })).toBe("ERR_UNTRUSTED")
    expect(refusal({ recipients: [recipientOf(kenya), others] })).toBe("ERR_UNTRUSTED")
    // As many as may be get as far as their prekeys, which are none.
    const many = Array.from({ length: 4097 }, (_, i) => {
      const device = randomOf(`device ${i}`)(32) as DeviceId
      return { ...recipient, device, prekey: { ...prekey, device, pk: new Uint8Array(0) } }
    })
    expect(refusal({ recipients: many })).toBe("ERR_USAGE")
    expect(refusal({ recipients: many.slice(1) })).toBe("ERR_UNTRUSTED")
    const short = { ...recipient, prekey: { ...prekey, pk: prekey.pk.subarray(1) } }
    expect(refusal({ recipients: [short] })).toBe("ERR_UNTRUSTED")
    const notReduced = { ...recipient, prekey: { ...prekey, pk: new Uint8Array(1216).fill(255) } }
    expect(refusal({ recipients: [notReduced] })).toBe("ERR_UNTRUSTED")
  })
})

test("a leaf's stream that does not make it shorter is refused: it would have been sent as it is", () => {
  const streamOf = (length: number) => [{ name: "body", deflated: true, value: new Uint8Array(length) }]
  const deflate = { ...nodeDeflate, inflate: () => new Uint8Array(9) }
  expect(unpackLeaves(streamOf(8), deflate)).toEqual([{ name: "body", value: new Uint8Array(9) }])
  for (const length of [9, 10]) expect(unpackLeaves(streamOf(length), deflate)).toBeUndefined()
})

describe("an envelope", () => {
  const { bytes } = seal(messageOf()).envelopes[0]!

  test("a prekey that the caller lacks, or another's, is refused before anything is computed", () => {
    const other = prekeyOf(singapore, "one-time", 1)
    expect(open(openerOf(singapore, bytes, other))).toEqual({ ok: false, reason: "prekey", notYet: false })
    expect(open(openerOf(brazil, bytes))).toEqual({ ok: false, reason: "prekey", notYet: false })
  })

  test("an encapsulation that is none (a point of small order) is refused", () => {
    const altered = Uint8Array.from(bytes).fill(0, 1186 - 32, 1186)
    expect(open(openerOf(singapore, altered))).toMatchObject({ ok: false, reason: "commitment" })
  })

  test("a content key of another length or type, and a place beyond all places, are no payload", () => {
    const input = messageOf({ recipients: [recipientOf(singapore)] })
    const result = (change: object) =>
      open(openerOf(singapore, sealDishonestly(input, { payload: (payload) => ({ ...payload, ...change }) })))
    for (const contentKey of [new Uint8Array(31), new Uint8Array(33), "a".repeat(32), Array(32).fill(1), undefined])
      expect(result({ contentKey })).toMatchObject({ ok: false, reason: "payload" })
    for (const index of [4096, -1]) expect(result({ index })).toMatchObject({ ok: false, reason: "payload" })
    expect(result({ index: 4095 })).toMatchObject({ ok: false, reason: "entry" })
  })

  test("a mistake of the caller's is not taken for a refusal", () => {
    const judgeSender = (): never => {
      throw new TypeError("a mistake")
    }
    expect(() => open({ ...openerOf(singapore, bytes), judgeSender })).toThrow("a mistake")
  })

  test("a message is bound to the device for which it is opened", () => {
    const opener = openerOf(singapore, bytes)
    const elsewhere = { ...opener, me: { poc: singapore.poc, device: brazil.id } }
    expect(open(elsewhere)).toMatchObject({ reason: "commitment" })
    const otherPoc = { ...opener, me: { poc: brazil.poc, device: singapore.id } }
    expect(open(otherPoc)).toMatchObject({ reason: "entry" })
  })
})

test("a dishonest sender who changes nothing is an honest one (so the tests of attacks test what they name)", () => {
  const input = messageOf({ recipients: [recipientOf(singapore)] })
  expect(opened(open(openerOf(singapore, sealDishonestly(input, {})))).leaves).toEqual(input.leaves)
})
