import { X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import type { DeviceId } from "../../protocol/address.ts"
import { fromHex, hex, utf8 } from "../../protocol/bytes.ts"
import { shake256, SigningKey } from "../../protocol/primitives.ts"
import { readTrustFile } from "../../pki/anchor.ts"
import { certificateHash, entryStructure, subjectOf, type EntryKind } from "../../pki/entries.ts"
import { provesPossession } from "../../pki/possession.ts"
import { leafUri, type LeafSubject } from "../../pki/profile.ts"
import { DirectoryState } from "../../pki/state.ts"
import { validateCa, validateLeaf, validateRoot, type Judgement } from "../../pki/validator.ts"
import { readCertificate } from "../../pki/x509.ts"
import { summaryOf, type pkiVectors } from "../../scripts/make-pki-vectors.ts"

type Vectors = Awaited<ReturnType<typeof pkiVectors>>
const text = readFileSync(join(import.meta.dirname, "../../protocol/vectors/pki.json"), "utf8")
const vectors = JSON.parse(text) as Vectors
const anchor = readTrustFile(vectors.trustFile)
const leaves = vectors.log.entries as readonly {
  readonly kind: EntryKind
  readonly time: number
  readonly subject: string
  readonly counted: boolean
  readonly reason?: string
  readonly leaf: string
}[]

describe("protocol/vectors/pki.json", () => {
  test("its keys are those of their names", () => {
    for (const { name, seed, publicKey } of vectors.keys) {
      expect(hex(shake256(32, utf8(`signing key: ${name}`)))).toBe(seed)
      expect(hex(new SigningKey(fromHex(seed)).publicKey)).toBe(publicKey)
    }
  })

  test("its certificates are valid, and say to Node what they say to us", () => {
    const [root, ca, ...others] = vectors.certificates.map((row) => ({ ...row, bytes: fromHex(row.der) }))
    const issuer = readCertificate(ca!.bytes)
    expect(validateRoot(root!.bytes, anchor.realm)).toMatchObject({ ok: true })
    expect(validateCa(ca!.bytes, readCertificate(root!.bytes), anchor.realm, ca!.notBefore)).toMatchObject({ ok: true })
    for (const row of others) {
      const { subject, uri, member } = row as typeof row & { subject: LeafSubject; uri: string; member: string }
      expect(validateLeaf(row.bytes, issuer, anchor.realm, subject, row.notAfter)).toMatchObject({ ok: true })
      expect(leafUri(subject, anchor.realm.origin)).toBe(uri)
      expect(provesPossession(anchor.realm, subject, fromHex(row.publicKey), fromHex(member))).toBe(true)
      const node = new X509Certificate(row.bytes)
      expect(node.subjectAltName).toBe(`URI:${uri}`)
      expect(node.serialNumber.toLowerCase()).toBe(row.serial)
      expect(node.verify(new X509Certificate(ca!.bytes).publicKey)).toBe(true)
      expect(hex(certificateHash(row.bytes))).toBe(row.hash)
    }
  })

  test("its refused certificates are refused, each for its reason", () => {
    const [root, ca] = vectors.certificates.map(({ der }) => readCertificate(fromHex(der)))
    const subject: LeafSubject = { use: "poc", poc: { state: "ke", role: "technical", agency: "baobab" } }
    const judges: Record<string, (der: Uint8Array, at: number) => Judgement> = {
      root: (der) => validateRoot(der, anchor.realm),
      ca: (der, at) => validateCa(der, root!, anchor.realm, at),
      leaf: (der, at) => validateLeaf(der, ca!, anchor.realm, subject, at),
    }
    for (const { level, what, atSeconds, reason, der } of vectors.refusedCertificates)
      expect(judges[level]!(fromHex(der), atSeconds), `${level}: ${what}`).toEqual({ ok: false, reason })
    expect(vectors.refusedCertificates.length).toBeGreaterThan(90)
  })

  test("its log replays to its directory, roots and judgements", () => {
    const state = new DirectoryState(anchor)
    expect(hex(state.rootAt(0))).toBe(vectors.log.roots[0])
    for (const [index, { leaf, kind, subject, counted, reason }] of leaves.entries()) {
      expect(state.apply(fromHex(leaf))).toEqual(counted ? { counted } : { counted, reason })
      expect(hex(state.rootAt(index + 1))).toBe(vectors.log.roots[index + 1])
      expect(hex(subjectOf(kind, entryStructure.decode(fromHex(leaf)).body))).toBe(subject)
    }
    expect(summaryOf(state, vectors.state.atSeconds)).toEqual(vectors.state)
    for (const { poc, device, created, cited, now, ...verdict } of vectors.judgements) {
      const sender = { poc, device: fromHex(device) as DeviceId }
      expect(state.judgeSender({ sender, created }, cited, now)).toMatchObject(verdict)
    }
  })
})
