/**
 * Somebody changes an evidence file and computes every hash of its own anew, so that only signatures, proofs and the log's
 * rules are left to find it.
 */
import { beforeAll, describe, expect, test } from "vitest"
import { deviceIdOf, mailboxOf } from "../../protocol/address.ts"
import { equal, utf8 } from "../../protocol/bytes.ts"
import { decodeHeader, encodeHeader, type Header } from "../../protocol/header.ts"
import { shake256 } from "../../protocol/primitives.ts"
import { signStatement } from "../../protocol/statement.ts"
import { encodeEntry } from "../../pki/entries.ts"
import {
  decodeBundle,
  type Bundle,
  type MessageSection,
  type RelayReceiptSection,
} from "../../client-sdk/evidence/bundle.ts"
import { verifyEvidence } from "../../client-sdk/evidence/verify.ts"
import {
  deviceEntry,
  deviceKeyOf,
  deviceOf,
  day,
  officerEntry,
  officerKeyOf,
  officerOf,
  start,
} from "../support/directory.ts"
import {
  accept,
  br,
  deviceReceipt,
  exported,
  homeOf,
  inRecord,
  ke,
  kenyasCase,
  network,
  officerReceipt,
  outRecord,
  replaced,
  rewritten,
  send,
  sg,
  verdictOf,
} from "../support/evidence.ts"
import { signingKeyOf } from "../support/papers.ts"

let world: Awaited<ReturnType<typeof kenyasCase>>
beforeAll(async () => {
  world = await kenyasCase()
})

const after = (change: (bundle: Bundle) => object): string => verdictOf(world.directory, rewritten(world.bytes, change))
const realm = () => world.directory.authorities.realm
const anything = (length = 32): Uint8Array => shake256(length, utf8("anything else"))

test("15 receipt forgery: an evidence file as exported, or with its hashes computed anew, holds", () => {
  expect(verdictOf(world.directory, world.bytes)).toBe("verified")
  expect(after(() => ({}))).toBe("verified")
})

describe("15 receipt forgery, the message in an evidence file", () => {
  /** Kenya's notification, without its receipts; and Singapore's answer. */
  const sent = (change: (part: MessageSection) => object): string =>
    after(({ messages }) => ({ messages: replaced(messages, 0, change), receipts: [], relayReceipts: [] }))
  const received = (change: (part: MessageSection) => object): string =>
    after(({ messages }) => ({ messages: replaced(messages, 1, change) }))
  const headerWith = (change: Partial<Header>): Uint8Array =>
    encodeHeader({ ...decodeHeader(world.notification.sealed.header.bytes), ...change })

  test("an altered leaf is no longer what the recipients signed for", () => {
    const body = { name: "body", value: utf8('{"text":"It was them."}') }
    const changes = [
      { leaves: world.notification.leaves.map((leaf) => (leaf.name === "body" ? body : leaf)) },
      { leaves: world.notification.leaves.slice(0, -1) },
      { leaves: world.notification.leaves.toReversed() },
      { contentKey: anything() },
    ]
    for (const change of changes)
      expect(after(({ messages }) => ({ messages: replaced(messages, 0, () => change) }))).toBe(
        "receipt-1: content-hash; receipt-2: content-hash; receipt-3: content-hash",
      )
  })

  test("a header that another key signed, or as another statement, or that was altered", () => {
    const { header } = world.notification.sealed
    for (const key of [deviceKeyOf(sg), officerKeyOf(ke), signingKeyOf("anybody")])
      expect(sent(() => ({ header: signStatement(key, realm(), "header", header.bytes) }))).toBe("message-1: signature")
    const asRelease = signStatement(deviceKeyOf(ke), realm(), "release", header.bytes)
    expect(sent(() => ({ header: asRelease }))).toBe("message-1: signature")
    const later = { ...header, bytes: headerWith({ created: start + 3700 }) }
    expect(sent(() => ({ header: later }))).toBe("message-1: signature")
  })

  test("a device that the log does not list", () => {
    const key = signingKeyOf("a device of nobody")
    const sender = { poc: ke, device: deviceIdOf(ke, key.publicKey), officer: officerOf(ke) }
    const header = signStatement(key, realm(), "header", headerWith({ sender }))
    expect(sent(() => ({ header }))).toBe("message-1: sender")
  })

  test("no release, another officer's, or a header that names no officer", () => {
    const { header } = world.notification.sealed
    const { signature } = signStatement(officerKeyOf(sg), realm(), "release", header.bytes)
    expect(sent(() => ({ release: undefined }))).toBe("message-1: release")
    expect(sent(() => ({ release: signature }))).toBe("message-1: release")
    const unnamed = headerWith({ sender: { poc: ke, device: deviceOf(ke) } })
    const unreleased = signStatement(deviceKeyOf(ke), realm(), "header", unnamed)
    expect(sent(() => ({ header: unreleased, release: undefined }))).toBe("message-1: release")
  })

  test("the recipient's entry at another place or by another path, or another recipient's entry", () => {
    const { entry, index, path } = inRecord(world.response, { poc: br }).sealed!
    expect(received(() => ({ index }))).toBe("message-2: own-entry")
    expect(received(() => ({ path }))).toBe("message-2: own-entry")
    expect(received(() => ({ entry, index, path }))).toBe("message-2: own-entry")
  })

  test("an entry for a device that the exporter's PoC has never listed", async () => {
    const { directory } = world
    const listed = inRecord(send(directory, ke, [{ poc: sg }], { created: start + 60 }), { poc: sg })
    const unlisted = inRecord(send(directory, ke, [{ poc: sg, name: "unlisted" }]), { poc: sg, name: "unlisted" })
    const bytes = exported(await homeOf(directory, sg, [listed, unlisted]))
    expect(decodeBundle(bytes).about.leftOut).toBe(1)
    const { header, release, checkpoint, entry, index, path } = unlisted.sealed!
    const { contentKey, leaves } = unlisted
    const put = {
      direction: "received",
      header,
      release,
      checkpoint,
      consistency: [],
      contentKey,
      leaves,
      entry,
      index,
      path,
    }
    const file = rewritten(bytes, ({ messages }) => ({ messages: [...messages, put] }))
    expect(verdictOf(directory, file)).toBe("message-2: own-entry")
  })

  test("a message of another case, or passed off as the exporter's own", () => {
    expect(after(({ about }) => ({ about: { ...about, case: anything(16) } }))).toContain("message-1: case")
    const { header, release, checkpoint, consistency, contentKey, leaves } = decodeBundle(world.bytes).messages[1]!
    const own = { direction: "sent", header, release, checkpoint, consistency, contentKey, leaves }
    const passedOff = after(({ messages }) => ({ messages: [messages[0], own] }))
    expect(passedOff).toBe("message-2: sender")
  })

  test("parts twice, in another order, or without the message that they are about", () => {
    expect(after(({ messages }) => ({ messages: messages.toReversed() }))).toBe("contents: order")
    expect(after(({ messages }) => ({ messages: [messages[0], ...messages] }))).toBe("contents: order")
    expect(after(({ receipts }) => ({ receipts: receipts.toReversed() }))).toBe("receipt-2: order")
    expect(after(({ receipts }) => ({ receipts: [receipts[0], ...receipts] }))).toBe("receipt-2: order")
    expect(after(({ relayReceipts }) => ({ relayReceipts: relayReceipts.toReversed() }))).toBe("relay-receipt-2: order")
    const orphans = after(({ messages }) => ({ messages: messages.slice(1) })).split("; ")
    expect(orphans).toHaveLength(6)
    expect(orphans.every((failure) => failure.endsWith(": unknown-message"))).toBe(true)
  })
})

describe("15 receipt forgery, a recipient's receipt in an evidence file", () => {
  const receipt = (change: object, key = deviceKeyOf(sg)): string => {
    const { kind, signed } = deviceReceipt(world.directory, world.notification, { poc: sg }, change, key)
    return after(() => ({ receipts: [{ kind, signed }], relayReceipts: [] }))
  }

  test("for another header, content or message", () => {
    expect(receipt({})).toBe("verified")
    expect(receipt({ header: anything() })).toBe("receipt-1: header")
    expect(receipt({ content: anything() })).toBe("receipt-1: content-hash")
    expect(receipt({ messageId: anything(16) })).toBe("receipt-1: unknown-message")
  })

  test("by a key that its PoC's manifest does not list", () => {
    const stranger = signingKeyOf("a device of nobody")
    expect(receipt({ device: deviceIdOf(sg, stranger.publicKey) }, stranger)).toBe("receipt-1: signer")
    expect(receipt({}, stranger)).toBe("receipt-1: signature")
    expect(receipt({ poc: br })).toBe("receipt-1: signer")
  })

  test("by another PoC's officer, or by one who may not acknowledge", async () => {
    const { kind, signed } = officerReceipt(world.directory, world.notification, br, {
      poc: sg,
      officer: officerOf(sg),
    })
    expect(after(() => ({ receipts: [{ kind, signed }], relayReceipts: [] }))).toBe("receipt-1: signature")

    const directory = await network()
    const officers = [officerEntry(realm(), sg), officerEntry(realm(), sg, "second", ["release"])]
    directory.must(directory.logManifest(sg, { officers }))
    const sent = send(directory, ke, [{ poc: sg }])
    const receipts = [officerReceipt(directory, sent, sg), officerReceipt(directory, sent, sg, {}, "second")]
    const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], receipts.slice(0, 1)))
    expect(verdictOf(directory, bytes)).toBe("verified")
    const byOther = rewritten(bytes, () => ({ receipts: [{ kind, signed: receipts[1]!.signed }] }))
    expect(verdictOf(directory, byOther)).toBe("receipt-1: signer")
  })

  test("dated before the device was listed, after it had left, or in the future", async () => {
    const directory = await network()
    const sent = send(directory, ke, [{ poc: sg }], { created: start + 2 * day })
    directory.time = start + 4 * day
    directory.must(directory.logManifest(sg, { devices: [deviceEntry(realm(), sg, "new")] }))
    const at = start + 5 * day
    const bytes = exported(
      await homeOf(directory, ke, [outRecord(sent)], [deviceReceipt(directory, sent, { poc: sg })], at),
    )
    const verdicts = [-1, 3, 4.5, 6].map((days) => {
      const { kind, signed } = deviceReceipt(directory, sent, { poc: sg }, { time: start + days * day })
      const file = rewritten(bytes, () => ({ receipts: [{ kind, signed }], relayReceipts: [] }))
      return verdictOf(directory, file, at)
    })
    expect(verdicts).toEqual(["receipt-1: signer", "verified", "receipt-1: signer", "receipt-1: signer"])
    const late = deviceReceipt(directory, sent, { poc: sg }, { time: start + 3 * day })
    const file = rewritten(bytes, () => ({ receipts: [{ kind: late.kind, signed: late.signed }], relayReceipts: [] }))
    expect(verdictOf(directory, file, at)).toBe("verified")
  })
})

describe("15 receipt forgery, the relay's receipt in an evidence file", () => {
  const relayReceipt = (change: (part: RelayReceiptSection) => object): string =>
    after(({ relayReceipts }) => {
      const genuine = relayReceipts.find(({ device }) => equal(device, deviceOf(sg)))!
      return { relayReceipts: [{ ...genuine, ...change(genuine) }] }
    })

  test("for other bytes, another minute or another place in the batch", () => {
    expect(relayReceipt(() => ({}))).toBe("verified")
    expect(relayReceipt(() => ({ digest: anything() }))).toBe("relay-receipt-1: relay-receipt")
    expect(relayReceipt(() => ({ blind: anything() }))).toBe("relay-receipt-1: relay-receipt")
    const changed = (change: object) => relayReceipt(({ receipt }) => ({ receipt: { ...receipt, ...change } }))
    expect(changed({ minute: Math.floor(start / 60) })).toBe("relay-receipt-1: relay-receipt")
    expect(changed({ index: 0 })).toBe("relay-receipt-1: relay-receipt")
  })

  test("a genuine one, but of another envelope to that device", () => {
    const other = send(world.directory, ke, [{ poc: sg }], { created: start + 3000 })
    const { digest } = other.sealed.envelopes[0]!
    expect(relayReceipt(() => ({ ...other.devices[0]!.accepted, digest }))).toBe("relay-receipt-1: envelope")
  })

  test("a genuine one, but for another device's mailbox", () => {
    expect(relayReceipt(() => ({ poc: br, device: deviceOf(br, "second") }))).toBe("relay-receipt-1: mailbox")
    expect(relayReceipt(() => ({ poc: br }))).toBe("relay-receipt-1: signer")
  })

  test("by no key of the relay, or by a relay that the log does not list", () => {
    const envelope = world.notification.sealed.envelopes[0]!
    const forged = accept(world.directory, envelope, anything(), start + 3630, signingKeyOf("anybody"))
    expect(relayReceipt(() => forged)).toBe("relay-receipt-1: relay-receipt")
    const relay = "relay.elsewhere.example"
    const elsewhere = { ...forged, receipt: { ...forged.receipt, relay }, mailbox: mailboxOf(deviceOf(sg), relay) }
    expect(relayReceipt(() => elsewhere)).toBe("relay-receipt-1: relay")
  })
})

describe("15 receipt forgery, the directory in an evidence file", () => {
  test("an entry that the log does not hold, or holds at another place", () => {
    const body = { v: 1, certificate: world.directory.authorities.ca.certificate } as const
    const entry = encodeEntry({ kind: "ca", time: start + 1, body })
    const changed = (change: object): string =>
      after(({ directory }) => ({ directory: replaced(directory, directory.length - 1, () => change) }))
    expect(changed({ bytes: entry })).toBe("directory: inclusion")
    expect(changed({ index: world.directory.leaves.length + 7 })).toBe("directory: inclusion")
    expect(changed({ proof: [] })).toBe("directory: inclusion")
  })

  test("an entry that is in the log and does not count, or cannot count without what was left out", async () => {
    const directory = await network()
    const manifest = signStatement(signingKeyOf("a thief"), realm(), "manifest", anything())
    const index = directory.leaves.length
    directory.append(encodeEntry({ kind: "manifest", time: start, body: { v: 1, poc: sg, manifest } }))
    const bytes = exported(await homeOf(directory, ke, [outRecord(send(directory, ke, [{ poc: sg }]))]))
    expect(verdictOf(directory, bytes)).toBe("verified")
    const proof = directory.state.inclusionProof(index, directory.state.size)
    const entry = { index, bytes: directory.leaves[index]!, proof }
    const withIt = rewritten(bytes, (bundle) => ({ directory: [...bundle.directory, entry] }))
    expect(verdictOf(directory, withIt)).toBe("directory: entry")
    const withoutCa = rewritten(bytes, (bundle) => ({ directory: bundle.directory.slice(1) }))
    expect(verdictOf(directory, withoutCa)).toBe("directory: entry")
  })

  test("without a trust file the same bytes prove nothing to anyone, and that is not success", () => {
    const report = verifyEvidence(world.bytes, undefined)
    expect(report.verdict).toBe("consistent, not anchored")
    expect(report.findings.flatMap(({ events, proves }) => [...proves, ...events])).toEqual([])
  })
})
