import { expect, test } from "vitest"
import { open } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"
import { brazil, messageOf, opened, openerOf, recipientOf, sealDishonestly, singapore } from "../support/sealing.ts"

const { envelopes } = seal(messageOf({ recipients: [recipientOf(singapore)] }))
const received = opened(open(openerOf(singapore, envelopes[0]!.bytes)))

test("2 surreptitious forwarding: Singapore cannot pass Kenya's message on to Brazil as if Kenya had sealed it there", () => {
  const { headerSigned, release, checkpoint, contentKey, leaves, entry, index, path } = received
  const genuine = {
    headerSigned: () => headerSigned,
    release: () => release!.signature,
  }
  const input = messageOf({ recipients: [recipientOf(brazil)], checkpoint, contentKey, leaves })
  const withNewEntry = sealDishonestly(input, { ...genuine, payload: (payload) => ({ ...payload, index, path }) })
  expect(open(openerOf(brazil, withNewEntry))).toMatchObject({ ok: false, reason: "entry" })
  const withOwnEntry = sealDishonestly(input, {
    ...genuine,
    payload: (payload) => ({ ...payload, entry, index, path }),
  })
  expect(open(openerOf(brazil, withOwnEntry))).toMatchObject({ ok: false, reason: "entry" })
})
