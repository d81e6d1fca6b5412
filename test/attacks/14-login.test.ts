import { expect, test } from "vitest"
import type { Realm } from "../../protocol/address.ts"
import { codeOf } from "../support/errors.ts"
import { encodeLoginFrame } from "../../protocol/frames.ts"
import { signLogin, transcriptBytes, verifyLogin } from "../../protocol/login.ts"
import { ends, logIn, realm, relayKey, testDevice, transcriptOf } from "../support/login.ts"

const device = testDevice("ke/technical/baobab")
const live: Realm = { ...realm, mode: "live" }
const other: Realm = { ...realm, origin: "other-directory.example" }

test("14 live/exercise crossover: no login between a client and a relay of different modes or directories", () => {
  expect(codeOf(() => logIn(ends(device)))).toBe("none")
  for (const relayRealm of [live, other]) {
    const both = ends(device, { relayRealm })
    both.relay.receive(both.client.hello())
    expect(codeOf(() => both.client.receive(both.relay.challenge()))).toBe("ERR_UNTRUSTED")
  }
})

test("14 live/exercise crossover: a device's proof of the exercise is none in live", () => {
  for (const signedIn of [realm, other, live]) {
    const both = ends(device, { realm: live })
    const hello = both.client.hello()
    both.relay.receive(hello)
    const challenge = both.relay.challenge()
    const signature = signLogin(device.key, signedIn, "login-device", transcriptOf(hello, challenge))
    const outcome = codeOf(() => both.relay.receive(encodeLoginFrame({ type: "proof", device: device.id, signature })))
    expect(outcome).toBe(signedIn === live ? "none" : "ERR_LOGIN")
  }
})

test("14 live/exercise crossover: both login signatures hang on mode and directory", () => {
  const bytes = new Uint8Array(32)
  const transcript = transcriptBytes({
    host: "relay.example",
    relayKey: relayKey.publicKey,
    nonceClient: bytes,
    nonceRelay: bytes,
    ephemeralClient: bytes,
    ephemeralRelay: bytes,
  })
  for (const role of ["login-relay", "login-device"] as const)
    for (const signedIn of [realm, live, other])
      for (const verifiedIn of [realm, live, other]) {
        const signature = signLogin(relayKey, signedIn, role, transcript)
        const verified = verifyLogin(relayKey.publicKey, verifiedIn, role, transcript, signature)
        expect(verified, `${role} of ${signedIn.mode}`).toBe(signedIn === verifiedIn)
      }
})
