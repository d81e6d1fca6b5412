import { afterEach, describe, expect, test } from "vitest"
import type { Incarnation } from "../../protocol/address.ts"
import { equal, hex, utf8 } from "../../protocol/bytes.ts"
import { wireOfError } from "../../protocol/errors.ts"
import { fixed } from "../../protocol/limits.ts"
import type { Signed } from "../../protocol/statement.ts"
import { seconds } from "../../system/machine.ts"
import { nodeClock } from "../../system/node.ts"
import { testDevice } from "../support/login.ts"
import {
  devices,
  firstIncarnation,
  startRelay,
  stopRelays,
  testPrekeys,
  type TestClient,
  type TestRelayOptions,
} from "../support/relay.ts"

afterEach(stopRelays)

const { kenya, singapore } = devices
const refused = wireOfError("ERR_PREKEYS_REFUSED")

async function start(options: TestRelayOptions = {}) {
  const relay = await startRelay({ devices: [kenya, singapore], ...options })
  return { ...relay, kenyan: await relay.dial(kenya), singaporean: await relay.dial(singapore) }
}

interface Published {
  readonly rotating?: Signed
  readonly oneTime?: readonly Signed[]
  readonly incarnation?: Incarnation
  readonly reset?: boolean
}

/** The number held afterwards, or the error's code. */
async function publish(client: TestClient, published: Published): Promise<number | undefined> {
  const { oneTime = [], incarnation = firstIncarnation, reset = false, rotating } = published
  const about = client.send({
    type: "publish-prekeys",
    incarnation,
    reset,
    oneTime: [...oneTime],
    ...(rotating && { rotating }),
  })
  const answer = await client.answerTo(about)
  if (answer.type === "error") return answer.code
  return answer.type === "notice" && answer.kind === "prekeys-stored" ? answer.count : undefined
}

async function fetchPrekey(client: TestClient, of = kenya): Promise<Signed | undefined> {
  const about = client.send({ type: "fetch-prekeys", device: of.id })
  const answer = await client.next("prekeys")
  expect(answer.about).toBe(about)
  return answer.prekey
}

const oneTime = (n: number, options?: Parameters<typeof testPrekeys>[3]) => testPrekeys(kenya, "one-time", n, options)
const rotating = (n: number, options?: Parameters<typeof testPrekeys>[3]) => testPrekeys(kenya, "rotating", n, options)

describe("prekeys", () => {
  test("each one-time prekey is served once, then the rotating one again and again, then none", async () => {
    const { kenyan, singaporean } = await start()
    expect(await fetchPrekey(singaporean)).toBeUndefined()
    const published = { rotating: rotating(1), oneTime: [oneTime(2), oneTime(3)] }
    expect(await publish(kenyan, { ...published, reset: true })).toBe(2)
    const served = [1, 2, 3, 4].map(() => fetchPrekey(singaporean))
    expect(await Promise.all(served)).toEqual([
      published.oneTime[0],
      published.oneTime[1],
      published.rotating,
      published.rotating,
    ])
  })

  test("concurrent fetches never get the same one-time prekey", async () => {
    const { kenyan, singaporean } = await start()
    await publish(kenyan, { oneTime: Array.from({ length: 16 }, (_, i) => oneTime(i + 1)), reset: true })
    for (let i = 0; i < 8; i++)
      for (const client of [kenyan, singaporean]) client.send({ type: "fetch-prekeys", device: kenya.id })
    const served = new Set<string>()
    for (let i = 0; i < 8; i++)
      for (const client of [kenyan, singaporean]) served.add(hex((await client.next("prekeys")).prekey!.bytes))
    expect(served.size).toBe(16)
  })

  test("the welcome says how many are held; a device that is connected learns when they run low, once", async () => {
    const { dial, kenyan, singaporean } = await start()
    const held = fixed.oneTimeRefillAt + 2
    const keys = Array.from({ length: held }, (_, i) => oneTime(i + 1))
    await publish(kenyan, { oneTime: keys.slice(0, 16), reset: true })
    await publish(kenyan, { oneTime: keys.slice(16) })
    for (let i = 0; i < 4; i++) await fetchPrekey(singaporean)
    expect(await kenyan.next("notice")).toEqual({ type: "notice", kind: "prekeys-low", count: fixed.oneTimeRefillAt })
    await kenyan.settled()
    expect(kenyan.waiting).toEqual([])
    const again = await dial(kenya)
    expect(again.welcomed).toMatchObject({ oneTimePrekeys: held - 4, credits: 256, logSize: 0 })
  })

  test("whatever is not the device's own, valid and in its place is refused, and nothing of it kept", async () => {
    const { kenyan, singaporean } = await start()
    const past = seconds(nodeClock) - fixed.rotatingPrekeySeconds
    const other = new Uint8Array(16).fill(2) as Incarnation
    const tampered = oneTime(9)
    tampered.signature[10]! ^= 1
    const cases: [string, Published][] = [
      ["another device's", { oneTime: [testPrekeys(singapore, "one-time", 1)] }],
      ["signed by another", { oneTime: [oneTime(1, { signer: singapore })] }],
      ["tampered with", { oneTime: [tampered] }],
      ["a rotating one among the one-time ones", { oneTime: [rotating(1)] }],
      ["a one-time one as the rotating one", { rotating: oneTime(1) }],
      ["expired", { oneTime: [oneTime(1, { nbf: past - 60, exp: past })] }],
      ["of too long a life", { oneTime: [oneTime(1, { exp: seconds(nodeClock) + 2 * fixed.rotatingPrekeySeconds })] }],
      ["of another incarnation", { oneTime: [oneTime(1, { incarnation: other })] }],
      ["one number twice", { oneTime: [oneTime(1), oneTime(1)] }],
      ["falling numbers", { oneTime: [oneTime(2), oneTime(1)] }],
      ["one bad among good ones", { rotating: rotating(1), oneTime: [oneTime(2), tampered] }],
    ]
    for (const [name, published] of cases) expect(await publish(kenyan, published), name).toBe(refused)
    expect(await fetchPrekey(singaporean)).toBeUndefined()
    expect(await publish(kenyan, { oneTime: [oneTime(1)] })).toBe(1)
  })

  test("an expired prekey that is still held is passed over", async () => {
    let now = nodeClock.now()
    const clock = { ...nodeClock, now: () => now }
    const { kenyan, singaporean } = await start({ clock })
    const soon = seconds(nodeClock) + 60
    await publish(kenyan, {
      rotating: rotating(1, { exp: soon }),
      oneTime: [oneTime(2, { exp: soon }), oneTime(3)],
      reset: true,
    })
    now += 120_000
    expect(equal((await fetchPrekey(singaporean))!.bytes, oneTime(3).bytes)).toBe(true)
    expect(await fetchPrekey(singaporean)).toBeUndefined()
  })

  test("fetches are metered per PoC, and for an unknown device there is the one answer", async () => {
    const second = testDevice(singapore.poc, "second device")
    const { dial, kenyan, singaporean, directory } = await start({ limits: { prekeyFetchesPerHour: 2 } })
    directory.add(second)
    const companion = await dial(second)
    kenyan.send({ type: "fetch-prekeys", device: testDevice("fr/technical/chene").id })
    expect((await kenyan.next("error")).code).toBe(wireOfError("ERR_NO_MAILBOX"))
    await fetchPrekey(singaporean)
    await fetchPrekey(companion)
    for (const client of [singaporean, companion]) {
      client.send({ type: "fetch-prekeys", device: kenya.id })
      const { code, retryAfterSeconds } = await client.next("error")
      expect(code).toBe(wireOfError("ERR_RATE_LIMITED"))
      expect(retryAfterSeconds).toBeGreaterThan(3000)
    }
    await fetchPrekey(kenyan)
  })
})

describe("the log", () => {
  test("is served in order, in frames that are never too long, up to its end", async () => {
    const { kenyan, directory } = await start()
    directory.entries = Array.from({ length: 600 }, (_, i) => new Uint8Array(i % 7 === 0 ? 9000 : 200).fill(i % 251))
    directory.entries.push(new Uint8Array(fixed.logEntryBytesMax).fill(1))
    const got: Uint8Array[] = []
    for (;;) {
      const about = kenyan.send({ type: "sync-log", from: got.length })
      const answer = await kenyan.next("log")
      expect(answer.about).toBe(about)
      expect(answer.checkpoint).toEqual(utf8("checkpoint of 601\n"))
      if (answer.entries.length === 0) break
      got.push(...answer.entries)
    }
    expect(got.length).toBe(601)
    expect(got.every((entry, i) => equal(entry, directory.entries[i]!))).toBe(true)
  })

  test("requests are metered per PoC, and bounded per connection", async () => {
    const { singaporean, directory } = await start({ limits: { requestsPerMinute: 2 } })
    directory.entries = []
    for (let i = 0; i < 3; i++) singaporean.send({ type: "sync-log", from: 0 })
    await singaporean.next("log")
    await singaporean.next("log")
    expect((await singaporean.next("error")).code).toBe(wireOfError("ERR_RATE_LIMITED"))
  })
})
