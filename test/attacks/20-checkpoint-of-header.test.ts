import { expect, test } from "vitest"
import { utf8 } from "../../protocol/bytes.ts"
import { open } from "../../protocol/open.ts"
import { messageOf, openerOf, recipientOf, sealDishonestly, singapore } from "../support/sealing.ts"

test("20 split view: the checkpoint that is compared with one's own is the one that the sender signed", () => {
  const input = messageOf({ recipients: [recipientOf(singapore)] })
  const checkpoint = utf8("directory.example\n11\nanotherroot\n\n— directory.example sig\n")
  const bytes = sealDishonestly(input, { payload: (payload) => ({ ...payload, checkpoint }) })
  const judgeSender = () => expect.fail("a checkpoint that nobody signed for was judged")
  expect(open({ ...openerOf(singapore, bytes), judgeSender })).toMatchObject({ ok: false, reason: "checkpoint" })
})
