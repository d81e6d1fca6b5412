import { describe, expect, test } from "vitest"
import fc from "fast-check"
import type { MessageId } from "../../protocol/address.ts"
import { equal } from "../../protocol/bytes.ts"
import { parseEnvelope, wireSizes } from "../../protocol/envelope.ts"
import { decodeEntry, decodeHeader, headerNames } from "../../protocol/header.ts"
import { open, type Opened } from "../../protocol/open.ts"
import { seal, type SealInput } from "../../protocol/seal.ts"
import { verifyStatement } from "../../protocol/statement.ts"
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
      expect(refusal({ leaves: [leaf(name, "")] })).toBe("ERR_CONTENT")
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
    const many = Array.from({ length: 4097 }, () => recipient)
    expect(refusal({ recipients: many })).toBe("ERR_USAGE")
    expect(refusal({ recipients: [recipientOf(singapore, prekeyOf(brazil))] })).toBe("ERR_UNTRUSTED")
    const short = { ...recipient, prekey: { ...prekey, pk: prekey.pk.subarray(1) } }
    expect(refusal({ recipients: [short] })).toBe("ERR_UNTRUSTED")
    const notReduced = { ...recipient, prekey: { ...prekey, pk: new Uint8Array(1216).fill(255) } }
    expect(refusal({ recipients: [notReduced] })).toBe("ERR_UNTRUSTED")
  })
})

describe("whatever arrives", () => {
  const { bytes } = seal(messageOf()).envelopes[0]!

  test("one flipped bit anywhere is refused", () => {
    const altered = Uint8Array.from(bytes)
    for (let i = 0; i < bytes.length; i++) {
      altered[i] = bytes[i]! ^ (1 << (i % 8))
      const result = open(openerOf(singapore, altered))
      if (result.ok) expect.fail(`byte ${i} may be changed`)
      altered[i] = bytes[i]!
    }
    expect(open(openerOf(singapore, altered)).ok).toBe(true)
  })

  test("every truncation and extension is refused", () => {
    for (let length = 0; length < bytes.length; length += 97)
      expect(open(openerOf(singapore, bytes.subarray(0, length)))).toMatchObject({ ok: false, reason: "size" })
    for (const length of [bytes.length + 1, wireSizes[1]!, wireSizes.at(-1)!]) {
      const longer = new Uint8Array(length)
      longer.set(bytes)
      expect(open(openerOf(singapore, longer)).ok).toBe(false)
    }
  })

  test("nothing throws: random bytes outside", () => {
    const length = fc.oneof(fc.constantFrom(...wireSizes.slice(0, 4)), fc.nat(7000))
    fc.assert(
      fc.property(length, fc.nat(), (size, seed) => {
        const garbage = randomOf(`garbage ${seed}`)(Math.max(1, size)).subarray(0, size)
        garbage.set(bytes.subarray(0, Math.min(seed % 1186, size)))
        expect(open(openerOf(singapore, garbage)).ok).toBe(false)
      }),
      { numRuns: 200 },
    )
  })

  test("nothing throws: random and mangled payloads from somebody who can seal", () => {
    const input = messageOf({ recipients: [recipientOf(singapore)] })
    const result = (body: (honest: Uint8Array) => Uint8Array): Opened =>
      open(openerOf(singapore, sealDishonestly(input, { body })))
    const deep = new Uint8Array(60_000).fill(0x81)
    expect(result(() => deep)).toMatchObject({ ok: false, reason: "payload" })
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
        expect(result(() => garbage)).toMatchObject({ ok: false, reason: "payload" })
      }),
      { numRuns: 200 },
    )
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const mangled = result((honest) => {
          honest[at % honest.length]! ^= change
          return honest
        })
        // Its own content and content key are the sender's to choose; everything else is bound.
        if (mangled.ok) expect(mangled.header.messageId).toEqual(input.messageId)
      }),
      { numRuns: 400 },
    )
  })

  test("nothing throws: any values in the payload's fields", () => {
    const input = messageOf({ recipients: [recipientOf(singapore)] })
    const value = fc.oneof(
      fc.constantFrom(null, true, -1, 2 ** 53 - 1, "", "\ud800".toWellFormed(), {}, [], [{}]),
      fc.uint8Array({ maxLength: 70 }),
      fc.string(),
    )
    const field = fc.constantFrom(
      "header",
      "release",
      "checkpoint",
      "entry",
      "index",
      "path",
      "contentKey",
      "leaves",
      "more",
    )
    fc.assert(
      fc.property(field, value, (name, item) => {
        const bytesOf = sealDishonestly(input, { payload: (payload) => ({ ...payload, [name]: item }) })
        const result = open(openerOf(singapore, bytesOf))
        // The content key is the sender's to choose, and the path of a lone recipient is empty indeed.
        if (result.ok) expect(["contentKey", "path"]).toContain(name)
      }),
      { numRuns: 300 },
    )
  })

  test("a prekey that the caller lacks, or another's, is refused before anything is computed", () => {
    const other = prekeyOf(singapore, "one-time", 1)
    expect(open(openerOf(singapore, bytes, other))).toEqual({ ok: false, reason: "prekey", notYet: false })
    expect(open(openerOf(brazil, bytes))).toEqual({ ok: false, reason: "prekey", notYet: false })
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
