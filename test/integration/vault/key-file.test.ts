import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { createKeyFile, readKeyFile } from "../../../client-sdk/vault/key-file.ts"
import { nodeRandom } from "../../../system/node.ts"
import { codeOf } from "../../support/errors.ts"
import { testFolder } from "../../support/vault.ts"

test("a key file is made once, for its owner only, and read again", () => {
  const path = join(testFolder(), "vault.key")
  const made = createKeyFile(path, nodeRandom)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(readFileSync(path)).toHaveLength(32)
  expect(readKeyFile(path)).toEqual(made)
  expect(codeOf(() => createKeyFile(path, nodeRandom))).toBe("ERR_USAGE")
  expect(readKeyFile(path)).toEqual(made)
})

test.skipIf(process.platform === "win32")("one that others may read is refused, with the command that mends it", () => {
  const path = join(testFolder(), "vault.key")
  createKeyFile(path, nodeRandom)
  for (const mode of [0o640, 0o604, 0o666, 0o610]) {
    chmodSync(path, mode)
    expect(() => readKeyFile(path)).toThrow(
      expect.objectContaining({ code: "ERR_PASSPHRASE", hint: `chmod 600 ${path}` }),
    )
  }
})

test("one that is missing, too short or too long is refused", () => {
  const path = join(testFolder(), "vault.key")
  expect(codeOf(() => readKeyFile(path))).toBe("ERR_PASSPHRASE")
  for (const length of [0, 31, 33]) {
    writeFileSync(path, new Uint8Array(length), { mode: 0o600 })
    expect(
      codeOf(() => readKeyFile(path)),
      String(length),
    ).toBe("ERR_PASSPHRASE")
  }
})
