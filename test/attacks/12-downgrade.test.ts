import { expect, test } from "vitest"
import { concat } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { commitmentOf } from "../../protocol/envelope.ts"
import { open, type Opened } from "../../protocol/open.ts"
import { checkPrekey } from "../../protocol/prekey.ts"
import { signStatement } from "../../protocol/statement.ts"
import { codeOf } from "../support/errors.ts"
import {
  live,
  messageOf,
  nowSeconds,
  opened,
  openerOf,
  prekeyOf,
  recipientOf,
  sealDishonestly,
  singapore,
  type Deceit,
} from "../support/sealing.ts"

const sealedWith = (deceit: Deceit): Opened =>
  open(openerOf(singapore, sealDishonestly(messageOf({ recipients: [recipientOf(singapore)] }), deceit)))

test("12 downgrade: an envelope of another version or suite is refused, though sealed under just these bytes", () => {
  const outside = (version: number, suite: number): Opened =>
    sealedWith({
      envelope: ({ recipient, encapsulation, context, padded }) => {
        const { mailbox, prekey } = recipient
        const aad = concat(Uint8Array.of(version, suite), mailbox, prekey.id, commitmentOf(context), encapsulation)
        return concat(aad, context.seal(aad, padded))
      },
    })
  expect(outside(1, 1).ok).toBe(true)
  for (const [version, suite] of [
    [0, 1],
    [2, 1],
    [1, 0],
    [1, 2],
    [255, 255],
  ] as const)
    expect(outside(version, suite)).toMatchObject({ ok: false, reason: "version" })
})

test("12 downgrade: a signed header of another version or suite is refused", () => {
  for (const change of [{ v: 0 }, { v: 2 }, { suite: 0 }, { suite: 2 }, { v: 2, suite: 2, more: true }])
    expect(sealedWith({ header: (header) => ({ ...header, ...change }) })).toMatchObject({ reason: "version" })
})

test("12 unknown critical field: refused; an unknown field that is not critical survives in the signed bytes", () => {
  const grown = sealedWith({ header: (header) => ({ ...header, later: "a field of a later version" }) })
  expect(opened(grown).header).toMatchObject({ later: "a field of a later version" })
  const known = sealedWith({ header: (header) => ({ ...header, crit: ["expires"] }) })
  expect(known.ok).toBe(true)
  const critical = sealedWith({ header: (header) => ({ ...header, later: 1, crit: ["later"] }) })
  expect(critical).toMatchObject({ ok: false, reason: "version" })
})

test("12 downgrade: a prekey of another version or suite, or with an unknown critical field, is not sealed to", () => {
  const device = { id: singapore.id, signingKey: singapore.key.publicKey }
  const verdict = (change: object): string => {
    const bytes = encodeCbor({ ...prekeyOf(singapore).statement, ...change })
    return codeOf(() => checkPrekey(live, device, signStatement(singapore.key, live, "prekey", bytes), nowSeconds))
  }
  expect(verdict({ later: 1 })).toBe("none")
  for (const change of [{ v: 2 }, { suite: 0 }, { suite: 2, pk: new Uint8Array(9) }, { later: 1, crit: ["later"] }])
    expect(verdict(change)).toBe("ERR_VERSION")
})
