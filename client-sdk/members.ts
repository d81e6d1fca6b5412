/**
 * The devices and officers of one's own PoC, and the manifests that change them. Whoever holds the PoC's key signs; the
 * device here vouches for what is new, so that peers use it at once (SPEC, "Manifest").
 */
import type { PocAddress } from "../protocol/address.ts"
import { equal, hex, utf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { judgeOfficer, type CoSignature, type Manifest, type OfficerRight } from "../protocol/manifest.ts"
import type { Signed } from "../protocol/statement.ts"
import { deviceOfferStructure, trustHash, type DeviceOffer } from "../pki/directory-api.ts"
import type { LogSource } from "../pki/log-source.ts"
import type { DeviceMember, Members, OfficerMember } from "./api.ts"
import type { HomeVault } from "./collections.ts"
import { createOfficer, deviceRow, identityOf, nextManifest } from "./enrol.ts"
import { iso, type Home } from "./home.ts"
import type { UnlockSecret } from "./vault/lock.ts"
import { keyByPrefix } from "./view.ts"

/** Where manifests are logged: the directory's service. */
export interface ManifestDesk {
  readonly log: LogSource
  submitManifest(poc: PocAddress, manifest: Signed, coSignatures: readonly CoSignature[]): Promise<unknown>
}

export function membersOf(home: Home): Members {
  const { manifest } = listing(home)
  const { identity, mirror, vault } = home
  const heldHere = vault.read((tx) => new Set([...tx.list("keys")].map(([key]) => key)))
  return {
    version: manifest.version,
    expires: iso(manifest.expires),
    devices: manifest.devices.map(({ device, relay, rights }): DeviceMember => {
      const listed = mirror.state.deviceEver(identity.poc, device)
      const from = listed?.record.usableFrom ?? 0
      return {
        id: hex(device),
        relay,
        rights,
        here: equal(device, identity.device),
        ...(listed?.end && { ended: iso(listed.end.moment) }),
        ...(from > home.now && { usableFrom: iso(from) }),
      }
    }),
    officers: manifest.officers.map(({ officer, rights, title }): OfficerMember => {
      const end = mirror.state.officer(identity.poc, officer)?.end
      return {
        id: hex(officer),
        title,
        rights,
        here: heldHere.has(hex(officer)),
        ...(end && { ended: iso(end.moment) }),
      }
    }),
  }
}

/** What a new device hands over: its row, its officers', and which directory it was shown. */
export function makeOffer(vault: HomeVault, officers: DeviceOffer["officers"]): Uint8Array {
  const { identity } = identityOf(vault)
  const trust = trustHash(utf8(identity.trust))
  return deviceOfferStructure.encode({ v: 1, poc: identity.poc, device: deviceRow(vault), officers, trust })
}

/** Lists a device that has offered itself. Throws `ERR_UNTRUSTED` for one of another PoC or directory, `ERR_USAGE` if it is listed. */
export async function listDevice(
  home: Home,
  secret: UnlockSecret,
  desk: ManifestDesk,
  offer: DeviceOffer,
): Promise<void> {
  const { identity, realm } = home
  if (!equal(offer.trust, trustHash(utf8(identity.trust))))
    throw new ValiseError("ERR_UNTRUSTED", "the new device was shown another directory than this one", {
      hint: "do not go on: somebody stands between the new device and the directory",
    })
  for (const officer of offer.officers) judgeOfficer(identity.poc, realm, officer)
  await change(home, secret, desk, ({ devices, officers }) => {
    if (devices.some(({ device }) => equal(device, offer.device.device)))
      throw new ValiseError("ERR_USAGE", "this device is listed already")
    if (devices.length >= fixed.devicesPerPocMax)
      throw new ValiseError("ERR_USAGE", `a PoC has at most ${fixed.devicesPerPocMax} devices`, { hint: "remove one" })
    return { devices: [...devices, offer.device], officers: [...officers, ...offer.officers] }
  })
}

/** Ends a device; officers whose keys lie there are removed apart. Throws `ERR_NOT_FOUND`, `ERR_AMBIGUOUS` or `ERR_USAGE`. */
export async function removeDevice(
  home: Home,
  secret: UnlockSecret,
  desk: ManifestDesk,
  prefix: string,
): Promise<void> {
  await change(home, secret, desk, ({ devices, officers }) => {
    const id = keyByPrefix(
      devices.map(({ device }) => hex(device)),
      prefix,
      "device",
    )
    if (id === hex(home.identity.device))
      throw new ValiseError("ERR_USAGE", "this is the very device", {
        hint: "remove it at another one, where the PoC's key is",
      })
    return { devices: devices.filter(({ device }) => hex(device) !== id), officers }
  })
}

/** Makes an officer's key here, under a secret of its holder, and lists it. */
export async function addOfficer(
  home: Home,
  secret: UnlockSecret,
  desk: ManifestDesk,
  officer: { readonly title: string; readonly rights: readonly OfficerRight[]; readonly secret: UnlockSecret },
): Promise<void> {
  requireNewTitle(listing(home).manifest, officer.title)
  const row = await createOfficer(home.vault, home.machine, officer)
  try {
    await change(home, secret, desk, ({ devices, officers }) => ({ devices, officers: [...officers, row] }))
  } catch (error) {
    // Unless it may be listed all the same: the directory did not answer.
    const isUnknown = error instanceof ValiseError && error.code === "ERR_OFFLINE"
    if (!isUnknown) home.vault.transaction((tx) => tx.delete("keys", hex(row.officer)))
    throw error
  }
}

/** From now on the officer's key signs no more; it is erased if it lies in this vault. @param named its title, or the beginning of its id */
export async function removeOfficer(
  home: Home,
  secret: UnlockSecret,
  desk: ManifestDesk,
  named: string,
): Promise<void> {
  let id = ""
  await change(home, secret, desk, ({ devices, officers }) => {
    const titled = officers.filter(({ title }) => title === named)
    id =
      titled.length === 1
        ? hex(titled[0]!.officer)
        : keyByPrefix(
            officers.map(({ officer }) => hex(officer)),
            named,
            "officer",
          )
    return { devices, officers: officers.filter(({ officer }) => hex(officer) !== id) }
  })
  home.vault.transaction((tx) => tx.delete("keys", id))
  home.vault.scrub()
}

async function change(
  home: Home,
  secret: UnlockSecret,
  desk: ManifestDesk,
  next: (manifest: Manifest) => Pick<Manifest, "devices" | "officers">,
): Promise<void> {
  await home.mirror.sync(desk.log)
  const present = listing(home)
  const { coSignatures, signed } = await nextManifest(home.vault, secret, home.machine, present, next(present.manifest))
  await desk.submitManifest(home.identity.poc, signed, coSignatures)
  await home.mirror.sync(desk.log)
  if (!equal(listing(home).bytes, signed.bytes))
    throw new ValiseError("ERR_UNTRUSTED", "the directory took the manifest, but its log does not show it", {
      hint: "look again later; if it stays so, tell the directory's desk",
    })
}

function listing({ identity, mirror }: Home): { readonly manifest: Manifest; readonly bytes: Uint8Array } {
  const own = mirror.state.poc(identity.poc)
  if (own?.manifest && own.manifestBytes) return { manifest: own.manifest, bytes: own.manifestBytes }
  throw new ValiseError("ERR_NOT_FOUND", "the directory does not list this PoC, as far as is known here", {
    hint: "connect once; if it stays so, ask the directory's desk",
  })
}

function requireNewTitle({ officers }: Manifest, title: string): void {
  if (officers.some((officer) => officer.title === title))
    throw new ValiseError("ERR_USAGE", "an officer has this title already", {
      hint: "remove that one first, or choose another title",
    })
}
