/** Key files: 32 random bytes that only their owner can read, for vaults that open without a person. */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from "node:fs"
import { ValiseError } from "../../protocol/errors.ts"
import type { Random } from "../../system/machine.ts"
import type { UnlockSecret } from "./lock.ts"

const keyFileBytes = 32

/** Makes the file, 0600. Throws `ERR_USAGE` if there is one already. */
export function createKeyFile(path: string, random: Random): UnlockSecret {
  const key = random.bytes(keyFileBytes)
  const file = opened(path, "wx")
  try {
    writeSync(file, key)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return { kind: "key-file", key }
}

/** Throws `ERR_PASSPHRASE` if the file is not there, has another length, or others may read it. */
export function readKeyFile(path: string): UnlockSecret {
  const file = opened(path, "r")
  try {
    const { mode, size } = fstatSync(file)
    if (process.platform !== "win32" && (mode & 0o077) !== 0)
      throw new ValiseError("ERR_PASSPHRASE", "the key file is open to others", { hint: `chmod 600 ${path}` })
    const key = new Uint8Array(keyFileBytes)
    if (size !== keyFileBytes || readSync(file, key) !== keyFileBytes)
      throw new ValiseError("ERR_PASSPHRASE", "not a key file", { hint: `a key file holds ${keyFileBytes} bytes` })
    return { kind: "key-file", key }
  } finally {
    closeSync(file)
  }
}

function opened(path: string, flags: "r" | "wx"): number {
  try {
    return openSync(path, flags, 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST")
      throw new ValiseError("ERR_USAGE", "there is a file of that name already", { cause, hint: path })
    throw new ValiseError("ERR_PASSPHRASE", "the key file cannot be opened", { cause, hint: path })
  }
}
