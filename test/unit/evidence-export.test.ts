import { beforeAll, describe, expect, test } from "vitest"
import { equal, hex, utf8 } from "../../protocol/bytes.ts"
import { shake256 } from "../../protocol/primitives.ts"
import { entryStructure } from "../../pki/entries.ts"
import { decodeBundle } from "../../client-sdk/evidence/bundle.ts"
import { bundleOf } from "../../client-sdk/evidence/export.ts"
import { verifyEvidence } from "../../client-sdk/evidence/verify.ts"
import { readTrustFile, writeTrustFile } from "../../pki/anchor.ts"
import { day, deviceKeyOf, deviceOf, officerEntry, pocKeyOf, start, type TestDirectory } from "../support/directory.ts"
import { codeOf } from "../support/errors.ts"
import {
  br,
  caseId,
  deviceReceipt,
  exported,
  fr,
  homeOf,
  inRecord,
  ke,
  kenyasCase,
  network,
  officerReceipt,
  outRecord,
  send,
  sg,
  sg2,
  verdictOf,
} from "../support/evidence.ts"

let directory: TestDirectory
beforeAll(async () => {
  directory = await network(fr, sg2)
})

describe("which part of the log goes into the file", () => {
  test("nothing about a PoC that has no part in the case", async () => {
    const sent = send(directory, ke, [{ poc: sg }])
    const bytes = exported(await homeOf(directory, ke, [outRecord(sent)]))
    const text = hex(bytes)
    for (const poc of [ke, sg]) expect(text).toContain(hex(utf8(poc)))
    for (const poc of [br, fr, sg2]) {
      expect(text).not.toContain(hex(utf8(poc)))
      for (const key of [pocKeyOf(poc), deviceKeyOf(poc)]) expect(text).not.toContain(hex(key.publicKey))
    }
    const kinds = decodeBundle(bytes).directory.map((entry) => entryStructure.decode(entry.bytes).kind)
    const wanted = ["ca", "certificate", "manifest", "certificate", "manifest", "certificate", "manifest", "relay"]
    expect(kinds).toEqual(wanted)
  })

  test("a PoC that is not its State's default is judged without the one that is", async () => {
    const sent = send(directory, sg2, [{ poc: fr }])
    const bytes = exported(
      await homeOf(directory, sg2, [outRecord(sent)], [deviceReceipt(directory, sent, { poc: fr })]),
    )
    expect(hex(bytes)).not.toContain(hex(utf8(sg)))
    expect(verdictOf(directory, bytes)).toBe("verified")
  })

  test("a recipient that has not given a receipt is there all the same, if the relay has", async () => {
    const { bytes } = await kenyasCase()
    const { relayReceipts } = decodeBundle(bytes)
    expect(relayReceipts.some(({ device }) => equal(device, deviceOf(br, "second")))).toBe(true)
  })
})

describe("which messages and receipts go into the file", () => {
  test("those of the case, sealed and spoken, in the order of their dates", async () => {
    const [late, early, other] = [300, 100, 200].map((after) =>
      outRecord(send(directory, ke, [{ poc: sg }], { created: start + after })),
    )
    const elsewhere = { ...other!, case: shake256(16, utf8("another case")) }
    const receiptMessage = { ...outRecord(send(directory, ke, [{ poc: sg }])), type: "device-receipt" as const }
    const { sealed: _, ...unsealed } = outRecord(send(directory, ke, [{ poc: sg }]))
    const home = await homeOf(directory, ke, [late!, elsewhere, early!, receiptMessage, unsealed])
    const { messages } = decodeBundle(exported(home))
    expect(messages.map(({ header }) => header)).toEqual([early!.sealed!.header, late!.sealed!.header])
  })

  test("nothing of the case yet, another case, no mirrored log, or a mirror that is behind", async () => {
    const record = outRecord(send(directory, ke, [{ poc: sg }]))
    const { sealed: _, ...unsealed } = record
    const waiting = await homeOf(directory, ke, [unsealed])
    expect(codeOf(() => exported(waiting))).toBe("ERR_NOT_FOUND")
    const home = await homeOf(directory, ke, [record])
    expect(codeOf(() => home.vault.read((tx) => bundleOf(tx, home, "00".repeat(16))))).toBe("ERR_NOT_FOUND")
    const newest = home.vault.read((tx) => tx.get("checkpoint", "newest")!)
    home.vault.transaction((tx) => tx.put("checkpoint", "newest", { ...newest, size: 4 }))
    expect(codeOf(() => exported(home))).toBe("ERR_DIRECTORY_STALE")
    home.vault.transaction((tx) => tx.delete("checkpoint", "newest"))
    expect(codeOf(() => exported(home))).toBe("ERR_DIRECTORY_STALE")
  })
})

describe("as the years go by", () => {
  test("evidence still holds when devices and officers have changed, and certificates and manifests have expired", async () => {
    const changed = await network()
    const sent = send(changed, ke, [{ poc: sg }])
    const receipts = [deviceReceipt(changed, sent, { poc: sg }), officerReceipt(changed, sent, sg)]
    changed.time = start + 30 * day
    const { realm } = changed.authorities
    changed.must(changed.logManifest(ke, { officers: [officerEntry(realm, ke, "new")] }))
    changed.must(changed.logManifest(sg, { devices: [], officers: [officerEntry(realm, sg, "first", ["release"])] }))
    const later = start + 3 * 365 * day
    const bytes = exported(await homeOf(changed, ke, [outRecord(sent)], receipts, later))
    expect(decodeBundle(bytes).about.leftOut).toBe(0)
    expect(decodeBundle(bytes).receipts).toHaveLength(2)
    expect(verdictOf(changed, bytes, later)).toBe("verified")
  })

  test("what a revoked key signed is left out and counted; if nothing is left, there is no file", async () => {
    const changed = await network()
    const sent = send(changed, ke, [{ poc: sg }, { poc: br }])
    const receipts = [deviceReceipt(changed, sent, { poc: sg }), deviceReceipt(changed, sent, { poc: br })]
    changed.time = start + 7000
    changed.must(changed.revoke({ kind: "device", poc: sg, device: deviceOf(sg) }, deviceKeyOf(sg)))
    const bytes = exported(await homeOf(changed, ke, [outRecord(sent)], receipts))
    expect(decodeBundle(bytes).about.leftOut).toBe(1)
    expect(decodeBundle(bytes).receipts).toHaveLength(1)
    const { caveats } = verifyEvidence(bytes, changed.anchor)
    expect(caveats.join()).toContain("left out 1 parts")

    changed.must(changed.revoke({ kind: "device", poc: ke, device: deviceOf(ke) }, deviceKeyOf(ke)))
    const stolen = await homeOf(changed, br, [inRecord(sent, { poc: br })])
    expect(codeOf(() => exported(stolen))).toBe("ERR_EVIDENCE")
  })
})

test("the file carries the exporter's trust file, and the case by its id", async () => {
  const home = await homeOf(directory, ke, [outRecord(send(directory, ke, [{ poc: sg }]))])
  const { about } = decodeBundle(exported(home))
  expect(about.case).toEqual(caseId)
  expect(about.trust).toBe(writeTrustFile(directory.anchor))
  expect(readTrustFile(about.trust).realm).toEqual(directory.authorities.realm)
})
