/**
 * A recipient's evidence file is shown to somebody else. It must not turn the sender's deniable content into proof: so it
 * holds nothing that anybody but its exporter has signed over that content, and its exporter could have made it with any
 * other.
 */
import { beforeAll, describe, expect, test } from "vitest"
import { compare, equal, hex, utf8 } from "../../protocol/bytes.ts"
import { shake256, verifySignature } from "../../protocol/primitives.ts"
import { signedBytes, statementLabels } from "../../protocol/statement.ts"
import { decodeBundle, type RelayReceiptSection } from "../../client-sdk/evidence/bundle.ts"
import { exportWarning } from "../../client-sdk/evidence/verify.ts"
import { deviceKeyOf, deviceOf, officerKeyOf, type TestDirectory } from "../support/directory.ts"
import {
  accept,
  br,
  deviceReceipt,
  exported,
  homeOf,
  inRecord,
  ke,
  kenyasCase,
  officerReceipt,
  outRecord,
  relayKey,
  replaced,
  rewritten,
  sg,
  verdictOf,
  verified,
} from "../support/evidence.ts"
import { byteStringsIn } from "../support/byte-strings.ts"

let directory: TestDirectory
let kenyas: Awaited<ReturnType<typeof kenyasCase>>
/** Singapore's file: Kenya's notification as received, and its own answer with Kenya's receipt for that. */
let bytes: Uint8Array
beforeAll(async () => {
  kenyas = await kenyasCase()
  directory = kenyas.directory
  const { notification, response } = kenyas
  const own = [officerReceipt(directory, notification, sg), deviceReceipt(directory, notification, { poc: sg })]
  const receipts = [...own.map((row) => ({ ...row, own: true })), deviceReceipt(directory, response, { poc: ke })]
  const records = [inRecord(notification, { poc: sg }), outRecord(response)]
  bytes = exported(await homeOf(directory, sg, records, receipts))
})

describe("22 evidence laundering", () => {
  /** Every signature in the file, by anybody in the network, over anything that tells of the notification's content. */
  function signaturesOverContent(file: Uint8Array): string[] {
    const { contentKey, leaves, sealed } = kenyas.notification
    const telling = [
      sealed.contentHash,
      contentKey,
      ...sealed.leafHashes,
      ...leaves.map(({ value }) => value),
      ...sealed.envelopes.map(({ digest }) => digest),
    ]
    const all = byteStringsIn(file)
    const holds = (x: Uint8Array): boolean => telling.some((part) => hex(x).includes(hex(part)))
    const signatures = all.filter((x) => x.length === 64)
    const people = [ke, sg, br].flatMap((poc) => [deviceKeyOf(poc), officerKeyOf(poc)])
    const keys = [...people, deviceKeyOf(br, "second"), relayKey].map(({ publicKey }) => publicKey)
    return [...telling, ...all.filter(holds)].flatMap((text) =>
      statementLabels.filter((label) => {
        const message = signedBytes(directory.authorities.realm, label, text)
        return signatures.some((signature) => keys.some((key) => verifySignature(key, message, signature)))
      }),
    )
  }

  test("a recipient's file holds no signature over the content that it received, not even its own", () => {
    expect(verdictOf(directory, bytes)).toBe("verified")
    expect(signaturesOverContent(bytes)).toEqual([])
    // The same search finds what the sender's file is meant to hold.
    expect(signaturesOverContent(kenyas.bytes)).toEqual(expect.arrayContaining(["device-receipt", "officer-receipt"]))

    // Of the relay it has receipts for its own answer, which date no envelope of the notification.
    const { about, receipts, relayReceipts } = decodeBundle(bytes)
    const answer = inRecord(kenyas.response, { poc: ke })
    expect(relayReceipts.map(({ message }) => hex(message))).toEqual([hex(answer.id), hex(answer.id)])
    expect(receipts).toHaveLength(1)
    expect(about.leftOut).toBe(0)
    for (const { digest } of kenyas.notification.sealed.envelopes) expect(hex(bytes)).not.toContain(hex(digest))
  }, 60_000)

  test("the recipient could have made the same file with any other content", () => {
    const invented = [{ name: "body", value: utf8('{"text":"We did it."}') }]
    const other = rewritten(bytes, ({ messages }) => ({
      messages: replaced(messages, 0, ({ leaves }) => ({
        contentKey: shake256(32, utf8("a key that nobody ever used")),
        leaves: [...leaves.filter(({ name }) => name !== "body"), ...invented],
      })),
    }))
    const said = (file: Uint8Array) => {
      const [first] = verified(directory, file).findings
      return { ...first, proves: first!.proves.filter(({ to }) => to === "anyone") }
    }
    expect(said(other)).toEqual(said(bytes))
    expect(said(bytes).doesNotProve!.join()).toContain("any other content")
    expect(said(bytes).notAfter).toBeNull()
  })

  test("receipts of a colluding relay or co-recipient are refused in it", () => {
    const { notification } = kenyas
    const envelope = notification.sealed.envelopes.find(({ device }) => equal(device, deviceOf(sg)))!
    const blind = shake256(32, utf8("agreed with the relay"))
    const [genuine] = decodeBundle(bytes).relayReceipts
    const colluding: RelayReceiptSection = {
      ...genuine!,
      message: inRecord(notification, { poc: sg }).id,
      poc: sg,
      device: deviceOf(sg),
      mailbox: envelope.mailbox,
      digest: envelope.digest,
      ...accept(directory, envelope, blind, notification.created + 30),
    }
    expect(
      verdictOf(
        directory,
        rewritten(bytes, () => ({ relayReceipts: [colluding] })),
      ),
    ).toBe("relay-receipt-1: unknown-message")
    const { kind, signed } = deviceReceipt(directory, notification, { poc: br })
    const receipts = [...decodeBundle(bytes).receipts, { kind, signed }].toSorted((a, b) =>
      compare(a.signed.bytes, b.signed.bytes),
    )
    const place = receipts.findIndex((receipt) => receipt.signed === signed) + 1
    expect(
      verdictOf(
        directory,
        rewritten(bytes, () => ({ receipts })),
      ),
    ).toBe(`receipt-${place}: unknown-message`)
  })

  test("who exports is warned of what the file makes provable", () => {
    expect(exportWarning(kenyas.bytes)).toBe("with this, the content becomes provable to whoever gets it")
    const received = rewritten(bytes, ({ messages }) => ({
      messages: messages.slice(0, 1),
      receipts: [],
      relayReceipts: [],
    }))
    expect(exportWarning(received)).toBeUndefined()
  })
})
