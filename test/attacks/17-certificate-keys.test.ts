/** A State's insider, or the CA, gets a key at the edge of the curve certified, with everything else in order. */
import { beforeAll, expect, test } from "vitest"
import type { PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { memberStatement } from "../../protocol/manifest.ts"
import { signedBytes, verifyStatement } from "../../protocol/statement.ts"
import { der, tag } from "../../pki/der.ts"
import { ed25519Algorithm, keyIdOf } from "../../pki/profile.ts"
import { pocKeyOf, makeAuthorities, TestDirectory, type Authorities } from "../support/directory.ts"
import { mixedOrderKey, nonCanonicalKeys, smallOrderKeys } from "../support/edge-points.ts"
import { assemble, keyInfo, partsOf, withExtension } from "../support/forge.ts"
import { bytesOf } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const kenya = "ke/technical/baobab" as PocAddress
let authorities: Authorities
let directory: TestDirectory
beforeAll(async () => {
  authorities = await makeAuthorities()
  directory = await TestDirectory.create(authorities)
})

/** The certificate that the CA would give, but for this key. */
async function bodyFor(key: Uint8Array, member: Uint8Array) {
  const honest = await directory.certificateBody(kenya, { key: pocKeyOf(kenya) })
  const parts = partsOf(honest.certificate)
  const keyId = { critical: false, value: der(tag.octetString, keyIdOf(key)) }
  const changed = {
    ...parts,
    keyInfo: keyInfo(ed25519Algorithm, key),
    extensions: withExtension(parts.extensions, "subject-key-id", keyId),
  }
  return { ...honest, certificate: assemble(changed, authorities.ca.privateKey), member }
}

test.each([...smallOrderKeys, ...nonCanonicalKeys].map((key) => [hex(key), key] as const))(
  "17 low-order and non-canonical keys: no certificate for %s counts",
  async (_, key) => {
    const body = await bodyFor(key, new Uint8Array(64))
    expect(directory.log("certificate", body, ["first", "second"])).toMatchObject({
      reason: "certificate:public-key",
    })
  },
)

test("17 low-order and non-canonical keys: no certificate for a key of mixed order counts, though it signs", async () => {
  const mixed = mixedOrderKey(bytesOf(32, "mixed"))
  const statement = memberStatement(kenya, mixed.publicKey)
  const member = mixed.sign(signedBytes(live, "member", statement))
  expect(verifyStatement(mixed.publicKey, live, "member", { bytes: statement, signature: member })).toBe(true)
  const body = await bodyFor(mixed.publicKey, member)
  expect(directory.log("certificate", body, ["first", "second"])).toMatchObject({ reason: "certificate:public-key" })
})
