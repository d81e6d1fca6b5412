/** What a PoC must renew, and by when: its manifest every quarter, its certificate every year. */
import { nextManifest, withPocKey } from "../client-sdk/enrol.ts"
import { renewAheadSeconds } from "../client-sdk/poc.ts"
import { approve } from "../client-sdk/approving.ts"
import { ValiseError } from "../protocol/errors.ts"
import { signMember } from "../protocol/manifest.ts"
import { seconds } from "../system/machine.ts"
import { nodeMachine } from "../system/node.ts"
import type { HomeOptions } from "./homes.ts"
import { pocSecret, withHome } from "./own-keys.ts"

export interface Renewed {
  /** Seconds until which each holds now. */
  readonly manifestUntil: number
  readonly certificateUntil: number
  readonly renewed: readonly ("manifest" | "certificate")[]
}

/** Renews what ends soon, or with `now` everything. Needs the PoC's key. */
export async function renew(
  options: HomeOptions & { readonly directory?: string; readonly now?: boolean },
): Promise<Renewed> {
  return await withHome(options, async (home, directory, place) => {
    const { mirror, realm, vault } = home
    const own = () => {
      const record = mirror.state.poc(home.identity.poc)
      if (record?.manifest && record.manifestBytes)
        return { ...record, manifest: record.manifest, bytes: record.manifestBytes }
      throw new ValiseError("ERR_NOT_FOUND", "the directory does not list this PoC", { hint: "enrol it first" })
    }
    const isDue = (until: number): boolean => options.now === true || until < home.now + renewAheadSeconds
    const renewed: ("manifest" | "certificate")[] = []
    const before = own()
    if (isDue(before.notAfter)) {
      const secret = pocSecret(place)
      const member = await withPocKey(vault, secret, (key, poc) => signMember(key, realm, poc))
      const proposal = await directory.renewCertificate(before.address, member)
      const now = seconds(nodeMachine.clock)
      const approval = await withPocKey(vault, secret, (key, poc) => approve(proposal, { realm, poc, key }, now))
      const outcome = await directory.approve(proposal.id, approval)
      if (outcome.outcome === "logged") renewed.push("certificate")
    }
    if (isDue(before.manifest.expires)) {
      const next = await nextManifest(vault, pocSecret(place), nodeMachine, before, before.manifest)
      const outcome = await directory.submitManifest(before.address, next.signed, next.coSignatures)
      if (outcome.outcome === "logged") renewed.push("manifest")
    }
    await mirror.sync(directory.log)
    const { manifest, notAfter } = own()
    return { manifestUntil: manifest.expires, certificateUntil: notAfter, renewed }
  })
}
