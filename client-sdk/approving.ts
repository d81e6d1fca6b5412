/**
 * An officer's approval, at his own machine: what the directory proposes is compared with what was handed in, shown in
 * words and facts, and signed for exactly that (SPEC, "Directory service"). The directory is not believed in any of it.
 */
import type { PocAddress, Realm } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { readManifest } from "../protocol/manifest.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import type { Signed } from "../protocol/statement.ts"
import { verificationWords } from "../protocol/words.ts"
import { enrolmentStructure, relayRequestStructure, type ProposalAnswer } from "../pki/directory-api.ts"
import { bodyStructures, revocationStructure, signApproval, subjectOf, type EntryKind } from "../pki/entries.ts"
import { readCertificate } from "../pki/x509.ts"
import { iso, type Officer } from "./home.ts"

/** What an officer sees before he signs. */
export interface Considered {
  readonly words: readonly string[]
  /** Label and value, for people; the values may hold what others wrote. */
  readonly facts: readonly (readonly [string, string])[]
}

/** Throws `ERR_UNTRUSTED` if the entry is not about what was handed in. */
export function consider(proposal: ProposalAnswer, realm: Realm): Considered {
  const { body, id, kind, request } = proposal
  if (hex(subjectOf(kind, body)).slice(0, 32) !== id) throw differs()
  if (kind === "certificate" && request) return considerEnrolment(proposal, request, realm)
  if (kind === "relay" && request) return considerRelay(body, request)
  return { words: verificationWords("proposal", body), facts: factsOf[kind](body) }
}

/** "Exactly this shall count", for a month. */
export function approve(
  { kind, body }: Pick<ProposalAnswer, "kind" | "body">,
  by: { readonly realm: Realm; readonly poc: PocAddress; readonly key: SigningKey; readonly officer?: Officer["id"] },
  nowSeconds: number,
): Signed {
  const { key, officer, poc, realm } = by
  const times = { created: nowSeconds, expires: nowSeconds + fixed.approvalSecondsMax }
  return signApproval(key, realm, { v: 1, poc, officer, kind, subject: subjectOf(kind, body), ...times })
}

function considerEnrolment({ body, firstManifest }: ProposalAnswer, request: Uint8Array, realm: Realm): Considered {
  const asked = enrolmentStructure.decode(request)
  const entry = bodyStructures.certificate.decode(body)
  const certificate = readCertificate(entry.certificate)
  const isThatKey = equal(certificate.publicKey, asked.key) && equal(entry.member, asked.member)
  if (entry.poc !== asked.poc || !isThatKey) throw differs() // defence: 5 approved-as-handed-in
  if (!firstManifest || !equal(firstManifest.bytes, asked.manifest.bytes)) throw differs() // defence: 5 manifest-as-handed-in
  const { devices, officers } = readManifest({ address: asked.poc, key: asked.key }, realm, asked.manifest)
  return {
    words: verificationWords("enrolment", request),
    facts: [
      ["PoC", entry.poc],
      ["organisation", certificate.organisation],
      ["role", entry.use],
      ["what the State's address means", entry.isDefault ? "this PoC" : "another PoC, as before"],
      ["devices", String(devices.length)],
      ...officers.map(({ title, rights }) => ["officer", `${title}: ${rights.join(", ")}`] as const),
    ],
  }
}

function considerRelay(body: Uint8Array, request: Uint8Array): Considered {
  const asked = relayRequestStructure.decode(request)
  const { certificate: der, host, member, urls } = bodyStructures.relay.decode(body)
  const certificate = readCertificate(der)
  const isThatKey = equal(certificate.publicKey, asked.key) && equal(member, asked.member)
  const isThere = host === asked.host && urls.join(" ") === asked.urls.join(" ")
  if (!isThatKey || !isThere || certificate.organisation !== asked.organisation) throw differs()
  return {
    words: verificationWords("relay", request),
    facts: [
      ["relay", host],
      ["reached at", urls.join(", ")],
      ["organisation", certificate.organisation],
    ],
  }
}

/** What the entry itself says, for those kinds that nothing was handed in for. */
const factsOf: { readonly [K in EntryKind]: (body: Uint8Array) => Considered["facts"] } = {
  ca: () => [["issuing CA", "a new one"]],
  certificate: (body) => {
    const { certificate, poc } = bodyStructures.certificate.decode(body)
    return [
      ["PoC", poc],
      ["new certificate until", iso(readCertificate(certificate).notAfter)],
    ]
  },
  manifest: (body) => [["changed approving officers of", bodyStructures.manifest.decode(body).poc]],
  relay: (body) => {
    const { host, urls } = bodyStructures.relay.decode(body)
    return [
      ["relay", host],
      ["reached at", urls.join(", ")],
    ]
  },
  revocation: (body) => {
    const { reason, target, text } = revocationStructure.decode(bodyStructures.revocation.decode(body).statement.bytes)
    return [
      ["revocation of", "poc" in target ? `${target.kind} of ${target.poc}` : target.kind],
      ["reason", reason],
      ["text", text],
    ]
  },
  default: (body) => [["the State's address will mean", bodyStructures.default.decode(body).poc]],
  role: (body) => [["new role", bodyStructures.role.decode(body).role]],
}

const differs = (): ValiseError =>
  new ValiseError("ERR_UNTRUSTED", "what the directory proposes is not what was handed in", {
    hint: "do not approve it; speak with the other officers and with whoever handed it in",
  })
