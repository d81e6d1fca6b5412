/** Issuing, read back by Node, @peculiar/x509 and pkijs; and where a library's chain builder is no validator. */
import { X509Certificate } from "node:crypto"
import "reflect-metadata"
import * as peculiar from "@peculiar/x509"
import * as pkijs from "pkijs"
import { beforeAll, describe, expect, test } from "vitest"
import { hex } from "../../protocol/bytes.ts"
import { issueCa, issueLeaf, makeIssuerKey, type IssuerKey } from "../../pki/certificate.ts"
import { der, tag } from "../../pki/der.ts"
import { signPossession } from "../../pki/possession.ts"
import { extendedKeyUsage, keyIdOf, p384Algorithm, type LeafSubject } from "../../pki/profile.ts"
import { validateCa, validateLeaf, validateRoot, type CertificateReason, type Judgement } from "../../pki/validator.ts"
import { readCertificate, type Certificate } from "../../pki/x509.ts"
import { day, issue, makeAuthorities, start, type Authorities } from "../support/directory.ts"
import { assemble, keyInfo, nameOf, partsOf, uris, withExtension, type Parts } from "../support/forge.ts"
import { bytesOf, signingKeyOf } from "../support/papers.ts"
import { exercise, live } from "../support/sealing.ts"

const key = signingKeyOf("holder")
const kenya: LeafSubject = { use: "poc", poc: { state: "ke", role: "technical", agency: "baobab" } }
const subjects: readonly LeafSubject[] = [
  kenya,
  { use: "relay", host: "relay.ke.example" },
  { use: "relay", host: "127.0.0.1:8443" },
  { use: "log" },
  { use: "secretariat", poc: { state: "un", role: "secretariat", agency: "valise" } },
]
let authorities: Authorities
let root: Certificate
let ca: Certificate
let leaf: Uint8Array
let otherKey: IssuerKey

beforeAll(async () => {
  authorities = await makeAuthorities()
  root = readCertificate(authorities.root.certificate)
  ca = readCertificate(authorities.ca.certificate)
  leaf = (await issue(authorities, kenya, key)).certificate
  otherKey = await makeIssuerKey()
})

const judgeLeaf = (bytes: Uint8Array, at = start, subject: LeafSubject = kenya): Judgement =>
  validateLeaf(bytes, ca, live, subject, at)
const reasonOf = (judgement: Judgement): CertificateReason | "ok" => (judgement.ok ? "ok" : judgement.reason)

describe("what is issued", () => {
  test("is accepted at each level, for each use", async () => {
    expect(reasonOf(validateRoot(root.der, live))).toBe("ok")
    expect(reasonOf(validateCa(ca.der, root, live, start))).toBe("ok")
    for (const subject of subjects)
      expect(reasonOf(judgeLeaf((await issue(authorities, subject, key)).certificate, start, subject))).toBe("ok")
  })

  test("says what the profile says, as Node and @peculiar/x509 read it", () => {
    const node = new X509Certificate(leaf)
    expect(node.subject).toBe("C=KE\nO=Agency of Tests\nCN=baobab")
    expect(node.issuer).toBe("O=directory.example\nOU=live\nCN=Valise issuing CA")
    expect(node.subjectAltName).toBe("URI:poc://baobab.technical.ke.directory.example/")
    expect(node.keyUsage).toEqual([extendedKeyUsage.poc])
    expect(node.ca).toBe(false)
    expect(node.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/)
    expect(node.checkIssued(new X509Certificate(ca.der))).toBe(true)
    expect(node.verify(new X509Certificate(ca.der).publicKey)).toBe(true)
    expect(
      hex(new Uint8Array(node.publicKey.export({ format: "der", type: "spki" }))).endsWith(hex(key.publicKey)),
    ).toBe(true)
    const other = new peculiar.X509Certificate(Uint8Array.from(ca.der))
    expect(other.getExtension(peculiar.BasicConstraintsExtension)).toMatchObject({
      ca: true,
      pathLength: 0,
      critical: true,
    })
    const { keyCertSign, cRLSign } = peculiar.KeyUsageFlags
    expect(other.getExtension(peculiar.KeyUsagesExtension)).toMatchObject({
      usages: keyCertSign | cRLSign,
      critical: true,
    })
  })

  test("our own reading of the dates is Node's", () => {
    for (const certificate of [root, ca, readCertificate(leaf)]) {
      const node = new X509Certificate(certificate.der)
      expect(certificate.notBefore).toBe(Date.parse(node.validFrom) / 1000)
      expect(certificate.notAfter).toBe(Date.parse(node.validTo) / 1000)
    }
  })

  test("only for a key that has asked for this subject in this realm", async () => {
    const ask = async (possession: Uint8Array) =>
      await issueLeaf({
        ...authorities,
        random: (length) => bytesOf(length, "serial"),
        notBefore: start,
        notAfter: start + day,
        subject: kenya,
        organisation: "Agency of Tests",
        publicKey: key.publicKey,
        possession,
      })
    const untrusted = expect.objectContaining({ code: "ERR_UNTRUSTED" })
    await expect(ask(signPossession(signingKeyOf("thief"), live, kenya))).rejects.toEqual(untrusted)
    await expect(ask(signPossession(key, exercise, kenya))).rejects.toEqual(untrusted)
    await expect(ask(signPossession(key, live, { use: "log" }))).rejects.toEqual(untrusted)
    await expect(ask(signPossession(key, live, kenya))).resolves.toBeInstanceOf(Uint8Array)
  })

  test("nothing that the profile does not allow", async () => {
    const usage = expect.objectContaining({ code: "ERR_USAGE" })
    await expect(issue(authorities, kenya, key, { notAfter: start + 400 * day })).rejects.toEqual(usage)
    await expect(issue(authorities, kenya, key, { organisation: "line\nbreak" })).rejects.toEqual(usage)
    await expect(issue(authorities, kenya, key, { organisation: "x".repeat(65) })).rejects.toEqual(usage)
    await expect(issue(authorities, kenya, key, { organisation: "turned \u202e round" })).rejects.toEqual(usage)
    const times = { notBefore: start, notAfter: start + 10 * day }
    const odd = {
      realm: { origin: "no-dots", mode: "live" },
      random: (n: number) => bytesOf(n, "s"),
      ...times,
    } as const
    await expect(issueCa({ ...odd, root: authorities.root, publicKey: otherKey.publicKey })).rejects.toEqual(usage)
  })

  test("an organisation's name may be in any script", async () => {
    for (const organisation of ["Центр безопасности", "مرکز ملی می‌باشد", "国家互联网应急中心", "Équipe d’alerte"]) {
      const { certificate } = await issue(authorities, kenya, key, { organisation })
      expect(readCertificate(certificate).organisation).toBe(organisation)
    }
  })
})

describe("where @peculiar/x509's chain builder is no validator, pkijs agrees with ours", () => {
  const bareLeaf = async (subject: LeafSubject, change: (parts: Parts) => Partial<Parts>, privateKey: Uint8Array) => {
    const parts = partsOf((await issue(authorities, subject, key)).certificate)
    return assemble({ ...parts, ...change(parts) }, privateKey)
  }

  test("an honest chain is accepted by both", async () => {
    expect(await pkijsAccepts([leaf, ca.der], start)).toBe(true)
    expect(reasonOf(judgeLeaf(leaf))).toBe("ok")
  })

  test("an expired certificate", async () => {
    const late = start + 366 * day
    expect(await builderAccepts([leaf, ca.der])).toBe(true)
    expect(await pkijsAccepts([leaf, ca.der], late)).toBe(false)
    expect(reasonOf(judgeLeaf(leaf, late))).toBe("expired")
  })

  test("a name outside the constraints", async () => {
    const outside = await bareLeaf(
      kenya,
      ({ extensions }) => ({
        extensions: withExtension(extensions, "subject-alternative-name", {
          critical: false,
          value: uris("poc://ke.elsewhere.example/"),
        }),
      }),
      authorities.ca.privateKey,
    )
    expect(await builderAccepts([outside, ca.der])).toBe(true)
    expect(await pkijsAccepts([outside, ca.der], start)).toBe(false)
    expect(reasonOf(judgeLeaf(outside))).toBe("outside-name-constraints")
  })

  test("a leaf acting as CA", async () => {
    // Under a leaf with a P-384 key, which the libraries can judge: it is no CA, yet signs another leaf.
    const leafParts = partsOf(leaf)
    const middle = assemble(
      {
        ...leafParts,
        keyInfo: keyInfo(p384Algorithm, otherKey.publicKey),
        extensions: withExtension(leafParts.extensions, "subject-key-id", {
          critical: false,
          value: der(tag.octetString, keyIdOf(otherKey.publicKey)),
        }),
      },
      authorities.ca.privateKey,
    )
    const authorityId = { critical: false, value: der(tag.sequence, der(tag.implicit(0), keyIdOf(otherKey.publicKey))) }
    const below = assemble(
      {
        ...leafParts,
        issuer: leafParts.subject,
        subject: nameOf([CN, tag.utf8String, "below"]),
        extensions: withExtension(leafParts.extensions, "authority-key-id", authorityId),
      },
      otherKey.privateKey,
    )
    expect(await builderAccepts([below, middle, ca.der])).toBe(true)
    expect(await pkijsAccepts([below, middle, ca.der], start)).toBe(false)
    expect(reasonOf(judgeLeaf(below))).toBe("issuer")
    expect(reasonOf(validateCa(middle, root, live, start))).not.toBe("ok")
  })

  async function pkijsAccepts(chain: readonly Uint8Array[], atSeconds: number): Promise<boolean> {
    const parse = (bytes: Uint8Array) => pkijs.Certificate.fromBER(Uint8Array.from(bytes).buffer)
    const engine = new pkijs.CertificateChainValidationEngine({
      trustedCerts: [parse(root.der)],
      certs: chain.map(parse).toReversed(),
      checkDate: new Date(atSeconds * 1000),
    })
    return (await engine.verify()).result
  }

  /** It builds a path up to the root. */
  async function builderAccepts(chain: readonly Uint8Array[]): Promise<boolean> {
    const [first, ...rest] = [...chain, root.der].map((bytes) => new peculiar.X509Certificate(Uint8Array.from(bytes)))
    const path = await new peculiar.X509ChainBuilder({ certificates: rest }).build(first!)
    return path.length === chain.length + 1
  }
})

const CN = "2.5.4.3"
