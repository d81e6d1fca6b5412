import { describe, expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { forwardingAllowed, tlpLabels, tlpShape, type ForwardingRule, type Tlp } from "../../protocol/tlp.ts"
import { R, S, stranger, T } from "../support/papers.ts"

const neighbour = "sg/diplomatic/merlion" as PocAddress
const rule = (tlp: Tlp, thirdParty: PocAddress, forwarder = R) =>
  forwardingAllowed(tlp, { sender: S, forwarder, thirdParty })

describe("what a label releases, by whom R would pass it to", () => {
  const table: Record<Tlp, { other: ForwardingRule; sameState: ForwardingRule; samePoc: ForwardingRule }> = {
    RED: { other: "needs-consent", sameState: "needs-consent", samePoc: "never" },
    "AMBER+STRICT": { other: "needs-consent", sameState: "needs-consent", samePoc: "allowed-without" },
    AMBER: { other: "needs-consent", sameState: "allowed-without", samePoc: "allowed-without" },
    GREEN: { other: "needs-consent", sameState: "allowed-without", samePoc: "allowed-without" },
    CLEAR: { other: "needs-consent", sameState: "allowed-without", samePoc: "allowed-without" },
  }
  test.each(tlpLabels)("%s", (tlp) => {
    expect({ other: rule(tlp, T), sameState: rule(tlp, neighbour), samePoc: rule(tlp, R) }).toEqual(table[tlp])
    expect(rule(tlp, S)).toBe("never")
    expect(rule(tlp, T, S)).toBe("never")
    expect(rule(tlp, stranger)).toBe("needs-consent")
  })
})

test.each(["WHITE", "amber", "TLP:AMBER", "AMBER + STRICT", "", 3, null])("%j is no label", (label) =>
  expect(tlpShape.safeParse(label).success).toBe(false),
)
