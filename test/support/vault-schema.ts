/** The schema of the vaults of the tests, apart from vitest, so that other processes can use it. */
import { z } from "zod"
import { shapes, type PocAddress } from "../../protocol/address.ts"
import type { UnlockSecret } from "../../client-sdk/vault/lock.ts"
import type { Vault, VaultAbout } from "../../client-sdk/vault/vault.ts"

export const testSchema = {
  collections: {
    archive: { shape: z.strictObject({ subject: z.string(), n: z.number().int(), body: shapes.bytes.optional() }) },
    contacts: { shape: z.strictObject({ name: z.string() }) },
    prekeys: { shape: z.strictObject({ seed: shapes.bytes }), volatile: true },
    replay: { shape: z.strictObject({ content: shapes.bytes }), volatile: true },
    counters: { shape: z.strictObject({ n: z.number().int() }), volatile: true },
  },
  events: ["received", "erased"],
} as const
export type TestVault = Vault<(typeof testSchema)["collections"], (typeof testSchema)["events"][number]>

export const about: VaultAbout = {
  poc: "ke/technical/baobab" as PocAddress,
  realm: { origin: "directory.example", mode: "exercise" },
}

export const keySecret = (seed = 1): UnlockSecret => ({ kind: "key-file", key: new Uint8Array(32).fill(seed) })
