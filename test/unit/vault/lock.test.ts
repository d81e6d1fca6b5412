import { describe, expect, test } from "vitest"
import { nodeArgon2, passphraseSecret } from "../../../client-sdk/vault/argon2-node.ts"
import {
  argon2Parameters,
  lock,
  lockedShape,
  unlock,
  type Locked,
  type UnlockSecret,
} from "../../../client-sdk/vault/lock.ts"
import { sealOfficerKey, sealPocKey, unlockOfficerKey, unlockPocKey } from "../../../client-sdk/vault/officer-key.ts"
import { officerIdOf, type PocAddress } from "../../../protocol/address.ts"
import { hex, utf8 } from "../../../protocol/bytes.ts"
import { decodeCbor, encodeCbor } from "../../../protocol/cbor.ts"
import { mac } from "../../../protocol/primitives.ts"
import { about, keySecret, testMachine } from "../../support/vault.ts"

const { random } = testMachine()
const plaintext = utf8("thirty-two bytes of secret stuff")

/** A passphrase without the cost of Argon2id; remembers what it was asked. */
function cheap(passphrase: string) {
  const asked: { passphrase: string; salt: Uint8Array; parameters: object }[] = []
  const secret: UnlockSecret = {
    kind: "passphrase",
    passphrase,
    derivation: {
      derive: async (bytes, salt, parameters) => {
        asked.push({ passphrase: new TextDecoder().decode(bytes), salt, parameters })
        return mac(salt, bytes)
      },
    },
  }
  return Object.assign(secret, { asked })
}

describe("a lock", () => {
  test.each([
    ["a passphrase", cheap("correct horse")],
    ["a key file", keySecret()],
  ])("opens with %s", async (_, secret) => {
    // prettier-ignore
    const locked = await lock(secret, "context", plaintext, random)
    expect(decodeCbor(lockedShape, encodeCbor(locked))).toEqual(locked)
    expect(await unlock(secret, "context", locked)).toEqual(plaintext)
    expect(await lock(secret, "context", plaintext, random)).not.toEqual(locked)
  })

  test("refuses a wrong secret, or one of the wrong kind", async () => {
    const byPassphrase = await lock(cheap("correct horse"), "context", plaintext, random)
    const byFile = await lock(keySecret(1), "context", plaintext, random)
    const refusal = { code: "ERR_PASSPHRASE" }
    await expect(unlock(cheap("correct horsf"), "context", byPassphrase)).rejects.toMatchObject(refusal)
    await expect(unlock(keySecret(1), "context", byPassphrase)).rejects.toMatchObject({ ...refusal, hint: "this opens with a passphrase" }) // prettier-ignore
    await expect(unlock(keySecret(2), "context", byFile)).rejects.toMatchObject(refusal)
    await expect(unlock(cheap("x"), "context", byFile)).rejects.toMatchObject({ ...refusal, hint: "this opens with a key file" }) // prettier-ignore
    await expect(lock(cheap(""), "context", plaintext, random)).rejects.toMatchObject({ code: "ERR_USAGE" })
  })

  test("of another context, or altered, is told from a wrong secret", async () => {
    const secret = cheap("correct horse")
    const locked = await lock(secret, "context", plaintext, random)
    const flipped = (bytes: Uint8Array) => bytes.with(3, bytes[3]! ^ 1)
    const altered: Locked[] = [
      { ...locked, box: flipped(locked.box) },
      { ...locked, nonce: flipped(locked.nonce) },
      { ...locked, by: { kind: "passphrase", argon2id: { ...argon2Parameters, passes: 4 } } },
    ]
    await expect(unlock(secret, "another", locked)).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
    for (const lock of altered)
      await expect(unlock(secret, "context", lock)).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
  })

  test("takes the parameters of its making, within bounds that spare the machine", async () => {
    const secret = cheap("correct horse")
    const locked = await lock(secret, "context", plaintext, random)
    await unlock(secret, "context", locked)
    expect(secret.asked.map(({ parameters }) => parameters)).toEqual([argon2Parameters, argon2Parameters])
    for (const change of [{ memoryKib: 2 ** 22 }, { passes: 1000 }, { lanes: 0 }]) {
      const argon2id = { ...argon2Parameters, ...change }
      expect(lockedShape.safeParse({ ...locked, by: { kind: "passphrase", argon2id } }).success).toBe(false)
    }
  })

  test("the same letters in another Unicode form are the same passphrase", async () => {
    const locked = await lock(cheap("caf\u00e9"), "context", plaintext, random)
    expect(await unlock(cheap("cafe\u0301"), "context", locked)).toEqual(plaintext)
  })
})

describe("Argon2id of Node", () => {
  test("gives the reference implementation's result", async () => {
    // phc-winner-argon2, src/test.c: Argon2id, version 0x13, t=2, m=2^16, p=1
    const parameters = { memoryKib: 2 ** 16, passes: 2, lanes: 1 }
    expect(hex(await nodeArgon2.derive(utf8("password"), utf8("somesalt"), parameters))).toBe(
      "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7",
    )
  })

  test("locks and unlocks with the real parameters", async () => {
    const locked = await lock(passphraseSecret("correct horse"), "context", plaintext, random)
    expect(await unlock(passphraseSecret("correct horse"), "context", locked)).toEqual(plaintext)
    await expect(unlock(passphraseSecret("wrong horse"), "context", locked)).rejects.toMatchObject({ code: "ERR_PASSPHRASE" }) // prettier-ignore
  })
})

describe("officer keys and the PoC key", () => {
  const [one, two] = [1, 2].map((n) => officerIdOf(about.poc, new Uint8Array(32).fill(n)))

  test("open with their holder's secret, as themselves only", async () => {
    const locked = await sealOfficerKey(keySecret(7), one!, plaintext, random)
    expect(await unlockOfficerKey(keySecret(7), one!, locked)).toEqual(plaintext)
    await expect(unlockOfficerKey(keySecret(8), one!, locked)).rejects.toMatchObject({ code: "ERR_PASSPHRASE" })
    await expect(unlockOfficerKey(keySecret(7), two!, locked)).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
    await expect(unlockPocKey(keySecret(7), about.poc, locked)).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
  })

  test("the PoC key likewise", async () => {
    const locked = await sealPocKey(keySecret(7), about.poc, plaintext, random)
    expect(await unlockPocKey(keySecret(7), about.poc, locked)).toEqual(plaintext)
    const other = "sg/technical/orchid" as PocAddress
    await expect(unlockPocKey(keySecret(7), other, locked)).rejects.toMatchObject({ code: "ERR_VAULT_TAMPERED" })
  })
})
