import { describe, expect, test } from "vitest"
import { concat } from "../../protocol/bytes.ts"
import { infoOf, parseEnvelope } from "../../protocol/envelope.ts"
import { setupRecipient } from "../../protocol/hpke.ts"
import { open, type Opened, type OpenInput } from "../../protocol/open.ts"
import { pad, unpad } from "../../protocol/padding.ts"
import { decodePayload, encodePayload, type Payload } from "../../protocol/payload.ts"
import { packLeaves } from "../../protocol/leaves.ts"
import { decodeHeader, encodeHeader, type Header } from "../../protocol/header.ts"
import { seal } from "../../protocol/seal.ts"
import { signStatement } from "../../protocol/statement.ts"
import {
  brazil,
  deviceOf,
  kenya,
  leaf,
  live,
  messageOf,
  opened,
  openerOf,
  prekeyOf,
  recipientOf,
  sealDishonestly,
  singapore,
} from "../support/sealing.ts"

const thief = deviceOf("zz/technical/thief")
const stolen = prekeyOf(singapore)

describe("6 KCI: a thief with the secret of Singapore's prekey", () => {
  const input = messageOf({ recipients: [recipientOf(singapore)] })

  test("6 cannot write to Singapore as Kenya's device", () => {
    const bytes = sealDishonestly(input, { headerSigned: (header) => signStatement(thief.key, live, "header", header) })
    expect(open(openerOf(singapore, bytes))).toMatchObject({ ok: false, reason: "signature" })
  })

  test("6 cannot write in the name of Kenya's officer, nor leave the officer's release out or bring one along", () => {
    const released = (header: Uint8Array) => signStatement(thief.key, live, "release", header).signature
    const falsely = sealDishonestly(input, { release: released })
    expect(open(openerOf(singapore, falsely))).toMatchObject({ ok: false, reason: "release" })
    const without = sealDishonestly(input, { release: () => undefined })
    expect(open(openerOf(singapore, without))).toMatchObject({ ok: false, reason: "release" })
    const unnamed = sealDishonestly({ ...input, officer: undefined }, { release: released })
    expect(open(openerOf(singapore, unnamed))).toMatchObject({ ok: false, reason: "release" })
    const deviceKey = kenya.key.publicKey
    const officerUnknown = openerOf(singapore, sealDishonestly(input, {}))
    const judgeSender: OpenInput["judgeSender"] = () => ({ ok: true, deviceKey, banners: [] })
    expect(open({ ...officerUnknown, judgeSender })).toMatchObject({ ok: false, reason: "release" })
  })
})

describe("6 KCI: a thief who also holds back Kenya's envelope", () => {
  const sealed = seal(messageOf())
  const [toSingapore, toBrazil] = sealed.envelopes

  /** The thief opens Kenya's envelope and seals it anew, under Kenya's encapsulation. */
  function resealed(change: (payload: Payload) => Payload): Opened {
    const { aad, encapsulation, ciphertext } = parseEnvelope(toSingapore!.bytes)!
    const { id, kind } = stolen.statement
    const context = setupRecipient(stolen.key, encapsulation, infoOf(live, singapore.id, id, kind))!
    const payload = decodePayload(unpad(context.open(aad, ciphertext)!)!)
    const padded = pad(encodePayload(change(payload)))!
    return open(openerOf(singapore, concat(aad, context.seal(aad, padded))))
  }
  const withHeader = (change: (header: Header) => Header) =>
    resealed((payload) => ({
      ...payload,
      header: { ...payload.header, bytes: encodeHeader(change(decodeHeader(payload.header.bytes))) },
    }))

  test("6 can replace its content: the stated price of deniability", () => {
    const { deflate } = messageOf()
    const forged = packLeaves([leaf("type", "forged")], deflate)
    const result = opened(resealed((payload) => ({ ...payload, leaves: forged })))
    expect(result.leaves).toEqual([leaf("type", "forged")])
    expect(result.headerSigned).toEqual(sealed.header)
    expect(result.contentHash).not.toEqual(sealed.contentHash)
  })

  test("6 can change nothing else: not the header, the sender, the release, the entry or the checkpoint", () => {
    expect(resealed((payload) => payload).ok).toBe(true)
    expect(withHeader((header) => ({ ...header, expires: header.expires + 1 }))).toMatchObject({ reason: "signature" })
    const sender = { poc: thief.poc, device: thief.id }
    expect(withHeader((header) => ({ ...header, sender }))).toMatchObject({ reason: "signature" })
    expect(resealed((payload) => ({ ...payload, release: undefined }))).toMatchObject({ reason: "release" })
    expect(resealed((payload) => ({ ...payload, entry: toBrazil!.entry }))).toMatchObject({ reason: "entry" })
    expect(resealed((payload) => ({ ...payload, checkpoint: new Uint8Array(1) }))).toMatchObject({
      reason: "checkpoint",
    })
  })

  test("6 leaves Brazil's copy as Kenya wrote it", () => {
    expect(opened(open(openerOf(brazil, toBrazil!.bytes))).contentHash).toEqual(sealed.contentHash)
  })
})
