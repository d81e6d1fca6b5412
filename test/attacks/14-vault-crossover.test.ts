/** A vault belongs to one directory and one mode for good. */
import { expect, test } from "vitest"
import { MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { createDevice, trustDirectory } from "../../client-sdk/enrol.ts"
import { Home } from "../../client-sdk/home.ts"
import type { PocAddress, Realm } from "../../protocol/address.ts"
import { writeTrustFile } from "../../pki/anchor.ts"
import { nodeMachine, nodeRandom } from "../../system/node.ts"
import { makeAuthorities, TestDirectory } from "../support/directory.ts"
import { exercise, live } from "../support/sealing.ts"

const trustFileOf = async (realm: Realm): Promise<string> =>
  writeTrustFile(new TestDirectory(await makeAuthorities(realm)).anchor)

test("14 live and exercise: a vault of the exercise takes no live trust file, nor one of another directory", async () => {
  const secret = { kind: "key-file", key: nodeRandom.bytes(32) } as const
  const poc = "ke/technical/baobab" as PocAddress
  const vault = await createDevice(new MemoryVaultStorage(), secret, nodeMachine, {
    poc,
    relay: "relay.example",
    realm: exercise,
  })
  expect(() => new Home(vault, nodeMachine)).toThrow(expect.objectContaining({ code: "ERR_MALFORMED" }))
  for (const other of [live, { ...exercise, origin: "other.example" }]) {
    const trust = await trustFileOf(other)
    expect(() => trustDirectory(vault, trust)).toThrow(expect.objectContaining({ code: "ERR_UNTRUSTED" }))
  }
  trustDirectory(vault, await trustFileOf(exercise))
  expect(new Home(vault, nodeMachine).realm).toEqual(exercise)
  await vault.close()
})
