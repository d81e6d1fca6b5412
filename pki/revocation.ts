/** What a revocation can end, who may ask for it, and how it ends (SPEC, "Directory"). */
import type { PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { certificateHash, type RevocationTarget } from "./entries.ts"
import type { End, PocHistory } from "./poc-history.ts"
import type { Certificate } from "./x509.ts"

/** Something in the directory that can be ended. */
export interface Target {
  readonly key: Uint8Array
  /** Keys that may end it by themselves. */
  readonly holders: readonly Uint8Array[]
  /** Whether the Secretariat may, with two officers: never if it is a State's. */
  readonly officersMay: boolean
  /** Seconds: no earlier moment makes sense. */
  readonly since: number
  readonly end: (end: End) => void
}

/** What is in force, and from which what ends is taken. */
export interface Endable {
  readonly cas: Set<Certificate>
  /** By host. */
  readonly relays: Map<string, CertifiedRelay>
  /** By the certificate's hash in hexadecimal; replaced ones too. */
  readonly relayCertificates: Map<string, CertifiedRelay>
  readonly pocs: ReadonlyMap<PocAddress, PocHistory>
}

interface CertifiedRelay {
  readonly host: string
  readonly certificate: Certificate
}

/** `undefined` if the directory has nothing such. */
export function findTarget(target: RevocationTarget, endable: Endable, atSeconds: number): Target | undefined {
  if (target.kind === "ca") return caTarget(target, endable)
  if (target.kind === "relay") return relayTarget(target, endable)
  const poc = endable.pocs.get(target.poc)
  if (!poc) return undefined
  return target.kind === "certificate"
    ? certificateTarget(target.certificate, poc)
    : listedTarget(target, poc, atSeconds)
}

type TargetOf<K extends RevocationTarget["kind"]> = Extract<RevocationTarget, { readonly kind: K }>

/** Not retroactive: what the CA signed counted by others' approval too. */
function caTarget({ certificate }: TargetOf<"ca">, { cas }: Endable): Target | undefined {
  const ca = [...cas].find(({ der }) => equal(certificateHash(der), certificate))
  return ca && { key: ca.publicKey, holders: [], officersMay: true, since: 0, end: () => cas.delete(ca) }
}

/** One that was replaced can be ended, too: whoever has its key could still date receipts back. */
function relayTarget(target: TargetOf<"relay">, { relays, relayCertificates }: Endable): Target | undefined {
  const listing = relayCertificates.get(hex(target.certificate)) // defence: 15 replaced-relay-key => const listing = relays.get(target.host)
  if (listing?.host !== target.host) return undefined
  const { publicKey: key } = listing.certificate
  const end = ({ reason }: End): void => {
    for (const [id, one] of relayCertificates) {
      if (one !== listing && !(reason === "compromise" && equal(one.certificate.publicKey, key))) continue
      relayCertificates.delete(id)
      if (relays.get(one.host) === one) relays.delete(one.host)
    }
  }
  return { key, holders: [key], officersMay: true, since: 0, end }
}

function certificateTarget(hash: Uint8Array, poc: PocHistory): Target | undefined {
  const certificate = poc.certificateWithHash(hash)
  if (!certificate) return undefined
  const { publicKey: key, notBefore: since } = certificate
  const end = (x: End): void => poc.revokeCertificate(certificate, x)
  return { key, holders: [key], officersMay: false, since, end }
}

function listedTarget(
  target: TargetOf<"device"> | TargetOf<"officer">,
  poc: PocHistory,
  atSeconds: number,
): Target | undefined {
  const id = target.kind === "device" ? target.device : target.officer
  const key = (target.kind === "device" ? poc.device(id) : poc.officer(id))?.record.key
  if (!key) return undefined
  // The Secretariat's key alone ends no officer: that takes two of them.
  const isApprover = poc.isSecretariat && target.kind === "officer"
  const pocKey = poc.isInForce(atSeconds) && !isApprover ? [poc.certificate!.certificate.publicKey] : []
  const end = (x: End): void => poc.revokeListed(id, x)
  return { key, holders: [key, ...pocKey], officersMay: isApprover, since: 0, end }
}
