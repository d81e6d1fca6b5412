import { expect, test } from "vitest"
import type { Realm } from "../../protocol/address.ts"
import { infoOf } from "../../protocol/envelope.ts"
import { open, type Opened } from "../../protocol/open.ts"
import { checkPrekey, signPrekey } from "../../protocol/prekey.ts"
import { seal } from "../../protocol/seal.ts"
import { signStatement } from "../../protocol/statement.ts"
import { codeOf } from "../support/errors.ts"
import {
  exercise,
  kenya,
  live,
  messageOf,
  nowSeconds,
  officer,
  openerOf,
  prekeyOf,
  recipientOf,
  sealDishonestly,
  singapore,
  type Deceit,
} from "../support/sealing.ts"

const elsewhere: Realm = { ...live, origin: "other.example" }
const recipients = [recipientOf(singapore)]
const sealedWith = (deceit: Deceit): Opened =>
  open(openerOf(singapore, sealDishonestly(messageOf({ recipients }), deceit)))

test("14 crossover: a whole message of an exercise, or of another directory, does not open live, nor the reverse", () => {
  const realms = [live, exercise, elsewhere]
  for (const from of realms)
    for (const to of realms) {
      const { bytes } = seal(messageOf({ realm: from, recipients })).envelopes[0]!
      expect(open({ ...openerOf(singapore, bytes), realm: to }).ok).toBe(from === to)
    }
})

test("14 crossover: a context of an exercise, or of another directory, is not one of this", () => {
  const { id, kind } = prekeyOf(singapore).statement
  for (const realm of [exercise, elsewhere])
    expect(sealedWith({ info: infoOf(realm, singapore.id, id, kind) })).toMatchObject({ reason: "commitment" })
})

test("14 crossover: a header that says exercise is refused live", () => {
  expect(sealedWith({ header: (header) => ({ ...header, mode: "exercise" }) })).toMatchObject({ reason: "mode" })
})

test("14 crossover: a header or a release signed for an exercise, or for another directory, counts for nothing here", () => {
  for (const realm of [exercise, elsewhere]) {
    const headerSigned = (bytes: Uint8Array) => signStatement(kenya.key, realm, "header", bytes)
    expect(sealedWith({ headerSigned })).toMatchObject({ reason: "signature" })
    const release = (bytes: Uint8Array) => signStatement(officer.key, realm, "release", bytes).signature
    expect(sealedWith({ release })).toMatchObject({ reason: "release" })
  }
})

test("14 crossover: a prekey signed for an exercise, or for another directory, is not sealed to here", () => {
  const device = { id: singapore.id, signingKey: singapore.key.publicKey }
  for (const realm of [live, exercise, elsewhere]) {
    const signed = signPrekey(singapore.key, realm, prekeyOf(singapore).statement)
    expect(codeOf(() => checkPrekey(live, device, signed, nowSeconds))).toBe(realm === live ? "none" : "ERR_UNTRUSTED")
  }
})
