/** A sender that tells its recipients different things is exposed by the C that answers and requests name. */
import { describe, expect, test } from "vitest"
import type { MessageId } from "../../protocol/address.ts"
import { hex, utf8 } from "../../protocol/bytes.ts"
import { nodeRandom } from "../../system/node.ts"
import { useDesks } from "../support/inside.ts"
import { randomOf } from "../support/sealing.ts"

const desks = useDesks("kenya", "singapore", "brazil", "france")

/** Kenya's one signed header over one id, with other content for Brazil than for Singapore. */
function equivocate(): MessageId {
  const { kenya, singapore, brazil } = desks.at
  const recipients = [singapore, brazil].map((to) => ({ to, prekey: desks.post.prekeyFor(to) }))
  const messageId = nodeRandom.bytes(16) as MessageId
  const involved = [kenya, singapore, brazil].map((desk) => desk.home.identity.poc)
  const contentKey = nodeRandom.bytes(32)
  const seed = hex(messageId)
  const sealed = ["the network is yours", "the network is not yours"].map((text) =>
    kenya.forgeTo(
      "notification",
      recipients,
      {
        messageId,
        contentKey,
        case: messageId,
        created: kenya.home.now,
        pairSequence: { incarnation: kenya.incarnation, n: 1 },
        involved,
        leaves: [
          { name: "tlp", value: utf8("AMBER") },
          { name: "subject", value: utf8(text) },
        ],
      },
      randomOf(seed),
    ),
  )
  expect(hex(sealed[0]!.headerHash)).toBe(hex(sealed[1]!.headerHash))
  expect(hex(sealed[0]!.contentHash)).not.toBe(hex(sealed[1]!.contentHash))
  expect(singapore.receive(sealed[0]!.envelopes[0]!.bytes)).toBe("collected")
  expect(brazil.receive(sealed[1]!.envelopes[1]!.bytes)).toBe("collected")
  return messageId
}

describe("8 sender equivocation across recipients", () => {
  test("8 sender equivocation: a response names the C that it answers, and the other recipient sees that it is another", async () => {
    const messageId = equivocate()
    const { singapore, brazil } = desks.at
    const { contentHash } = singapore.record(hex(messageId))!.sealed!
    const inReplyTo = { message: messageId, content: contentHash }
    singapore.write("response", [brazil.home.identity.poc], [], { case: messageId, inReplyTo })
    await desks.post.carry()
    expect(brazil.notices()).toEqual([
      expect.stringMatching(/^equivocation: sg\/technical\/merlion answers another content/),
    ])
    expect(singapore.notices()).toEqual([])
  })

  test("8 sender equivocation: so does a consent request, and nobody consents to what it does not hold", async () => {
    const messageId = equivocate()
    const { singapore, brazil, france } = desks.at
    const asked = { with: france.home.identity.poc, leaves: ["subject"], purpose: "The same host." }
    singapore.home.vault.transaction((tx) => singapore.consents.request(tx, tx.get("messages", hex(messageId))!, asked))
    await desks.post.carry()
    expect(brazil.notices()).toContainEqual(
      expect.stringMatching(/^equivocation: sg\/technical\/merlion asks about another content/),
    )
    expect(brazil.home.vault.read((tx) => [...tx.list("consents")])).toEqual([])
  })

  test("8 sender equivocation: the same C everywhere raises no alarm", async () => {
    const { kenya, singapore, brazil } = desks.at
    const to = [singapore, brazil].map((desk) => desk.home.identity.poc)
    const id = kenya.write("notification", to)
    await desks.post.carry()
    const { contentHash } = singapore.record(id)!.sealed!
    singapore.write("response", [brazil.home.identity.poc], [], {
      inReplyTo: { message: kenya.record(id)!.id, content: contentHash },
    })
    await desks.post.carry()
    expect(brazil.notices()).toEqual([])
  })

  test("8 sender equivocation: two messages under one id to one recipient: the first stands, and the second is told", () => {
    const { kenya, singapore } = desks.at
    const messageId = nodeRandom.bytes(16) as MessageId
    const envelopes = ["first", "second"].map((text) =>
      kenya.forge("notification", singapore, desks.post.prekeyFor(singapore), {
        messageId,
        leaves: [{ name: "subject", value: utf8(text) }],
      }),
    )
    for (const bytes of envelopes) expect(singapore.receive(bytes)).toBe("collected")
    expect(singapore.received().map(({ leaves }) => leaves.find(({ name }) => name === "subject")!.value)).toEqual([
      utf8("first"),
    ])
    expect(singapore.notices()).toEqual([
      expect.stringMatching(/^equivocation: ke\/technical\/baobab sent two different messages/),
    ])
    expect(singapore.journal("equivocation")).toEqual([{ message: hex(messageId) }])
  })
})
