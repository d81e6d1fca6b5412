import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { DeviceId, Incarnation, MailboxId } from "../../protocol/address.ts"
import {
  clientTable,
  connectionStates,
  Course,
  moveOf,
  relayTable,
  type ConnectionState,
  type ConnectionTable,
  type Move,
} from "../../protocol/connection-table.ts"
import { concat, u64be } from "../../protocol/bytes.ts"
import {
  encodeFrame,
  encodeLoginFrame,
  frameTypes,
  type ClientFrame,
  type Frame,
  type LoginFrame,
  type RelayFrame,
} from "../../protocol/frames.ts"
import { mac, sha3 } from "../../protocol/primitives.ts"
import { codeOf } from "../support/errors.ts"
import { ends, keyOf, keysOf, logIn, relayHost, testDevice, welcome, type Ends } from "../support/login.ts"

const device = testDevice("ke/technical/baobab")
const bytes32 = new Uint8Array(32).fill(3)
const signed = { bytes: bytes32, signature: new Uint8Array(64) }

/** One frame for each move. */
const frames: { readonly [M in Move]: Frame } = {
  hello: { type: "hello", kind: "device", nonce: bytes32, ephemeral: bytes32, host: relayHost },
  "hello submit-only": { type: "hello", kind: "submit-only", nonce: bytes32, ephemeral: bytes32, host: relayHost },
  proof: { type: "proof", device: device.id, signature: signed.signature },
  submit: { type: "submit", mailbox: bytes32.subarray(16) as MailboxId, blind: bytes32, envelope: bytes32 },
  collected: { type: "collected", sequences: [1] },
  "fetch-prekeys": { type: "fetch-prekeys", device: bytes32 as DeviceId },
  "publish-prekeys": {
    type: "publish-prekeys",
    incarnation: bytes32.subarray(16) as Incarnation,
    reset: true,
    oneTime: [],
  },
  "sync-log": { type: "sync-log", from: 0 },
  bye: { type: "bye" },
  challenge: {
    type: "challenge",
    nonce: bytes32,
    ephemeral: bytes32,
    signature: signed.signature,
    certificate: bytes32,
  },
  welcome,
  accepted: { type: "accepted", batch: signed, items: [{ about: 1, index: 0, minute: 1, path: [] }] },
  envelope: { type: "envelope", sequence: 1, minute: 1, envelope: bytes32 },
  prekeys: { type: "prekeys", about: 1, prekey: undefined },
  log: { type: "log", about: 1, checkpoint: bytes32, entries: [] },
  notice: { type: "notice", kind: "prekeys-low", count: 1 },
  "notice drain": { type: "notice", kind: "drain", retryAfterSeconds: 1 },
  error: { type: "error", about: 1, code: 4420, retryAfterSeconds: 0 },
}
const moves = Object.keys(frames) as Move[]
const roles = ["client", "relay"] as const
const tables: Record<(typeof roles)[number], ConnectionTable> = { client: clientTable, relay: relayTable }
const senderOf = (move: Move) => (frameTypes[frames[move].type] < 0x80 ? "client" : "relay")

describe("the table", () => {
  for (const role of roles)
    test(`every move in every state, sent and received, as ${role}`, () => {
      let pairs = 0
      for (const state of connectionStates)
        for (const move of moves) {
          pairs++
          expect(moveOf(frames[move])).toBe(move)
          const next = tables[role][state][move]
          for (const action of ["send", "receive"] as const) {
            const course = new Course(tables[role], role)
            course.state = state
            const outcome = codeOf(() => course[action](frames[move]))
            const ours = senderOf(move) === role
            const where = `${state}, ${action} ${move}`
            if (action === "send")
              expect(outcome, where).toBe(ours && next && next !== "refused" ? "none" : "ERR_USAGE")
            else if (!ours && next === "refused") expect(outcome, where).toBe("ERR_VERSION")
            else expect(outcome, where).toBe(!ours && next ? "none" : "ERR_PROTOCOL")
            expect(course.state, where).toBe(outcome === "none" ? next : state)
          }
        }
      expect(pairs).toBe(8 * 18)
    })

  test("the login has one way, and a closed connection none", () => {
    for (const table of [clientTable, relayTable]) {
      expect(["dialled", "greeted", "challenged", "proved"].map((s) => table[s as ConnectionState])).toEqual([
        { hello: "greeted", "hello submit-only": "refused" },
        { challenge: "challenged" },
        { proof: "proved" },
        { welcome: "live" },
      ])
      expect(table.closed).toEqual({})
    }
  })

  test("after bye the client sends nothing, after drain only what frees the relay; the relay delivers nothing more", () => {
    const sendable = (table: ConnectionTable, state: ConnectionState, role: string) =>
      moves.filter((move) => senderOf(move) === role && table[state][move])
    expect(sendable(clientTable, "leaving", "client")).toEqual([])
    expect(sendable(clientTable, "draining", "client")).toEqual(["collected", "bye"])
    expect(relayTable.draining.envelope).toBeUndefined()
    expect(relayTable.leaving.envelope).toBeUndefined()
  })

  test("two honest ends never meet a move that is not in the other's table, however late frames arrive", () => {
    const step = fc.oneof(
      fc.record({ send: fc.constantFrom(...roles), move: fc.constantFrom(...moves) }),
      fc.record({ deliverTo: fc.constantFrom(...roles) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const course = { client: new Course(clientTable, "client"), relay: new Course(relayTable, "relay") }
        const onTheWay: Record<(typeof roles)[number], Frame[]> = { client: [], relay: [] }
        course.client.state = course.relay.state = "live"
        for (const step of steps)
          if ("deliverTo" in step) {
            const frame = onTheWay[step.deliverTo].shift()
            if (frame) course[step.deliverTo].receive(frame)
          } else if (codeOf(() => course[step.send].send(frames[step.move])) === "none")
            onTheWay[step.send === "client" ? "relay" : "client"].push(frames[step.move])
      }),
    )
  })
})

interface Forging extends Ends {
  /** Any frame as the peer would write it: under the right key and counter. */
  readonly forge: (frame: Frame) => Uint8Array
}

/** Fresh ends, the one of this role brought to this state. */
function reach(role: (typeof roles)[number], state: ConnectionState): Forging {
  const both = ends(device)
  const inLogin: Forging = { ...both, forge: (frame) => encodeLoginFrame(frame as LoginFrame) }
  if (state === "dialled") return inLogin
  const hello = both.client.hello()
  if (state === "greeted" && role === "client") return inLogin
  both.relay.receive(hello)
  if (state === "greeted") return inLogin
  const challenge = both.relay.challenge()
  if (state === "challenged") return inLogin
  const proof = both.client.receive(challenge)
  if (proof.type === "proof") both.relay.receive(proof.bytes)

  const keys = keysOf(both, hello, challenge)
  const from = { client: 1, relay: 1 }
  const authentic: Forging = {
    ...both,
    forge: (frame) => encodeFrame(role === "client" ? keys.down : keys.up, from[role], frame as ClientFrame),
  }
  if (state === "proved") return authentic
  both.client.receive(both.relay.send(welcome).bytes)
  from.client = 2
  if (state === "draining") {
    const drain = both.relay.send(frames["notice drain"] as RelayFrame)
    if (role === "client") both.client.receive(drain.bytes)
    from.client = 3
  }
  if (state === "leaving") {
    const bye = both.client.send({ type: "bye" })
    if (role === "relay") both.relay.receive(bye.bytes)
    from.relay = 2
  }
  if (state === "closed") both[role].close()
  return authentic
}

describe("the ends", () => {
  // The client answers a challenge in one step, so nobody finds it in the state `challenged`.
  const reachable = { client: connectionStates.filter((s) => s !== "challenged"), relay: connectionStates }

  for (const role of roles)
    test(`the ${role} closes on every frame that its table does not have, under a right MAC too`, () => {
      for (const state of reachable[role])
        for (const move of moves) {
          const next = senderOf(move) === role ? undefined : tables[role][state][move]
          // These carry signatures over fresh nonces; every login in this file makes these two moves.
          if (next && (move === "challenge" || move === "proof")) continue
          const end = reach(role, state)
          expect(end[role].state).toBe(state)
          const outcome = codeOf(() => end[role].receive(end.forge(frames[move])))
          const where = `${state}, receive ${move}`
          expect(outcome, where).toBe(next === "refused" ? "ERR_VERSION" : next ? "none" : "ERR_PROTOCOL")
          expect(end[role].state, where).toBe(outcome === "none" ? next : "closed")
        }
    })

  test("whatever bytes come, in whatever state, the outcome is one of the few that end a connection with a code", () => {
    const typed = fc
      .tuple(fc.constantFrom(...Object.values(frameTypes)), fc.uint8Array({ maxLength: 300 }))
      .map(([type, rest]) => concat(Uint8Array.of(type), rest))
    const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), typed)
    const cases = fc.tuple(fc.constantFrom(...roles), fc.constantFrom(...connectionStates), anything)
    fc.assert(
      fc.property(cases, ([role, state, bytes]) => {
        const end = reach(role, role === "client" && state === "challenged" ? "greeted" : state)
        const outcome = codeOf(() => end[role].receive(bytes))
        expect([
          "none",
          "ERR_PROTOCOL",
          "ERR_VERSION",
          "ERR_LOGIN",
          "ERR_UNTRUSTED",
          "ERR_FRAME_AUTHENTICATION",
        ]).toContain(outcome)
      }),
      { numRuns: 300 },
    )
  })

  test("an authentic frame with any fields at all is read or is a protocol error", () => {
    const cases = fc.tuple(
      fc.constantFrom(...roles),
      fc.integer({ min: 0, max: 255 }),
      fc.uint8Array({ maxLength: 300 }),
    )
    fc.assert(
      fc.property(cases, ([role, type, fields]) => {
        const both = ends(device)
        const keys = logIn(both)
        const head = concat(Uint8Array.of(type), u64be(role === "client" ? 2 : 1))
        const at = type === frameTypes.submit ? 48 : type === frameTypes.envelope ? 16 : undefined
        const covered = at === undefined ? fields : concat(fields.subarray(0, at), sha3(fields.subarray(at)))
        const bytes = concat(head, mac(role === "client" ? keys.down : keys.up, head, covered), fields)
        expect(codeOf(() => both[role].receive(bytes))).toMatch(/^(none|ERR_PROTOCOL|ERR_VERSION)$/)
      }),
      { numRuns: 300 },
    )
  })

  test("a login gives both ends the same keys, and each frame the next counter", () => {
    const { client, relay } = ends(device)
    expect(relay.receive(client.hello())).toEqual({ type: "hello" })
    const proof = client.receive(relay.challenge())
    if (proof.type !== "proof") throw new Error("no proof")
    expect(relay.receive(proof.bytes)).toEqual({ type: "proved", device: device.id })
    expect(client.receive(relay.send(welcome).bytes)).toMatchObject({ type: "frame", frame: welcome })
    for (const counter of [1, 2, 3]) {
      const sent = client.send(frames.submit as ClientFrame)
      expect(sent.counter).toBe(counter)
      expect(relay.receive(sent.bytes)).toMatchObject({ type: "frame", counter, frame: frames.submit })
    }
  })

  test("a type of a later version is skipped by both, and counts", () => {
    const both = ends(device)
    const keys = logIn(both)
    const later = (key: Uint8Array, type: number, counter: number) => {
      const head = concat(Uint8Array.of(type), u64be(counter))
      return concat(head, mac(key, head, bytes32), bytes32)
    }
    expect(both.relay.receive(later(keys.up, 0x70, 1))).toEqual({ type: "unknown" })
    expect(both.client.receive(later(keys.down, 0xf0, 2))).toEqual({ type: "unknown" })
    expect(both.relay.receive(encodeFrame(keys.up, 2, { type: "bye" }))).toMatchObject({ type: "frame", counter: 2 })
  })

  test("a relay that the directory does not list, or that cannot sign, is left before the proof", () => {
    const both = ends(device)
    both.relay.receive(both.client.hello())
    const challenge = both.relay.challenge()
    challenge[80]! ^= 1
    expect(codeOf(() => both.client.receive(challenge))).toBe("ERR_UNTRUSTED")
    expect(both.client.state).toBe("closed")
  })

  test("a device that the directory does not list and a wrong signature get one answer", () => {
    const signatureOf = (signature: Uint8Array, id = device.id) => {
      const both = ends(device)
      both.relay.receive(both.client.hello())
      both.relay.challenge()
      return codeOf(() => both.relay.receive(encodeLoginFrame({ type: "proof", device: id, signature })))
    }
    expect(signatureOf(new Uint8Array(64))).toBe("ERR_LOGIN")
    expect(signatureOf(keyOf("other").sign(bytes32))).toBe("ERR_LOGIN")
    expect(signatureOf(new Uint8Array(64), bytes32 as DeviceId)).toBe("ERR_LOGIN")
  })
})
