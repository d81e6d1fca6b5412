/** The SDK of R and of S: nothing leaves before everybody has agreed, nor after anybody has changed its mind. */
import { describe, expect, test } from "vitest"
import { hex, utf8 } from "../../protocol/bytes.ts"
import {
  consentTo,
  encodeConsent,
  encodeConsentWithdrawal,
  encodeForward,
  type RequestId,
} from "../../protocol/consent.ts"
import type { ConsentRecord } from "../../client-sdk/collections.ts"
import { nodeRandom } from "../../system/node.ts"
import { useDesks, type Inside } from "../support/inside.ts"

const desks = useDesks("kenya", "singapore", "brazil", "france")

const row = (desk: Inside, id: string): ConsentRecord => desk.home.vault.read((tx) => tx.get("consents", id))!
const grant = (desk: Inside, id: string): void =>
  desk.home.vault.transaction((tx) => desk.consents.grant(tx, tx.get("consents", id)!))
const forward = (desk: Inside, id: string): string =>
  desk.home.vault.transaction((tx) => desk.consents.forward(tx, tx.get("consents", id)!))
const code = (value: string) => expect.objectContaining({ code: value })

/** Kenya's message at Singapore and Brazil, and Singapore's request to show its subject to France. */
async function requested(): Promise<string> {
  const { kenya, singapore, brazil, france } = desks.at
  const to = [singapore, brazil].map((desk) => desk.home.identity.poc)
  const leaves = ["tlp", "subject"].map((name) => ({ name, value: utf8(name === "tlp" ? "AMBER" : "Beacons") }))
  const id = kenya.write("notification", to, leaves, { involved: [kenya.home.identity.poc, ...to] })
  await desks.post.carry()
  const asked = { with: france.home.identity.poc, leaves: ["subject"], purpose: "The same host." }
  const request = singapore.home.vault.transaction((tx) =>
    singapore.consents.request(tx, tx.get("messages", id)!, asked),
  )
  await desks.post.carry()
  return request
}

describe("25 consent in the SDK", () => {
  test("25 attest last: the sender that has agreed attests only when the last consent is there", async () => {
    const { kenya, brazil, france } = desks.at
    const request = await requested()
    grant(kenya, request)
    await desks.post.carry()
    expect(row(kenya, request)).toMatchObject({ mine: "granted", attested: false })
    expect(france.received().map(({ type }) => type)).toEqual(["consent"])
    grant(brazil, request)
    await desks.post.carry()
    expect(row(kenya, request).attested).toBe(true)
    expect(
      france
        .received()
        .map(({ type }) => type)
        .toSorted(),
    ).toEqual(["attestation", "consent", "consent"])
  })

  test("25 forwarding: refused without the consents, without the attestation, and after a withdrawal", async () => {
    const { kenya, singapore, brazil } = desks.at
    const request = await requested()
    expect(() => forward(singapore, request)).toThrow(code("ERR_NO_CONSENT"))
    grant(brazil, request)
    await desks.post.carry()
    expect(() => forward(singapore, request)).toThrow(code("ERR_NO_CONSENT"))
    grant(kenya, request)
    await desks.post.carry()
    brazil.home.vault.transaction((tx) => brazil.consents.withdraw(tx, tx.get("consents", request)!))
    await desks.post.carry()
    expect(row(singapore, request).attested).toBe(true)
    expect(() => forward(singapore, request)).toThrow(code("ERR_NO_CONSENT"))
    expect(singapore.outbox.pending()).toEqual([])
  })

  test("25 withdrawal: it reaches those who can be reached although one of them cannot", async () => {
    const { kenya, singapore, brazil } = desks.at
    const request = await requested()
    grant(brazil, request)
    grant(kenya, request)
    await desks.post.carry()
    brazil.home.vault.transaction((tx) => brazil.consents.withdraw(tx, tx.get("consents", request)!))
    // France has no prekeys any more, and with it the withdrawal to France waits.
    const sealed = await brazil.flush((device) =>
      hex(device) === hex(desks.at.france.home.identity.device) ? undefined : desks.post.prekeyOf(device),
    )
    expect(sealed.map(({ mailbox }) => mailbox).toSorted()).toEqual(
      [hex(kenya.mailbox), hex(singapore.mailbox)].toSorted(),
    )
  })

  test("25 strangers: a consent of somebody who is not involved, or to something else, is no consent and is not shown as one", async () => {
    const { kenya, singapore, brazil, france } = desks.at
    const request = await requested()
    const { scope } = row(singapore, request)
    const paper = (from: Inside, to: Inside, change: object): Uint8Array =>
      from.forge("consent", to, desks.post.prekeyFor(to), {
        leaves: [{ name: "statement", value: encodeConsent({ ...consentTo(scope, from.home.now), ...change }) }],
      })
    singapore.receive(paper(france, singapore, {}))
    singapore.receive(paper(brazil, singapore, { thirdParty: "nz/technical/kauri" }))
    expect(row(singapore, request).consents.map(({ from }) => from)).toEqual([singapore.home.identity.poc])
    expect(singapore.notices()).toHaveLength(2)
    kenya.receive(paper(brazil, kenya, {}))
    expect(row(kenya, request).consents.map(({ from }) => from)).toEqual([singapore.home.identity.poc])
  })

  test("25 strangers: a withdrawal by somebody else changes nothing", async () => {
    const { singapore, france } = desks.at
    const request = await requested()
    const bytes = encodeConsentWithdrawal({ v: 1, requestId: row(singapore, request).requestId })
    singapore.receive(
      france.forge("consent-withdrawal", singapore, desks.post.prekeyFor(singapore), {
        leaves: [{ name: "statement", value: bytes }],
      }),
    )
    expect(row(singapore, request).withdrawn).toEqual([])
  })

  test("25 the forwarder's word only: a forward of one's own making is archived as such, and never shown without that word", () => {
    const { singapore, france } = desks.at
    const leaves = ["involved", "subject"].map((name) => ({ name, salt: nodeRandom.bytes(32), value: utf8("[]") }))
    const statement = encodeForward({ v: 1, requestId: nodeRandom.bytes(16) as RequestId, leaves })
    france.receive(
      singapore.forge("forward", france, desks.post.prekeyFor(france), {
        leaves: [{ name: "statement", value: statement }],
      }),
    )
    expect(france.received()[0]!.forward).toMatchObject({ unverified: "no-attestation" })
  })
})
