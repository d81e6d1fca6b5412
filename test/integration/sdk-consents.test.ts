/** Consent-gated forwarding between SDKs: the whole flow over a relay, and the third party's papers in every order. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { ConsentRecord } from "../../client-sdk/collections.ts"
import { ConsentHandle, type Message, type Poc } from "../../client-sdk/index.ts"
import { notificationLeaves } from "../../client-sdk/content.ts"
import { judgementOf } from "../../client-sdk/consent-records.ts"
import { MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { messageView } from "../../client-sdk/view.ts"
import { hex } from "../../protocol/bytes.ts"
import { Inside, Post, rewinder, snapshot, type Posted } from "../support/inside.ts"
import { arrived, indicators, notification, settled, soon, TestNetwork } from "../support/network.ts"

let network: TestNetwork
afterEach(() => network.close())

const asked = { with: "fr/technical", leaves: ["indicators"], purpose: "The same host beacons there." } as const
const everybody = ["kenya", "singapore", "brazil", "france"] as const

describe("over a relay", () => {
  let [kenya, singapore, brazil, france] = [] as unknown as [Poc, Poc, Poc, Poc]
  let message: Message
  beforeEach(async () => {
    network = await TestNetwork.open({ members: everybody })
    ;[kenya, singapore, brazil, france] = (await network.all()) as [Poc, Poc, Poc, Poc]
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"], indicators })
    message = await arrived(singapore, sent.id)
    await arrived(brazil, sent.id)
  })

  const requested = (poc: Poc, request: ConsentHandle): Promise<unknown> =>
    poc.until(() => poc.consents().find(({ requestId }) => requestId === request.requestId), soon())
  const granted = async (request: ConsentHandle, ...pocs: Poc[]): Promise<void> => {
    for (const poc of pocs) {
      await requested(poc, request)
      poc.grant(request.requestId)
    }
  }
  const codeOf = (act: () => unknown): unknown => {
    try {
      act()
      return "none"
    } catch (error) {
      return (error as { code?: string }).code
    }
  }

  test("with every consent and the attestation, the third party sees the leaves as verified from the sender", async () => {
    expect(codeOf(() => message.forward({ to: "fr/technical", leaves: ["indicators"] }))).toBe("ERR_NO_CONSENT")
    const request = message.requestConsent(asked)
    expect(codeOf(() => message.forward(request.view))).toBe("ERR_NO_CONSENT")
    await granted(request, kenya, brazil)
    const forward = message.forward(await request.granted(soon()))
    const there = await arrived(france, forward.id)
    await france.until(() => there.view.forward?.verifiedFrom, soon())
    expect(there.view.forward).toMatchObject({
      forwarder: network.address("singapore"),
      verifiedFrom: network.address("kenya"),
    })
    expect(there.view.forward!.parts.map(({ name }) => name).toSorted()).toEqual(["indicators", "involved"])
    expect(there.part("indicators")).toEqual(indicators)
    await singapore.until(() => request.view.used, soon())
    for (const poc of [kenya, brazil]) await poc.until(() => poc.consents()[0]!.used, soon())
    for (const poc of [kenya, singapore, brazil, france]) expect(poc.notices()).toEqual([])
  })

  test("a sender that named nobody else involved gives the only word that is needed", async () => {
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"], indicators, involved: [] })
    const own = await arrived(singapore, sent.id)
    const request = own.requestConsent(asked)
    await granted(request, kenya)
    const there = await arrived(france, own.forward(await request.granted(soon())).id)
    await france.until(() => there.view.forward?.verifiedFrom, soon())
    for (const poc of [kenya, singapore, brazil, france]) {
      await settled(poc)
      expect(poc.notices()).toEqual([])
    }
  })

  test("a refusal is told, and can be changed into a consent later", async () => {
    const request = message.requestConsent(asked)
    await requested(brazil, request)
    brazil.refuse(request.requestId, "Not before Friday.")
    await expect(request.granted(soon())).rejects.toMatchObject({ code: "ERR_NO_CONSENT" })
    expect(request.view).toMatchObject({ state: "refused", refused: [network.address("brazil")] })
    expect(codeOf(() => brazil.refuse(request.requestId))).toBe("ERR_USAGE")
    await granted(request, kenya, brazil)
    await singapore.until(() => (request.view.state === "granted" ? true : undefined), soon())
    message.forward(request.view)
  })

  test("a withdrawal before the forward refuses it here; one after it reaches the third party too", async () => {
    const request = message.requestConsent(asked)
    await granted(request, kenya, brazil)
    const forward = message.forward(await request.granted(soon()))
    const there = await arrived(france, forward.id)
    await france.until(() => there.view.forward?.verifiedFrom, soon())
    brazil.withdraw(request.requestId)
    await france.until(() => (there.view.forward?.unverified === "withdrawn" ? true : undefined), soon())
    expect(codeOf(() => brazil.grant(request.requestId))).toBe("ERR_NO_CONSENT")

    const second = message.requestConsent(asked)
    await granted(second, brazil, kenya)
    await second.granted(soon())
    kenya.withdraw(second.requestId)
    await singapore.until(() => (second.view.state === "withdrawn" ? true : undefined), soon())
    expect(codeOf(() => message.forward(second.view))).toBe("ERR_NO_CONSENT")
    expect(codeOf(() => message.forward(request.view))).toBe("ERR_NO_CONSENT")
  })

  test("the sender agrees before the others, without its officer at hand when the last consent comes: it attests when one is there", async () => {
    const request = message.requestConsent(asked)
    await granted(request, kenya)
    await settled(kenya)
    await network.shut(kenya)
    const keeper = await network.poc("kenya", { officer: false })
    await granted(request, brazil)
    await keeper.until(() => (keeper.consents()[0]!.consented.length === 2 ? true : undefined), soon())
    expect(keeper.consents()[0]!.attested).toBe(false)
    await network.shut(keeper)
    await network.poc("kenya")
    await request.granted(soon())
  })

  test("an attestation runs out: what was verified is not so any more when it is shown", async () => {
    const request = message.requestConsent(asked)
    await granted(request, kenya, brazil)
    const there = await arrived(france, message.forward(await request.granted(soon())).id)
    await france.until(() => there.view.forward?.verifiedFrom, soon())
    network.clock.aheadSeconds += 367 * 86_400
    expect(there.view.forward).toMatchObject({ unverified: "attestation-expired" })
    expect(there.view.forward!.verifiedFrom).toBeUndefined()
  })
})

describe("without a relay", () => {
  /** Everything that France is sent about one request, in the order in which it was written. */
  async function papersForFrance(): Promise<{ france: Inside; papers: Posted[]; withdrawal: Posted }> {
    network = await TestNetwork.open({ members: everybody, relay: "none" })
    const [kenya, singapore, brazil, france] = await Promise.all(everybody.map((name) => Inside.open(network, name)))
    const post = new Post().add(kenya!, singapore!, brazil!, france!)
    const to = [network.address("singapore"), network.address("brazil")]
    const frame = {
      type: "notification",
      case: new Uint8Array(16),
      to,
      involved: [network.address("kenya"), ...to],
    } as const
    const { subject, tlp, content: body } = notification
    const said = { tlp, language: "en", template: "incident-notification", subject, body, indicators }
    const id = kenya!.home.vault.transaction((tx) =>
      kenya!.outbox.compose(tx, { ...frame, leaves: notificationLeaves(frame, said), copyToOwnDevices: false }),
    )
    const isFrances = ({ to }: Posted): boolean => to === france
    const caught = await post.carry(isFrances)
    const request = singapore!.home.vault.transaction((tx) =>
      singapore!.consents.request(tx, tx.get("messages", hex(id))!, { ...asked, with: network.address("france") }),
    )
    caught.push(...(await post.carry(isFrances)))
    for (const desk of [kenya!, brazil!]) {
      desk.home.vault.transaction((tx) => desk.consents.grant(tx, tx.get("consents", request)!))
      caught.push(...(await post.carry(isFrances)))
    }
    singapore!.home.vault.transaction((tx) => singapore!.consents.forward(tx, tx.get("consents", request)!))
    caught.push(...(await post.carry(isFrances)))
    brazil!.home.vault.transaction((tx) => brazil!.consents.withdraw(tx, tx.get("consents", request)!))
    const [withdrawal] = await post.carry(isFrances)
    for (const desk of [kenya!, singapore!, brazil!, france!]) await desk.close()
    return { france: france!, papers: caught, withdrawal: withdrawal! }
  }

  const ordersOf = <T>(items: readonly T[]): T[][] =>
    items.length === 0
      ? [[]]
      : items.flatMap((item) => ordersOf(items.filter((other) => other !== item)).map((rest) => [item, ...rest]))

  test("the third party comes to the same verdict whatever the order in which its papers arrive", async () => {
    const { papers, withdrawal } = await papersForFrance()
    expect(papers.map(({ type }) => type).toSorted()).toEqual(["attestation", "consent", "consent", "forward"])
    expect(withdrawal.type).toBe("consent-withdrawal")
    const france = await Inside.open(network, "france", {
      storage: new MemoryVaultStorage(snapshot(network.vaultPath("france"))()),
    })
    const rewind = rewinder(france)
    const orders = [
      ...ordersOf(papers).map((order) => ({ order, expected: "verified" })),
      ...ordersOf([...papers, withdrawal])
        .filter((_, i) => i % 5 === 0)
        .map((order) => ({ order, expected: "withdrawn" })),
      ...papers.flatMap((missing) =>
        ordersOf(papers.filter((paper) => paper !== missing)).map((order) => ({ order, expected: "not verified" })),
      ),
    ]
    for (const { order, expected } of orders) {
      rewind()
      for (const paper of order) expect(france.receive(paper.bytes)).toBe("collected")
      const verdict = france.home.vault.read((tx) => {
        const [key, record] = [...tx.list("messages")].find(([, { type }]) => type === "forward") ?? []
        if (!record || !key) return "not verified"
        const [row] = [...tx.list("consents")].map(([, value]: readonly [string, ConsentRecord]) => value)
        const view = messageView(tx, france.home, key, record).forward!
        const stored = record.forward!
        const judged = judgementOf(france.home, record, row)
        // What is stored, what is shown and the rule itself, applied to the papers that are here, agree.
        expect([stored.verifiedFrom, stored.unverified]).toEqual([view.verifiedFrom, view.unverified])
        expect(view.verifiedFrom !== undefined).toBe(judged.verified)
        if (judged.verified) return "verified"
        return judged.reason === "withdrawn" ? "withdrawn" : "not verified"
      })
      expect([order.map(({ type }) => type), verdict]).toEqual([order.map(({ type }) => type), expected])
    }
    expect(orders).toHaveLength(24 + 24 + 24)
    await france.close()
  })

  test("the sender takes up every paper, too, whatever the order: nothing is attested after a withdrawal", async () => {
    network = await TestNetwork.open({ members: everybody, relay: "none" })
    const desks = await Promise.all(everybody.map((name) => Inside.open(network, name)))
    const [kenya, singapore, brazil, france] = desks as [Inside, Inside, Inside, Inside]
    const post = new Post().add(...desks)
    const to = [network.address("singapore"), network.address("brazil")]
    const leaves = [
      { name: "tlp", value: new TextEncoder().encode("AMBER") },
      { name: "subject", value: new TextEncoder().encode("Beacons") },
    ]
    const id = kenya.write("notification", to, leaves, { involved: [network.address("kenya"), ...to] })
    await post.carry()
    const request = singapore.home.vault.transaction((tx) =>
      singapore.consents.request(tx, tx.get("messages", id)!, {
        with: network.address("france"),
        leaves: ["subject"],
        purpose: "The same host.",
      }),
    )
    const isKenyas = ({ to: reader }: Posted): boolean => reader === kenya
    const papers = await post.carry(isKenyas)
    brazil.home.vault.transaction((tx) => brazil.consents.grant(tx, tx.get("consents", request)!))
    papers.push(...(await post.carry(isKenyas)).filter(({ type }) => type === "consent"))
    brazil.home.vault.transaction((tx) => brazil.consents.withdraw(tx, tx.get("consents", request)!))
    const withdrawal = (await post.carry(isKenyas)).find(({ type }) => type === "consent-withdrawal")!
    expect(papers.map(({ type }) => type)).toEqual(["consent-request", "consent", "consent"])
    const rewind = rewinder(kenya)
    for (const withdrawn of [false, true])
      for (const order of ordersOf(withdrawn ? [...papers, withdrawal] : papers)) {
        rewind()
        for (const paper of order) kenya.receive(paper.bytes)
        const row = kenya.home.vault.read((tx) => tx.get("consents", request))!
        expect(row.consents.map(({ from }) => from).toSorted()).toEqual(to.toSorted())
        kenya.home.vault.transaction((tx) => kenya.consents.grant(tx, row))
        const attested = kenya.home.vault.read((tx) => tx.get("consents", request))!.attested
        expect([order.map(({ type }) => type), attested]).toEqual([order.map(({ type }) => type), !withdrawn])
        // Out of order a gap shows for a moment, truthfully; nothing else may be complained of.
        expect(kenya.notices().filter((notice) => !notice.startsWith("sequence-gap"))).toEqual([])
      }
    for (const desk of [kenya, singapore, brazil, france]) await desk.close()
  })

  test("a withdrawal that overtakes every other paper is not forgotten", async () => {
    const { papers, withdrawal } = await papersForFrance()
    const france = await Inside.open(network, "france")
    for (const paper of [withdrawal, ...papers]) france.receive(paper.bytes)
    const shown = france.home.vault.read((tx) => {
      const [key, record] = [...tx.list("messages")].find(([, { type }]) => type === "forward")!
      return messageView(tx, france.home, key, record).forward
    })
    expect(shown).toMatchObject({ unverified: "withdrawn" })
    await france.close()
  })
})
