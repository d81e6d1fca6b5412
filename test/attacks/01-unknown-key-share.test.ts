import { expect, test } from "vitest"
import {
  deviceOf,
  kenya,
  messageOf,
  openerOf,
  prekeyOf,
  recipientOf,
  sealDishonestly,
  singapore,
} from "../support/sealing.ts"
import { open } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"

const mallory = deviceOf("zz/technical/mallory")
const toSingapore = messageOf({ recipients: [recipientOf(singapore)] })

test("1 unknown key share: what was sealed to a PoC that lists Singapore's prekey as its own does not open at Singapore", () => {
  const copied = prekeyOf(singapore)
  const listed = { ...copied, statement: { ...copied.statement, device: mallory.id } }
  const { envelopes } = seal(messageOf({ recipients: [recipientOf(mallory, listed)] }))
  expect(open(openerOf(singapore, envelopes[0]!.bytes))).toMatchObject({ ok: false, reason: "commitment" })
})

test("1 unknown key share: an entry that names another device, or another PoC, is not one's own", () => {
  const other = sealDishonestly(toSingapore, { entry: (entry) => ({ ...entry, device: mallory.id }) })
  expect(open(openerOf(singapore, other))).toMatchObject({ ok: false, reason: "entry" })
  const otherPoc = sealDishonestly(toSingapore, { entry: (entry) => ({ ...entry, poc: mallory.poc }) })
  expect(open(openerOf(singapore, otherPoc))).toMatchObject({ ok: false, reason: "entry" })
})

test("1 unknown key share: nobody makes Kenya's message its own by changing the sender in the header", () => {
  const honest = sealDishonestly(toSingapore, {})
  const claimed = sealDishonestly(toSingapore, {
    header: (header) => ({
      ...header,
      sender: { poc: mallory.poc, device: mallory.id, officer: header.sender.officer },
    }),
  })
  const judgeSender: ReturnType<typeof openerOf>["judgeSender"] = ({ sender }) => ({
    ok: true,
    deviceKey: sender.poc === mallory.poc ? mallory.key.publicKey : kenya.key.publicKey,
    officerKey: toSingapore.officer!.key.publicKey,
    banners: [],
  })
  expect(open({ ...openerOf(singapore, honest), judgeSender }).ok).toBe(true)
  expect(open({ ...openerOf(singapore, claimed), judgeSender })).toMatchObject({ ok: false, reason: "signature" })
})
