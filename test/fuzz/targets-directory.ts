/** Certificates, the log's entries, its notes and files, and the trust file. */
import type { Realm } from "../../protocol/address.ts"
import { concat, equal, fromHex, utf8 } from "../../protocol/bytes.ts"
import { readTrustFile, writeTrustFile } from "../../pki/anchor.ts"
import { checkpointText, parseCheckpointText, readCheckpoint, verifyCheckpoint } from "../../pki/checkpoint.ts"
import { der, readElements, tag } from "../../pki/der.ts"
import { approvalStructure, bodyStructures, entryStructure, revocationStructure } from "../../pki/entries.ts"
import { encodeNote, encodeVerifierKey, parseNote, parseVerifierKey } from "../../pki/note.ts"
import { parsePolicy } from "../../pki/policy.ts"
import type { LeafSubject } from "../../pki/profile.ts"
import { judgeView } from "../../pki/split-view.ts"
import { DirectoryState } from "../../pki/state.ts"
import { decodeBundle, encodeBundle, parseTilePath, tilePath } from "../../pki/tiles.ts"
import { certificateReasons, validateCa, validateLeaf, validateRoot, type Judgement } from "../../pki/validator.ts"
import { readCertificate, uriOf } from "../../pki/x509.ts"
import type { Target } from "./engine.ts"
import * as by from "./mutations.ts"
import { ensure, sameBytes, tried } from "./properties.ts"
import { bytesOf, vectors } from "./vectors.ts"

interface PkiVectors {
  readonly realm: Realm
  readonly trustFile: string
  readonly certificates: readonly { readonly level: string; readonly der: string; readonly subject?: LeafSubject }[]
  readonly refusedCertificates: readonly { readonly der: string }[]
  readonly log: { readonly entries: readonly { readonly leaf: string }[] }
}
interface LogVectors {
  readonly keys: readonly { readonly vkey: string }[]
  readonly nowSeconds: number
  readonly checkpoint: { readonly note: string }
  readonly witnessed: { readonly note: string; readonly policy: string }
  readonly tilePaths: readonly { readonly path: string }[]
  readonly bundle: { readonly bytes: string }
}

const pki = vectors<PkiVectors>("pki")
const log = vectors<LogVectors>("log")
const atSeconds = 1_800_000_000
const certificateAt = (level: string) => readCertificate(fromHex(pki.certificates.find((c) => c.level === level)!.der))
const [root, ca] = [certificateAt("root"), certificateAt("ca")]
const { subject } = pki.certificates.find(({ level }) => level === "leaf")!

const certificates: Target = {
  name: "certificate",
  seeds: [
    ...bytesOf(...pki.certificates.map((certificate) => certificate.der)),
    ...bytesOf(...pki.refusedCertificates.filter((_, i) => i % 5 === 0).map((certificate) => certificate.der)),
    // As many arguments as one call can have, and more.
    der(tag.sequence, der(tag.utcTime, new Uint8Array(65_000))),
  ],
  mutations: [by.derTree, by.derTree, by.bytes],
  stepsMax: { base: 20_000, perByte: 60 },
  check: (input) => {
    const elements = tried(["ERR_MALFORMED"], () => readElements(input))
    if (elements) sameBytes("DER", concat(...elements.map((each) => der(each.tag, each.content))), input)
    const certificate = tried(["ERR_MALFORMED"], () => readCertificate(input))
    judged(validateRoot(input, pki.realm), root.der, input)
    judged(validateCa(input, root, pki.realm, atSeconds), ca.der, input)
    judged(validateLeaf(input, ca, pki.realm, subject!, atSeconds), undefined, input)
    for (const { value } of certificate?.extensions ?? []) uriOf(value)
  },
}

/** Only what its issuer signed is accepted, and the signature covers all but itself. */
function judged(judgement: Judgement, honest: Uint8Array | undefined, input: Uint8Array): void {
  if (!judgement.ok) return ensure(certificateReasons.includes(judgement.reason), `refused for ${judgement.reason}`)
  const known = honest ? [honest] : bytesOf(...pki.certificates.map((certificate) => certificate.der))
  const signedParts = known.map((certificate) => readCertificate(certificate).signed)
  ensure(
    signedParts.some((signed) => equal(signed, judgement.certificate.signed)),
    "an altered certificate is accepted",
  )
  sameBytes("certificate", judgement.certificate.der, input)
}

const entries = bytesOf(...pki.log.entries.map(({ leaf }) => leaf))
const anchor = readTrustFile(pki.trustFile)
const state = new DirectoryState(anchor)
for (const entry of entries) state.apply(entry)
const honestBodies = entries.map((entry) => entryStructure.decode(entry).body)

const logEntries: Target = {
  name: "log-entry",
  seeds: entries,
  mutations: [by.cbor, by.cbor, by.bytes],
  stepsMax: { base: 60_000, perByte: 300 },
  check: (input) => {
    const entry = tried(["ERR_MALFORMED", "ERR_VERSION"], () => entryStructure.decode(input))
    if (entry) {
      sameBytes("entry", entryStructure.encode(entry), input)
      const structure = Object.entries(bodyStructures).find(([kind]) => kind === entry.kind)?.[1]
      const body = structure && tried(["ERR_MALFORMED", "ERR_VERSION"], () => structure.decode(entry.body))
      if (structure && body) sameBytes("body", structure.encode(body as never), entry.body)
      for (const { bytes } of entry.approvals ?? [])
        tried(["ERR_MALFORMED", "ERR_VERSION"], () => approvalStructure.decode(bytes))
      if (body && "statement" in body)
        tried(["ERR_MALFORMED", "ERR_VERSION"], () => revocationStructure.decode(body.statement.bytes))
    }
    // A body that its signers made may come again, with another word of the log's around it; no other counts.
    const isHonest = entry && honestBodies.some((body) => equal(body, entry.body))
    ensure(!state.apply(input).counted || isHonest === true, "an entry that nobody signed counts")
  },
}

const [logKey] = log.keys
const trust = { logKey: logKey!.vkey, policy: parsePolicy("quorum none\n") }
const witnessed = { logKey: logKey!.vkey, policy: parsePolicy(log.witnessed.policy) }
const honestNotes = [log.checkpoint.note, log.witnessed.note].map(utf8)

const notes: Target = {
  name: "note",
  seeds: [...honestNotes, utf8(logKey!.vkey), utf8(log.checkpoint.note.split("\n\n")[0]!)],
  mutations: [by.lines, by.bytes],
  stepsMax: { base: 20_000, perByte: 60 },
  check: (input) => {
    const text = Buffer.from(input).toString()
    const note = tried(["ERR_MALFORMED"], () => parseNote(input))
    if (note) sameBytes("note", encodeNote(note), input)
    const checkpoint = tried(["ERR_MALFORMED"], () => parseCheckpointText(text))
    if (checkpoint) ensure(checkpointText(checkpoint) === text, "a checkpoint has two forms")
    const key = tried(["ERR_MALFORMED"], () => parseVerifierKey(text))
    if (key) ensure(encodeVerifierKey(key) === text, "a verifier key has two forms")
    const honestTexts = honestNotes.map((honest) => parseNote(honest).text)
    for (const by of [trust, witnessed]) {
      const opened = tried(["ERR_MALFORMED", "ERR_UNTRUSTED"], () => verifyCheckpoint(input, by, log.nowSeconds))
      if (opened) ensure(honestTexts.includes(checkpointText(opened)), "an altered checkpoint verifies")
    }
    readCheckpoint(input)
    judgeView({ checkpoint: honestNotes[0]!, rootAt: () => new Uint8Array(32) }, input, logKey!.vkey)
  },
}

const trustFiles: Target = {
  name: "trust-file",
  seeds: [pki.trustFile, log.witnessed.policy, "group g any a b\nquorum g\n"].map(utf8),
  mutations: [by.lines, by.lines, by.bytes],
  stepsMax: { base: 10_000, perByte: 40 },
  check: (input) => {
    const text = Buffer.from(input).toString()
    const read = tried(["ERR_MALFORMED", "ERR_UNTRUSTED"], () => readTrustFile(text))
    if (read) ensure(writeTrustFile(read) === text, "a trust file has two forms")
    const policy = tried(["ERR_MALFORMED"], () => parsePolicy(text))
    if (policy) ensure(policy.text === text, "a policy is not kept as it was written")
  },
}

/** A count, and a bundle of so many entries; or a path. */
const tiles: Target = {
  name: "tiles",
  seeds: [concat(Uint8Array.of(3), fromHex(log.bundle.bytes)), ...log.tilePaths.map(({ path }) => utf8(path))],
  mutations: [by.bytes],
  stepsMax: { base: 1500, perByte: 4 },
  check: (input) => {
    const [count = 0] = input
    const bundle = tried(["ERR_MALFORMED"], () => decodeBundle(input.subarray(1), count))
    if (bundle) sameBytes("bundle", encodeBundle(bundle), input.subarray(1))
    const path = Buffer.from(input).toString()
    const tile = parseTilePath(path)
    if (tile) ensure(tilePath(tile) === path, "a tile has two paths")
  },
}

export const directoryTargets: readonly Target[] = [certificates, logEntries, notes, trustFiles, tiles]
