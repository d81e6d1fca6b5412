import { afterEach, describe, expect, test } from "vitest"
import { equal } from "../../protocol/bytes.ts"
import { wireOfError } from "../../protocol/errors.ts"
import { sha3 } from "../../protocol/primitives.ts"
import { verifyRelayReceipt } from "../../protocol/relay-receipt.ts"
import type { Hash } from "../../protocol/address.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import { HeldDisk } from "../support/held-disk.ts"
import { realm, relayHost, relayKey, testDevice } from "../support/login.ts"
import { devices, envelopeTo, mailboxOfDevice, startRelay, stopRelays, type TestClient } from "../support/relay.ts"

afterEach(stopRelays)

const { kenya, singapore, brazil } = devices
const all = { devices: [kenya, singapore, brazil] }
const blind = (fill: number) => new Uint8Array(32).fill(fill)

const codeOfNextError = async (client: TestClient) => (await client.next("error")).code

describe("submitting", () => {
  test("what is stored is receipted to the submitter, delivered to the device, and gone when collected", async () => {
    const { dial, store } = await startRelay(all)
    const [from, to] = [await dial(kenya), await dial(singapore)]
    const envelope = envelopeTo(singapore)
    const counter = from.submit(singapore, envelope, blind(5))
    const { batch, items } = await from.next("accepted")
    const [item] = items
    expect(items).toHaveLength(1)
    expect(item!.about).toBe(counter)
    const receipt = { relay: relayHost, batch, index: item!.index, path: item!.path, minute: item!.minute }
    const submitted = { blind: blind(5), digest: sha3(envelope) as Hash, mailbox: mailboxOfDevice(singapore) }
    expect(verifyRelayReceipt(relayKey.publicKey, realm, receipt, submitted)).toBe(true)

    const delivered = await to.next("envelope")
    expect(delivered).toMatchObject({ sequence: 1, minute: item!.minute })
    expect(equal(delivered.envelope, envelope)).toBe(true)
    expect((await store.inspect()).envelopes).toHaveLength(1)
    to.send({ type: "collected", sequences: [delivered.sequence] })
    await to.settled()
    expect((await store.inspect()).envelopes).toEqual([])
  })

  test("nothing is receipted before its append has resolved; all that resolve in one turn share one signature", async () => {
    const disk = new HeldDisk()
    const { dial } = await startRelay({ ...all, store: disk.open() })
    const [from, other] = [await dial(kenya), await dial(brazil)]
    disk.hold()
    for (let i = 0; i < 3; i++) from.submit(singapore)
    other.submit(singapore)
    await from.settled()
    await other.settled()
    expect(disk.isAskedToSync).toBe(true)
    expect([...from.waiting, ...other.waiting]).toEqual([])
    disk.release()
    const [mine, theirs] = [await from.next("accepted"), await other.next("accepted")]
    expect(mine.items.map((item) => item.index)).toEqual([0, 1, 2])
    expect(theirs.items.map((item) => item.index)).toEqual([3])
    expect(mine.batch).toEqual(theirs.batch)
  })

  test("a retry with its blind is stored once and keeps its minute; the same blind with other bytes is no retry", async () => {
    const { dial, store } = await startRelay(all)
    const from = await dial(kenya)
    const [first, second] = [envelopeTo(singapore), envelopeTo(singapore)]
    for (const envelope of [first, first, second]) {
      from.submit(singapore, envelope, blind(1))
      await from.next("accepted")
    }
    expect((await store.inspect()).envelopes).toHaveLength(2)
  })

  test("unknown, departed and one's own relay-less mailbox answer alike", async () => {
    const { dial, directory } = await startRelay({ devices: [kenya, singapore] })
    const from = await dial(kenya)
    directory.remove(singapore)
    for (const to of [brazil, singapore, testDevice("fr/technical/chene")]) {
      const counter = from.submit(to)
      expect(await from.next("error")).toEqual({
        type: "error",
        about: counter,
        code: wireOfError("ERR_NO_MAILBOX"),
        retryAfterSeconds: 0,
      })
    }
  })

  test("a full mailbox and a store that cannot write refuse, and the connection lives on", async () => {
    const disk = new MemoryDisk()
    const { dial } = await startRelay({ ...all, store: disk.open({ envelopesMax: 1, bytesMax: 1e6 }) })
    const [from, to] = [await dial(kenya), await dial(singapore)]
    from.submit(singapore)
    await from.next("accepted")
    from.submit(singapore)
    expect(await codeOfNextError(from)).toBe(wireOfError("ERR_MAILBOX_FULL"))
    disk.break()
    from.submit(brazil)
    expect(await codeOfNextError(from)).toBe(wireOfError("ERR_STORE_UNAVAILABLE"))
    const { sequence } = await to.next("envelope")
    to.send({ type: "collected", sequences: [sequence] })
    await to.settled()
  })

  test("an unknown envelope version is refused; bytes that are no envelope end the connection", async () => {
    const { dial } = await startRelay(all)
    const from = await dial(kenya)
    from.submit(singapore, envelopeTo(singapore).with(0, 2))
    expect(await codeOfNextError(from)).toBe(wireOfError("ERR_VERSION"))
    from.submit(singapore, envelopeTo(singapore).with(1, 2))
    expect(await codeOfNextError(from)).toBe(wireOfError("ERR_VERSION"))
    from.submit(singapore, envelopeTo(singapore).subarray(1))
    expect(await codeOfNextError(from)).toBe(wireOfError("ERR_VERSION"))
    from.submit(singapore, envelopeTo(singapore).subarray(0, -1))
    expect(await from.closed).toEqual({ code: 4400, reason: "ERR_PROTOCOL" })
    const again = await dial(kenya)
    again.submit(singapore, envelopeTo(brazil))
    expect(await again.closed).toEqual({ code: 4400, reason: "ERR_PROTOCOL" })
  })

  test("more submissions than credits end the connection; a PoC has one budget for its devices", async () => {
    const disk = new HeldDisk()
    const second = testDevice(kenya.poc, "second device")
    const { dial } = await startRelay({
      devices: [kenya, second, singapore],
      store: disk.open(),
      limits: { credits: 2, submissionsPerMinute: 3 },
    })
    const [one, two] = [await dial(kenya), await dial(second)]
    for (const from of [one, two, one]) {
      from.submit(singapore)
      await from.next("accepted")
    }
    two.submit(singapore)
    const refused = await two.next("error")
    expect(refused.code).toBe(wireOfError("ERR_RATE_LIMITED"))
    expect(refused.retryAfterSeconds).toBeGreaterThan(0)
    const other = await dial(singapore)
    disk.hold()
    for (let i = 0; i < 3; i++) other.submit(kenya)
    expect(await other.closed).toEqual({ code: 4400, reason: "ERR_PROTOCOL" })
    disk.release()
  })

  test("envelopes that are being stored are bounded over all connections", async () => {
    const disk = new HeldDisk()
    const size = envelopeTo(singapore).length
    const { dial } = await startRelay({ ...all, store: disk.open(), limits: { storingBytesMax: 2 * size } })
    const [one, two] = [await dial(kenya), await dial(brazil)]
    disk.hold()
    one.submit(singapore)
    one.submit(singapore)
    await one.settled()
    two.submit(singapore)
    expect(await codeOfNextError(two)).toBe(wireOfError("ERR_RATE_LIMITED"))
    disk.release()
    await one.next("accepted")
    two.submit(singapore)
    await two.next("accepted")
  })
})

describe("delivering", () => {
  test("what waited comes at login, in order, at most so many uncollected", async () => {
    const { dial } = await startRelay({ ...all, limits: { deliveriesInFlightMax: 3 } })
    const from = await dial(kenya)
    for (let i = 0; i < 8; i++) {
      from.submit(singapore)
      await from.next("accepted")
    }
    const to = await dial(singapore)
    const arrived: number[] = []
    await to.settled()
    expect(to.waiting).toHaveLength(3)
    for (let i = 0; i < 8; i++) {
      const { sequence } = await to.next("envelope")
      arrived.push(sequence)
      to.send({ type: "collected", sequences: [sequence] })
    }
    expect(arrived).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  test("bytes on their way are bounded too", async () => {
    const { dial } = await startRelay({ ...all, limits: { deliveryBytesInFlightMax: 8000 } })
    const [from, to] = [await dial(kenya), await dial(singapore)]
    for (let i = 0; i < 4; i++) {
      from.submit(singapore)
      await from.next("accepted")
    }
    await to.settled()
    expect(to.waiting).toHaveLength(2)
  })

  test("what was not collected comes again after a reconnection; numbers not delivered here are ignored", async () => {
    const { dial, store } = await startRelay(all)
    const [from, to] = [await dial(kenya), await dial(singapore)]
    from.submit(singapore)
    await to.next("envelope")
    to.socket.terminate()
    const again = await dial(singapore)
    again.send({ type: "collected", sequences: [99] })
    expect(await again.next("envelope")).toMatchObject({ sequence: 1 })
    again.send({ type: "collected", sequences: [1, 1, 99] })
    await again.settled()
    expect((await store.inspect()).envelopes).toEqual([])
  })

  test("what was not delivered on this connection cannot be collected unseen", async () => {
    const { dial } = await startRelay({ ...all, limits: { deliveriesInFlightMax: 1 } })
    const [from, to] = [await dial(kenya), await dial(singapore)]
    for (let i = 0; i < 2; i++) {
      from.submit(singapore)
      await from.next("accepted")
    }
    to.send({ type: "collected", sequences: [2] })
    await to.settled()
    to.send({ type: "collected", sequences: [1] })
    await to.next("envelope")
    expect(await to.next("envelope")).toMatchObject({ sequence: 2 })
  })

  test("one connection per device: the second replaces the first, which is told", async () => {
    const { dial } = await startRelay(all)
    const first = await dial(singapore)
    const second = await dial(singapore)
    expect(await first.next("notice")).toMatchObject({ kind: "replaced" })
    expect(await first.closed).toEqual({ code: 4409, reason: "ERR_REPLACED" })
    const from = await dial(kenya)
    from.submit(singapore)
    await second.next("envelope")
  })

  test("a device that leaves the directory is cut off at once, and nothing is kept for it", async () => {
    const { dial, relay, directory, store } = await startRelay(all)
    const [from, to] = [await dial(kenya), await dial(singapore)]
    from.submit(singapore)
    await to.next("envelope")
    directory.remove(singapore)
    await relay.deviceLeft(singapore.id, mailboxOfDevice(singapore))
    expect(await to.closed).toEqual({ code: 4401, reason: "ERR_LOGIN" })
    expect((await store.inspect()).envelopes).toEqual([])
    await expect(dial(singapore)).rejects.toThrow("4401 ERR_LOGIN")
  })

  test("a device that does not read is cut, and the relay serves the others", async () => {
    const { dial, directory, logged } = await startRelay({ ...all, limits: { unreadBytesMax: 1_000_000 } })
    const [from, lazy] = [await dial(kenya), await dial(singapore)]
    directory.entries = [new Uint8Array(60_000)]
    lazy.socket.pause()
    // The kernel's buffers take some megabytes before the relay's own fill.
    for (let i = 0; i < 250; i++) lazy.send({ type: "sync-log", from: 0 })
    while (!logged().includes("ERR_SLOW_READER")) await from.settled()
    lazy.socket.resume()
    // 1006: it took the close frame's turn too long to come.
    expect([4414, 1006]).toContain((await lazy.closed).code)
    from.submit(brazil)
    await from.next("accepted")
  })
})

describe("leaving", () => {
  test("after bye what is under way is answered, then the connection ends", async () => {
    const disk = new HeldDisk()
    const { dial } = await startRelay({ ...all, store: disk.open() })
    const from = await dial(kenya)
    disk.hold()
    from.submit(singapore)
    from.send({ type: "bye" })
    while (!disk.isAskedToSync) await new Promise(setImmediate)
    disk.release()
    await from.next("accepted")
    expect(await from.closed).toEqual({ code: 1000, reason: "" })
  })

  test("a relay that goes away says so, finishes what it has begun, takes nothing new, and closes", async () => {
    const disk = new HeldDisk()
    const { dial, server } = await startRelay({ ...all, store: disk.open() })
    const [from, idle] = [await dial(kenya), await dial(singapore)]
    disk.hold()
    from.submit(singapore)
    await from.settled()
    // What was on the way when the notice was sent is refused, not dropped.
    const late = from.connection.send({
      type: "submit",
      mailbox: mailboxOfDevice(brazil),
      blind: blind(2),
      envelope: envelopeTo(brazil),
    })
    const closing = server.close()
    expect(await from.next("notice")).toEqual({ type: "notice", kind: "drain", retryAfterSeconds: 5 })
    from.socket.send(late.bytes)
    expect(await from.next("error")).toMatchObject({ about: late.counter, code: wireOfError("ERR_DRAINING") })
    disk.release()
    await from.next("accepted")
    expect(await from.closed).toEqual({ code: 4450, reason: "ERR_DRAINING" })
    expect(await idle.closed).toEqual({ code: 4450, reason: "ERR_DRAINING" })
    await closing
  })
})
