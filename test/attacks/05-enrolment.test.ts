/** Row 5, at enrolment: a directory, or whoever sits in between, that puts keys of its own in a PoC's place. */
import { afterAll, beforeAll, expect, test } from "vitest"
import { consider } from "../../client-sdk/approving.ts"
import type { PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { wordList, verificationWords } from "../../protocol/words.ts"
import { enrolmentStructure } from "../../pki/directory-api.ts"
import { subjectOf } from "../../pki/entries.ts"
import { officerEntry, pocKeyOf } from "../support/directory.ts"
import { ServedDirectory } from "../support/directory-service.ts"
import { codeOf, codeOfAsync } from "../support/errors.ts"
import { live as realm } from "../support/sealing.ts"

let served: ServedDirectory
beforeAll(async () => {
  served = await ServedDirectory.start()
})
afterAll(async () => await served.end())

const poc = (name: string): PocAddress => `ke/technical/${name}` as PocAddress

async function handedIn(name: string, request = served.requestOf(poc(name))) {
  const secret = await served.invited(poc(name))
  const { id } = (await served.client.enrol(secret, request)) as { id: string }
  return await served.client.proposal(id)
}

test("5 an officer's machine refuses an entry that certifies another key than was handed in", async () => {
  const honest = await handedIn("baobab")
  expect(consider(honest, realm).words).toEqual(verificationWords("enrolment", honest.request!))
  const foreign = await handedIn("teak")
  expect(codeOf(() => consider({ ...foreign, request: honest.request! }, realm))).toBe("ERR_UNTRUSTED")
  const { body } = foreign
  const id = hex(subjectOf("certificate", body)).slice(0, 32)
  // The same PoC, the attacker's key in the certificate, and the honest request beside it.
  const swapped = await handedIn("olive", served.requestOf(poc("olive"), "second"))
  const shown = { ...swapped, request: served.requestOf(poc("olive")) }
  expect(codeOf(() => consider(shown, realm))).toBe("ERR_UNTRUSTED")
  expect(codeOf(() => consider({ ...honest, body, id }, realm))).toBe("ERR_UNTRUSTED")
})

test("5 an officer's machine refuses another first manifest than was handed in", async () => {
  const honest = await handedIn("cedar")
  const officers = [officerEntry(realm, poc("cedar"), "foreign")]
  const firstManifest = served.manifestOf(poc("cedar"), { officers }, pocKeyOf(poc("cedar")))
  expect(codeOf(() => consider({ ...honest, firstManifest }, realm))).toBe("ERR_UNTRUSTED")
})

test("5 whatever is changed on the way changes the words", () => {
  const request = served.requestOf(poc("maple"))
  const words = verificationWords("enrolment", request)
  const asked = enrolmentStructure.decode(request)
  const others = [
    enrolmentStructure.encode({ ...asked, key: pocKeyOf(poc("maple"), "second").publicKey }),
    enrolmentStructure.encode({ ...asked, trust: verificationHash(asked.trust) }),
  ]
  for (const other of others) expect(verificationWords("enrolment", other)).not.toEqual(words)
  expect(verificationWords("device", request)).not.toEqual(words)
  expect([new Set(words.filter((word) => wordList.includes(word))).size > 4, words.length]).toEqual([true, 10])
  expect(new Set(wordList).size).toBe(256)
})

test("5 a code is used once: another request with it is refused, also after a restart", async () => {
  const secret = await served.invited(poc("acacia"))
  const request = served.requestOf(poc("acacia"))
  await served.client.enrol(secret, request)
  await served.close()
  await served.open()
  const other = served.requestOf(poc("acacia"), "second")
  expect(await codeOfAsync(served.client.enrol(secret, other))).toBe("ERR_INVITATION")
  expect(await served.client.enrol(secret, request)).toMatchObject({ outcome: "waiting" })
})

const verificationHash = <T extends Uint8Array>(hash: T): T => hash.map((byte) => byte ^ 1) as T
