import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { DeviceId, Incarnation, MailboxId } from "../../protocol/address.ts"
import { concat, fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import {
  decodeFrame,
  decodeLoginFrame,
  encodeFrame,
  encodeLoginFrame,
  frameHeadBytes,
  frameTypes,
  type ClientFrame,
  type LoginFrame,
  type RelayFrame,
} from "../../protocol/frames.ts"
import { mac, sha3 } from "../../protocol/primitives.ts"
import { codeOf } from "../support/errors.ts"

const key = new Uint8Array(32).fill(7)
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const counter = fc.nat({ max: 2 ** 48 })
const u32 = fc.nat({ max: 2 ** 32 - 1 })
const signed = fc.record({ bytes: fc.uint8Array({ maxLength: 200 }), signature: bytes(64) })
const envelope = fc.uint8Array({ minLength: 1, maxLength: 300 })

const loginFrames: fc.Arbitrary<LoginFrame> = fc.oneof(
  fc.record({
    type: fc.constant("hello" as const),
    kind: fc.constantFrom("device" as const, "submit-only" as const),
    nonce: bytes(32),
    ephemeral: bytes(32),
    host: fc.stringMatching(/^[!-~]{1,255}$/),
  }),
  fc.record({
    type: fc.constant("challenge" as const),
    nonce: bytes(32),
    ephemeral: bytes(32),
    signature: bytes(64),
    certificate: fc.uint8Array({ maxLength: 900 }),
  }),
  fc.record({ type: fc.constant("proof" as const), device: bytes(32) as fc.Arbitrary<DeviceId>, signature: bytes(64) }),
)

const frames: fc.Arbitrary<ClientFrame | RelayFrame> = fc.oneof(
  fc.record({
    type: fc.constant("submit" as const),
    mailbox: bytes(16) as fc.Arbitrary<MailboxId>,
    blind: bytes(32),
    envelope,
  }),
  fc.record({ type: fc.constant("collected" as const), sequences: fc.array(number, { minLength: 1, maxLength: 200 }) }),
  fc.record({ type: fc.constant("fetch-prekeys" as const), device: bytes(32) as fc.Arbitrary<DeviceId> }),
  fc.record(
    {
      type: fc.constant("publish-prekeys" as const),
      incarnation: bytes(16) as fc.Arbitrary<Incarnation>,
      reset: fc.boolean(),
      rotating: signed,
      oneTime: fc.array(signed, { maxLength: 16 }),
    },
    { requiredKeys: ["type", "incarnation", "reset", "oneTime"] },
  ),
  fc.record({ type: fc.constant("sync-log" as const), from: number }),
  fc.constant({ type: "bye" } as const),
  fc.record({
    type: fc.constant("welcome" as const),
    timeSeconds: fc.nat({ max: 2 ** 40 }),
    credits: counter,
    oneTimePrekeys: counter,
    logSize: counter,
  }),
  fc.record({
    type: fc.constant("accepted" as const),
    batch: signed,
    items: fc.array(
      fc.record({
        about: number,
        index: u32,
        minute: number,
        path: fc.array(bytes(32), { maxLength: 16 }),
      }),
      { minLength: 1, maxLength: 40 },
    ),
  }),
  fc.record({ type: fc.constant("envelope" as const), sequence: number, minute: number, envelope }),
  fc.record({ type: fc.constant("prekeys" as const), about: number, prekey: fc.option(signed, { nil: undefined }) }),
  fc.record({
    type: fc.constant("log" as const),
    about: number,
    checkpoint: fc.uint8Array(),
    entries: fc.array(fc.uint8Array()),
  }),
  fc.record(
    {
      type: fc.constant("notice" as const),
      kind: fc.constantFrom("drain", "prekeys-low", "prekeys-stored", "replaced", "of a later version"),
      about: counter,
      count: counter,
      retryAfterSeconds: counter,
    },
    { requiredKeys: ["type", "kind"] },
  ),
  fc.record({
    type: fc.constant("error" as const),
    about: number,
    code: fc.nat({ max: 65_535 }),
    retryAfterSeconds: u32,
  }),
)

describe("frames", () => {
  test("decoding gives back what was encoded, and encoding that gives back the bytes", () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 2 ** 48 }), (frame, counter) => {
        const encoded = encodeFrame(key, counter, frame)
        const decoded = decodeFrame(key, counter, encoded)!
        const digest = "envelope" in frame ? { digest: sha3(frame.envelope as Uint8Array) } : {}
        expect(decoded).toEqual({ ...frame, ...digest })
        expect(encodeFrame(key, counter, decoded)).toEqual(encoded)
      }),
    )
    fc.assert(
      fc.property(loginFrames, (frame) => {
        const encoded = encodeLoginFrame(frame)
        expect(decodeLoginFrame(encoded)).toEqual(frame)
        expect(encodeLoginFrame(decodeLoginFrame(encoded)!)).toEqual(encoded)
      }),
    )
  })

  test("the layouts are those of the specification", () => {
    const head = (type: number, counter: number) =>
      concat(Uint8Array.of(type), new Uint8Array(7), Uint8Array.of(counter))
    const envelope = utf8("sealed")
    const fields = concat(new Uint8Array(16).fill(1), new Uint8Array(32).fill(2))
    const submit = {
      type: "submit",
      mailbox: fields.subarray(0, 16) as MailboxId,
      blind: fields.subarray(16),
      envelope,
    }
    expect(encodeFrame(key, 3, submit as ClientFrame)).toEqual(
      concat(head(3, 3), mac(key, head(3, 3), fields, sha3(envelope)), fields, envelope),
    )
    const error = encodeFrame(key, 1, { type: "error", about: 258, code: 4420, retryAfterSeconds: 9 })
    expect(hex(error.subarray(frameHeadBytes))).toBe("0000000000000102114400000009")
    const hello: LoginFrame = {
      type: "hello",
      kind: "device",
      nonce: new Uint8Array(32).fill(0xaa),
      ephemeral: new Uint8Array(32).fill(0xbb),
      host: "relay.example",
    }
    expect(hex(encodeLoginFrame(hello))).toBe(
      "010101" + "aa".repeat(32) + "bb".repeat(32) + "0d" + hex(utf8("relay.example")),
    )
    expect(frameTypes).toMatchObject({ hello: 0x01, bye: 0x08, challenge: 0x81, error: 0x88 })
  })

  test("no byte can be changed, cut off or added", () => {
    fc.assert(
      fc.property(frames, fc.nat(), fc.integer({ min: 1, max: 255 }), (frame, at, flip) => {
        const good = encodeFrame(key, 5, frame)
        const changed = good.slice()
        changed[at % good.length]! ^= flip
        expect(codeOf(() => decodeFrame(key, 5, changed))).toMatch(/ERR_FRAME_AUTHENTICATION|ERR_MALFORMED/)
        expect(codeOf(() => decodeFrame(key, 5, good.subarray(0, at % good.length)))).toMatch(
          /ERR_FRAME_AUTHENTICATION|ERR_MALFORMED/,
        )
        expect(codeOf(() => decodeFrame(key, 5, concat(good, Uint8Array.of(flip))))).toBe("ERR_FRAME_AUTHENTICATION")
      }),
    )
  })

  test("an authentic frame with the wrong layout is malformed", () => {
    const forged = (type: number, fields: Uint8Array) => {
      const head = concat(Uint8Array.of(type), new Uint8Array(7), Uint8Array.of(1))
      return concat(head, mac(key, head, fields), fields)
    }
    const item = concat(new Uint8Array(20), Uint8Array.of(0))
    const batch = concat(Uint8Array.of(0, 0), new Uint8Array(64))
    const cases: [string, number, Uint8Array][] = [
      ["collected: none", frameTypes.collected, fromHex("0000")],
      ["collected: fewer than counted", frameTypes.collected, fromHex("00020000000000000001")],
      ["collected: more than counted", frameTypes.collected, fromHex("0001" + "00".repeat(16))],
      ["collected: above 2^53", frameTypes.collected, fromHex("00010020000000000000")],
      ["fetch-prekeys: short", frameTypes["fetch-prekeys"], new Uint8Array(31)],
      ["fetch-prekeys: long", frameTypes["fetch-prekeys"], new Uint8Array(33)],
      ["bye: with fields", frameTypes.bye, new Uint8Array(1)],
      ["sync-log: empty", frameTypes["sync-log"], new Uint8Array(0)],
      ["publish-prekeys: not CBOR", frameTypes["publish-prekeys"], utf8("not CBOR")],
      ["publish-prekeys: trailing byte", frameTypes["publish-prekeys"], concat(encodeCbor({}), Uint8Array.of(0))],
      ["welcome: wrong shape", frameTypes.welcome, encodeCbor({ credits: "many" })],
      ["prekeys: not a signed pair", frameTypes.prekeys, concat(new Uint8Array(8), encodeCbor({ bytes: key }))],
      ["accepted: none", frameTypes.accepted, concat(batch, Uint8Array.of(0, 0))],
      [
        "accepted: a path that is too long",
        frameTypes.accepted,
        concat(batch, Uint8Array.of(0, 1), item.with(20, 17), new Uint8Array(17 * 32)),
      ],
      ["accepted: trailing byte", frameTypes.accepted, concat(batch, Uint8Array.of(0, 1), item, Uint8Array.of(0, 0))],
      ["error: short", frameTypes.error, new Uint8Array(13)],
      ["hello after the login", frameTypes.hello, encodeLoginFrame(helloTo("relay.example")).subarray(1)],
    ]
    for (const [name, type, fields] of cases)
      expect(
        codeOf(() => decodeFrame(key, 1, forged(type, fields))),
        name,
      ).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeFrame(key, 1, new Uint8Array(frameHeadBytes - 1)))).toBe("ERR_MALFORMED")
  })

  test("a peer's CBOR map cannot pose as another frame or another answer", () => {
    const fields = concat(new Uint8Array(8), encodeCbor({ about: 9, checkpoint: key, entries: [], type: "bye" }))
    const head = concat(Uint8Array.of(frameTypes.log), new Uint8Array(7), Uint8Array.of(1))
    const frame = decodeFrame(key, 1, concat(head, mac(key, head, fields), fields))
    expect(frame).toMatchObject({ type: "log", about: 0 })
  })

  test("a login frame with the wrong layout is malformed; another version's hello is named so", () => {
    const hello = encodeLoginFrame(helloTo("relay.example"))
    const withByte = (at: number, value: number) => hello.with(at, value)
    expect(codeOf(() => decodeLoginFrame(new Uint8Array(0)))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeLoginFrame(withByte(1, 2)))).toBe("ERR_VERSION")
    expect(codeOf(() => decodeLoginFrame(withByte(2, 3)))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeLoginFrame(concat(hello, Uint8Array.of(0))))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeLoginFrame(withByte(67, 0).subarray(0, 68)))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeLoginFrame(withByte(68, 0x20)))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeLoginFrame(withByte(68, 0xc3)))).toBe("ERR_MALFORMED")
    for (let length = 1; length < hello.length; length++)
      expect(codeOf(() => decodeLoginFrame(hello.subarray(0, length)))).toBe("ERR_MALFORMED")
    expect(codeOf(() => decodeLoginFrame(Uint8Array.of(frameTypes.bye)))).toBe("ERR_MALFORMED")
  })

  test("a login frame after the login is malformed, whatever stands in it", () => {
    for (const version of [1, 2]) {
      const hello = encodeLoginFrame(helloTo("relay.example")).with(1, version)
      const head = concat(hello.subarray(0, 1), new Uint8Array(7), Uint8Array.of(1))
      const frame = concat(head, mac(key, head, hello.subarray(1)), hello.subarray(1))
      expect(codeOf(() => decodeFrame(key, 1, frame))).toBe("ERR_MALFORMED")
    }
  })

  test("an unknown type is told apart from a malformed frame, after its MAC", () => {
    const head = concat(Uint8Array.of(0x70), new Uint8Array(7), Uint8Array.of(1))
    const fields = utf8("of a later version")
    expect(decodeFrame(key, 1, concat(head, mac(key, head, fields), fields))).toBeUndefined()
    expect(codeOf(() => decodeFrame(key, 1, concat(head, key, fields)))).toBe("ERR_FRAME_AUTHENTICATION")
    expect(decodeLoginFrame(Uint8Array.of(0x70, 1, 2))).toBeUndefined()
  })
})

function helloTo(host: string): LoginFrame {
  return { type: "hello", kind: "device", nonce: new Uint8Array(32), ephemeral: new Uint8Array(32), host }
}
