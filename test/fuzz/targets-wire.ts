/** What arrives on a connection: frames, logins, envelopes, what an envelope holds, and the HTTP request before them. */
import type { IncomingMessage } from "node:http"
import { concat, equal, u64be, utf8 } from "../../protocol/bytes.ts"
import { RelayConnection, ClientConnection } from "../../protocol/connection.ts"
import { parseEnvelope } from "../../protocol/envelope.ts"
import { decodeFrame, decodeLoginFrame, encodeFrame, encodeLoginFrame, frameTypes } from "../../protocol/frames.ts"
import { decodeEntry, decodeHeader, encodeEntry, encodeHeader } from "../../protocol/header.ts"
import { unpackLeaves } from "../../protocol/leaves.ts"
import { fixed } from "../../protocol/limits.ts"
import { open, openReasons } from "../../protocol/open.ts"
import { pad } from "../../protocol/padding.ts"
import { decodePayload, encodePayload } from "../../protocol/payload.ts"
import { mac, sha3 } from "../../protocol/primitives.ts"
import { seal } from "../../protocol/seal.ts"
import { messageTypes } from "../../client-sdk/api.ts"
import { isWellFormed } from "../../client-sdk/consent-records.ts"
import { readFrame, readResponse, readText, readTlp } from "../../client-sdk/content.ts"
import { judgeUpgrade } from "../../relay/upgrade.ts"
import { budgetName } from "../../system/budget.ts"
import { nodeDeflate } from "../../system/node.ts"
import { realm, relayCertificate, relayHost, relayKey, seededRandom, testDevice } from "../support/login.ts"
import { messageOf, openerOf, singapore } from "../support/sealing.ts"
import type { Target } from "./engine.ts"
import * as by from "./mutations.ts"
import { ensure, sameBytes, tried } from "./properties.ts"
import { bytesOf, vectors } from "./vectors.ts"

interface ConnectionVector {
  readonly hello: string
  readonly challenge: string
  readonly proof: string
  readonly up: readonly { readonly frame: string; readonly fields: string }[]
  readonly down: readonly { readonly frame: string; readonly fields: string }[]
}
const connection = vectors<ConnectionVector>("connection")
const frameVectors = [...connection.up, ...connection.down]
const key = new Uint8Array(32).fill(7)

const loginFrames: Target = {
  name: "login-frames",
  seeds: bytesOf(connection.hello, connection.challenge, connection.proof),
  mutations: [by.bytes],
  stepsMax: { base: 400, perByte: 4 },
  check: (input) => {
    const frame = tried(["ERR_MALFORMED", "ERR_VERSION"], () => decodeLoginFrame(input))
    if (frame) sameBytes("login frame", encodeLoginFrame(frame), input)
  },
}

/** Type and fields; the head is added, so that the MAC is always right, as it is when a logged-in peer is hostile. */
const frames: Target = {
  name: "frames",
  seeds: bytesOf(...frameVectors.map(({ frame, fields }) => frame.slice(0, 2) + fields)),
  mutations: [by.bytes, by.after(1, by.cbor), by.after(9, by.cbor)],
  stepsMax: { base: 4000, perByte: 60 },
  check: (input) => {
    if (input.length === 0) return
    const frame = tried(["ERR_MALFORMED"], () => decodeFrame(key, 5, withHead(input)))
    if (frame) sameBytes("frame", encodeFrame(key, 5, frame), withHead(input))
    // As it is: without the key nothing gets beyond counter and MAC.
    tried(["ERR_MALFORMED", "ERR_FRAME_AUTHENTICATION"], () => decodeFrame(key, 5, input))
  },
}

function withHead(input: Uint8Array): Uint8Array {
  const head = concat(input.subarray(0, 1), u64be(5))
  const fields = input.subarray(1)
  const envelopeAt = new Map([[frameTypes.submit, 48], [frameTypes.envelope, 16]]).get(input[0]!) // prettier-ignore
  const covered =
    envelopeAt === undefined ? fields : concat(fields.subarray(0, envelopeAt), sha3(fields.subarray(envelopeAt)))
  return concat(head, mac(key, head, covered), fields)
}

/** Messages of a stranger to the relay, each after its length in two bytes; the relay answers a hello. */
const strangers: Target = {
  name: "relay-connection",
  seeds: [
    messages(connection.hello, connection.proof),
    messages(connection.hello),
    messages(connection.proof, connection.hello),
    messages(connection.hello, connection.up[0]!.frame),
  ],
  mutations: [by.bytes],
  stepsMax: { base: 3000, perByte: 40 },
  check: (input) => {
    const device = testDevice("ke/technical/ke-cirt")
    const end = new RelayConnection({
      realm,
      key: relayKey,
      certificate: relayCertificate,
      hosts: [relayHost],
      deviceKey: (id) => (equal(id, device.id) ? device.key.publicKey : undefined),
      random: seededRandom("relay"),
    })
    for (const message of messagesOf(input)) {
      const event = tried(["ERR_PROTOCOL", "ERR_VERSION", "ERR_LOGIN", "ERR_FRAME_AUTHENTICATION"], () =>
        end.receive(message),
      )
      if (!event) return ensure(end.state === "closed", "the connection outlives a peer's fault")
      ensure(event.type !== "proved" && event.type !== "frame", "a stranger has logged in")
      if (event.type === "hello") end.challenge()
    }
  },
}

/** What a false relay says to a device that has greeted it. */
const falseRelays: Target = {
  name: "client-connection",
  seeds: [messages(connection.challenge), messages(connection.challenge, connection.down[0]!.frame)],
  mutations: [by.bytes],
  stepsMax: { base: 3000, perByte: 40 },
  check: (input) => {
    const device = testDevice("ke/technical/ke-cirt")
    const end = new ClientConnection({
      realm,
      device: device.id,
      key: device.key,
      host: relayHost,
      judgeRelay: () => relayKey.publicKey,
      random: seededRandom("client"),
    })
    end.hello()
    for (const message of messagesOf(input)) {
      const event = tried(["ERR_PROTOCOL", "ERR_UNTRUSTED", "ERR_LOGIN", "ERR_VERSION"], () => end.receive(message))
      if (!event) return ensure(end.state === "closed", "the connection outlives a peer's fault")
      ensure(event.type === "unknown", "a false relay was believed")
    }
  },
}

function messages(...hexes: readonly string[]): Uint8Array {
  return concat(...bytesOf(...hexes).flatMap((each) => [Uint8Array.of(each.length >> 8, each.length), each]))
}

function messagesOf(input: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = 0; at + 2 <= input.length && found.length < 8;) {
    const end = at + 2 + input[at]! * 256 + input[at + 1]!
    found.push(input.subarray(at + 2, end))
    at = end
  }
  return found
}

const sealed = seal(messageOf()).envelopes[0]!.bytes

/** Whole envelopes, as the relay hands them out. */
const envelopes: Target = {
  name: "envelope",
  seeds: [sealed],
  mutations: [by.bytes],
  stepsMax: { base: 20_000, perByte: 30 },
  check: (input) => {
    const parts = parseEnvelope(input)
    if (parts) sameBytes("envelope", concat(parts.aad, parts.ciphertext), input)
    const opened = open(openerOf(singapore, input))
    // The AEAD's tag covers all that the envelope is.
    if (opened.ok) sameBytes("opened envelope", input, sealed)
    else ensure(openReasons.includes(opened.reason), `refused for ${opened.reason}`)
  },
}

/** What an insider sealed: everything behind the AEAD, up to what a reader sees of a message. */
const payloads: Target = {
  name: "payload",
  seeds: [
    ...["envelope", "envelope-deflated"].flatMap((name) =>
      vectors<{ recipients: readonly { payload: string }[] }>(name).recipients.flatMap(({ payload }) =>
        bytesOf(payload),
      ),
    ),
    new Uint8Array(0),
  ],
  mutations: [by.cbor, by.cbor, by.bytes],
  stepsMax: { base: 30_000, perByte: 60 },
  check: (input) => {
    const padded = pad(input)
    ensure((padded === undefined) === input.length > fixed.payloadBytesMax - 4, "pads what it should refuse")
    const payload = tried(["ERR_MALFORMED"], () => decodePayload(input))
    if (!payload) return
    sameBytes("payload", encodePayload(payload), input)
    const header = tried(["ERR_MALFORMED", "ERR_VERSION"], () => decodeHeader(payload.header.bytes))
    if (header) sameBytes("header", encodeHeader(header), payload.header.bytes)
    const entry = tried(["ERR_MALFORMED"], () => decodeEntry(payload.entry))
    if (entry) sameBytes("entry", encodeEntry(entry), payload.entry)
    const leaves = unpackLeaves(payload.leaves, nodeDeflate)
    if (!leaves) return
    const size = leaves.reduce((sum, { value }) => sum + value.length, 0)
    ensure(size <= fixed.contentBytesMax, `${size} bytes came out of ${input.length}`)
    tried(["ERR_CONTENT", "ERR_MALFORMED"], () => readFrame(leaves))
    readTlp(leaves)
    readResponse(leaves)
    readText(leaves, "subject")
    for (const type of messageTypes) isWellFormed(type, leaves)
  },
}

/** The head of an HTTP request, as Node's parser gives it: name and value by turns, a line each; then the addresses. */
const upgrades: Target = {
  name: "upgrade",
  seeds: [
    "GET\n1.1\n/\nHost\nrelay.example\nSec-WebSocket-Protocol\nvalise.v1",
    "GET\n1.1\n/\nHost\nrelay.example\nOrigin\nhttps://desk.example\nsec-websocket-protocol\nvalise.v1\nX-Forwarded-For\n203.0.113.9, 2001:db8::1",
    "GET\n1.1\n/\nHost\nrelay.example\nHOST\nx.example\nSec-WebSocket-Protocol\nvalise.v1\nX-Forwarded-For\n::ffff:192.0.2.1",
  ].map(utf8),
  mutations: [by.lines, by.bytes],
  stepsMax: { base: 400, perByte: 8 },
  check: (input) => {
    const [method, httpVersion, url, ...rawHeaders] = Buffer.from(input).toString("latin1").split("\n")
    const request = { method, httpVersion, url, rawHeaders } as unknown as IncomingMessage
    const status = judgeUpgrade(request, { hosts: ["relay.example"], origins: ["https://desk.example"] })
    ensure(status === undefined || (status >= 400 && status <= 505), `status ${status}`)
    const named = rawHeaders.findIndex((name) => name.toLowerCase() === "x-forwarded-for")
    const forwarded = rawHeaders[named + 1]
    const budget = budgetName("127.0.0.1", forwarded, ["127.0.0.1"])
    ensure(budget.length <= Math.max(9, forwarded?.length ?? 0) + 16, "a budget's name grows")
    ensure(budgetName("127.0.0.1", forwarded, []) === "127.0.0.1", "anybody may say where it comes from")
  },
}

export const wireTargets: readonly Target[] = [
  loginFrames,
  frames,
  strangers,
  falseRelays,
  envelopes,
  payloads,
  upgrades,
]
