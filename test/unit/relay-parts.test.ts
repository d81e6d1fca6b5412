import { describe, expect, test } from "vitest"
import { errorTable, ValiseError } from "../../protocol/errors.ts"
import type { MailboxId } from "../../protocol/address.ts"
import { chosen, type Chosen } from "../../protocol/limits.ts"
import { Budget, budgetName } from "../../system/budget.ts"
import { parseRelayConfig } from "../../relay/config.ts"
import { describeRelay } from "../../relay/inspect.ts"
import { relayLog, silentLog, type RelayLogFields } from "../../relay/log.ts"
import { Allowance, Relay } from "../../relay/relay.ts"
import type { Wire } from "../../relay/session.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { nodeClock, nodeRandom } from "../../system/node.ts"
import { codeOf } from "../support/errors.ts"
import { ends, realm, relayCertificate, relayHost, relayKey, type TestDevice } from "../support/login.ts"
import { devices, envelopeTo, mailboxOfDevice, TestDirectory } from "../support/relay.ts"

describe("budget", () => {
  test("gives each name its share of a window, says how long to wait, and begins anew", () => {
    let now = 0
    const budget = new Budget({ ...nodeClock, monotonic: () => now }, 2, 60_000)
    expect([budget.take("a"), budget.take("a"), budget.take("b")]).toEqual([0, 0, 0])
    now = 20_500
    expect(budget.take("a")).toBe(40)
    expect(budget.take("b")).toBe(0)
    now = 60_000
    expect(budget.take("a")).toBe(0)
  })

  test("remembers so many names and no more", () => {
    const budget = new Budget({ ...nodeClock, monotonic: () => 0 }, 2, 60_000)
    for (let i = 0; i < 100_000; i++) budget.take(`${i}`)
    expect(budget.take("one more")).toBe(60)
    expect(budget.take("7")).toBe(0)
  })

  test("an allowance is a sum at one time", () => {
    const allowance = new Allowance(10)
    expect([allowance.take(6), allowance.take(5), allowance.take(4)]).toEqual([true, false, true])
    allowance.release(6)
    expect(allowance.take(6)).toBe(true)
  })

  test("addresses count as IPv4 address or IPv6 network", () => {
    const plain = (address: string) => budgetName(address, undefined, [])
    expect(plain("192.0.2.7")).toBe("192.0.2.7")
    expect(plain("::ffff:192.0.2.7")).toBe("192.0.2.7")
    expect(plain("2001:db8:1:2:3:4:5:6")).toBe("2001:db8:1:2")
    expect(plain("2001:db8:1:2::6")).toBe("2001:db8:1:2")
    expect(plain("2001:db8::6")).toBe("2001:db8:0:0")
    expect(plain("::1")).toBe("0:0:0:0")
    expect(budgetName("198.51.100.1", "192.0.2.1, 192.0.2.9", ["198.51.100.1"])).toBe("192.0.2.9")
    expect(budgetName("::ffff:198.51.100.1", "192.0.2.9", ["198.51.100.1"])).toBe("192.0.2.9")
    expect(budgetName("198.51.100.2", "192.0.2.9", ["198.51.100.1"])).toBe("198.51.100.2")
    expect(budgetName("198.51.100.1", undefined, ["198.51.100.1"])).toBe("198.51.100.1")
  })
})

describe("configuration", () => {
  test("listens on the loopback interface unless told otherwise", () => {
    expect(parseRelayConfig({})).toEqual({ address: "127.0.0.1", port: 0, hosts: [], origins: [], proxies: [] })
    expect(Object.isFrozen(parseRelayConfig({}))).toBe(true)
    expect(parseRelayConfig({ address: "0.0.0.0", hosts: ["relay.example"] })).toMatchObject({ address: "0.0.0.0" })
  })

  test("whatever is wrong is an error that names it", () => {
    const wrong: [object, RegExp][] = [
      [{ adress: "127.0.0.1" }, /adress/],
      [{ address: "0.0.0.0" }, /hosts: needed/],
      [{ address: "localhost" }, /address/],
      [{ port: 70_000 }, /port/],
      [{ hosts: ["Relay.Example"] }, /hosts\.0/],
      [{ hosts: ["relay.example\r\nX: y"] }, /hosts\.0/],
      [{ proxies: ["proxy.example"] }, /proxies\.0/],
    ]
    for (const [config, named] of wrong) {
      expect(codeOf(() => parseRelayConfig(config))).toBe("ERR_USAGE")
      try {
        parseRelayConfig(config)
      } catch (error) {
        expect((error as ValiseError).hint).toMatch(named)
      }
    }
  })
})

describe("log", () => {
  const lines: string[] = []
  const log = relayLog({ write: (line) => void lines.push(line) })
  const written = () => JSON.parse(lines.splice(0).join(""))

  test("admits numbers and codes, and drops what a cast smuggles in", () => {
    log.info("connection.closed", { connection: 3, code: "ERR_LOGIN", ms: 1.5 })
    expect(written()).toMatchObject({ event: "connection.closed", connection: 3, code: "ERR_LOGIN", ms: 1.5 })
    const smuggled = { connection: "ke/technical/baobab", code: "toString", subject: "secret", count: Number.NaN }
    log.warn("connection.closed", smuggled as unknown as RelayLogFields)
    expect(Object.keys(written()).toSorted()).toEqual(["event", "level", "time"])
  })

  test("of a fault it tells code and place, not the message, whatever that imitates", () => {
    log.fault(new ValiseError("ERR_STORE_UNAVAILABLE", "secret"))
    expect(written()).toMatchObject({ event: "relay.fault", code: "ERR_STORE_UNAVAILABLE", place: expect.any(String) })
    for (const message of ["secret", "secret\n    at secret.ts:1:1", "secret\n    at secret.ts:1:1\n"]) {
      log.fault(new TypeError(message))
      expect(written()).toMatchObject({
        code: "ERR_INTERNAL",
        place: expect.stringMatching(/^relay-parts\.test\.ts:\d+$/),
      })
    }
    log.fault("secret")
    expect(written()).not.toHaveProperty("place")
  })
})

describe("inspection", () => {
  test("shows all that is kept, by mailbox and in order", () => {
    const mailbox = (fill: number) => new Uint8Array(16).fill(fill) as MailboxId
    const contents = {
      envelopes: [
        { mailbox: mailbox(2), sequence: 9, minute: 5, bytes: 5298 },
        { mailbox: mailbox(2), sequence: 8, minute: 4, bytes: 5298 },
      ],
      prekeys: [{ device: devices.kenya.id, oneTime: 3, rotating: true }],
      counters: [
        { mailbox: mailbox(2), next: 10 },
        { mailbox: mailbox(1), next: 4 },
      ],
      takenPrekeys: 7,
      quarantined: { envelopes: [{ mailbox: mailbox(2), sequence: 7 }], prekeys: 1 },
      intact: true,
    }
    expect(describeRelay(contents)).toMatchObject({
      mailboxes: [
        { mailbox: "01".repeat(16), next: 4, waiting: [] },
        {
          mailbox: "02".repeat(16),
          next: 10,
          waiting: [
            { sequence: 8, minute: 4, bytes: 5298 },
            { sequence: 9, minute: 5, bytes: 5298 },
          ],
        },
      ],
      prekeys: [{ oneTime: 3, rotating: true }],
      takenPrekeys: 7,
      quarantined: { envelopes: [{ mailbox: "02".repeat(16), sequence: 7 }], prekeys: 1 },
      intact: true,
    })
  })
})

/** A peer's socket whose output is read only when told to. */
class FakeWire implements Wire {
  readonly sent: Uint8Array[] = []
  unreadBytes = 0
  closedWith: string | undefined

  send(bytes: Uint8Array): void {
    this.sent.push(bytes)
  }

  close(reason: string | undefined): void {
    this.closedWith = reason ?? "done"
  }

  admitted(): void {}
}

function relayWith(served: readonly TestDevice[], limits: Partial<Chosen> = {}) {
  const directory = new TestDirectory()
  for (const device of served) directory.add(device)
  const store = new MemoryDisk().open()
  const relay = new Relay({
    realm,
    host: relayHost,
    key: relayKey,
    certificate: () => relayCertificate,
    store,
    directory,
    clock: nodeClock,
    random: nodeRandom,
    log: silentLog,
    limits: { ...chosen, ...limits },
  })
  /** Logs in on a fake socket; frames are then counted from the welcome on. */
  const connect = async (device: TestDevice) => {
    const wire = new FakeWire()
    const session = relay.accept(wire, "192.0.2.1")
    const { client } = ends(device)
    session.message(client.hello())
    const proof = client.receive(wire.sent.pop()!)
    if (proof.type === "proof") session.message(proof.bytes)
    await turns()
    client.receive(wire.sent.shift()!)
    return { wire, session, client }
  }
  return { relay, store, directory, connect }
}

const turns = () => new Promise((resolve) => setImmediate(resolve))

describe("a session's login", () => {
  const { kenya, singapore } = devices

  test("a device that is not listed is refused, and has the directory looked at: it may be newer than the mirror", async () => {
    const { relay, directory, connect } = relayWith([kenya])
    await connect(kenya)
    expect(directory.looks).toBe(0)
    const wire = new FakeWire()
    const session = relay.accept(wire, "192.0.2.1")
    const { client } = ends(singapore)
    session.message(client.hello())
    const proof = client.receive(wire.sent.pop()!)
    if (proof.type === "proof") session.message(proof.bytes)
    expect(wire.closedWith).toBe("ERR_LOGIN")
    expect(directory.looks).toBe(1)
  })
})

describe("a session's output", () => {
  const { kenya, singapore } = devices

  test("no delivery is added while a quarter of the limit waits unread; it goes on when the socket has drained", async () => {
    const { store, connect } = relayWith([singapore], { unreadBytesMax: 400 })
    for (let i = 0; i < 3; i++)
      await store.append(mailboxOfDevice(singapore), new Uint8Array(32).fill(i), 1, envelopeTo(singapore))
    const { wire, session } = await connect(singapore)
    expect(wire.sent.length).toBe(3)
    await store.append(mailboxOfDevice(singapore), new Uint8Array(32).fill(9), 1, envelopeTo(singapore))
    wire.unreadBytes = 101
    session.deliver()
    await turns()
    expect(wire.sent.length).toBe(3)
    wire.unreadBytes = 0
    session.drained()
    await turns()
    expect(wire.sent.length).toBe(4)
    expect(wire.closedWith).toBeUndefined()
  })

  test("beyond the limit the reader is cut", async () => {
    const { connect } = relayWith([kenya], { unreadBytesMax: 400 })
    const { wire, session, client } = await connect(kenya)
    wire.unreadBytes = 401
    session.message(client.send({ type: "sync-log", from: 0 }).bytes)
    await turns()
    expect(wire.closedWith).toBe("ERR_SLOW_READER")
    session.message(client.send({ type: "bye" }).bytes)
    session.deliver()
    expect(wire.closedWith).toBe("ERR_SLOW_READER")
  })

  test("requests under way are bounded; what is beyond is refused, not queued", async () => {
    const { connect } = relayWith([kenya], { requestsInFlightMax: 2 })
    const { wire, session, client } = await connect(kenya)
    for (let i = 0; i < 3; i++) session.message(client.send({ type: "sync-log", from: 0 }).bytes)
    await turns()
    const answers = wire.sent.map((bytes) => client.receive(bytes))
    expect(answers.map((event) => (event.type === "frame" ? event.frame.type : "none")).toSorted()).toEqual([
      "error",
      "log",
      "log",
    ])
  })

  test("every code that a peer may be told is one of the table, and no two codes share a number", () => {
    const numbers = Object.values(errorTable).flatMap((row) => ("wire" in row ? [row.wire] : []))
    expect(new Set(numbers).size).toBe(numbers.length)
    expect(numbers.every((number) => number >= 4400 && number <= 4499)).toBe(true)
  })
})
