/** The certificate profile with one thing changed at a time: whatever it does not prescribe is refused (SPEC, "Directory"). */
import { beforeAll, describe, expect, test } from "vitest"
import { concat } from "../../protocol/bytes.ts"
import { makeIssuerKey, type IssuerKey } from "../../pki/certificate.ts"
import { contentOf, der, readElements, tag } from "../../pki/der.ts"
import { lifetimeSecondsMax, type LeafSubject } from "../../pki/profile.ts"
import {
  certificateReasons,
  validateCa,
  validateLeaf,
  validateRoot,
  type CertificateReason,
  type Judgement,
} from "../../pki/validator.ts"
import { readCertificate, type Certificate } from "../../pki/x509.ts"
import { day, issue, makeAuthorities, start, type Authorities } from "../support/directory.ts"
import { assemble, ecdsa, partsOf } from "../support/forge.ts"
import { caMutations, leafMutations, rootMutations } from "../support/mutations.ts"
import { signingKeyOf } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const key = signingKeyOf("holder")
const kenya: LeafSubject = { use: "poc", poc: { state: "ke", role: "technical", agency: "baobab" } }
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

const judgeLeaf = (bytes: Uint8Array, at = start): Judgement => validateLeaf(bytes, ca, live, kenya, at)
const reasonOf = (judgement: Judgement): CertificateReason | "ok" => (judgement.ok ? "ok" : judgement.reason)

describe("the profile with one thing changed is refused", () => {
  test("the tool itself makes acceptable certificates", () => {
    expect(reasonOf(judgeLeaf(assemble(partsOf(leaf), authorities.ca.privateKey)))).toBe("ok")
    expect(reasonOf(validateCa(assemble(partsOf(ca.der), authorities.root.privateKey), root, live, start))).toBe("ok")
    expect(reasonOf(validateRoot(assemble(partsOf(root.der), authorities.root.privateKey), live))).toBe("ok")
  })

  test.each(leafMutations)("leaf: %s", (_, reason, change) => {
    const parts = partsOf(leaf)
    expect(reasonOf(judgeLeaf(assemble({ ...parts, ...change(parts) }, authorities.ca.privateKey)))).toBe(reason)
  })

  test.each(caMutations)("issuing CA: %s", (_, reason, change) => {
    const parts = partsOf(ca.der)
    const bytes = assemble({ ...parts, ...change(parts) }, authorities.root.privateKey)
    expect(reasonOf(validateCa(bytes, root, live, start))).toBe(reason)
  })

  test.each(rootMutations)("root: %s", (_, reason, change) => {
    const parts = partsOf(root.der)
    expect(reasonOf(validateRoot(assemble({ ...parts, ...change(parts) }, authorities.root.privateKey), live))).toBe(
      reason,
    )
  })

  test("the first and last second belong to its life", () => {
    const { notBefore, notAfter } = readCertificate(leaf)
    expect([notBefore - 1, notBefore, notAfter, notAfter + 1].map((at) => reasonOf(judgeLeaf(leaf, at)))).toEqual([
      "not-yet-valid",
      "ok",
      "ok",
      "expired",
    ])
    expect(reasonOf(validateCa(ca.der, root, live, ca.notAfter + 1))).toBe("expired")
  })

  test("signatures: another key's, a changed byte, another form", () => {
    expect(reasonOf(judgeLeaf(assemble(partsOf(leaf), otherKey.privateKey)))).toBe("signature")
    expect(reasonOf(validateRoot(assemble(partsOf(root.der), otherKey.privateKey), live))).toBe("signature")
    expect(reasonOf(validateCa(assemble(partsOf(ca.der), otherKey.privateKey), root, live, start))).toBe("signature")
    const { signed } = readCertificate(leaf)
    const algorithm = partsOf(leaf).outerAlgorithm
    const signature = ecdsa(signed, authorities.ca.privateKey)
    const whole = (...bits: Uint8Array[]) =>
      der(tag.sequence, signed, algorithm, der(tag.bitString, Uint8Array.of(0), ...bits))
    expect(reasonOf(judgeLeaf(whole(signature)))).toBe("ok")
    expect(reasonOf(judgeLeaf(whole(signature, Uint8Array.of(0))))).toBe("der")
    expect(reasonOf(judgeLeaf(whole(der(tag.sequence))))).toBe("der")
    expect(
      reasonOf(
        judgeLeaf(whole(der(tag.sequence, der(tag.integer, Uint8Array.of(0)), der(tag.integer, Uint8Array.of(0))))),
      ),
    ).toBe("der")
    const one = der(tag.integer, Uint8Array.of(1))
    expect(reasonOf(judgeLeaf(whole(der(tag.sequence, contentOf(tag.sequence, signature), one))))).toBe("der")
    expect(reasonOf(judgeLeaf(whole(der(tag.sequence, one, one))))).toBe("signature")
    const long = der(tag.integer, new Uint8Array(49).fill(1))
    expect(reasonOf(judgeLeaf(whole(der(tag.sequence, long, one))))).toBe("der")
  })

  test("nothing beside the three parts, and the extensions in their place", () => {
    const [signed, algorithm, bits] = readElements(contentOf(tag.sequence, leaf)).map(({ bytes }) => bytes)
    expect(reasonOf(judgeLeaf(der(tag.sequence, signed!, algorithm!, bits!, der(0x05))))).toBe("der")
    expect(
      reasonOf(judgeLeaf(der(tag.sequence, der(tag.set, contentOf(tag.sequence, signed!)), algorithm!, bits!))),
    ).toBe("der")
    const fields = readElements(contentOf(tag.sequence, signed!))
    const elsewhere = der(tag.explicit(2), fields.at(-1)!.content)
    const moved = der(tag.sequence, ...fields.slice(0, -1).map(({ bytes }) => bytes), elsewhere)
    expect(reasonOf(judgeLeaf(der(tag.sequence, moved, algorithm!, bits!)))).toBe("der")
  })

  test("every byte of the leaf counts, and every byte after it", () => {
    for (let at = 0; at < leaf.length; at++) {
      const changed = Uint8Array.from(leaf, (byte, i) => (i === at ? byte ^ 0x01 : byte))
      expect(judgeLeaf(changed).ok, `byte ${at}`).toBe(false)
    }
    expect(reasonOf(judgeLeaf(concat(leaf, Uint8Array.of(0))))).toBe("der")
    for (let length = 0; length < leaf.length; length += 7)
      expect(reasonOf(judgeLeaf(leaf.subarray(0, length)))).toBe("der")
  })

  test("each reason is reached", () => {
    const reached = [...leafMutations, ...caMutations, ...rootMutations].map(([, reason]) => reason)
    const besides: CertificateReason[] = ["signature", "not-yet-valid", "expired"]
    expect(new Set([...reached, ...besides])).toEqual(new Set(certificateReasons))
  })
})

test("lifetimes: thirteen months, five years, twenty", () => {
  const { leaf: leafMax, ca: caMax, root: rootMax } = lifetimeSecondsMax
  expect([leafMax, caMax, rootMax].map((x) => x / day)).toEqual([397, 1830, 7320])
})
