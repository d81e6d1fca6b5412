/**
 * What a reader trusts before it has read anything: the trust file, small enough to read, print and carry (SPEC,
 * "Directory"). Its parts: the directory's name and mode, the root certificate, and a C2SP tlog-policy with the log's
 * key and its witnesses.
 */
import type { Mode, Realm } from "../protocol/address.ts"
import { base64, fromBase64 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { encodeVerifierKey } from "./note.ts"
import { parsePolicy, type WitnessPolicy } from "./policy.ts"
import { isOrigin } from "./profile.ts"
import { validateRoot } from "./validator.ts"

export interface TrustAnchor {
  readonly realm: Realm
  /** DER. */
  readonly rootCertificate: Uint8Array
  /** The log's verifier key (C2SP vkey text). */
  readonly logKey: string
  readonly policy: WitnessPolicy
}

/**
 * Throws `ERR_MALFORMED` for anything that `writeTrustFile` would not have written, `ERR_UNTRUSTED` for an unfit root.
 */
export function readTrustFile(text: string): TrustAnchor {
  const [, origin, mode, pem, policyText] = trustFile.exec(text) ?? refuse("its parts are not those of a trust file")
  if (!isOrigin(origin!)) refuse("its origin is not the name of a directory")
  const policy = parsePolicy(policyText!)
  const [log, ...more] = policy.logs
  if (!log || more.length > 0) return refuse("it does not name exactly one log")
  const anchor: TrustAnchor = {
    realm: { origin: origin!, mode: mode as Mode },
    rootCertificate: fromPem(pem!),
    logKey: encodeVerifierKey(log),
    policy,
  }
  const root = validateRoot(anchor.rootCertificate, anchor.realm)
  if (!root.ok)
    throw new ValiseError("ERR_UNTRUSTED", `the trust file's root certificate is not of the profile: ${root.reason}`)
  return anchor
}

/** Throws what `readTrustFile` would throw: nobody writes a file that nobody can read. */
export function writeTrustFile({ realm, rootCertificate, logKey, policy }: TrustAnchor): string {
  const log = policy.logs.length === 0 ? `log ${logKey}\n` : ""
  const text = `${firstLine}
origin ${realm.origin}
mode ${realm.mode}

${toPem(rootCertificate)}
${log}${policy.text}`
  if (readTrustFile(text).logKey !== logKey) refuse("its policy names another log than the anchor")
  return text
}

const firstLine = "valise trust file v1"
const trustFile = new RegExp(
  `^${firstLine}\norigin ([^\n]+)\nmode (live|exercise)\n\n` +
    "-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]{1,4096})-----END CERTIFICATE-----\n\n([^]*)$",
)

const toPem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${base64(der).replaceAll(/.{1,64}/g, "$&\n")}-----END CERTIFICATE-----\n`

function fromPem(lines: string): Uint8Array {
  try {
    const der = fromBase64(lines.replaceAll("\n", ""))
    return toPem(der).includes(`\n${lines}-`) ? der : refuse("its certificate is not PEM in lines of 64")
  } catch (cause) {
    return refuse("its certificate is not PEM in lines of 64", cause)
  }
}

function refuse(why: string, cause?: unknown): never {
  throw new ValiseError("ERR_MALFORMED", `not a trust file: ${why}`, {
    cause,
    hint: "get the file again, unchanged, from somebody you trust; line ends must be those of the original",
  })
}
