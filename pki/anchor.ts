/** What a reader trusts before it has read anything: one small text file that a person can read and carry (SPEC §8). */
import type { Realm } from "../protocol/address.ts"
import type { WitnessPolicy } from "./policy.ts"

export interface TrustAnchor {
  readonly realm: Realm
  /** The root certificate, DER. */
  readonly rootCertificate: Uint8Array
  /** The log's verifier key (C2SP vkey text). */
  readonly logKey: string
  readonly policy: WitnessPolicy
}

export declare function readTrustFile(text: string): TrustAnchor
export declare function writeTrustFile(anchor: TrustAnchor): string
