/** Every public verb with bad input: the right stable code, a hint where one helps, and nothing written. */
import { join } from "node:path"
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest"
import {
  openPoc,
  ValiseError,
  type Disposition,
  type Message,
  type Poc,
  type SendInput,
} from "../../client-sdk/index.ts"
import { createDevice } from "../../client-sdk/enrol.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { createKeyFile, readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { fixed } from "../../protocol/limits.ts"
import { nodeRandom } from "../../system/node.ts"
import { Inside } from "../support/inside.ts"
import { arrived, indicators, notification, realm, relayHost, soon, TestNetwork } from "../support/network.ts"

let network: TestNetwork
let kenya: Poc
let singapore: Poc
let message: Message
let journal: number

const journalOf = async (): Promise<number> => {
  const inside = await Inside.open(network, "singapore")
  const count = inside.home.vault.read((tx) => [...tx.journal()].length)
  await inside.close()
  return count
}

beforeAll(async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore", "brazil", "france"] })
  ;[kenya, singapore] = (await network.all()) as [Poc, Poc]
  const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"], indicators })
  message = await arrived(singapore, sent.id)
  await sent.delivered("br/technical", soon())
  await singapore.drain(soon())
})
beforeEach(async () => {
  journal = await journalOf()
})
afterAll(() => network.close())

/** The code, and that a person is told what to do. */
function refusal(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (error instanceof ValiseError) return error.code
    throw error
  }
  return "none"
}

const send = (change: Partial<Record<keyof SendInput, unknown>>) => () =>
  singapore.send({ ...notification, to: ["ke/technical"], ...change } as SendInput)
const random = (length: number): Uint8Array => nodeRandom.bytes(length)

describe("send", () => {
  const cases: readonly [string, () => unknown, string][] = [
    ["nobody to send to", send({ to: [] }), "ERR_USAGE"],
    ["no list of recipients", send({ to: "ke/technical" }), "ERR_USAGE"],
    ["itself", send({ to: ["sg/technical"] }), "ERR_USAGE"],
    ["no address", send({ to: ["kenya"] }), "ERR_UNKNOWN_ADDRESS"],
    ["a State that does not exist", send({ to: ["zz/technical"] }), "ERR_UNKNOWN_ADDRESS"],
    ["a PoC that is not in the directory", send({ to: ["nz/technical/kauri"] }), "ERR_UNKNOWN_ADDRESS"],
    ["a PoC without a device", send({ to: ["un/secretariat/valise"] }), "ERR_UNKNOWN_ADDRESS"],
    [
      "one PoC without a device among others",
      send({ to: ["ke/technical", "un/secretariat/valise"] }),
      "ERR_UNKNOWN_ADDRESS",
    ],
    ["another label", send({ tlp: "WHITE" }), "ERR_USAGE"],
    ["no label", send({ tlp: undefined }), "ERR_USAGE"],
    ["no template of this name", send({ template: "verdict" }), "ERR_CONTENT"],
    ["content that does not fit", send({ content: { summary: "x" } }), "ERR_CONTENT"],
    [
      "content with a field too many",
      send({ content: { ...notification.content, guilty: "somebody" } }),
      "ERR_CONTENT",
    ],
    ["no content", send({ content: undefined }), "ERR_CONTENT"],
    ["no subject", send({ subject: " " }), "ERR_CONTENT"],
    ["a subject that is too long", send({ subject: "x".repeat(301) }), "ERR_CONTENT"],
    ["a subject that is no text", send({ subject: "\ud800" }), "ERR_CONTENT"],
    ["no language", send({ language: "englisch, bitte" }), "ERR_USAGE"],
    ["a lifetime of nothing", send({ lifetimeSeconds: 0 }), "ERR_USAGE"],
    ["a lifetime that is no number", send({ lifetimeSeconds: Number.NaN }), "ERR_USAGE"],
    ["a lifetime beyond the keeping time", send({ lifetimeSeconds: fixed.lifetimeSecondsMax + 1 }), "ERR_USAGE"],
    ["empty indicators", send({ indicators: new Uint8Array(0) }), "ERR_CONTENT"],
    ["truncated indicators", send({ indicators: indicators.subarray(0, -1) }), "ERR_CONTENT"],
    ["foreign indicators", send({ indicators: new TextEncoder().encode('{"a":1}') }), "ERR_CONTENT"],
    ["huge indicators", send({ indicators: new Uint8Array(fixed.contentBytesMax + 1) }), "ERR_TOO_LARGE"],
    ["a part with a name that is taken", send({ parts: { skipped: random(1) } }), "ERR_CONTENT"],
    ["a part with no name", send({ parts: { "": random(1) } }), "ERR_CONTENT"],
    ["a part that is no bytes", send({ parts: { log: "text" } }), "ERR_CONTENT"],
    [
      "too many parts",
      send({ parts: Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`part${i}`, random(1)])) }),
      "ERR_CONTENT",
    ],
    ["more than one envelope holds", send({ parts: { log: random(70_000) } }), "ERR_TOO_LARGE"],
    ["more than a message holds", send({ parts: { log: new Uint8Array(2_000_000) } }), "ERR_TOO_LARGE"],
    ["somebody involved who gets nothing", send({ involved: ["br/technical"] }), "ERR_USAGE"],
    ["somebody involved who does not exist", send({ involved: ["zz/technical"] }), "ERR_UNKNOWN_ADDRESS"],
  ]
  test.each(cases)("%s", async (_, act, code) => {
    expect(refusal(act)).toBe(code)
    expect([singapore.sent().length, await journalOf()]).toEqual([0, journal])
  })

  test("the largest message that is taken can also be sealed and sent", async () => {
    const sent = kenya.send({ ...notification, to: ["sg/technical", "br/technical"], parts: { log: random(58_000) } })
    await sent.delivered("sg/technical", soon())
  })
})

describe("messages", () => {
  const ask = (change: object) => () =>
    message.requestConsent({ with: "fr/technical", leaves: ["indicators"], purpose: "The same host.", ...change })
  const cases: readonly [string, () => unknown, string][] = [
    ["message: no id", () => singapore.message(""), "ERR_NOT_FOUND"],
    ["message: no such id", () => singapore.message("zz"), "ERR_NOT_FOUND"],
    ["part: no such part", () => message.part("nothing"), "ERR_NOT_FOUND"],
    ["respond: no such disposition", () => message.respond({ disposition: "guilty" as Disposition }), "ERR_CONTENT"],
    [
      "respond: a note that is too long",
      () => message.respond({ disposition: "acting", note: "x".repeat(8001) }),
      "ERR_CONTENT",
    ],
    [
      "respond: a field too many",
      () => message.respond({ disposition: "acting", verdict: "x" } as never),
      "ERR_CONTENT",
    ],
    ["reply: nothing", () => message.reply({ text: "" }), "ERR_CONTENT"],
    [
      "reply: truncated indicators",
      () => message.reply({ text: "see", indicators: indicators.subarray(1) }),
      "ERR_CONTENT",
    ],
    ["requestConsent: nobody", ask({ with: "zz/technical" }), "ERR_UNKNOWN_ADDRESS"],
    ["requestConsent: itself", ask({ with: "sg/technical" }), "ERR_USAGE"],
    ["requestConsent: the sender", ask({ with: "ke/technical" }), "ERR_TLP"],
    ["requestConsent: no part", ask({ leaves: [] }), "ERR_USAGE"],
    ["requestConsent: only who is involved", ask({ leaves: ["involved"] }), "ERR_USAGE"],
    ["requestConsent: no such part", ask({ leaves: ["victim"] }), "ERR_NOT_FOUND"],
    ["requestConsent: no purpose", ask({ purpose: "" }), "ERR_USAGE"],
    ["requestConsent: a purpose that is too long", ask({ purpose: "x".repeat(1001) }), "ERR_USAGE"],
    ["requestConsent: a purpose that is no text", ask({ purpose: "\udfff" }), "ERR_USAGE"],
    [
      "forward: nobody was asked",
      () => message.forward({ to: "fr/technical", leaves: ["indicators"] }),
      "ERR_NO_CONSENT",
    ],
    ["forward: no such request", () => singapore.forward("00"), "ERR_NOT_FOUND"],
    ["consent: no such request", () => singapore.consent("00"), "ERR_NOT_FOUND"],
    ["grant: no such request", () => singapore.grant("00"), "ERR_NOT_FOUND"],
    ["refuse: no such request", () => singapore.refuse("00"), "ERR_NOT_FOUND"],
    ["withdraw: no such request", () => singapore.withdraw("00"), "ERR_NOT_FOUND"],
    ["exportEvidence: nothing of this name", () => singapore.exportEvidence("zz"), "ERR_NOT_FOUND"],
  ]
  test.each(cases)("%s", async (_, act, code) => {
    expect(refusal(act)).toBe(code)
    expect([singapore.sent().length, singapore.consents().length, await journalOf()]).toEqual([0, 0, journal])
  })

  test("consents: what is not this PoC's to say is refused", async () => {
    const atKenya = kenya.sent()[0]!.id
    expect(
      refusal(() =>
        kenya.message(atKenya).requestConsent({ with: "fr/technical", leaves: ["indicators"], purpose: "mine" }),
      ),
    ).toBe("ERR_USAGE")
    const request = message.requestConsent({ with: "fr/technical", leaves: ["indicators"], purpose: "The same host." })
    expect(refusal(() => singapore.grant(request.requestId))).toBe("ERR_USAGE")
    expect(refusal(() => singapore.refuse(request.requestId))).toBe("ERR_USAGE")
    await kenya.until(() => kenya.consents().find(({ requestId }) => requestId === request.requestId), soon())
    expect(refusal(() => kenya.withdraw(request.requestId))).toBe("ERR_USAGE")
    expect(refusal(() => kenya.refuse(request.requestId, "x".repeat(1001)))).toBe("ERR_USAGE")
    expect(refusal(() => kenya.forward(request.requestId))).toBe("ERR_NO_CONSENT")
    kenya.refuse(request.requestId)
    expect(refusal(() => kenya.refuse(request.requestId))).toBe("ERR_USAGE")
  })
})

describe("a vault without an officer", () => {
  test("nothing that an officer must release is written", async () => {
    const poc = await network.poc("brazil", { officer: false, ready: false })
    const [view] = await poc.until(() => (poc.received().length > 0 ? poc.received() : undefined), soon())
    const received = poc.message(view!.id)
    const acts: (() => unknown)[] = [
      () => poc.send({ ...notification, to: ["ke/technical"] }),
      () => received.acknowledge(),
      () => received.respond({ disposition: "acting" }),
      () => received.requestConsent({ with: "fr/technical", leaves: ["indicators"], purpose: "x" }),
    ]
    for (const act of acts) expect(refusal(act)).toBe("ERR_NO_RIGHT")
    expect(poc.sent()).toEqual([])
    await expect(poc.unlockOfficer(readKeyFile(network.keyPath("kenya", "officer")))).rejects.toMatchObject({
      code: "ERR_PASSPHRASE",
    })
    await expect(poc.unlockOfficer(readKeyFile(network.keyPath("brazil", "officer")), "nobody")).rejects.toMatchObject({
      code: "ERR_NOT_FOUND",
    })
  })
})

describe("openPoc", () => {
  const open = (change: object) =>
    openPoc({
      vault: network.vaultPath("kenya"),
      keyFile: network.keyPath("kenya", "device-1"),
      connect: false,
      ...change,
    })
  const cases: readonly [string, () => Promise<unknown>, string][] = [
    ["no vault there", () => open({ vault: join(network.folder, "nothing.vault") }), "ERR_VAULT"],
    ["another vault's key file", () => open({ keyFile: network.keyPath("singapore", "device-1") }), "ERR_PASSPHRASE"],
    ["no key file", () => open({ keyFile: join(network.folder, "nothing.key") }), "ERR_PASSPHRASE"],
    ["no secret", () => open({ keyFile: undefined }), "ERR_USAGE"],
    ["two secrets", () => open({ passphrase: "x" }), "ERR_USAGE"],
    ["another kind of secret", () => open({ keyFile: undefined, passphrase: "x" }), "ERR_PASSPHRASE"],
    [
      "another PoC's officer",
      () => open({ officer: { keyFile: network.keyPath("singapore", "officer") } }),
      "ERR_PASSPHRASE",
    ],
    [
      "no such officer",
      () => open({ officer: { keyFile: network.keyPath("kenya", "officer"), title: "nobody" } }),
      "ERR_NOT_FOUND",
    ],
  ]
  test.each(cases)("%s", async (_, act, code) => {
    await expect(act()).rejects.toMatchObject({ code })
  })

  test("a vault that trusts no directory yet", async () => {
    const path = join(network.folder, "new.vault")
    const secret = createKeyFile(join(network.folder, "new.key"), nodeRandom)
    const poc = network.address("kenya")
    const vault = await createDevice(openVaultFile(path, "create"), secret, network.machine, {
      poc,
      relay: relayHost,
      realm,
    })
    await vault.close()
    await expect(open({ vault: path, keyFile: join(network.folder, "new.key") })).rejects.toMatchObject({
      code: "ERR_MALFORMED",
    })
  })

  test("after close, every verb is refused, and closing again is nothing", async () => {
    const poc = await network.poc("france", { connect: false })
    await network.shut(poc)
    expect(refusal(() => poc.send({ ...notification, to: ["ke/technical"] }))).toBe("ERR_USAGE")
    expect(refusal(() => poc.received())).toBe("ERR_USAGE")
    await poc.close()
  })
})
