/** Whether a header's sender may be believed, judged when the message is opened (SPEC, "Judging a sender"). */
import type { DeviceId, OfficerId, PocAddress } from "../protocol/address.ts"
import { fixed } from "../protocol/limits.ts"
import { manifestStanding } from "../protocol/manifest.ts"
import type { JudgeResult } from "../protocol/open.ts"
import type { End, PocHistory } from "./poc-history.ts"

/** What of a header is judged here. */
export interface JudgedHeader {
  readonly sender: { readonly poc: PocAddress; readonly device: DeviceId; readonly officer?: OfficerId | undefined }
  /** Seconds, by the sender's clock. */
  readonly created: number
}

/** The checkpoint that the header names, opened and verified. */
export interface CitedCheckpoint {
  readonly size: number
  /** The time of the last entry in it, in seconds; 0 for an empty log. */
  readonly time: number
}

/** What a reader is told beside a message whose sender may be believed: a closed list. */
export const banners = [
  "device-new", // listed less than 24 hours ago, and no older device vouches for it
  "device-removed", // since then no longer in the PoC's manifest
  "device-revoked", // since then ended, for another reason than compromise
  "officer-removed",
  "officer-revoked",
  "certificate-revoked", // the PoC's; what was sent before that moment
  "certificate-expired",
  "manifest-expired",
] as const
export type Banner = (typeof banners)[number]

export function judgeSenderOf(
  poc: PocHistory | undefined,
  header: JudgedHeader,
  cited: CitedCheckpoint,
  nowSeconds: number,
): JudgeResult {
  const { device: deviceId, officer: officerId } = header.sender
  const device = poc?.device(deviceId)
  const officer = officerId && poc?.officer(officerId)
  const certificate = poc?.certificate?.certificate
  const manifest = poc?.manifest?.manifest
  if (!poc || !certificate || !manifest || !device || (officerId && !officer)) return refuse("sender")
  if (!device.record.rights.includes("send")) return refuse("sender")
  if (officer && !officer.record.rights.includes("release")) return refuse("sender")
  // Whoever sends has seen itself in the log that it cites.
  if (device.listedAt >= cited.size || (officer && officer.listedAt >= cited.size)) return refuse("sender")

  const told: Banner[] = []
  const ends = [
    ["device", device.end],
    ["officer", officer?.end],
    ["certificate", poc.certificateEnd],
  ] as const
  for (const [what, end] of ends) {
    if (!end) continue
    if (end.reason === "compromise" && what !== "certificate") return refuse("revoked") // defence: 21 compromise
    if (!isBefore(end, header, cited)) return refuse(end.reason === "removed" ? "sender" : "revoked")
    told.push(end.reason === "removed" ? removedBanner[what] : `${what}-revoked`)
  }
  // Nobody cites what was logged after the message was written: such a date is false.
  if (header.created + fixed.clockSkewSecondsMax < cited.time) return refuse("checkpoint") // defence: 21 created-before-checkpoint
  if (header.created > certificate.notAfter || manifestStanding(manifest, header.created) === "expired")
    return refuse("sender")
  if (header.created < device.record.usableFrom) told.push("device-new")
  told.push(...expiryBanners(poc, nowSeconds))
  return { ok: true, deviceKey: device.record.key, officerKey: officer?.record.key, banners: told }
}

/** What a sender, too, is told of a PoC that has let something expire. */
export function expiryBanners({ certificate, manifest }: PocHistory, nowSeconds: number): readonly Banner[] {
  const told: Banner[] = []
  if (certificate && nowSeconds > certificate.certificate.notAfter) told.push("certificate-expired")
  if (manifest && manifestStanding(manifest.manifest, nowSeconds) !== "current") told.push("manifest-expired")
  return told
}

/** The signer chose `created`, and cited what it knew: both must lie before the end. */
export const isBefore = (
  end: End,
  header: Pick<JudgedHeader, "created">,
  cited: Pick<CitedCheckpoint, "size">,
): boolean => header.created < end.moment && cited.size <= end.index // defence: 21 before-the-end => ): boolean => true

const removedBanner = {
  device: "device-removed",
  officer: "officer-removed",
  certificate: "certificate-revoked",
} as const

const refuse = (reason: "sender" | "revoked" | "checkpoint"): JudgeResult => ({ ok: false, reason })
