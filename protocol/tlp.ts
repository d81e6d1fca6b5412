/** Traffic Light Protocol 2.0 (SPEC, "TLP"). Labels travel as text, never as numbers: tools disagree on the numbers. */
import { z } from "zod"
import { parsePocAddress, type PocAddress } from "./address.ts"

export const tlpLabels = ["RED", "AMBER+STRICT", "AMBER", "GREEN", "CLEAR"] as const
export type Tlp = (typeof tlpLabels)[number]
export const tlpShape = z.enum(tlpLabels)

/** Whom the sender lets a recipient share with when it sends, by the label alone. */
export const releaseOf = {
  RED: "named-recipients",
  "AMBER+STRICT": "same-poc",
  AMBER: "same-state",
  GREEN: "community",
  CLEAR: "anyone",
} as const satisfies Record<Tlp, string>

export interface Forwarding {
  readonly sender: PocAddress
  readonly forwarder: PocAddress
  readonly thirdParty: PocAddress
}

/**
 * `needs-consent`: of everyone involved; outside the State also under GREEN and CLEAR, as version 1 has no class attestations.
 * `allowed-without`: the label already releases it; the third party still sees the forwarder's word only.
 * `never`: there is nothing to forward, to the sender or by the sender, nor RED from a PoC to itself.
 */
export type ForwardingRule = "needs-consent" | "allowed-without" | "never"

export function forwardingAllowed(tlp: Tlp, { sender, forwarder, thirdParty }: Forwarding): ForwardingRule {
  if (forwarder === sender || thirdParty === sender) return "never"
  if (thirdParty === forwarder) return tlp === "RED" ? "never" : "allowed-without"
  const sameState = parsePocAddress(thirdParty).state === parsePocAddress(forwarder).state
  const release = releaseOf[tlp]
  const reachesState = release !== "named-recipients" && release !== "same-poc"
  return sameState && reachesState ? "allowed-without" : "needs-consent"
}
