/** What hostile peers and relays can do to a running SDK: cost it a little time, and nothing else. */
import { join } from "node:path"
import fc from "fast-check"
import { afterEach, describe, expect, test, vi } from "vitest"
import { messageTypes, type MessageType } from "../../client-sdk/api.ts"
import type { Poc } from "../../client-sdk/index.ts"
import { Home, noticesPerKindMax } from "../../client-sdk/home.ts"
import { Poc as PocObject } from "../../client-sdk/poc.ts"
import { wsTransport } from "../../client-sdk/transport-ws.ts"
import { homeSchema } from "../../client-sdk/collections.ts"
import { readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import { isSpoken, messageView } from "../../client-sdk/view.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { encodeConsentWithdrawal, type RequestId } from "../../protocol/consent.ts"
import { durableFiles } from "../../directory/files.ts"
import { readLogKey } from "../../directory/keys.ts"
import { readCheckpoint, signCheckpoint } from "../../pki/checkpoint.ts"
import { nodeRandom } from "../../system/node.ts"
import { Inside, snapshot, useDesks } from "../support/inside.ts"
import { arrived, eventually, indicators, notification, settled, soon, TestNetwork } from "../support/network.ts"

describe("a hostile peer", () => {
  const desks = useDesks("kenya", "singapore", "brazil")

  const viewsOf = (desk: Inside) =>
    desk.home.vault.read((tx) =>
      [...tx.list("messages")]
        .filter(([, row]) => isSpoken(row))
        .map(([key, row]) => messageView(tx, desk.home, key, row)),
    )

  test("one that can send but not receive gets no receipt, and holds up nobody", async () => {
    const { network, post } = desks
    const { kenya, singapore, brazil } = desks.at
    const rights = (list: readonly ("send" | "receive")[]) =>
      network.changeManifest("brazil", ({ devices }) => ({ devices: devices.map((row) => ({ ...row, rights: list })) }))
    await rights(["send"])
    for (const desk of [kenya, singapore, brazil]) await desk.home.mirror.sync(network.directory.logSource())
    expect(singapore.receive(brazil.forge("notification", singapore, post.prekeyFor(singapore)))).toBe("collected")
    expect(singapore.received().map(({ from }) => from)).toEqual([brazil.home.identity.poc])
    expect(singapore.outbox.pending()).toEqual([])
    await rights(["send", "receive"])
    for (const desk of [kenya, singapore, brazil]) await desk.home.mirror.sync(network.directory.logSource())
  })

  test("whatever the leaves hold: nothing is thrown, nothing malformed is archived, and every list stays readable", () => {
    const { post } = desks
    const { kenya, singapore } = desks.at
    const json = fc.jsonValue().map((value) => utf8(JSON.stringify(value)))
    const some = fc.oneof(
      json,
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(new Uint8Array(0), utf8("[]"), utf8("AMBER")),
    )
    const names = fc.constantFrom(
      "tlp",
      "subject",
      "body",
      "template",
      "response",
      "statement",
      "signature",
      "receipt",
      "skipped",
      "indicators",
      "terms",
      "language",
    )
    const frameNames = fc.constantFrom("type", "case", "to", "involved", "inReplyTo")
    const leaves = fc.uniqueArray(fc.record({ name: names, value: some }), {
      maxLength: 5,
      selector: ({ name }) => name,
    })
    const spoiled = fc.option(fc.record({ name: frameNames, value: some }))
    fc.assert(
      fc.property(
        fc.constantFrom(...messageTypes),
        leaves,
        spoiled,
        fc.boolean(),
        (type: MessageType, said, spoil, officer) => {
          const { poc } = singapore.home.identity
          const frame = [
            { name: "type", value: utf8(type) },
            { name: "case", value: utf8("00".repeat(16)) },
            { name: "to", value: utf8(JSON.stringify([poc])) },
            { name: "involved", value: utf8(JSON.stringify([kenya.home.identity.poc, poc])) },
          ]
          const allLeaves = [...frame.filter(({ name }) => name !== spoil?.name), ...(spoil ? [spoil] : []), ...said]
          const bytes = kenya.forge(type, singapore, post.rotatingFor(singapore), { allLeaves, officer })
          expect(singapore.receive(bytes)).toBe("collected")
        },
      ),
      { numRuns: 250 },
    )
    expect(viewsOf(singapore).length).toBeGreaterThan(0)
    for (const record of singapore.received()) expect(messageTypes).toContain(record.type)
  })

  test("a paper that cannot be read does not keep the next one from being read", () => {
    const { post } = desks
    const { kenya, singapore, brazil } = desks.at
    const garbage = (type: MessageType) =>
      kenya.forge(type, singapore, post.prekeyFor(singapore), {
        leaves: [{ name: "statement", value: nodeRandom.bytes(40) }],
      })
    for (const type of ["consent-withdrawal", "forward", "consent", "attestation"] as const)
      singapore.receive(garbage(type))
    expect(singapore.received()).toEqual([])
    const statement = encodeConsentWithdrawal({ v: 1, requestId: nodeRandom.bytes(16) as RequestId })
    singapore.receive(
      brazil.forge("consent-withdrawal", singapore, post.prekeyFor(singapore), {
        leaves: [{ name: "statement", value: statement }],
      }),
    )
    expect(singapore.received().map(({ type }) => type)).toEqual(["consent-withdrawal"])
    expect(viewsOf(singapore)).toEqual([])
  })

  test("it can cause so many notices and no more, and pushes none of another kind out of sight", () => {
    const { singapore } = desks.at
    const { home } = singapore
    home.commit((tx, notices) => home.notice(tx, notices, "split-view", "the one that matters"))
    let told = 0
    const off = home.on(() => void told++)
    for (let i = 0; i < noticesPerKindMax + 30; i++)
      home.commit((tx, notices) => {
        home.notice(tx, notices, "sequence-gap", `gap ${i}`)
        home.notice(tx, notices, "sequence-gap", `gap ${i}`)
      })
    off()
    const kept = singapore.notices()
    expect(kept.filter((text) => text.startsWith("sequence-gap"))).toHaveLength(noticesPerKindMax)
    expect(kept).toContain("split-view: the one that matters")
    expect(told).toBe(noticesPerKindMax + 30)
  })

  test("a program whose listener throws is told so, and everybody else still hears of the event", () => {
    const { kenya, singapore } = desks.at
    const thrown: unknown[] = []
    const later = vi.spyOn(globalThis, "queueMicrotask").mockImplementation((call) => {
      try {
        call()
      } catch (error) {
        thrown.push(error)
      }
    })
    const heard: string[] = []
    const offs = [
      singapore.home.on(() => {
        throw new Error("the listener's own")
      }),
      singapore.home.on((event) => heard.push(event.kind)),
    ]
    singapore.receive(kenya.forge("notification", singapore, desks.post.prekeyFor(singapore)))
    later.mockRestore()
    for (const off of offs) off()
    expect(heard).toEqual(["message"])
    expect(thrown).toEqual([new Error("the listener's own")])
  })
})

describe("over a relay", () => {
  let network: TestNetwork
  afterEach(() => network.close())
  const toSingapore = { ...notification, to: ["sg/technical"] }

  test("an envelope that can never be judged stays at the relay, and neither blocks nor busies anybody", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const relay = network.malicious!
    const singapore = await network.poc("singapore")
    const key = await readLogKey(durableFiles(join(network.folder, "directory")))
    const peer = await Inside.open(network, "kenya")
    const { origin, size } = readCheckpoint(peer.home.mirror.freshCheckpoint())!
    const checkpoint = signCheckpoint(key, { origin, size: size + 1, root: new Uint8Array(32) }, network.clock.seconds)
    const { device, mailbox } = network.directory.state.usableDevices(
      network.address("singapore"),
      network.clock.seconds,
    )[0]!
    const there = {
      home: { identity: { device, mailbox, poc: network.address("singapore") }, mirror: peer.home.mirror },
    } as Inside
    relay.put(mailbox, peer.forge("notification", there, relay.take(device)!, { checkpoint }))
    await peer.close()
    await eventually(() => relay.askedFor("sync-log") >= 2)
    const kenya = await network.poc("kenya")
    const [asked, at] = [relay.askedFor("sync-log"), performance.now()]
    const sent = kenya.send(toSingapore)
    await sent.delivered("sg/technical", soon())
    await new Promise((resolve) => setTimeout(resolve, 3000))
    expect(relay.askedFor("sync-log") - asked).toBeLessThanOrEqual(1 + (performance.now() - at) / 1000)
    expect(singapore.received().map(({ id }) => id)).toEqual([sent.id])
    expect(relay.waitingFor(mailbox)).toBe(1)
    expect(singapore.notices()).toEqual([])
  })

  test("a sender that is ahead of the reader's log is judged after a sync, at once", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    await network.changeManifest("kenya", () => ({}))
    await kenya.syncLog(network.directory.logSource())
    const before = singapore.whoami().log.size
    const sent = kenya.send(toSingapore)
    await arrived(singapore, sent.id)
    expect(singapore.whoami().log.size).toBe(before + 1)
  })

  test("when nothing happens, nothing is done: no frames, no writing", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    const sent = kenya.send(toSingapore)
    await sent.delivered("sg/technical", soon())
    await Promise.all([settled(kenya), settled(singapore)])
    await new Promise((resolve) => setTimeout(resolve, 500))
    const asked = [...network.malicious!.asked.values()]
    let changes = 0
    const watch = await Inside.open(network, "kenya")
    const off = watch.home.vault.onChange(() => changes++)
    await new Promise((resolve) => setTimeout(resolve, 2000))
    off()
    await watch.close()
    expect([changes, [...network.malicious!.asked.values()]]).toEqual([0, asked])
  })

  test.each([
    ["drops", (relay: NonNullable<TestNetwork["malicious"]>) => relay.drop(1), "sequence-gap"],
    ["alters", (relay: NonNullable<TestNetwork["malicious"]>) => relay.alter(2000), "sequence-gap"],
  ] as const)(
    "a relay that %s one in the middle is shown as a gap, and its signature is no delivery",
    async (_, vice, kind) => {
      network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
      const [kenya, singapore] = (await network.all()) as [Poc, Poc]
      const first = kenya.send(toSingapore)
      await first.delivered("sg/technical", soon())
      await settled(singapore)
      vice(network.malicious!)
      const lost = kenya.send(toSingapore)
      await lost.accepted(soon())
      await settled(kenya)
      network.malicious!.behave()
      const last = kenya.send(toSingapore)
      await last.delivered("sg/technical", soon())
      expect(singapore.received().map(({ id }) => id)).toEqual([first.id, last.id])
      expect(singapore.notices().map((notice) => notice.kind)).toEqual([kind])
      expect(lost.status()[0]!.state).toBe("accepted")
      network.clock.aheadSeconds += 15 * 86_400
      expect(lost.status()[0]!.state).toBe("undelivered")
    },
  )

  test("a relay that reorders is only late", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    network.malicious!.reorder(3)
    const sent = [1, 2, 3].map((n) => kenya.send({ ...toSingapore, subject: `number ${n}` }))
    for (const { id } of sent) await arrived(singapore, id)
    expect(singapore.received().map(({ subject }) => subject)).toEqual(["number 3", "number 2", "number 1"])
    expect(singapore.notices().map(({ kind }) => kind)).toEqual(["sequence-gap"])
    network.malicious!.behave()
  })

  test("an envelope delivered to another mailbox opens for nobody", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore", "brazil"], relay: "malicious" })
    const [kenya, singapore, brazil] = (await network.all()) as [Poc, Poc, Poc]
    const { mailbox } = network.directory.state.usableDevices(network.address("brazil"), network.clock.seconds)[0]!
    network.malicious!.readdress(mailbox)
    const sent = kenya.send(toSingapore)
    await sent.accepted(soon())
    await eventually(() => network.malicious!.submissions.length > 0 && network.malicious!.waitingFor(mailbox) === 0)
    await settled(brazil)
    expect([singapore.received(), brazil.received()]).toEqual([[], []])
  })

  test("a relay that signs for something else is not believed", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    const kenya = await network.poc("kenya")
    await network.shut(await network.poc("singapore"))
    network.malicious!.signForNothing()
    const sent = kenya.send(toSingapore)
    await kenya.until(() => kenya.notices().find(({ kind }) => kind === "unauthorised"), soon())
    expect(sent.status()[0]!.state).toBe("waiting")
  })

  test("a disk that is full loses nothing: what could not be archived stays at the relay and comes again", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
    await network.shut(await network.poc("singapore"))
    const kenya = await network.poc("kenya")
    const storage = new MemoryVaultStorage(snapshot(network.vaultPath("singapore"))())
    const vault = await Vault.open(
      storage,
      readKeyFile(network.keyPath("singapore", "device-1")),
      network.machine,
      homeSchema,
    )
    const acquireLine = () => ({ release: () => undefined })
    const singapore = new PocObject({
      home: new Home(vault, network.machine),
      transport: wsTransport,
      url: network.url,
      acquireLine,
    })
    singapore.connect()
    await singapore.until(() => (singapore.ready ? true : undefined), soon())
    const { mailbox } = network.directory.state.usableDevices(network.address("singapore"), network.clock.seconds)[0]!
    await settled(singapore)
    storage.failNextCommit("refuse")
    const first = kenya.send(toSingapore)
    await first.accepted(soon())
    await eventually(() => network.malicious!.waitingFor(mailbox) === 1)
    expect(singapore.received()).toEqual([])
    const second = kenya.send(toSingapore)
    await Promise.all([first, second].map((sent) => sent.delivered("sg/technical", soon())))
    expect(singapore.received().map(({ id }) => id)).toEqual([first.id, second.id])
    await singapore.close()
  })
})

describe("a program", () => {
  let network: TestNetwork
  afterEach(() => network.close())

  test("is given every message once, also those that come while it deals with one", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const [kenya, singapore] = (await network.all()) as [Poc, Poc]
    const subjects = ["one", "two", "three"]
    kenya.send({ ...notification, subject: subjects[0]!, to: ["sg/technical"], indicators })
    const given: string[] = []
    for await (const message of singapore.inbox(soon())) {
      given.push(message.view.subject!)
      if (given.length === 1) {
        for (const subject of subjects.slice(1)) kenya.send({ ...notification, subject, to: ["sg/technical"] })
        await singapore.until(() => (singapore.received().length === 3 ? true : undefined), soon())
        await Promise.all([settled(kenya), settled(singapore)])
        await new Promise((resolve) => setTimeout(resolve, 600))
      }
      if (given.length === 3) break
    }
    expect(given).toEqual(subjects)
  })

  test("has its waits ended when it closes", async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    const kenya = await network.poc("kenya", { connect: false })
    const sent = kenya.send({ ...notification, to: ["sg/technical"] })
    const waits = [sent.accepted(), sent.delivered("sg/technical"), kenya.drain(), kenya.until(() => undefined)]
    const listened = (async () => {
      const given: unknown[] = []
      for await (const message of kenya.inbox()) given.push(message)
      return given
    })()
    const ended = Promise.allSettled(waits)
    await network.shut(kenya)
    for (const outcome of await ended)
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ERR_ABORTED" } })
    expect(await listened).toEqual([])
    await kenya.close()
  })
})
