/** Argon2id of Node's own OpenSSL, off the main thread. */
import { argon2 } from "node:crypto"
import { ValiseError } from "../../protocol/errors.ts"
import type { KeyDerivation, UnlockSecret } from "./lock.ts"

export const nodeArgon2: KeyDerivation = {
  derive: (passphrase, salt, { memoryKib, passes, lanes }) =>
    new Promise((resolve, reject) => {
      const parameters = {
        message: passphrase,
        nonce: salt,
        memory: memoryKib,
        passes,
        parallelism: lanes,
        tagLength: 32,
      }
      argon2("argon2id", parameters, (cause, key) => {
        if (cause)
          reject(
            new ValiseError("ERR_VAULT", "the key could not be derived from the passphrase", {
              cause,
              hint: `this takes ${Math.ceil(memoryKib / 1024)} MiB of free memory`,
            }),
          )
        else resolve(new Uint8Array(key))
      })
    }),
}

export const passphraseSecret = (passphrase: string): UnlockSecret => ({
  kind: "passphrase",
  passphrase,
  derivation: nodeArgon2,
})
