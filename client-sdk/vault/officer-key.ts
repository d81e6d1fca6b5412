/**
 * Signing keys of officers and of the PoC: each under a secret of its holder, so that whoever unlocks the vault (and with
 * it the device's key) can neither acknowledge nor release nor change the manifest. The result is kept in a collection.
 */
import type { OfficerId, PocAddress } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import type { Random } from "../../system/machine.ts"
import { lock, unlock, type Locked, type UnlockSecret } from "./lock.ts"

export const sealOfficerKey = (
  secret: UnlockSecret,
  officer: OfficerId,
  seed: Uint8Array,
  random: Random,
): Promise<Locked> => lock(secret, officerContext(officer), seed, random)

/** The seed. Throws `ERR_PASSPHRASE`, or `ERR_VAULT_TAMPERED` for another officer's lock. */
export const unlockOfficerKey = (secret: UnlockSecret, officer: OfficerId, locked: Locked): Promise<Uint8Array> =>
  unlock(secret, officerContext(officer), locked)

export const sealPocKey = (secret: UnlockSecret, poc: PocAddress, seed: Uint8Array, random: Random): Promise<Locked> =>
  lock(secret, pocContext(poc), seed, random)

/** The seed. Throws as `unlockOfficerKey` does. */
export const unlockPocKey = (secret: UnlockSecret, poc: PocAddress, locked: Locked): Promise<Uint8Array> =>
  unlock(secret, pocContext(poc), locked)

const officerContext = (officer: OfficerId): string => `officer key ${hex(officer)}`
const pocContext = (poc: PocAddress): string => `poc key ${poc}`
