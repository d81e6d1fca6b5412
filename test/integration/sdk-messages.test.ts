/** The life of a message between PoCs, over a real relay on a socket. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Poc, PocEvent } from "../../client-sdk/index.ts"
import { hex } from "../../protocol/bytes.ts"
import {
  arrived,
  eventually,
  indicators,
  notification,
  settled,
  soon,
  TestNetwork,
  type Name,
} from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

const both: readonly Name[] = ["kenya", "singapore"]
const toSingapore = { ...notification, to: ["sg/technical"] }

describe("three PoCs", () => {
  let kenya: Poc
  let singapore: Poc
  let brazil: Poc
  beforeEach(async () => {
    network = await TestNetwork.open()
    ;[kenya, singapore, brazil] = (await network.all()) as [Poc, Poc, Poc]
  })

  test("a message is accepted, delivered, acknowledged and answered, and each step is signed", async () => {
    const events: PocEvent[] = []
    kenya.on((event) => events.push(event))
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"], indicators })
    expect(sent.status().map(({ state }) => state)).toEqual(["waiting", "waiting"])
    const accepted = await sent.accepted(soon())
    expect(accepted.map(({ devices }) => devices.map(({ accepted, prekey }) => [accepted?.relay, prekey]))).toEqual([
      [["relay.example", "one-time"]],
      [["relay.example", "one-time"]],
    ])
    await sent.delivered("br/technical", soon())
    const here = await arrived(singapore, sent.id)
    expect(here.part("indicators")).toEqual(indicators)
    expect(here.view).toMatchObject({
      ...notification,
      content: notification.content,
      from: network.address("kenya"),
      banners: [],
    })
    here.acknowledge()
    const { acknowledged } = await sent.acknowledged("sg/technical", soon())
    expect(acknowledged?.officer).toBe("duty officer of singapore")
    here.respond({ disposition: "acting", note: "We block it." })
    const { response, state } = await sent.responded("sg/technical", soon())
    expect([response?.disposition, state]).toEqual(["acting", "responded"])
    const atBrazil = await brazil.until(() => brazil.received().find(({ type }) => type === "response"), soon())
    expect(atBrazil).toMatchObject({
      from: network.address("singapore"),
      case: here.view.case,
      inReplyTo: sent.id,
      tlp: "AMBER",
    })
    const kinds = events.filter((event) => "message" in event && event.message === sent.id).map(({ kind }) => kind)
    expect(kinds.filter((kind) => kind === "accepted")).toHaveLength(2)
    expect(kinds.indexOf("delivered")).toBeGreaterThan(kinds.indexOf("accepted"))
    for (const poc of [kenya, singapore, brazil]) expect(poc.notices()).toEqual([])
  })

  test("acknowledging twice signs once; one's own message cannot be acknowledged", async () => {
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"] })
    const here = await arrived(singapore, sent.id)
    here.acknowledge()
    here.acknowledge()
    await settled(singapore)
    expect(() => sent.acknowledge()).toThrow(expect.objectContaining({ code: "ERR_USAGE" }))
    await singapore.close()
    const receipts = await network.vault("singapore", (vault) => vault.read((tx) => [...tx.list("receipts")].length))
    expect(receipts).toBe(1)
  })

  test("a reply goes to everyone who has the message, and to nobody else whom it names", async () => {
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"] })
    const here = await arrived(singapore, sent.id)
    const reply = here.reply({ text: "All times are UTC." })
    expect(reply.view.to.toSorted()).toEqual([network.address("brazil"), network.address("kenya")])
    await reply.delivered("ke/technical", soon())
    await arrived(brazil, reply.id)
  })
})

describe("two PoCs", () => {
  beforeEach(async () => {
    network = await TestNetwork.open({ members: both })
  })

  test("what is sent offline is durable at once, and goes out when the relay is there", async () => {
    const singapore = await network.poc("singapore")
    const offline = await network.poc("kenya", { connect: false })
    const sent = offline.send(toSingapore)
    expect(sent.status()[0]!.state).toBe("waiting")
    await network.shut(offline)
    const kenya = await network.poc("kenya")
    await kenya.message(sent.id).delivered("sg/technical", soon())
    expect((await arrived(singapore, sent.id)).view.subject).toBe(notification.subject)
  })

  test("a recipient that is off gets it when it is on again, once", async () => {
    const kenya = await network.poc("kenya")
    await network.shut(await network.poc("singapore"))
    const sent = kenya.send(toSingapore)
    await sent.accepted(soon())
    expect(sent.status()[0]!.state).toBe("accepted")
    for (let i = 0; i < 2; i++) {
      const singapore = await network.poc("singapore")
      await arrived(singapore, sent.id)
      expect(singapore.received()).toHaveLength(1)
      await settled(singapore)
      await network.shut(singapore)
    }
    await sent.delivered("sg/technical", soon())
  })

  test("a relay that is started again loses nothing, and the PoCs come back by themselves", async () => {
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    await network.stopRelay()
    await kenya.until(() => (kenya.status.state === "live" ? undefined : true), soon())
    const sent = kenya.send(toSingapore)
    await network.startRelay()
    await sent.delivered("sg/technical", AbortSignal.timeout(25_000))
    expect(singapore.received()).toHaveLength(1)
  })

  test("messages that are written in a row arrive in a row: no gap, no alarm", async () => {
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    const subjects = Array.from({ length: 12 }, (_, i) => `number ${i}`)
    for (const subject of subjects) kenya.send({ ...toSingapore, subject })
    await singapore.until(() => (singapore.received().length === subjects.length ? true : undefined), soon())
    expect(singapore.received().map(({ subject }) => subject)).toEqual(subjects)
    await Promise.all([settled(kenya), settled(singapore)])
    expect([...kenya.notices(), ...singapore.notices()]).toEqual([])
  })

  test("two processes of one vault: one has the line, both write, and the other takes over", async () => {
    const singapore = await network.poc("singapore")
    const first = await network.poc("kenya")
    const second = await network.poc("kenya", { ready: false })
    await second.until(() => (second.status.state === "elsewhere" ? true : undefined), soon())
    const written = second.send(toSingapore)
    await written.delivered("sg/technical", soon())
    expect(first.sent().map(({ id }) => id)).toEqual([written.id])
    await network.shut(first)
    await second.until(() => (second.ready ? true : undefined), soon())
    const answer = (await arrived(singapore, written.id)).respond({ disposition: "acting" })
    await arrived(second, answer.id)
  })

  test("a process without the officer's key carries what another one releases", async () => {
    await network.poc("singapore")
    const keeper = await network.poc("kenya", { officer: false })
    const desk = await network.poc("kenya", { ready: false })
    const sent = desk.send(toSingapore)
    await desk.message(sent.id).delivered("sg/technical", soon())
    expect(keeper.status.state).toBe("live")
  })

  test("the status says what silence is: waiting, accepted, delivered, delivered-silent, undelivered", async () => {
    const offline = await network.poc("kenya", { connect: false })
    const unsent = offline.send({ ...toSingapore, lifetimeSeconds: 3600 })
    const stateOf = (poc: Poc, id: string): string => poc.message(id).status()[0]!.state
    expect(stateOf(offline, unsent.id)).toBe("waiting")
    await network.shut(offline)
    const singapore = await network.poc("singapore")
    const kenya = await network.poc("kenya")
    const silent = kenya.send({ ...toSingapore, lifetimeSeconds: 3600 })
    await silent.delivered("sg/technical", soon())
    expect(stateOf(kenya, silent.id)).toBe("delivered")
    await settled(singapore)
    await network.shut(singapore)
    const lost = kenya.send({ ...toSingapore, lifetimeSeconds: 3600 })
    await lost.accepted(soon())
    expect(stateOf(kenya, lost.id)).toBe("accepted")
    network.clock.aheadSeconds += 2 * 3600
    expect(stateOf(kenya, silent.id)).toBe("delivered-silent")
    expect(stateOf(kenya, lost.id)).toBe("undelivered")
    const late = await network.poc("singapore")
    await settled(late)
    expect(late.received().map(({ id }) => id)).not.toContain(lost.id)
    expect(late.notices().map(({ kind }) => kind)).toEqual(["not-opened"])
  })

  test("what expires in the outbox is given up, and its number is not missed", async () => {
    await network.shut(await network.poc("singapore"))
    const kenya = await network.poc("kenya")
    await network.stopRelay()
    await kenya.until(() => (kenya.status.state === "live" ? undefined : true), soon())
    const sent = kenya.send({ ...toSingapore, lifetimeSeconds: 3600 })
    network.clock.aheadSeconds += 2 * 3600
    kenya.send({ ...toSingapore, subject: "the next" })
    await kenya.until(() => (sent.status()[0]!.state === "undelivered" ? true : undefined), soon())
    await network.startRelay()
    const singapore = await network.poc("singapore")
    await singapore.until(
      () => singapore.received().find(({ subject }) => subject === "the next"),
      AbortSignal.timeout(25_000),
    )
    expect(singapore.notices()).toEqual([])
  })
})

describe("a PoC with two devices", () => {
  test("both get the message and sign for it; each gets what the other sends", async () => {
    network = await TestNetwork.open({ members: both, devices: { kenya: 2, singapore: 2 } })
    const [kenya, second] = await Promise.all([network.poc("kenya"), network.poc("kenya", { device: 2 })])
    const [singapore, other] = await Promise.all([network.poc("singapore"), network.poc("singapore", { device: 2 })])
    const sent = kenya.send(toSingapore)
    const status = await kenya.until(() => {
      const row = sent.status()[0]!
      return row.devices.filter(({ delivered }) => delivered).length === 2 ? row : undefined
    }, soon())
    expect(status.state).toBe("delivered")
    const copy = await second.until(() => second.sent().find(({ id }) => id === sent.id), soon())
    expect(copy).toMatchObject({ direction: "out", subject: notification.subject })
    expect(second.received()).toEqual([])
    const answer = (await arrived(singapore, sent.id)).respond({ disposition: "acting" })
    await Promise.all([arrived(kenya, answer.id), arrived(second, answer.id)])
    await other.until(() => other.sent().find(({ id }) => id === answer.id), soon())
    await Promise.all([kenya, second, singapore, other].map(settled))
    for (const poc of [kenya, second, singapore, other]) expect(poc.notices()).toEqual([])
  })

  test("consents that one device asks for, and receipts for them, trouble the other one with nothing", async () => {
    network = await TestNetwork.open({
      members: ["kenya", "singapore", "france"],
      devices: { kenya: 2, singapore: 2 },
    })
    const [kenya, singapore, france] = (await network.all()) as [Poc, Poc, Poc]
    const [second, other] = [await network.poc("kenya", { device: 2 }), await network.poc("singapore", { device: 2 })]
    const sent = kenya.send({ ...toSingapore, indicators })
    const request = (await arrived(singapore, sent.id)).requestConsent({
      with: "fr/technical",
      leaves: ["indicators"],
      purpose: "The same host.",
    })
    await kenya.until(() => kenya.consents().find(({ requestId }) => requestId === request.requestId), soon())
    kenya.grant(request.requestId)
    const forward = singapore.message(sent.id).forward(await request.granted(soon()))
    await france.until(() => france.received().find(({ id }) => id === forward.id)?.forward?.verifiedFrom, soon())
    await singapore.until(() => request.view.used, soon())
    for (const poc of [kenya, second, singapore, other, france]) await settled(poc)
    for (const poc of [kenya, second, singapore, other, france]) expect(poc.notices()).toEqual([])
  })

  test("a device that was never switched on is written to when it has prekeys, and misses nothing before", async () => {
    network = await TestNetwork.open({ members: both, devices: { singapore: 2 } })
    const [kenya, singapore] = await Promise.all([network.poc("kenya"), network.poc("singapore")])
    const first = kenya.send(toSingapore)
    await first.delivered("sg/technical", soon())
    const second = await network.poc("singapore", { device: 2 })
    const next = kenya.send({ ...toSingapore, subject: "to both" })
    await arrived(second, next.id)
    await settled(singapore)
    expect(second.received()).toHaveLength(1)
    expect(second.notices()).toEqual([])
    expect(new Set(first.status()[0]!.devices.map(({ prekey }) => prekey))).toEqual(new Set(["one-time", undefined]))
  })

  test("a device that has left the directory holds nothing up", async () => {
    network = await TestNetwork.open({ members: both, devices: { singapore: 2 } })
    const kenya = await network.poc("kenya")
    for (const device of [1, 2]) await network.shut(await network.poc("singapore", { device }))
    const sent = kenya.send(toSingapore)
    await sent.accepted(soon())
    await settled(kenya)
    await network.changeManifest("singapore", ({ devices }) => ({ devices: devices.slice(0, 1) }))
    await kenya.syncLog(network.directory.logSource())
    const next = kenya.send({ ...toSingapore, subject: "to one" })
    await next.accepted(soon())
    expect(next.status()[0]!.devices.map(({ device }) => device)).toHaveLength(1)
    await settled(kenya)
  })
})

test("a message that is sealed but not submitted goes out after a crash: the same bytes, under the same blind", async () => {
  network = await TestNetwork.open({ members: both, relay: "malicious" })
  const relay = network.malicious!
  await network.shut(await network.poc("singapore"))
  relay.refuse("submit", "ERR_STORE_UNAVAILABLE")
  const kenya = await network.poc("kenya")
  const sent = kenya.send(toSingapore)
  await eventually(() => relay.askedFor("submit") > 0)
  await network.shut(kenya)
  const [before] = await network.vault("kenya", (vault) =>
    vault.read((tx) => [...tx.list("outgoing")].flatMap(([, row]) => ("bytes" in row ? [row] : []))),
  )
  expect(relay.submissions).toEqual([])
  relay.behave()
  const again = await network.poc("kenya")
  await again.message(sent.id).accepted(soon())
  expect(relay.submissions.map(({ blind, bytes }) => [hex(blind), hex(bytes)])).toEqual([
    [hex(before!.blind), hex(before!.bytes)],
  ])
})
