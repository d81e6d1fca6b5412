/** How a directory begins: officers make their keys, each at his own machine; the Secretariat's home and the directory follow. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { z } from "zod"
import { trustDirectory } from "../client-sdk/enrol.ts"
import { Directory } from "../directory/directory.ts"
import { secretariatAddress } from "../directory/founding.ts"
import { shapes, type PocAddress, type Realm } from "../protocol/address.ts"
import { fromUtf8 } from "../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../protocol/cbor.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { judgeOfficer, manifestOfficerShape, type ManifestOfficer } from "../protocol/manifest.ts"
import { verificationWords } from "../protocol/words.ts"
import { readTrustFile } from "../pki/anchor.ts"
import { nodeMachine } from "../system/node.ts"
import { writeHome, type HomeOptions } from "./homes.ts"
import { dutyRights, makeHome } from "./making.ts"
import { withVault } from "./own-keys.ts"

export interface NewOfficer {
  readonly home: string
  readonly realm: Realm
  readonly agency: string
  readonly title: string
  readonly relayHost: string
  readonly output: string
}

/** Makes the home of an officer who will approve, and the file with his public key. Resolves to the words that name it. */
export async function makeApprover(options: NewOfficer): Promise<readonly string[]> {
  const { agency, home, output, realm, relayHost: relay, title } = options
  const poc = secretariatAddress(agency)
  const bytes = await makeHome(
    home,
    { poc, realm, relay, officer: { title, rights: ["approve"] } },
    async ({ officer }) => encodeCbor({ v: 1, poc, officer }),
  )
  writeFileSync(output, bytes, { mode: 0o644, flag: "wx" })
  return verificationWords("officer", bytes)
}

export interface NewDirectory {
  readonly folder: string
  /** Where the Secretariat's own home is made. */
  readonly home: string
  readonly realm: Realm
  readonly agency: string
  readonly organisation: string
  readonly relayHost: string
  /** Those that `makeApprover` wrote. */
  readonly officerFiles: readonly string[]
}

/** Makes the directory and the Secretariat's home; resolves to the officers with their words. */
export async function foundDirectory(options: NewDirectory): Promise<readonly ApproverFile[]> {
  const { agency, folder, home, organisation, realm, relayHost: relay } = options
  const poc = secretariatAddress(agency)
  const officers = options.officerFiles.map((path) => readApprover(path, poc, realm))
  if (officers.length < fixed.approvalsMin)
    throw new ValiseError("ERR_USAGE", "a directory needs two approving officers or more", {
      hint: "each of them makes a file with `valise directory officer`",
    })
  const own = { title: "duty officer", rights: dutyRights }
  await makeHome(home, { poc, realm, relay, officer: own }, async ({ becomePoc, vault }) => {
    const { key, manifest } = await becomePoc(officers.map(({ officer }) => officer))
    const secretariat = { agency, organisation, ...key, manifest }
    const directory = await Directory.init(folder, { ...nodeMachine, realm, secretariat })
    trustDirectory(vault, directory.trustFile())
    await directory.close()
  })
  return officers
}

/** Anchors a home that was made before its directory. Throws `ERR_USAGE` if it has another anchor already. */
export async function anchorHome(options: HomeOptions & { readonly directory?: string }, path: string): Promise<void> {
  const trust = readText(path)
  readTrustFile(trust)
  await withVault(options, async (vault, place) => {
    const present = vault.read((tx) => tx.get("identity", "self"))?.trust
    if (present !== "" && present !== trust)
      throw new ValiseError("ERR_USAGE", "this home trusts another directory already", {
        hint: "a home belongs to one directory for ever; make another home",
      })
    trustDirectory(vault, trust)
    const { directory } = options
    if (directory !== undefined) writeHome({ ...place, file: { ...place.file, directory } })
  })
}

export const trustFileOf = (folder: string): string => join(folder, "trust")

interface ApproverFile {
  readonly officer: ManifestOfficer
  readonly words: readonly string[]
}

function readApprover(path: string, poc: PocAddress, realm: Realm): ApproverFile {
  const bytes = readBytes(path)
  const { officer, ...of } = decodeCbor(approverShape, bytes)
  if (of.poc !== poc)
    throw new ValiseError("ERR_USAGE", `${path} was made for ${of.poc}`, { hint: `this is the directory of ${poc}` })
  judgeOfficer(poc, realm, officer)
  return { officer, words: verificationWords("officer", bytes) }
}

const approverShape = z.strictObject({ v: z.literal(1), poc: shapes.poc, officer: manifestOfficerShape })

const readText = (path: string): string => fromUtf8(readBytes(path))

export function readBytes(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path))
  } catch (cause) {
    throw new ValiseError("ERR_NOT_FOUND", `${path} cannot be read`, { cause })
  }
}
