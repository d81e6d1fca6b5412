import { expect, test } from "vitest"
import { deviceIdOf, mailboxOf, officerIdOf } from "../../protocol/address.ts"
import { readManifest, signMember, type Manifest } from "../../protocol/manifest.ts"
import { codeOf } from "../support/errors.ts"
import {
  certified,
  deviceEntry,
  deviceKey,
  manifest,
  officerEntry,
  officerKey,
  pocKey,
  signUnchecked,
} from "../support/manifests.ts"
import { R, S, signingKeyOf } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

/** Keys of another PoC, R, which S would like to list as its own. */
const theirDevice = signingKeyOf("device of R")
const theirOfficer = signingKeyOf("officer of R")

const read = (change: Partial<Manifest>) => codeOf(() => readManifest(certified, live, signUnchecked(manifest(change))))

test("31 a listed key that is another's: the honest manifest is read", () => {
  expect(read({})).toBe("none")
})

test("31 a listed key that is another's: refused with its own listing for R, with S's signature, and with none", () => {
  for (const member of [signMember(theirDevice, live, R), signMember(pocKey, live, S), new Uint8Array(64)]) {
    const device = deviceIdOf(S, theirDevice.publicKey)
    const mailbox = mailboxOf(device, "relay.example")
    expect(read({ devices: [{ ...deviceEntry(R, theirDevice), device, mailbox, member }] })).toBe("ERR_UNTRUSTED")
    const officer = officerIdOf(S, theirOfficer.publicKey)
    expect(read({ officers: [{ ...officerEntry(R, theirOfficer), officer, member }] })).toBe("ERR_UNTRUSTED")
  }
})

test("31 a listed key that is another's: an id of R's device or officer over a key of one's own", () => {
  const device = deviceIdOf(R, theirDevice.publicKey)
  const mine = { ...deviceEntry(S, deviceKey), device, mailbox: mailboxOf(device, "relay.example") }
  expect(read({ devices: [mine] })).toBe("ERR_UNTRUSTED")
  const officer = officerIdOf(R, theirOfficer.publicKey)
  expect(read({ officers: [{ ...officerEntry(S, officerKey), officer }] })).toBe("ERR_UNTRUSTED")
})

test("31 a listed key that is another's: R's mailbox behind a device of one's own", () => {
  const theirs = deviceEntry(R, theirDevice).mailbox
  const mine = deviceEntry(S, deviceKey)
  expect(read({ devices: [{ ...mine, mailbox: theirs }] })).toBe("ERR_UNTRUSTED")
  const elsewhere = mailboxOf(mine.device, "other.example")
  expect(read({ devices: [{ ...mine, mailbox: elsewhere }] })).toBe("ERR_UNTRUSTED")
  expect(read({ devices: [{ ...mine, relay: "other.example", mailbox: elsewhere }] })).toBe("none")
})

test("31 a listed key that is another's: one key in two places, the PoC's own key among the listed", () => {
  const twice = { devices: [deviceEntry(S, deviceKey), deviceEntry(S, deviceKey)] }
  const bothRoles = { officers: [officerEntry(S, deviceKey)] }
  const pocItself = { devices: [deviceEntry(S, pocKey)] }
  for (const change of [twice, bothRoles, pocItself]) expect(read(change)).toBe("ERR_UNTRUSTED")
})

test("31 a listed key that is another's: a manifest of R under the key that is certified for S, and the reverse", () => {
  const forgery = signUnchecked(manifest(), signingKeyOf("PoC R"))
  expect(codeOf(() => readManifest(certified, live, forgery))).toBe("ERR_UNTRUSTED")
  const theirs = { poc: R, devices: [deviceEntry(R, theirDevice)], officers: [officerEntry(R, theirOfficer)] }
  expect(read(theirs)).toBe("ERR_UNTRUSTED")
})
