import { expect, test } from "vitest"
import { parseEnvelope } from "../../protocol/envelope.ts"
import { open } from "../../protocol/open.ts"
import { seal } from "../../protocol/seal.ts"
import {
  brazil,
  leaf,
  messageOf,
  opened,
  openerOf,
  recipientOf,
  sealDishonestly,
  singapore,
} from "../support/sealing.ts"

const { envelopes } = seal(messageOf())
const [toSingapore, toBrazil] = envelopes

test("3 insider alteration: Singapore, who knows all of the message, cannot change it for Brazil", () => {
  const received = opened(open(openerOf(singapore, toSingapore!.bytes)))
  const { headerSigned, release, contentKey, leaves } = received
  // Even if it knew Brazil's entry and path, which only Kenya and Brazil have: the entry names Kenya's encapsulation.
  const { entry, index, path } = toBrazil!
  const altered = messageOf({
    recipients: [recipientOf(brazil)],
    contentKey,
    leaves: leaves.map((x) => (x.name === "subject" ? leaf("subject", "False alarm") : x)),
  })
  const bytes = sealDishonestly(altered, {
    headerSigned: () => headerSigned,
    release: () => release!.signature,
    payload: (payload) => ({ ...payload, entry, index, path }),
  })
  expect(open(openerOf(brazil, bytes))).toMatchObject({ ok: false, reason: "entry" })
})

test("3 insider alteration: under Kenya's own encapsulation to Brazil, Singapore's ciphertext is not authentic", () => {
  const bytes = Uint8Array.from(toBrazil!.bytes)
  bytes.set(parseEnvelope(toSingapore!.bytes)!.ciphertext, bytes.length - parseEnvelope(bytes)!.ciphertext.length)
  expect(open(openerOf(brazil, bytes))).toMatchObject({ ok: false, reason: "aead" })
})
