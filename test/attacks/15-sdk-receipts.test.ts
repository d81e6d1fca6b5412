/** Receipts as they reach the sender's SDK: what is not by the right signer, about the right message, counts for nothing. */
import { afterEach, describe, expect, test } from "vitest"
import { hex } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import {
  clause,
  signDeviceReceipt,
  signOfficerReceipt,
  type DeviceReceipt,
  type OfficerReceipt,
} from "../../protocol/receipts.ts"
import { envelopeDigest } from "../../protocol/envelope.ts"
import { signBatch, type RelayReceipt } from "../../protocol/relay-receipt.ts"
import type { SigningKey } from "../../protocol/primitives.ts"
import type { Signed } from "../../protocol/statement.ts"
import { nodeRandom } from "../../system/node.ts"
import { signRevocation } from "../../pki/entries.ts"
import { Outbox } from "../../client-sdk/outbox.ts"
import { Inside, Post, useDesks } from "../support/inside.ts"
import { relayHost, TestNetwork } from "../support/network.ts"

const desks = useDesks("kenya", "singapore", "brazil", "france")

/** A message of Kenya's to Singapore and Brazil, which have not answered yet. */
async function sent(): Promise<{ id: string; device: DeviceReceipt; officer: OfficerReceipt; digest: Uint8Array }> {
  const { kenya, singapore, brazil } = desks.at
  const id = kenya.write(
    "notification",
    [singapore, brazil].map((desk) => desk.home.identity.poc),
  )
  const { identity, now, officer } = singapore.home
  const [own] = (await kenya.flush((device) => desks.post.prekeyOf(device))).filter(
    ({ mailbox }) => mailbox === hex(singapore.mailbox),
  )
  const record = kenya.record(id)!
  const about = {
    v: 1,
    poc: identity.poc,
    messageId: record.id,
    header: record.sealed!.headerHash,
    content: record.sealed!.contentHash,
    time: now,
  } as const
  const digest = envelopeDigest(own!.bytes)
  return {
    id,
    digest,
    device: { ...about, device: identity.device, digest, kind: "one-time" },
    officer: { ...about, officer: officer!.id, clause },
  }
}

/** Hands Kenya this receipt in a message of `from`. */
function hand(from: Inside, type: "device-receipt" | "officer-receipt", signed: Signed): void {
  const { kenya } = desks.at
  const bytes = from.forge(type, kenya, desks.post.prekeyFor(kenya), {
    officer: false,
    leaves: [{ name: "receipt", value: encodeCbor(signed) }],
  })
  expect(kenya.receive(bytes)).toBe("collected")
}

const receiptsHeld = (): string[] =>
  desks.at.kenya.home.vault.read((tx) => [...tx.list("receipts")].map(([, row]) => `${row.kind} ${row.poc}`))
const refused = ["not-opened: sg/technical/merlion sent a receipt that does not verify; it counts for nothing"]

test("15 released: a message that no officer released is refused", () => {
  const { kenya, singapore } = desks.at
  for (const type of ["notification", "response", "reply"] as const) {
    const bytes = kenya.forge(type, singapore, desks.post.prekeyFor(singapore), { officer: false })
    expect(singapore.receive(bytes)).toBe("collected")
  }
  expect(singapore.received()).toEqual([])
  expect(singapore.outbox.pending()).toEqual([])
  expect(singapore.journal("not-opened")).toEqual([{ reason: "release" }])
})

describe("15 delivered", () => {
  const signed = (receipt: DeviceReceipt, key: SigningKey = desks.at.singapore.home.deviceKey): Signed =>
    signDeviceReceipt(key, desks.at.singapore.home.realm, receipt)

  test("15 delivered: the honest receipt counts, once, and the first one stands", async () => {
    const { device } = await sent()
    const { singapore } = desks.at
    hand(singapore, "device-receipt", signed(device))
    hand(singapore, "device-receipt", signed({ ...device, time: device.time + 60 }))
    expect(receiptsHeld()).toEqual(["device-receipt sg/technical/merlion"])
    const [row] = desks.at.kenya.home.vault.read((tx) => [...tx.list("receipts")])
    expect(row![1].at).toBe(device.time)
    expect(desks.at.kenya.notices()).toEqual([])
  })

  test("15 delivered: for another envelope, content, header or message, it counts for nothing", async () => {
    const { device } = await sent()
    const other = await sent()
    const { singapore } = desks.at
    const false_: DeviceReceipt[] = [
      { ...device, digest: other.device.digest },
      { ...device, content: other.device.content },
      { ...device, header: other.device.header },
      { ...other.device, messageId: device.messageId },
    ]
    for (const receipt of false_) hand(singapore, "device-receipt", signed(receipt))
    expect(receiptsHeld()).toEqual([])
    expect(desks.at.kenya.notices()).toEqual(refused)
  })

  test("15 delivered: another PoC's receipt passed on, or signed in another's name, counts for nothing", async () => {
    const { device } = await sent()
    const { brazil, france, singapore } = desks.at
    hand(brazil, "device-receipt", signed(device))
    hand(singapore, "device-receipt", signed(device, brazil.home.deviceKey))
    hand(
      france,
      "device-receipt",
      signed({ ...device, poc: france.home.identity.poc, device: france.home.identity.device }, france.home.deviceKey),
    )
    hand(singapore, "device-receipt", { bytes: nodeRandom.bytes(80), signature: nodeRandom.bytes(64) })
    expect(receiptsHeld()).toEqual([])
  })

  test("15 delivered: what the reader did not send, or only received, has no receipts", async () => {
    const { kenya, singapore } = desks.at
    const { device } = await sent()
    singapore.write("notification", [kenya.home.identity.poc])
    await desks.post.carry()
    const { id, sealed } = kenya.received()[0]!
    hand(
      singapore,
      "device-receipt",
      signed({ ...device, messageId: id, header: sealed!.headerHash, content: sealed!.contentHash }),
    )
    expect(receiptsHeld()).toEqual([])
  })
})

const seen = (receipt: OfficerReceipt, from: Inside = desks.at.singapore): Signed =>
  signOfficerReceipt(from.home.officer!.key, from.home.realm, receipt)

describe("15 acknowledged", () => {
  test("15 acknowledged: the honest receipt counts", async () => {
    const { officer } = await sent()
    hand(desks.at.singapore, "officer-receipt", seen(officer))
    expect(receiptsHeld()).toEqual(["officer-receipt sg/technical/merlion"])
  })

  test("15 acknowledged: for another message, header or content, it counts for nothing", async () => {
    const { officer } = await sent()
    const other = await sent()
    const { singapore } = desks.at
    hand(singapore, "officer-receipt", seen({ ...officer, content: other.officer.content }))
    hand(singapore, "officer-receipt", seen({ ...officer, header: other.officer.header }))
    hand(singapore, "officer-receipt", seen({ ...other.officer, messageId: officer.messageId }))
    expect(receiptsHeld()).toEqual([])
    expect(desks.at.kenya.notices()).toEqual(refused)
  })

  test("15 acknowledged: another PoC's officer is not one's own, whoever hands the receipt over", async () => {
    const { officer } = await sent()
    const { brazil, singapore } = desks.at
    const brazils = { ...officer, poc: brazil.home.identity.poc, officer: brazil.home.officer!.id }
    hand(singapore, "officer-receipt", seen(brazils, brazil))
    hand(brazil, "officer-receipt", seen(officer))
    hand(singapore, "officer-receipt", seen({ ...brazils, poc: singapore.home.identity.poc }, brazil))
    expect(receiptsHeld()).toEqual([])
  })

  test("15 acknowledged: a PoC that was not written to has nothing to acknowledge", async () => {
    const { officer } = await sent()
    const { france } = desks.at
    hand(
      france,
      "officer-receipt",
      seen({ ...officer, poc: france.home.identity.poc, officer: france.home.officer!.id }, france),
    )
    expect(receiptsHeld()).toEqual([])
  })
})

describe("15 accepted", () => {
  test("15 accepted: a relay's receipt for other bytes, another blind or mailbox, or by another key, counts for nothing", async () => {
    const { kenya, singapore } = desks.at
    const realm = kenya.home.realm
    kenya.write("notification", [singapore.home.identity.poc])
    const key = kenya.outbox.pending()[0]!
    const never = {
      fetchPrekey: async () => desks.post.prekeyFor(singapore),
      submit: () => Promise.reject(new Error("unused")),
    }
    await kenya.outbox.fetchPrekeys(key, never)
    kenya.outbox.sealIfReady(key)
    const minute = Math.floor(kenya.home.now / 60)
    const genuine = desks.network.relayKey
    const wrong: ((item: { blind: Uint8Array; bytes: Uint8Array }) => RelayReceipt)[] = [
      ({ blind }) =>
        signBatch(genuine, realm, relayHost, [
          { blind, digest: envelopeDigest(nodeRandom.bytes(5)), mailbox: singapore.mailbox, minute },
        ]).receipt(0),
      ({ bytes }) =>
        signBatch(genuine, realm, relayHost, [
          { blind: nodeRandom.bytes(32), digest: envelopeDigest(bytes), mailbox: singapore.mailbox, minute },
        ]).receipt(0),
      ({ blind, bytes }) =>
        signBatch(genuine, realm, relayHost, [
          { blind, digest: envelopeDigest(bytes), mailbox: kenya.mailbox, minute },
        ]).receipt(0),
      ({ blind, bytes }) =>
        signBatch(singapore.home.deviceKey, realm, relayHost, [
          { blind, digest: envelopeDigest(bytes), mailbox: singapore.mailbox, minute },
        ]).receipt(0),
    ]
    for (const lie of wrong) {
      const carrier = {
        ...never,
        submit: async (_mailbox: Uint8Array, blind: Uint8Array, bytes: Uint8Array) => lie({ blind, bytes }),
      }
      await expect(new Outbox(kenya.home).submit(key, carrier)).rejects.toMatchObject({ code: "ERR_UNTRUSTED" })
      expect(kenya.home.vault.read((tx) => tx.count("accepted"))).toBe(0)
    }
    expect(kenya.notices()).toEqual([
      expect.stringMatching(/^unauthorised: the relay's receipt for a message does not verify/),
    ])
    expect(kenya.outbox.pending()).toEqual([key])
  })
})

describe("15 acknowledged by whom the log no longer lets", () => {
  test("15 acknowledged: an officer without that right, or whose key was revoked, acknowledges nothing", async () => {
    const { officer } = await sent()
    const { network } = desks
    const { kenya, singapore } = desks.at
    const followed = async (): Promise<void> => void (await kenya.home.mirror.sync(network.directory.logSource()))
    const manifest = () => network.directory.state.poc(singapore.home.identity.poc)!.manifest!
    const rights = (list: readonly ("acknowledge" | "release" | "consent" | "attest")[]) =>
      network.changeManifest("singapore", ({ officers }) => ({
        officers: officers.map((row) => ({ ...row, rights: list })),
      }))
    await rights(["release"])
    await followed()
    hand(singapore, "officer-receipt", seen(officer))
    expect(receiptsHeld()).toEqual([])
    await rights(["acknowledge", "release"])
    await followed()
    const { id, key } = singapore.home.officer!
    await network.directory.revoke(
      signRevocation(key, singapore.home.realm, {
        v: 1,
        target: { kind: "officer", poc: singapore.home.identity.poc, officer: id },
        reason: "compromise",
        text: "The card was lost.",
        effective: network.clock.seconds,
        requester: key.publicKey,
      }),
    )
    await followed()
    expect(manifest().officers.some((row) => hex(row.officer) === hex(id))).toBe(true)
    hand(singapore, "officer-receipt", seen(officer))
    expect(receiptsHeld()).toEqual([])
  })

  test("15 acknowledged: an officer who was removed, by a receipt whose message cites a later log", async () => {
    const { officer } = await sent()
    const { network } = desks
    const { kenya, singapore } = desks.at
    await network.changeManifest("singapore", () => ({ officers: [] }))
    for (const { home } of [kenya, singapore]) await home.mirror.sync(network.directory.logSource())
    hand(singapore, "officer-receipt", seen({ ...officer, time: officer.time - 60 }))
    expect(receiptsHeld()).toEqual([])
  })
})

describe("15 acknowledged by one's own PoC", () => {
  let network: TestNetwork | undefined
  afterEach(() => network?.close())

  test("15 acknowledged: another device's word does not mark a message that the officer signed for otherwise", async () => {
    network = await TestNetwork.open({
      members: ["kenya", "singapore"],
      devices: { singapore: 2 },
      relay: "none",
    })
    const [kenya, singapore, other] = [
      await Inside.open(network, "kenya"),
      await Inside.open(network, "singapore"),
      await Inside.open(network, "singapore", { device: 2 }),
    ]
    const post = new Post().add(kenya, singapore, other)
    const id = kenya.write("notification", [singapore.home.identity.poc])
    await post.carry()
    const { sealed } = other.record(id)!
    const { identity, now, officer, realm } = singapore.home
    const receipt: OfficerReceipt = {
      v: 1,
      poc: identity.poc,
      officer: officer!.id,
      messageId: other.record(id)!.id,
      header: sealed!.headerHash,
      content: sealed!.contentHash,
      time: now,
      clause,
    }
    const handed = (said: OfficerReceipt): number | undefined => {
      const leaves = [{ name: "receipt", value: encodeCbor(signOfficerReceipt(officer!.key, realm, said)) }]
      other.receive(singapore.forge("officer-receipt", other, post.prekeyFor(other), { officer: false, leaves }))
      return other.record(id)!.acknowledgedAt
    }
    expect(handed({ ...receipt, content: nodeRandom.bytes(32) as OfficerReceipt["content"] })).toBeUndefined()
    expect(handed(receipt)).toBe(now)
    for (const desk of [kenya, singapore, other]) await desk.close()
  })
})
