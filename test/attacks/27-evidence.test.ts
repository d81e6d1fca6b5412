/** T's evidence file of a consented forwarding is shown to a fourth party: it names S nowhere but in what R could invent. */
import { beforeAll, expect, test } from "vitest"
import { hex, utf8 } from "../../protocol/bytes.ts"
import { encodeForward, type RequestId } from "../../protocol/consent.ts"
import { saltOf } from "../../protocol/leaves.ts"
import { shake256, verifySignature } from "../../protocol/primitives.ts"
import { signedBytes, statementLabels } from "../../protocol/statement.ts"
import { byteStringsIn } from "../support/byte-strings.ts"
import { deviceKeyOf, officerKeyOf, pocKeyOf, type TestDirectory } from "../support/directory.ts"
import {
  br,
  exported,
  fr,
  homeOf,
  inRecord,
  ke,
  network,
  replaced,
  rewritten,
  send,
  sg,
  verdictOf,
  verified,
} from "../support/evidence.ts"

let directory: TestDirectory
let bytes: Uint8Array
beforeAll(async () => {
  directory = await network(fr)
  const notification = send(directory, ke, [{ poc: sg }, { poc: br }])
  const shown = notification.leaves
    .filter(({ name }) => name === "body" || name === "involved")
    .map(({ name, value }) => ({ name, value, salt: saltOf(notification.contentKey, name) }))
  const requestId = shake256(16, utf8("request")) as RequestId
  const statement = { name: "statement", value: encodeForward({ v: 1, requestId, leaves: shown }) }
  const forward = send(directory, sg, [{ poc: fr }], { type: "forward", more: [statement] })
  bytes = exported(await homeOf(directory, fr, [inRecord(forward, { poc: fr })]))
})

test("27 a fourth party: nothing in T's file is signed by S or by who consented, nor does its directory name them", () => {
  expect(verdictOf(directory, bytes)).toBe("verified")
  const all = byteStringsIn(bytes)
  const keys = [ke, br]
    .flatMap((poc) => [deviceKeyOf(poc), officerKeyOf(poc), pocKeyOf(poc)])
    .map(({ publicKey }) => publicKey)
  for (const key of keys) expect(all.some((x) => hex(x).includes(hex(key)))).toBe(false)
  const signatures = all.filter((x) => x.length === 64)
  for (const text of all)
    for (const label of statementLabels) {
      const message = signedBytes(directory.authorities.realm, label, text)
      for (const signature of signatures)
        expect(keys.some((key) => verifySignature(key, message, signature))).toBe(false)
    }
})

test("27 a fourth party: T could have made the same file with other words of S in it", () => {
  const invented = encodeForward({
    v: 1,
    requestId: shake256(16, utf8("request")) as RequestId,
    leaves: ["body", "involved"].map((name) => ({ name, value: utf8("invented"), salt: shake256(32, utf8(name)) })),
  })
  const other = rewritten(bytes, ({ messages }) => ({
    messages: replaced(messages, 0, ({ leaves }) => ({
      leaves: leaves.map((leaf) => (leaf.name === "statement" ? { ...leaf, value: invented } : leaf)),
    })),
  }))
  const provedToAnyone = (file: Uint8Array) =>
    verified(directory, file).findings.flatMap(({ proves }) => proves.filter(({ to }) => to === "anyone"))
  expect(provedToAnyone(other)).toEqual(provedToAnyone(bytes))
})
