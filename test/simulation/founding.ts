/**
 * The network that every seed starts from: founded once per process, with everybody enrolled and every prekey at the
 * relay. P-384 signatures differ from run to run, so nothing of a certificate's bytes stands in a trace.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { PocAddress, Realm } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { signManifest, signMember } from "../../protocol/manifest.ts"
import { SigningKey } from "../../protocol/primitives.ts"
import { signApproval } from "../../pki/entries.ts"
import type { TrustAnchor } from "../../pki/anchor.ts"
import { signPossession } from "../../pki/possession.ts"
import { Directory } from "../../directory/directory.ts"
import type { Proposal } from "../../directory/proposals.ts"
import {
  createDevice,
  createOfficer,
  createPocKey,
  deviceRow,
  nextManifest,
  trustDirectory,
} from "../../client-sdk/enrol.ts"
import type { UnlockSecret } from "../../client-sdk/vault/lock.ts"
import { MemoryVaultFile, MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { MemoryDisk } from "../../relay/testing/memory-store.ts"
import type { Machine } from "../../system/machine.ts"
import { nodeDeflate } from "../../system/node.ts"
import { officerEntry, officerKeyOf, officerOf, pocKeyOf } from "../support/directory.ts"
import { Chance } from "./chance.ts"
import type { DeviceAtRest } from "./device.ts"
import { MemoryFolder } from "./files.ts"
import { relayHost, type RelayAtRest } from "./relay-host.ts"
import { MachineClock, trueSeconds, VirtualTime } from "./time.ts"

export const realm: Realm = { origin: "directory.example", mode: "exercise" }
const secretariat = "un/secretariat/valise" as PocAddress
const day = 86_400

/** Invented agencies. The first has two devices. */
export const addresses = [
  "ke/technical/baobab",
  "sg/technical/merlion",
  "br/technical/ipe",
  "fr/technical/chene",
  "ng/technical/iroko",
] as PocAddress[]

/** Everything that outlives processes. */
export interface NetworkAtRest {
  readonly folder: MemoryFolder
  readonly relay: RelayAtRest
  readonly anchor: TrustAnchor
  readonly devices: readonly DeviceAtRest[]
  /** By prekey: the device that has published it. */
  readonly prekeys: ReadonlyMap<string, string>
  /** Of each PoC's own key, which lies in its first device's vault. */
  readonly pocSecrets: ReadonlyMap<PocAddress, UnlockSecret>
}

const chance = new Chance(0, "founding")

/** Before anybody has been online: no prekeys are made yet. */
export async function found(): Promise<NetworkAtRest> {
  const place = mkdtempSync(join(tmpdir(), "valise-simulation-"))
  const time = new VirtualTime()
  const machine: Machine = { clock: new MachineClock(time).of(() => true), random: chance, deflate: nodeDeflate }
  const now = trueSeconds(time)
  try {
    const path = join(place, "directory")
    const directory = await Directory.init(path, { ...machine, realm, secretariat: secretariatEntry(now) })
    const relaySeed = chance.bytes(32)
    await listRelay(directory, relaySeed)
    const devices: DeviceAtRest[] = []
    const pocSecrets = new Map<PocAddress, UnlockSecret>()
    for (const [i, poc] of addresses.entries())
      devices.push(...(await enrol(directory, machine, poc, i === 0 ? 2 : 1, pocSecrets)))
    const { certificate } = directory.state.relay(relayHost)!
    const { anchor } = directory
    await directory.close()
    const relay = { disk: new MemoryDisk(), keySeed: relaySeed, certificate, pools: new Map() }
    return { folder: new MemoryFolder(filesIn(path)), relay, anchor, devices, prekeys: new Map(), pocSecrets }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
}

function secretariatEntry(now: number) {
  const key = pocKeyOf(secretariat)
  const manifest = {
    v: 1 as const,
    poc: secretariat,
    version: 1,
    previous: null,
    created: now,
    expires: now + 90 * day,
    devices: [],
    officers: approvers.map((name) => officerEntry(realm, secretariat, name, ["approve", "release"])),
  }
  return {
    agency: "valise",
    organisation: "Secretariat of Tests",
    key: key.publicKey,
    member: signMember(key, realm, secretariat),
    manifest: signManifest(key, realm, manifest),
  }
}

async function listRelay(directory: Directory, seed: Uint8Array): Promise<void> {
  const key = new SigningKey(seed)
  const member = signPossession(key, realm, { use: "relay", host: relayHost })
  const organisation = "Relay of Tests"
  await approve(
    directory,
    await directory.listRelay({ host: relayHost, urls: [], organisation, key: key.publicKey, member }),
  )
}

async function enrol(
  directory: Directory,
  machine: Machine,
  poc: PocAddress,
  count: number,
  pocSecrets: Map<PocAddress, UnlockSecret>,
): Promise<DeviceAtRest[]> {
  const [state, role, agency] = poc.split("/") as [string, string, string]
  const files = Array.from({ length: count }, () => new MemoryVaultFile())
  const secrets = files.map(() => newSecret())
  const vaults = await Promise.all(
    files.map((file, i) =>
      createDevice(new MemoryVaultStorage(file), secrets[i]!, machine, { poc, relay: relayHost, realm }),
    ),
  )
  const officerSecret = newSecret()
  const officer = await createOfficer(vaults[0]!, machine, {
    title: `duty officer of ${state}`,
    rights: ["acknowledge", "release", "consent", "attest"],
    secret: officerSecret,
  })
  const pocSecret = newSecret()
  pocSecrets.set(poc, pocSecret)
  const key = await createPocKey(vaults[0]!, machine, pocSecret)
  const content = { devices: vaults.map(deviceRow), officers: [officer] }
  const { signed } = await nextManifest(vaults[0]!, pocSecret, machine, undefined, content)
  const organisation = `Agency of ${state}`
  const nomination = { state, role, agency, organisation, ...key, isDefault: true, manifest: signed }
  await approve(directory, await directory.nominate(nomination))
  for (const vault of vaults) {
    trustDirectory(vault, directory.trustFile())
    await vault.close()
  }
  return files.map((file, i) => ({
    name: count === 1 ? state : `${state}-${i + 1}`,
    poc,
    id: hex(content.devices[i]!.device),
    mailbox: hex(content.devices[i]!.mailbox),
    file,
    secret: secrets[i]!,
    officerSecret: i === 0 ? officerSecret : undefined,
  }))
}

async function approve(directory: Directory, proposal: Proposal): Promise<void> {
  for (const name of approvers) {
    const approval = directory.approvalFor(proposal.id, officerOf(secretariat, name))
    await directory.approve(proposal.id, signApproval(officerKeyOf(secretariat, name), realm, approval))
  }
  await directory.issue(proposal.id)
}

const approvers = ["first", "second"]
const newSecret = (): UnlockSecret => ({ kind: "key-file", key: chance.bytes(32) })

/** Of the folder, with their paths in it. */
function filesIn(folder: string): Map<string, Uint8Array> {
  return new Map(
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [name, new Uint8Array(readFileSync(join(folder, name)))]),
  )
}
