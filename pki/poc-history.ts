/**
 * What the log has said about one PoC, and what follows from it (SPEC, "Directory"): its certificate and manifest in
 * force, and every device and officer it ever listed. A PoC key that is revoked for compromise takes back what it
 * signed since the stated moment, so the view is made anew from the counted entries whenever one is added.
 */
import type { DeviceId, MailboxId, PocAddress, PocName } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { fixed } from "../protocol/limits.ts"
import {
  manifestStanding,
  type DeviceRight,
  type Manifest,
  type ManifestDevice,
  type ManifestOfficer,
} from "../protocol/manifest.ts"
import { certificateHash, type RevocationReason } from "./entries.ts"
import type { Certificate } from "./x509.ts"

/** One device of a manifest, with what the log says about it. */
export interface DeviceRecord {
  readonly poc: PocAddress
  readonly device: DeviceId
  readonly key: Uint8Array
  readonly relay: string
  readonly mailbox: MailboxId
  readonly rights: readonly DeviceRight[]
  /** Index of the entry that listed it. */
  readonly listedAt: number
  /** Seconds: since when senders seal to it. */
  readonly usableFrom: number
}

/** That something holds no more: since which entry and which moment, and why. */
export interface End {
  readonly index: number
  /** Seconds. */
  readonly moment: number
  readonly reason: RevocationReason | "removed"
}

/** `end`: revoked, or no longer in the manifest. */
export interface Listed<T> {
  readonly record: T
  readonly listedAt: number
  readonly end: End | undefined
}

export interface CertificateStep {
  readonly kind: "certificate"
  readonly index: number
  readonly time: number
  readonly certificate: Certificate
  /** The key, in hexadecimal, that approved it; `undefined` if officers did. */
  readonly signer: string | undefined
}

export interface ManifestStep {
  readonly kind: "manifest"
  readonly index: number
  readonly time: number
  readonly manifest: Manifest
  /** The manifest's signed bytes. */
  readonly bytes: Uint8Array
  /** The PoC's key, in hexadecimal. */
  readonly signer: string
  /** An older device that senders used already has signed it too. */
  readonly isCoSigned: boolean
}

export class PocHistory {
  readonly address: PocAddress
  readonly name: PocName
  readonly isSecretariat: boolean
  readonly #steps: (CertificateStep | ManifestStep)[] = []
  /** By the hash of a certificate or the id of a device or officer, in hexadecimal. */
  readonly #revoked = new Map<string, End>()
  /** PoC keys, in hexadecimal, that somebody else may have, and since when. */
  readonly #compromised = new Map<string, End>()
  #view: View = emptyView()

  constructor(address: PocAddress, name: PocName, isSecretariat: boolean) {
    this.address = address
    this.name = name
    this.isSecretariat = isSecretariat
  }

  add(step: CertificateStep | ManifestStep): void {
    this.#steps.push(step)
    this.#view = this.#replay()
  }

  /** Ends a certificate that `certificateWithHash` has found. For compromise its key ends, under every certificate. */
  revokeCertificate(certificate: Certificate, end: End): void {
    if (end.reason === "compromise") keepFirst(this.#compromised, hex(certificate.publicKey), end)
    else keepFirst(this.#revoked, hex(certificateHash(certificate.der)), end)
    this.#view = this.#replay()
  }

  /** @param id of a device or officer */
  revokeListed(id: Uint8Array, end: End): void {
    keepFirst(this.#revoked, hex(id), end)
    this.#view = this.#replay()
  }

  get certificate(): CertificateStep | undefined {
    return this.#view.certificate
  }

  get manifest(): ManifestStep | undefined {
    return this.#view.manifest
  }

  /** When and why the certificate ended, if it did; its expiry is another matter. */
  get certificateEnd(): End | undefined {
    const certificate = this.#view.certificate?.certificate
    return certificate && this.#endOf(certificate)
  }

  /** Whether the certificate holds at this moment. */
  isInForce(atSeconds: number): boolean {
    const certificate = this.#view.certificate?.certificate
    return certificate !== undefined && !this.certificateEnd && atSeconds <= certificate.notAfter
  }

  /** Whether certificate and manifest both hold at this moment, the manifest perhaps by grace. */
  isReachable(atSeconds: number): boolean {
    const manifest = this.#view.manifest?.manifest
    return this.isInForce(atSeconds) && manifest !== undefined && manifestStanding(manifest, atSeconds) !== "expired"
  }

  certificateWithHash(hash: Uint8Array): Certificate | undefined {
    for (const step of this.#steps)
      if (step.kind === "certificate" && hex(certificateHash(step.certificate.der)) === hex(hash))
        return step.certificate
    return undefined
  }

  device(id: Uint8Array): Listed<DeviceRecord> | undefined {
    return this.#withRevocation(id, this.#view.devices.get(hex(id)))
  }

  officer(id: Uint8Array): Listed<ManifestOfficer> | undefined {
    return this.#withRevocation(id, this.#view.officers.get(hex(id)))
  }

  /** Whether this device or officer has been revoked: then it stays ended, whatever a later manifest lists. */
  isRevoked(id: Uint8Array): boolean {
    return this.#revoked.has(hex(id))
  }

  /** Everyone ever listed. */
  everyOfficer(): readonly Listed<ManifestOfficer>[] {
    return [...this.#view.officers.values()].map((listed) => this.#withRevocation(listed.record.officer, listed)!)
  }

  /** Those listed now and not revoked. */
  devices(): readonly DeviceRecord[] {
    return this.#current(this.#view.devices, ({ device }) => device)
  }

  officers(): readonly ManifestOfficer[] {
    return this.#current(this.#view.officers, ({ officer }) => officer)
  }

  #replay(): View {
    const view = emptyView()
    const keys = new Set<string>()
    const firstManifest = this.#steps.find(({ kind }) => kind === "manifest")
    for (const step of this.#steps) {
      if (step.signer !== undefined && !keys.has(step.signer)) continue // signed by a key that itself no longer counts
      if (this.#isTakenBack(step)) continue // defence: 21 signed-after-compromise
      if (step.kind === "manifest") list(view, step, step === firstManifest)
      else {
        view.certificate = step
        keys.add(hex(step.certificate.publicKey))
      }
    }
    return view
  }

  /**
   * What a compromised key signed counts only if it was logged before the stated moment. The Secretariat's takes
   * nothing back: otherwise its thief could unmake the officers who approve.
   */
  #isTakenBack({ signer, time }: CertificateStep | ManifestStep): boolean {
    if (this.isSecretariat) return false
    const end = signer === undefined ? undefined : this.#compromised.get(signer)
    return end !== undefined && time >= end.moment
  }

  #endOf(certificate: Certificate): End | undefined {
    return this.#compromised.get(hex(certificate.publicKey)) ?? this.#revoked.get(hex(certificateHash(certificate.der)))
  }

  #withRevocation<T>(id: Uint8Array, listed: Listed<T> | undefined): Listed<T> | undefined {
    return listed && { ...listed, end: this.#revoked.get(hex(id)) ?? listed.end }
  }

  #current<T>(all: ReadonlyMap<string, Listed<T>>, idOf: (record: T) => Uint8Array): readonly T[] {
    return [...all.values()]
      .filter(({ record, end }) => !end && !this.#revoked.has(hex(idOf(record))))
      .map(({ record }) => record)
  }
}

interface View {
  certificate: CertificateStep | undefined
  manifest: ManifestStep | undefined
  readonly devices: Map<string, Listed<DeviceRecord>>
  readonly officers: Map<string, Listed<ManifestOfficer>>
}

const emptyView = (): View => ({ certificate: undefined, manifest: undefined, devices: new Map(), officers: new Map() })

function list(view: View, step: ManifestStep, isFirst: boolean): void {
  const { manifest, index } = step
  const removed: End = { index, moment: step.time, reason: "removed" }
  const before = { devices: new Map(view.devices), officers: new Map(view.officers) }
  for (const all of [view.devices, view.officers] as Map<string, Listed<never>>[])
    for (const [id, listed] of all) all.set(id, { ...listed, end: listed.end ?? removed })
  for (const device of manifest.devices) {
    const known = stillListed(before.devices.get(hex(device.device)))
    const record = deviceRecord(step, device, known?.record, isFirst)
    view.devices.set(hex(device.device), { record, listedAt: record.listedAt, end: undefined })
  }
  for (const officer of manifest.officers) {
    const known = stillListed(before.officers.get(hex(officer.officer)))
    view.officers.set(hex(officer.officer), { record: officer, listedAt: known?.listedAt ?? index, end: undefined })
  }
  view.manifest = step
}

const stillListed = <T>(listed: Listed<T> | undefined): Listed<T> | undefined => (listed?.end ? undefined : listed)

/**
 * A device that is new, or may be sealed to only now, waits: unless an older one vouches, or the PoC had no manifest
 * before.
 */
function deviceRecord(
  { manifest, index, time, isCoSigned }: ManifestStep,
  { device, key, relay, mailbox, rights }: ManifestDevice,
  known: DeviceRecord | undefined,
  isFirst: boolean,
): DeviceRecord {
  const isOld = known !== undefined && (known.rights.includes("receive") || !rights.includes("receive"))
  const waited = isOld ? known.usableFrom : time + fixed.newDeviceWaitSeconds // defence: 5 new-device-wait => const waited = isOld ? known.usableFrom : time
  const usableFrom = isFirst || isCoSigned ? Math.min(time, waited) : waited
  return { poc: manifest.poc, device, key, relay, mailbox, rights, listedAt: known?.listedAt ?? index, usableFrom }
}

/** Compromise outranks every other end; otherwise the first one said holds. */
function keepFirst(ends: Map<string, End>, id: string, end: End): void {
  const known = ends.get(id)
  if (!known || (end.reason === "compromise" && known.reason !== "compromise")) ends.set(id, end)
}
