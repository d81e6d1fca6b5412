/**
 * Watches the log for what concerns this PoC and was not made in this vault: another key certified, a manifest, an end.
 * Whoever steals a key, or the operator with two officers, cannot do such a thing without an entry, and this is where its
 * owner is told (SPEC, "Can and cannot"). What another device of the PoC did is told, too, as that device's doing.
 */
import type { DeviceId, Hash, PocAddress } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { isCoSigned, manifestHash, readManifest, type Manifest } from "../protocol/manifest.ts"
import { sha3 } from "../protocol/primitives.ts"
import { bodyStructures, entryStructure, revocationStructure, type BodyOf } from "../pki/entries.ts"
import { readCertificate } from "../pki/x509.ts"
import type { Reader, Tx } from "./collections.ts"
import type { Home } from "./home.ts"
import { logKey } from "./mirror.ts"

/** What this vault has made, by which it knows it again in the log. */
export const madeKey = {
  manifest: (bytes: Uint8Array): string => hex(manifestHash(bytes)),
  pocKey: (publicKey: Uint8Array): string => hex(publicKey),
  revocation: (bytes: Uint8Array): string => hex(sha3(bytes)),
} as const

/** Looks through what is new in the mirror, once, whichever process mirrored it. */
export function watchOwnEntries(home: Home): void {
  const { identity, mirror, vault } = home
  const seen = vault.read((tx) => tx.get("watched", "log")?.n ?? 0)
  if (seen >= mirror.size) return
  const listed = mirror.state.deviceEver(identity.poc, identity.device)
  // Before this device is listed, it does not know what its PoC has made.
  if (!listed && seen === 0) return
  home.commit((tx, notices) => {
    const from = tx.get("watched", "log")?.n ?? 0
    for (let index = from; index < mirror.size; index++) {
      const text = judge(tx, home, index, listed?.listedAt ?? -1)
      if (text) home.notice(tx, notices, "own-entry", text)
    }
    tx.put("watched", "log", { n: mirror.size })
  })
}

/** What a person is told of this entry; `undefined` for nothing. @param listedAt up to here the log shows how this device was enrolled */
function judge(tx: Tx, home: Home, index: number, listedAt: number): string | undefined {
  const about = readOwn(tx, home.identity.poc, index)
  if (!about) return undefined
  const refusal = home.mirror.state.refused().find((one) => one.index === index)
  if (refusal) return `the directory logged a ${about.kind} of this PoC that does not count (${refusal.reason})`
  const isKnown = index <= listedAt || tx.get("made", about.made) !== undefined
  if (about.kind === "certificate" && index <= listedAt) tx.put("made", about.made, { at: home.now })
  if (isKnown) return undefined
  if (about.kind === "manifest") return manifestWords(tx, home, index, about.body)
  if (about.kind === "revocation") return `${about.what} of this PoC was ended in the log, and not by this vault`
  return "another key than this PoC's own was certified for it: ask the directory's desk at once, and tell your peers"
}

type Own =
  | { readonly kind: "certificate"; readonly made: string }
  | { readonly kind: "manifest"; readonly made: string; readonly body: BodyOf<"manifest"> }
  | { readonly kind: "revocation"; readonly made: string; readonly what: string }

/** The entry, if it is one about this PoC. */
function readOwn(tx: Reader, poc: PocAddress, index: number): Own | undefined {
  try {
    const { kind, body } = entryStructure.decode(tx.get("log", logKey(index))!.bytes)
    if (kind === "certificate") {
      const { certificate, poc: whose } = bodyStructures.certificate.decode(body)
      return whose === poc ? { kind, made: madeKey.pocKey(readCertificate(certificate).publicKey) } : undefined
    }
    if (kind === "manifest") {
      const decoded = bodyStructures.manifest.decode(body)
      return decoded.poc === poc ? { kind, made: madeKey.manifest(decoded.manifest.bytes), body: decoded } : undefined
    }
    if (kind !== "revocation") return undefined
    const { bytes } = bodyStructures.revocation.decode(body).statement
    const { target } = revocationStructure.decode(bytes)
    const isOurs = "poc" in target && target.poc === poc
    return isOurs ? { kind, made: madeKey.revocation(bytes), what: `a ${target.kind}` } : undefined
  } catch (error) {
    if (error instanceof ValiseError) return undefined
    throw error
  }
}

function manifestWords(tx: Reader, home: Home, index: number, { coSignatures, manifest }: BodyOf<"manifest">): string {
  const { identity, mirror, realm } = home
  const key = mirror.state.poc(identity.poc)?.key
  const now = key && tryRead(() => readManifest({ address: identity.poc, key }, realm, manifest))
  const before = key && now && previous(tx, home, key, index, now)
  const older = before?.devices ?? []
  const vouching = (coSignatures ?? []).find((one) => isCoSigned(realm, manifest.bytes, [one], older))
  const who = !vouching
    ? "no device of this PoC vouches for it"
    : equal(vouching.device, identity.device)
      ? "signed as by this device, which does not know it: a copy of this vault is or was in use"
      : `made at this PoC's device ${short(vouching.device)}`
  const changes = now ? differences(before, now) : []
  const what = changes.length > 0 ? changes.join(", ") : "nothing in it differs from the one before"
  return `a manifest of this PoC was logged that was not made in this vault: ${what} (${who})`
}

/** The manifest that this one follows. */
function previous(
  tx: Reader,
  home: Home,
  key: Uint8Array,
  index: number,
  { previous: wanted }: Manifest,
): Manifest | undefined {
  for (let i = index - 1; wanted && i >= 0; i--) {
    const own = readOwn(tx, home.identity.poc, i)
    if (own?.kind !== "manifest" || own.made !== hex(wanted)) continue
    return tryRead(() => readManifest({ address: home.identity.poc, key }, home.realm, own.body.manifest))
  }
  return undefined
}

function differences(before: Manifest | undefined, now: Manifest): string[] {
  const ids = (rows: readonly { device: DeviceId }[] = []): string[] => rows.map(({ device }) => hex(device))
  const titles = (manifest?: Manifest): Map<string, string> =>
    new Map(manifest?.officers.map(({ officer, rights, title }) => [`${hex(officer)}:${rights.join()}`, title]))
  const [old, fresh] = [titles(before), titles(now)]
  return [
    ...missingIn(ids(before?.devices), ids(now.devices)).map((id) => `device ${id.slice(0, 8)} added`),
    ...missingIn(ids(now.devices), ids(before?.devices)).map((id) => `device ${id.slice(0, 8)} removed`),
    ...[...fresh].filter(([id]) => !old.has(id)).map(([, title]) => `officer "${title}" added`),
    ...[...old].filter(([id]) => !fresh.has(id)).map(([, title]) => `officer "${title}" removed`),
  ]
}

const missingIn = (known: readonly string[], all: readonly string[]): string[] =>
  all.filter((id) => !known.includes(id))

function tryRead<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof ValiseError) return undefined
    throw error
  }
}

const short = (id: DeviceId | Hash): string => hex(id).slice(0, 8)
