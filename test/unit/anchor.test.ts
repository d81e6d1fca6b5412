import { beforeAll, describe, expect, test } from "vitest"
import { readTrustFile, writeTrustFile, type TrustAnchor } from "../../pki/anchor.ts"
import { encodeVerifierKey, verifierKey } from "../../pki/note.ts"
import { parsePolicy } from "../../pki/policy.ts"
import { DirectoryState } from "../../pki/state.ts"
import { makeAuthorities, TestDirectory, type Authorities } from "../support/directory.ts"
import { codeOf } from "../support/errors.ts"
import { signingKeyOf } from "../support/papers.ts"

let authorities: Authorities
let anchor: TrustAnchor
let text: string
beforeAll(async () => {
  authorities = await makeAuthorities()
  anchor = new TestDirectory(authorities).anchor
  text = writeTrustFile(anchor)
})

describe("a trust file", () => {
  test("is one that a person can read", () => {
    const lines = text.split("\n")
    expect(lines.slice(0, 5)).toEqual([
      "valise trust file v1",
      "origin directory.example",
      "mode live",
      "",
      "-----BEGIN CERTIFICATE-----",
    ])
    expect(lines.slice(-5)).toEqual(["-----END CERTIFICATE-----", "", `log ${anchor.logKey}`, "quorum none", ""])
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(120)
  })

  test("says all that a reader needs, and says it again when it is written again", () => {
    const read = readTrustFile(text)
    expect(read).toMatchObject({ realm: anchor.realm, rootCertificate: anchor.rootCertificate, logKey: anchor.logKey })
    expect(writeTrustFile(read)).toBe(text)
    expect(new DirectoryState(read).size).toBe(0)
  })

  test("carries a witness policy with its comments", () => {
    const witness = encodeVerifierKey(verifierKey("w.example", "cosignature", signingKeyOf("w").publicKey))
    const policy = parsePolicy(`# agreed in Geneva\nlog ${anchor.logKey}\nwitness w ${witness}\nquorum w\n`)
    const written = writeTrustFile({ ...anchor, policy })
    expect(written).toContain("# agreed in Geneva\n")
    expect(readTrustFile(written)).toEqual({ ...anchor, policy })
  })

  test("is refused if anything in it is not in its form", () => {
    const changes: ((good: string) => string)[] = [
      () => "",
      (good) => good.slice(0, -1),
      (good) => `\n${good}`,
      (good) => good.replaceAll("\n", "\r\n"),
      (good) => good.replace(" v1", " v2"),
      (good) => good.replace("origin directory.example", "origin Directory.example"),
      (good) => good.replace("origin directory.example", "origin nodots"),
      (good) => good.replace("mode live", "mode test"),
      (good) => good.replace("mode live\n", ""),
      (good) => good.replace("mode live\n", "mode live\nextra line\n"),
      (good) => good.replace("-----END CERTIFICATE-----\n\n", "-----END CERTIFICATE-----\n"),
      (good) => good.replace("CERTIFICATE-----\nMII", "CERTIFICATE-----\nM\nII"),
      (good) => good.replace("\n-----END", "=\n-----END"),
      (good) => good.replace("quorum none", "quorum"),
      (good) => good.replace(/log .*\n/, ""),
      (good) => good.replace(/(log .*\n)/, "$1$1"),
      (good) => good.replace("quorum none", "extra"),
    ]
    for (const [index, change] of changes.entries())
      expect(
        codeOf(() => readTrustFile(change(text))),
        `change ${index}`,
      ).toBe("ERR_MALFORMED")
  })

  test("is refused if its root is not one of the profile, or of another realm", () => {
    expect(codeOf(() => readTrustFile(text.replace("mode live", "mode exercise")))).toBe("ERR_UNTRUSTED")
    expect(codeOf(() => readTrustFile(text.replace("origin directory.example", "origin elsewhere.example")))).toBe(
      "ERR_UNTRUSTED",
    )
    expect(codeOf(() => writeTrustFile({ ...anchor, rootCertificate: authorities.ca.certificate }))).toBe(
      "ERR_UNTRUSTED",
    )
  })

  test("is not written for an anchor whose policy names another log", () => {
    const other = encodeVerifierKey(verifierKey("other.example/log", "ed25519", signingKeyOf("other").publicKey))
    expect(codeOf(() => writeTrustFile({ ...anchor, policy: parsePolicy(`log ${other}\nquorum none\n`) }))).toBe(
      "ERR_MALFORMED",
    )
  })
})
