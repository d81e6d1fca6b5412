/**
 * Writes `protocol/vectors/pki.json`: node scripts/make-pki-vectors.ts
 *
 * Dates and Ed25519 keys are given. The P-384 keys, their signatures and the serial numbers are random, so the file comes
 * out differently each time: it is made anew only when the format changes. `test/unit/pki-vectors.test.ts` reads it.
 */
import { writeFileSync } from "node:fs"
import type { PocAddress, Realm } from "../protocol/address.ts"
import { hex, utf8 } from "../protocol/bytes.ts"
import { shake256 } from "../protocol/primitives.ts"
import { writeTrustFile } from "../pki/anchor.ts"
import { certificateHash, entryStructure, subjectOf, type BodyOf, type EntryKind } from "../pki/entries.ts"
import { leafUri, type LeafSubject } from "../pki/profile.ts"
import type { DirectoryState } from "../pki/state.ts"
import { validateCa, validateLeaf, validateRoot, type Judgement } from "../pki/validator.ts"
import { readCertificate } from "../pki/x509.ts"
import {
  approvers,
  day,
  deviceEntry,
  deviceKeyOf,
  deviceOf,
  issue,
  makeAuthorities,
  officerEntry,
  officerKeyOf,
  officerOf,
  pocKeyOf,
  secretariat,
  start,
  TestDirectory,
  type Authorities,
} from "../test/support/directory.ts"
import { assemble, partsOf } from "../test/support/forge.ts"
import { caMutations, leafMutations, rootMutations, type Mutation } from "../test/support/mutations.ts"
import { signingKeyOf } from "../test/support/papers.ts"

const realm: Realm = { origin: "directory.example", mode: "live" }
const kenya = "ke/technical/baobab" as PocAddress
const acacia = "ke/technical/acacia" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress
const host = "127.0.0.1:8443"
const two = ["first", "second"] as const

export async function pkiVectors() {
  const authorities = await makeAuthorities(realm)
  const { anchor, entries, directory } = await history(authorities)
  return {
    about: "SPEC, Directory. Bytes are hexadecimal, times are seconds.",
    realm,
    trustFile: writeTrustFile(anchor),
    keys: keys(),
    certificates: await certificates(authorities),
    refusedCertificates: await refusedCertificates(authorities),
    log: { entries, roots: [...entries, undefined].map((_, size) => hex(directory.state.rootAt(size))) },
    state: summaryOf(directory.state, start + 3 * day),
    judgements: judgements(directory.state),
  }
}

/** Ed25519, each from SHAKE256("signing key: " ‖ name) as its seed. */
function keys() {
  const names = [
    ...[kenya, acacia, singapore, secretariat].map((poc) => `first key of ${poc}`),
    ...["first", "second", "rogue"].map((name) => `${name} device of ${kenya}`),
    `first officer of ${kenya}`,
    ...approvers.map((name) => `${name} officer of ${secretariat}`),
    host,
  ]
  return names.map((name) => ({
    name,
    seed: hex(shake256(32, utf8(`signing key: ${name}`))),
    publicKey: hex(signingKeyOf(name).publicKey),
  }))
}

async function certificates(authorities: Authorities) {
  const subjects: readonly LeafSubject[] = [
    { use: "poc", poc: { state: "ke", role: "technical", agency: "baobab" } },
    { use: "secretariat", poc: { state: "un", role: "secretariat", agency: "valise" } },
    { use: "relay", host },
    { use: "log" },
  ]
  const leaves = await Promise.all(
    subjects.map(async (subject) => {
      const { certificate, member } = await issue(authorities, subject, signingKeyOf("holder"))
      return {
        level: "leaf",
        subject,
        uri: leafUri(subject, realm.origin),
        member: hex(member),
        ...fieldsOf(certificate),
      }
    }),
  )
  return [
    { level: "root", ...fieldsOf(authorities.root.certificate) },
    { level: "ca", ...fieldsOf(authorities.ca.certificate) },
    ...leaves,
  ]
}

function fieldsOf(certificate: Uint8Array) {
  const { serial, notBefore, notAfter, organisation, publicKey } = readCertificate(certificate)
  return {
    serial: hex(serial),
    notBefore,
    notAfter,
    organisation,
    publicKey: hex(publicKey),
    hash: hex(certificateHash(certificate)),
    der: hex(certificate),
  }
}

/** The first leaf's subject is the PoC's; the changed certificate is signed by the issuer that the level asks for. */
async function refusedCertificates(authorities: Authorities) {
  const { root, ca } = authorities
  const subject: LeafSubject = { use: "poc", poc: { state: "ke", role: "technical", agency: "baobab" } }
  const leaf = await issue(authorities, subject, signingKeyOf("holder"))
  const [rootFields, caFields] = [readCertificate(root.certificate), readCertificate(ca.certificate)]
  const judgeLeaf = (der: Uint8Array) => validateLeaf(der, caFields, realm, subject, start)
  return [
    ...refused("root", rootMutations, root.certificate, root.privateKey, (der) => validateRoot(der, realm)),
    ...refused("ca", caMutations, ca.certificate, root.privateKey, (der) => validateCa(der, rootFields, realm, start)),
    ...refused("leaf", leafMutations, leaf.certificate, ca.privateKey, judgeLeaf),
  ]
}

function refused(
  level: string,
  mutations: readonly Mutation[],
  honest: Uint8Array,
  privateKey: Uint8Array,
  judge: (der: Uint8Array) => Judgement,
) {
  return mutations.map(([what, reason, change]) => {
    const parts = partsOf(honest)
    const der = assemble({ ...parts, ...change(parts) }, privateKey)
    const judgement = judge(der)
    if (judgement.ok || judgement.reason !== reason) throw new Error(`${level}: ${what} is not refused for ${reason}`)
    return { level, what, atSeconds: start, reason, der: hex(der) }
  })
}

/** A directory's first days, with entries that do not count among them. */
async function history(authorities: Authorities) {
  const directory = new TestDirectory(authorities)
  const entries: object[] = []
  const note = (what: string): void => {
    const leaf = directory.leaves.at(-1)!
    const refusal = directory.state.refused().find(({ index }) => index === directory.leaves.length - 1)
    const { kind, time, body } = entryStructure.decode(leaf)
    const subject = hex(subjectOf(kind as EntryKind, body))
    entries.push({
      what,
      kind,
      time,
      subject,
      counted: !refusal,
      ...(refusal && { reason: refusal.reason }),
      leaf: hex(leaf),
    })
  }
  const log = <K extends EntryKind>(what: string, ...entry: Parameters<typeof directory.log<K>>): void => {
    directory.log(...entry)
    note(what)
  }
  const manifest = (what: string, ...entry: Parameters<typeof directory.logManifest>): void => {
    directory.logManifest(...entry)
    note(what)
  }

  log("the issuing CA", "ca", { v: 1, certificate: authorities.ca.certificate })
  log("the Secretariat's first certificate", "certificate", await directory.certificateBody(secretariat))
  const officers = approvers.map((name) => officerEntry(realm, secretariat, name, ["approve", "release"]))
  manifest("the Secretariat's first manifest: three officers who approve", secretariat, { officers })
  const enrolment = await directory.certificateBody(kenya)
  log("an enrolment that nobody approved", "certificate", enrolment)
  log("approved by two officers", "certificate", enrolment, two)
  manifest("its first manifest", kenya)
  log("a second default", "certificate", await directory.certificateBody(acacia), two)
  log("a second PoC of the State", "certificate", await directory.certificateBody(acacia, { isDefault: false }), two)
  log("another State's", "certificate", await directory.certificateBody(singapore), two)
  manifest("its first manifest", singapore)
  log("a relay", "relay", await directory.relayBody(host), two)
  log("a role", "role", { v: 1, role: "legal" }, two)
  const handover: BodyOf<"default"> = { v: 1, poc: acacia }
  log("another default, by officers", "default", handover, two)
  log("another default, by the present one", "default", handover, [directory.approveAs(kenya, "default", handover)])

  directory.time += day
  const devices = (...names: string[]) => ({ devices: names.map((name) => deviceEntry(realm, kenya, name)) })
  manifest("a new device that an older one vouches for", kenya, devices("first", "second"), { coSigner: "first" })
  manifest("a new device that none vouches for", kenya, devices("first", "second", "rogue"))
  const rogue = { kind: "device", poc: kenya, device: deviceOf(kenya, "rogue") } as const
  directory.revoke(rogue, pocKeyOf(secretariat))
  note("a revocation by somebody else")
  directory.revoke(rogue, pocKeyOf(kenya))
  note("a revocation by its PoC, for compromise")
  const first = { kind: "device", poc: kenya, device: deviceOf(kenya) } as const
  directory.revoke(first, deviceKeyOf(kenya), { reason: "withdrawn", text: "Replaced by another machine." })
  note("a revocation by the device itself, for another reason")
  const officer = { kind: "officer", poc: kenya, officer: officerOf(kenya) } as const
  directory.revoke(officer, officerKeyOf(kenya), { reason: "officer-gone", text: "The duty ended." })
  note("a revocation by the officer")
  return { anchor: directory.anchor, directory, entries }
}

export function summaryOf(state: DirectoryState, atSeconds: number) {
  return {
    atSeconds,
    size: state.size,
    pocs: state.pocs().map((poc) => ({
      address: poc.address,
      organisation: poc.organisation,
      key: hex(poc.key),
      notAfter: poc.notAfter,
      isDefault: poc.isDefault,
      certificateIndex: poc.certificateIndex,
      manifestIndex: poc.manifestIndex ?? null,
      usable: state
        .usableDevices(poc.address, atSeconds)
        .map(({ device, usableFrom }) => ({ device: hex(device), usableFrom })),
    })),
    relays: state.relays().map(({ host: name, urls, key }) => ({ host: name, urls, key: hex(key) })),
    refused: state.refused(),
  }
}

/** Senders of Kenya, dated and citing the log as given, judged later. */
function judgements(state: DirectoryState) {
  const cases = [
    { device: "first", created: start + 60, cited: 13 },
    { device: "first", created: start + 60, cited: state.size },
    { device: "second", created: start + day + 60, cited: state.size },
    { device: "second", created: start + 60, cited: state.size },
    { device: "second", created: start + day + 60, cited: 14 },
    { device: "rogue", created: start + day, cited: 16 },
    { device: "third", created: start + day + 60, cited: state.size },
    { device: "second", created: start + day + 60, cited: state.size + 1 },
    { device: "second", created: start + 92 * day, cited: state.size, now: start + 92 * day },
  ]
  return cases.map(({ device, created, cited, now = start + 2 * day }) => {
    const id = deviceOf(kenya, device)
    const result = state.judgeSender({ sender: { poc: kenya, device: id }, created }, cited, now)
    const verdict = result.ok ? { ok: true, banners: result.banners } : { ...result }
    return { poc: kenya, device: hex(id), created, cited, now, ...verdict }
  })
}

if (import.meta.main)
  writeFileSync(
    new URL("../protocol/vectors/pki.json", import.meta.url),
    `${JSON.stringify(await pkiVectors(), null, 1)}\n`,
  )
