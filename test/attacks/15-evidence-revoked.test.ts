/** Evidence under keys that were revoked: a thief chooses what a stolen key signs, and which date it writes. */
import { describe, expect, test } from "vitest"
import { compare } from "../../protocol/bytes.ts"
import { decodeBundle, type Bundle } from "../../client-sdk/evidence/bundle.ts"
import type { ReceiptRecord } from "../../client-sdk/collections.ts"
import { certificateHash, type RevocationReason } from "../../pki/entries.ts"
import { readCheckpoint } from "../../pki/checkpoint.ts"
import { deviceEntry, deviceKeyOf, deviceOf, pocKeyOf, start, type TestDirectory } from "../support/directory.ts"
import {
  br,
  deviceReceipt,
  exported,
  fr,
  homeOf,
  inRecord,
  ke,
  network,
  officerReceipt,
  outRecord,
  relayHost,
  relayKey,
  rewritten,
  send,
  sg,
  verdictOf,
} from "../support/evidence.ts"

/** The revocation is logged last, long after everything was signed. */
const logged = start + 7000

function revokeDevice(directory: TestDirectory, poc: typeof ke, reason: RevocationReason, effective: number): void {
  directory.time = logged
  const target = { kind: "device", poc, device: deviceOf(poc) } as const
  directory.must(directory.revoke(target, deviceKeyOf(poc), { reason, effective }))
}

const sections = (receipts: readonly ReceiptRecord[]): Bundle["receipts"] =>
  receipts.map(({ kind, signed }) => ({ kind, signed })).toSorted((a, b) => compare(a.signed.bytes, b.signed.bytes))

describe("15 receipt forgery, with a recipient's key that was revoked", () => {
  /** What a file with Singapore's receipt is worth; Kenya itself leaves out what is worth nothing, so it is put back. */
  async function verdict(reason: RevocationReason, effective: number): Promise<string> {
    const directory = await network()
    const sent = send(directory, ke, [{ poc: sg }, { poc: br }])
    const receipts = [deviceReceipt(directory, sent, { poc: sg }), deviceReceipt(directory, sent, { poc: br })]
    revokeDevice(directory, sg, reason, effective)
    const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], receipts))
    expect(verdictOf(directory, bytes)).toBe("verified")
    const places = sections(receipts).map(({ signed }) => signed.bytes)
    const place = places.indexOf(sections(receipts.slice(0, 1))[0]!.signed.bytes) + 1
    const whole = rewritten(bytes, () => ({ receipts: sections(receipts) }))
    return verdictOf(directory, whole).replace(`receipt-${place}`, "Singapore's")
  }

  test("compromised: its receipt is worth nothing, whatever date it bears", async () => {
    expect(await verdict("compromise", logged - 1)).toBe("Singapore's: revoked")
  })
  test("superseded: worth something only if dated before", async () => {
    expect(await verdict("superseded", start + 3600)).toBe("Singapore's: revoked")
    expect(await verdict("superseded", start + 3700)).toBe("verified")
  })
})

describe("15 receipt forgery, with the sender's own key that was revoked as compromised", () => {
  /** Kenya's device is stolen at `effective`; what is its header worth with these receipts for it? */
  async function verdict(
    effective: number,
    choose: (sent: ReturnType<typeof send>, directory: TestDirectory) => readonly ReceiptRecord[],
    withRelay = false,
  ): Promise<string> {
    const directory = await network()
    const { realm } = directory.authorities
    const devices = [deviceEntry(realm, ke), deviceEntry(realm, ke, "second")]
    directory.must(directory.logManifest(ke, { devices }, { coSigner: "first" }))
    const sent = send(directory, ke, [{ poc: sg }, { poc: ke, name: "second" }])
    // A second message, from the other device, so that something is left to export whatever becomes of the first.
    const other = send(directory, ke, [{ poc: br }], { created: start + 100, by: "second" })
    const before = exported(await homeOf(directory, ke, [outRecord(other), outRecord(sent)]))
    const about = send(directory, sg, [{ poc: ke }], { created: start + 50 })
    revokeDevice(directory, ke, "compromise", effective)
    const records = [inRecord(about, { poc: ke }), outRecord(other), outRecord(sent)]
    const receipts = choose(sent, directory)
    const home = await homeOf(directory, ke, records, receipts)
    const size = directory.state.size
    const [message] = decodeBundle(before).messages.slice(1)
    const cited = readCheckpoint(message!.checkpoint)!.size
    const put = { ...message!, consistency: directory.state.consistencyProof(cited, size) }
    const whole = rewritten(exported(home), ({ messages, relayReceipts }) => ({
      messages: [...messages.slice(0, 2), put],
      receipts: sections(receipts),
      relayReceipts: withRelay
        ? decodeBundle(before).relayReceipts.filter(({ poc }) => poc === sg)
        : relayReceipts.filter(() => false),
    }))
    return verdictOf(directory, whole)
  }
  const bySingapore =
    (time = start + 3690) =>
    (sent: ReturnType<typeof send>, directory: TestDirectory) => [deviceReceipt(directory, sent, { poc: sg }, { time })]

  test("it holds if another PoC's receipt shows that it was there before, and not without", async () => {
    expect(await verdict(start + 5000, bySingapore())).toBe("verified")
    expect(await verdict(start + 3680, bySingapore())).toBe("message-3: revoked")
    expect(await verdict(start + 5000, () => [])).toBe("message-3: revoked")
  })
  test("its own PoC's devices cannot vouch for it", async () => {
    const own = await verdict(start + 5000, (sent, directory) => [
      deviceReceipt(directory, sent, { poc: ke, name: "second" }),
    ])
    expect(own).toBe("message-3: revoked")
  })
  test("a relay's receipt for bytes that no device says it opened does not date it", async () => {
    expect(await verdict(start + 5000, () => [], true)).toBe("message-3: revoked")
    expect(await verdict(start + 5000, bySingapore(), true)).toBe("verified")
  })
  test("a receipt dated before the checkpoint that the header names does not date it", async () => {
    expect(await verdict(start + 1000, bySingapore(start + 500))).toBe("message-3: revoked")
  })
})

test("15 receipt forgery: a device that the thief of a PoC's key has listed sends nothing that counts", async () => {
  const directory = await network()
  const { realm } = directory.authorities
  directory.time = start + 2000
  const devices = [deviceEntry(realm, ke), deviceEntry(realm, ke, "thief's")]
  directory.must(directory.logManifest(ke, { devices }, { coSigner: "first" }))
  const genuine = send(directory, ke, [{ poc: sg }])
  const forged = send(directory, ke, [{ poc: sg }], { created: start + 3700, by: "thief's" })
  const records = [inRecord(genuine, { poc: sg }), inRecord(forged, { poc: sg })]
  const before = exported(await homeOf(directory, sg, records))
  expect(verdictOf(directory, before)).toBe("verified")

  directory.time = logged
  const target = directory.certificateTarget(ke)
  directory.must(directory.revoke(target, pocKeyOf(ke), { reason: "compromise", effective: start + 1000 }))
  const thirdParty = send(directory, br, [{ poc: sg }], { created: start + 7100 })
  const later = exported(await homeOf(directory, sg, [...records, inRecord(thirdParty, { poc: sg })]))
  expect(decodeBundle(later).about.leftOut).toBe(2)
  const { size } = directory.state
  const putBack = decodeBundle(before).messages.map((message) => ({
    ...message,
    consistency: directory.state.consistencyProof(readCheckpoint(message.checkpoint)!.size, size),
  }))
  const whole = rewritten(later, ({ messages }) => ({ messages: [...putBack, ...messages] }))
  expect(verdictOf(directory, whole)).toBe("message-1: revoked; message-2: revoked")
})

test("15 receipt forgery: a relay's key that was revoked accepts nothing any more", async () => {
  const directory = await network()
  const sent = send(directory, ke, [{ poc: sg }])
  const receipts = [deviceReceipt(directory, sent, { poc: sg }), officerReceipt(directory, sent, sg)]
  const home = await homeOf(directory, ke, [outRecord(sent)], receipts)
  const { relayReceipts } = decodeBundle(exported(home))
  directory.time = logged
  const { certificate } = directory.state.relay(relayHost)!
  const target = { kind: "relay", host: relayHost, certificate: certificateHash(certificate) } as const
  directory.must(directory.revoke(target, relayKey, { reason: "compromise" }))
  const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], receipts))
  expect(verdictOf(directory, bytes)).toBe("verified")
  expect(decodeBundle(bytes).relayReceipts).toEqual([])
  expect(
    verdictOf(
      directory,
      rewritten(bytes, () => ({ relayReceipts })),
    ),
  ).toBe("relay-receipt-1: relay")
})

test("15 receipt forgery: a relay's key that was replaced, and revoked as compromised since, dates nothing back", async () => {
  const directory = await network()
  const { certificate } = directory.state.relay(relayHost)!
  const old = { kind: "relay", host: relayHost, certificate: certificateHash(certificate) } as const
  directory.must(directory.log("relay", await directory.relayBody(relayHost, pocKeyOf(fr)), ["first", "second"]))
  const sent = send(directory, ke, [{ poc: sg }])
  const receipts = [deviceReceipt(directory, sent, { poc: sg })]
  const { relayReceipts } = decodeBundle(exported(await homeOf(directory, ke, [outRecord(sent)], receipts)))
  directory.time = logged
  directory.must(directory.revoke(old, relayKey))
  const bytes = exported(await homeOf(directory, ke, [outRecord(sent)], receipts))
  const proof = (index: number) => directory.state.inclusionProof(index, directory.state.size)
  const entries = directory.leaves.map((leaf, index) => ({ index, bytes: leaf, proof: proof(index) }))
  const whole = rewritten(bytes, () => ({ directory: entries, relayReceipts }))
  expect(verdictOf(directory, whole)).toBe("relay-receipt-1: relay-receipt")
})

test("a certificate that was renewed under its key, and ended as superseded, spoils nothing that the key signs", async () => {
  const directory = await network()
  const superseded = directory.certificateTarget(ke)
  const body = await directory.certificateBody(ke)
  directory.must(directory.log("certificate", body, [directory.approveAs(ke, "certificate", body)]))
  directory.must(directory.revoke(superseded, pocKeyOf(ke), { reason: "superseded" }))
  const sent = send(directory, ke, [{ poc: sg }])
  const bytes = exported(await homeOf(directory, ke, [outRecord(sent)]))
  expect(decodeBundle(bytes).messages).toHaveLength(1)
  expect(verdictOf(directory, bytes)).toBe("verified")
})
