/**
 * Forged evidence: somebody changes an evidence file and computes every hash of its own anew, so that only signatures,
 * proofs and the log's rules are left to find it.
 */
import { beforeAll, describe, expect, test } from "vitest"
import { deviceIdOf, mailboxOf, type DeviceId, type Hash } from "../../protocol/address.ts"
import { concat, utf8 } from "../../protocol/bytes.ts"
import { decodeHeader, encodeHeader } from "../../protocol/header.ts"
import { shake256 } from "../../protocol/primitives.ts"
import { signStatement } from "../../protocol/statement.ts"
import { encodeEntry } from "../../pki/entries.ts"
import type { Bundle } from "../../client-sdk/evidence/bundle.ts"
import { verifyEvidence } from "../../client-sdk/evidence/verify.ts"
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
  now,
  officerReceipt,
  outRecord,
  relayHost,
  replaced,
  rewritten,
  send,
  sg,
  verdictOf,
} from "../support/evidence.ts"
import { day, deviceEntry, deviceKeyOf, deviceOf, officerEntry, officerKeyOf, officerOf, start } from "../support/directory.ts"
import { signingKeyOf } from "../support/papers.ts"

let world: Awaited<ReturnType<typeof kenyasCase>>
beforeAll(async () => {
  world = await kenyasCase()
})

const realm = () => world.directory.authorities.realm
const after = (change: (bundle: Bundle) => object): string =>
  verdictOf(world.directory, rewritten(world.bytes, change))

/** With this receipt in the place of all others. */
const withReceipt = ({ signed, kind }: Pick<Bundle["receipts"][number], "signed" | "kind">): string =>
  after(() => ({ receipts: [{ kind, signed }], relayReceipts: [] }))
const byBrazilsSecond = ({ device }: { readonly device: DeviceId }): boolean =>
  device.join() === deviceOf(br, "second").join()
const bySingapore = ({ device }: { readonly device: DeviceId }): boolean => device.join() === deviceOf(sg).join()
const indexOf = <T>(all: readonly T[], is: (item: T) => boolean): number => all.findIndex(is)

test("15 forged evidence: the file as it was exported is verified, and so is one whose hashes were only computed anew", () => {
  expect(verdictOf(world.directory, world.bytes)).toBe("verified")
  expect(after(() => ({}))).toBe("verified")
})

describe("15 forged evidence: of a message", () => {
  const message = (change: (part: Bundle["messages"][number]) => object) =>
    after(({ messages }) => ({ messages: replaced(messages, 0, change), receipts: [], relayReceipts: [] }))
  const received = (change: (part: Bundle["messages"][number]) => object) =>
    after(({ messages }) => ({ messages: replaced(messages, 1, change) }))
  const headerLike = (bytes: Uint8Array, change: object) => encodeHeader({ ...decodeHeader(bytes), ...change })

  test("an altered leaf no longer is what the recipients signed for", () => {
    const changed = after(({ messages }) => ({
      messages: replaced(messages, 0, ({ leaves }) => ({
        leaves: leaves.map((leaf) => (leaf.name === "body" ? { ...leaf, value: utf8('{"text":"It was them."}') } : leaf)),
      })),
    }))
    expect(changed).toBe("receipt-1: content-hash; receipt-2: content-hash; receipt-3: content-hash; relay-receipt-1: skip")
  })
  test("a leaf left out, or another content key", () => {
    for (const change of [
      { leaves: world.notification.leaves.slice(0, -1) },
      { contentKey: shake256(32, utf8("another")) },
    ])
      expect(after(({ messages }) => ({ messages: replaced(messages, 0, () => change) }))).toContain("receipt-1: content-hash")
  })
  test("a header that somebody else signed", () => {
    const { header } = world.notification.sealed
    const others = [deviceKeyOf(sg), officerKeyOf(ke), signingKeyOf("anybody")]
    for (const key of others)
      expect(message(() => ({ header: signStatement(key, realm(), "header", header.bytes) }))).toBe("message-1: signature")
    expect(message(() => ({ header: signStatement(deviceKeyOf(ke), realm(), "entry", header.bytes) }))).toBe("message-1: signature")
  })
  test("a header that was altered after it was signed", () => {
    const later = ({ header }: Bundle["messages"][number]) => ({
      header: { ...header, bytes: headerLike(header.bytes, { created: start + 3700 }) },
    })
    expect(message(later)).toBe("message-1: signature")
  })
  test("a sender that the log does not list", () => {
    const [key, poc] = [signingKeyOf("a device of nobody"), ke]
    const bytes = (from: Uint8Array) => headerLike(from, { sender: { poc, device: deviceIdOf(poc, key.publicKey), officer: officerOf(ke) } })
    expect(message(({ header }) => ({ header: signStatement(key, realm(), "header", bytes(header.bytes)) }))).toBe("message-1: sender")
  })
  test("without its release, or released by another officer, or by nobody", () => {
    const { header } = world.notification.sealed
    const other = signStatement(officerKeyOf(sg), realm(), "release", header.bytes).signature
    expect(message(() => ({ release: undefined }))).toBe("message-1: release")
    expect(message(() => ({ release: other }))).toBe("message-1: release")
    const bytes = headerLike(header.bytes, { sender: { poc: ke, device: deviceOf(ke) } })
    const unreleased = { header: signStatement(deviceKeyOf(ke), realm(), "header", bytes), release: undefined }
    expect(message(() => unreleased)).toBe("message-1: release")
  })
  test("the entry at another place, of another recipient, or with another path", () => {
    const { entry, index } = inRecord(world.response, { poc: br }).sealed!
    expect(received((part) => ({ index: 1 - ("index" in part ? part.index : 0) }))).toBe("message-2: own-entry")
    expect(received(() => ({ entry, index }))).toBe("message-2: own-entry")
    expect(received(() => ({ path: [] }))).toBe("message-2: own-entry")
    const path = inRecord(world.response, { poc: br }).sealed!.path!
    expect(received(() => ({ entry, index, path }))).toBe("message-2: own-entry")
  })
  test("of another case, or as one's own what somebody else sent", () => {
    expect(after(({ about }) => ({ about: { ...about, case: shake256(16, utf8("another")) } }))).toContain("message-1: case")
    const asOwn = ({ header, release, checkpoint, consistency, contentKey, leaves }: Bundle["messages"][number]) =>
      ({ direction: "sent", header, release, checkpoint, consistency, contentKey, leaves }) as const
    expect(after(({ messages }) => ({ messages: [messages[0]!, asOwn(messages[1]!)] }))).toBe("message-2: sender")
  })
  test("twice, or in another order", () => {
    expect(after(({ messages }) => ({ messages: messages.toReversed() }))).toBe("contents: order")
    expect(after(({ messages }) => ({ messages: [messages[0], ...messages] }))).toBe("contents: order")
    expect(after(({ receipts }) => ({ receipts: receipts.toReversed() }))).toBe("receipt-2: order")
    expect(after(({ receipts }) => ({ receipts: [receipts[0], ...receipts] }))).toBe("receipt-2: order")
    expect(after(({ relayReceipts: all }) => ({ relayReceipts: [all[0], ...all] }))).toBe("relay-receipt-2: order")
  })
  test("dropped: what is about it fails", () => {
    const without = after(({ messages }) => ({ messages: messages.slice(1) }))
    expect(without.split("; ").every((failure) => failure.endsWith("receipt: unknown-message") || /receipt-\d: unknown-message$/.test(failure))).toBe(true)
  })
})

describe("15 forged evidence: of a recipient's receipt", () => {
  const receipt = (change: object, key = deviceKeyOf(sg)) => withReceipt(deviceReceipt(world.directory, world.notification, { poc: sg }, change, key))

  test("for another header, content or message", () => {
    const hash = shake256(32, utf8("another")) as Hash
    expect(receipt({})).toBe("verified")
    expect(receipt({ header: hash })).toBe("receipt-1: header")
    expect(receipt({ content: hash })).toBe("receipt-1: content-hash")
    expect(receipt({ messageId: shake256(16, utf8("another")) })).toBe("receipt-1: unknown-message")
  })
  test("by a key that its PoC's manifest does not list, or with another key", () => {
    const stranger = signingKeyOf("a device of nobody")
    expect(receipt({ device: deviceIdOf(sg, stranger.publicKey) }, stranger)).toBe("receipt-1: signer")
    expect(receipt({}, stranger)).toBe("receipt-1: signature")
    expect(receipt({ poc: br, device: deviceOf(sg) })).toBe("receipt-1: signer")
  })
  test("by another PoC's officer, or by one without the right", async () => {
    const ofBrazil = officerReceipt(world.directory, world.notification, br, { poc: sg, officer: officerOf(sg) })
    expect(withReceipt(ofBrazil)).toBe("receipt-1: signature")

    const directory = await network()
    const { realm: here } = directory.authorities
    const officers = [officerEntry(here, sg), officerEntry(here, sg, "second", ["release"])]
    directory.must(directory.logManifest(sg, { officers }))
    const sent = send(directory, ke, [{ poc: sg }])
    const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], [officerReceipt(directory, sent, sg)]))
    const { signed, kind } = officerReceipt(directory, sent, sg, {}, "second")
    expect(verdictOf(directory, bytes)).toBe("verified")
    expect(verdictOf(directory, rewritten(bytes, () => ({ receipts: [{ signed, kind }] })))).toBe("receipt-1: signer")
  })
  test("before the device was listed, after it had left, and of another time than ours", async () => {
    const directory = await network()
    const { realm: here } = directory.authorities
    const sent = send(directory, ke, [{ poc: sg }], { created: start + 2 * day })
    directory.time = start + 4 * day
    directory.must(directory.logManifest(sg, { devices: [deviceEntry(here, sg, "new")] }))
    const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], [deviceReceipt(directory, sent, { poc: sg })], start + 5 * day))
    const at = (days: number): string => {
      const { signed, kind } = deviceReceipt(directory, sent, { poc: sg }, { time: start + days * day })
      return verdictOf(directory, rewritten(bytes, () => ({ receipts: [{ signed, kind }], relayReceipts: [] })), start + 5 * day)
    }
    expect([-1, 1, 3, 4.5, 6].map(at)).toEqual(["receipt-1: signer", "verified", "verified", "receipt-1: signer", "receipt-1: signer"])
    const future = verdictOf(directory, bytes, start + day)
    expect(future).toContain("about: future")
  })
})

describe("15 forged evidence: of the relay's receipt", () => {
  const relayReceipt = (change: (part: Bundle["relayReceipts"][number]) => object, of = bySingapore) =>
    after(({ relayReceipts: all }) => ({ relayReceipts: replaced(all, indexOf(all, of), change).slice(indexOf(all, of), indexOf(all, of) + 1) }))

  test("for other bytes, another minute, another batch", () => {
    expect(relayReceipt(() => ({}))).toBe("verified")
    expect(relayReceipt(() => ({ digest: shake256(32, utf8("others")) }))).toBe("relay-receipt-1: relay-receipt")
    expect(relayReceipt(() => ({ blind: shake256(32, utf8("others")) }))).toBe("relay-receipt-1: relay-receipt")
    expect(relayReceipt(({ receipt }) => ({ receipt: { ...receipt, minute: receipt.minute - 1 } }))).toBe("relay-receipt-1: relay-receipt")
    expect(relayReceipt(({ receipt }) => ({ receipt: { ...receipt, index: 0 } }))).toBe("relay-receipt-1: relay-receipt")
  })
  test("a genuine one, but of another envelope to that device", () => {
    const other = send(world.directory, ke, [{ poc: sg }], { created: start + 3000 })
    const { blind, receipt } = other.devices[0]!.accepted
    const { digest } = other.sealed.envelopes[0]!
    expect(relayReceipt(() => ({ blind, receipt, digest }))).toBe("relay-receipt-1: envelope")
  })
  test("a genuine one, but for another device's mailbox", () => {
    expect(relayReceipt(() => ({ poc: br, device: deviceOf(br, "second") }))).toBe("relay-receipt-1: mailbox")
    expect(relayReceipt(() => ({ poc: br }))).toBe("relay-receipt-1: signer")
  })
  test("by a relay that the log does not list, or by no relay's key", () => {
    const { digest, mailbox } = world.notification.sealed.envelopes[0]!
    const forged = accept(world.directory, { digest, mailbox }, shake256(32, utf8("blind")), start + 3630, signingKeyOf("anybody"))
    expect(relayReceipt(() => forged)).toBe("relay-receipt-1: relay-receipt")
    const elsewhere = { ...forged.receipt, relay: "relay.elsewhere.example" }
    const box = mailboxOf(deviceOf(sg), elsewhere.relay)
    expect(relayReceipt(() => ({ ...forged, receipt: elsewhere, mailbox: box }))).toBe("relay-receipt-1: relay")
  })
  test("without a receipt of that device: it proves nothing of this message, and does not date it", () => {
    const onlySecond = rewritten(world.bytes, ({ relayReceipts }) => ({ receipts: [], relayReceipts: relayReceipts.filter(byBrazilsSecond) }))
    const [message, accepted] = verifyEvidence(onlySecond, world.directory.anchor).findings
    expect(message!.notAfter).toBeNull()
    expect(accepted!.doesNotProve).toContain("that the bytes are this message: no receipt of that device is here, so it is the sender's word")
    expect(accepted!.events).toEqual(["SubmissionAcceptance"])
  })
})

describe("15 forged evidence: of the directory", () => {
  test("an entry that the log does not hold, or holds elsewhere", () => {
    const of = (change: (entry: Bundle["directory"][number]) => object, at = 3) => after(({ directory }) => ({ directory: replaced(directory, at, change) }))
    const { realm: here, ...rest } = world.directory.authorities
    expect(rest.ca.certificate.length).toBeGreaterThan(0)
    const body = { v: 1, certificate: world.directory.authorities.ca.certificate } as const
    expect(of(() => ({ bytes: encodeEntry({ kind: "ca", time: start, body }) }))).toBe("directory: inclusion")
    expect(of(({ proof }) => ({ proof: proof.slice(1) }))).toBe("directory: inclusion")
    expect(here.origin).toBe("directory.example")
    expect(after(({ directory }) => ({ directory: directory.map((entry, i) => (i === 0 ? { ...entry, index: 0 } : { ...entry, index: entry.index + 1 })) }))).toBe("directory: inclusion")
  })
  test("an entry that is in the log and does not count", async () => {
    const directory = await network()
    const thief = signingKeyOf("a thief")
    const { realm: here } = directory.authorities
    const own = { ...deviceEntry(here, sg), key: thief.publicKey, device: deviceIdOf(sg, thief.publicKey) }
    const manifest = signStatement(thief, here, "manifest", concat(Uint8Array.of(0xa0)))
    const index = directory.leaves.length
    directory.append(encodeEntry({ kind: "manifest", time: start, body: { v: 1, poc: sg, manifest } }))
    expect(directory.state.refused().map((entry) => entry.index)).toEqual([index])
    const sent = send(directory, ke, [{ poc: sg }])
    const bytes = exported(await homeOf(directory, ke, [outRecord(sent)]))
    expect(verdictOf(directory, bytes)).toBe("verified")
    const entry = { index, bytes: directory.leaves[index]!, proof: directory.state.inclusionProof(index, directory.state.size) }
    expect(verdictOf(directory, rewritten(bytes, (bundle) => ({ directory: [...bundle.directory, entry] })))).toBe("directory: entry")
    expect(own.device).toHaveLength(32)
  })
  test("an entry left out that the others need", () => {
    const { length } = world.directory.leaves
    for (let skip = 0; skip < length; skip++)
      expect(after(({ directory }) => ({ directory: directory.filter(({ index }) => index !== skip) }))).not.toContain("TypeError")
    expect(after(({ directory }) => ({ directory: directory.slice(1) }))).toBe("directory: entry")
  })
  test("nobody's trust file is not success", () => {
    const report = verifyEvidence(world.bytes, undefined)
    expect(report.verdict).toBe("consistent, not anchored")
    expect(report.findings.flatMap(({ proves }) => proves)).toEqual([])
  })
})

describe("15 forged evidence: with a key that was revoked", () => {
  /** What KE's device signed, and SG's receipts for it, once a key has been revoked. */
  async function revoked(target: "ke" | "sg" | "relay", change: object, receiptTimes: readonly number[] = [start + 3690], by = sg) {
    const directory = await network()
    const { realm: here } = directory.authorities
    const second = [deviceEntry(here, ke), deviceEntry(here, ke, "second")]
    directory.must(directory.logManifest(ke, { devices: second }, { coSigner: "first" }))
    const sent = send(directory, ke, [{ poc: sg }, { poc: ke, name: "second" }])
    const receipts = receiptTimes.map((time) => deviceReceipt(directory, sent, by === ke ? { poc: ke, name: "second" } : { poc: by }, { time }))
    const records = { out: [outRecord(sent, by === ke ? [{ poc: ke, name: "second" }] : [])], in: receipts }
    const before = exported(await homeOf(directory, ke, records.out, records.in))
    directory.time = start + 7000
    if (target !== "relay") {
      const poc = target === "ke" ? ke : sg
      directory.must(directory.revoke({ kind: "device", poc, device: deviceOf(poc) }, deviceKeyOf(poc), change))
    }
    const whole = exported(await homeOf(directory, ke, records.out, [])) // with a directory that knows of it
    return { directory, before, whole, receipts }
  }
  /** KE leaves the receipt out by itself, so somebody puts it in again. */
  const withThem = ({ whole, receipts }: Awaited<ReturnType<typeof revoked>>): Uint8Array =>
    rewritten(whole, () => ({ receipts: receipts.map(({ kind, signed }) => ({ kind, signed })) }))

  test("a receipt by a device revoked as compromised, whatever its date", async () => {
    const world = await revoked("sg", { reason: "compromise", effective: start + 6900 })
    expect(verdictOf(world.directory, withThem(world))).toBe("receipt-1: revoked")
  })
  test("a receipt dated after the device was superseded; before it, it holds", async () => {
    const late = await revoked("sg", { reason: "superseded", effective: start + 3600 })
    expect(verdictOf(late.directory, withThem(late))).toBe("receipt-1: revoked")
    const early = await revoked("sg", { reason: "superseded", effective: start + 3700 })
    expect(verdictOf(early.directory, withThem(early))).toBe("verified")
  })
})

test("15 forged evidence: the relay's host in a mailbox is the relay that signed", () => {
  expect(relayHost).toBe("relay.example")
  expect(now).toBeGreaterThan(start)
})
