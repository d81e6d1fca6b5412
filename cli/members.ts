/** Changes to the PoC's own list of devices and officers, from a home that holds the PoC's key. */
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Members } from "../client-sdk/index.ts"
import type { Home } from "../client-sdk/home.ts"
import { addOfficer, membersOf, removeDevice, removeOfficer } from "../client-sdk/members.ts"
import { createKeyFile, readKeyFile } from "../client-sdk/vault/key-file.ts"
import { ValiseError } from "../protocol/errors.ts"
import { nodeRandom } from "../system/node.ts"
import { writeHome, type HomeOptions, type HomePlace } from "./homes.ts"
import { dutyRights } from "./making.ts"
import { pocSecret, withHome } from "./own-keys.ts"

export type MemberOptions = HomeOptions & { readonly directory?: string }

export async function endDevice(options: MemberOptions, prefix: string): Promise<Members> {
  return await withHome(options, async (home, directory, place) => {
    await removeDevice(home, pocSecret(place), directory, prefix)
    return membersOf(home)
  })
}

/** From then on the home acts as this officer. */
export async function newOfficer(options: MemberOptions, title: string): Promise<Members> {
  return await withHome(options, async (home, directory, place) => {
    const officerKeyFile = freeName(place.folder)
    const pocKey = pocSecret(place)
    const secret = createKeyFile(join(place.folder, officerKeyFile), nodeRandom)
    await addOfficer(home, pocKey, directory, { title, rights: dutyRights, secret })
    writeHome({ ...place, file: { ...place.file, officerKeyFile } })
    return membersOf(home)
  })
}

export async function endOfficer(options: MemberOptions, named: string): Promise<Members> {
  return await withHome(options, async (home, directory, place) => {
    await removeOfficer(home, pocSecret(place), directory, named)
    await forgetKeyFile(home, place)
    return membersOf(home)
  })
}

/** A home whose officer has left the duty opens without one. */
async function forgetKeyFile(home: Home, { folder, file: { officerKeyFile, ...file } }: HomePlace): Promise<void> {
  if (officerKeyFile === undefined) return
  try {
    await home.unlockOfficer(readKeyFile(resolve(folder, officerKeyFile)))
  } catch (error) {
    if (!(error instanceof ValiseError)) throw error
    writeHome({ folder, file })
  }
}

/** Key files are kept: the one before may open what it locked. */
function freeName(folder: string): string {
  for (let n = 2; ; n++) if (!existsSync(join(folder, `officer-${n}.key`))) return `officer-${n}.key`
}
