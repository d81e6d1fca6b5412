/** How a directory begins (SPEC, "Directory"): root, issuing CA, log, and the Secretariat's PoC with the officers who approve. */
import { join } from "node:path"
import type { PocAddress, Realm } from "../protocol/address.ts"
import { utf8 } from "../protocol/bytes.ts"
import type { Signed } from "../protocol/statement.ts"
import { writeTrustFile, type TrustAnchor } from "../pki/anchor.ts"
import { encodeBody } from "../pki/entries.ts"
import { encodeVerifierKey, verifierKey } from "../pki/note.ts"
import { noWitnesses, type WitnessPolicy } from "../pki/policy.ts"
import { secretariatRole, secretariatState } from "../pki/states.ts"
import { durableFiles } from "./files.ts"
import { keepCa, makeCa, makeLogKey, makeRoot, type DirectoryMachine } from "./keys.ts"
import { issueFor } from "./issuing.ts"
import { Ledger, refusal } from "./ledger.ts"
import { LogWriter } from "./log-writer.ts"

export interface Founding extends DirectoryMachine {
  readonly realm: Realm
  /** Who must cosign checkpoints; by default nobody: "the operator's word only". */
  readonly policy?: WitnessPolicy
  readonly secretariat: SecretariatEntry
}

/** The Secretariat's PoC, made at its own desk like everybody else's. */
export interface SecretariatEntry {
  readonly agency: string
  readonly organisation: string
  /** Ed25519, 32 bytes. */
  readonly key: Uint8Array
  /** The key's own signature over its address (`signMember`). */
  readonly member: Uint8Array
  /** Signed by the key; lists two officers or more with the right `approve`. */
  readonly manifest: Signed
}

export const secretariatAddress = (agency: string): PocAddress =>
  `${secretariatState}/${secretariatRole}/${agency}` as PocAddress

/** The log's name: a live and an exercise directory of one origin have logs of their own. */
export const logOrigin = ({ origin, mode }: Realm): string => `${origin}/${mode}`

/** The trust file in a directory's folder: what everybody else is given. */
export const trustPath = "trust"

export const logFolder = (folder: string): string => join(folder, "log")

/** Writes a whole directory into a folder that is not in use yet. Throws `ERR_UNTRUSTED` for an unfit Secretariat. */
export async function found(folder: string, founding: Founding): Promise<void> {
  const { realm, clock, policy = noWitnesses, secretariat } = founding
  const files = durableFiles(folder)
  const root = await makeRoot(files, realm, founding)
  const ca = await makeCa(root, realm, founding)
  await keepCa(files, ca)
  const key = await makeLogKey(files, founding)
  const origin = logOrigin(realm)
  const logKey = encodeVerifierKey(verifierKey(origin, "ed25519", key.publicKey))
  const anchor: TrustAnchor = { realm, rootCertificate: root.certificate, logKey, policy }
  await files.write(trustPath, utf8(writeTrustFile(anchor)))

  const writer = await LogWriter.create({ files: durableFiles(logFolder(folder)), origin, key, clock })
  const ledger = await Ledger.open(anchor, writer, clock)
  try {
    const poc = secretariatAddress(secretariat.agency)
    const certificate = await issueFor(
      { use: "secretariat", poc: { state: secretariatState, role: secretariatRole, agency: secretariat.agency } },
      { realm, ca, machine: founding, ...secretariat },
    )
    const { member, manifest } = secretariat
    const outcome = await ledger.add([
      { kind: "ca", body: encodeBody("ca", { v: 1, certificate: ca.certificate }), approvals: [] },
      {
        kind: "certificate",
        body: encodeBody("certificate", { v: 1, use: "secretariat", poc, isDefault: true, certificate, member }),
        approvals: [],
      },
      { kind: "manifest", body: encodeBody("manifest", { v: 1, poc, manifest }), approvals: [] },
    ])
    if (!outcome.logged) throw refusal(outcome.reason)
  } finally {
    await ledger.close()
    key.erase()
  }
}
