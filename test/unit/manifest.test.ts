import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { encodeCbor } from "../../protocol/cbor.ts"
import { fixed } from "../../protocol/limits.ts"
import {
  coSignManifest,
  followsManifest,
  isCoSigned,
  manifestHash,
  manifestStanding,
  officerRights,
  readManifest,
  signManifest,
  type Manifest,
} from "../../protocol/manifest.ts"
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
import { hashOf, R, S, signingKeyOf } from "../support/papers.ts"
import { exercise, live, nowSeconds } from "../support/sealing.ts"

const read = (said: object) => readManifest(certified, live, signUnchecked(said))
const day = 86_400

describe("reading", () => {
  test("gives what was signed; fields of later versions survive, in it and in its entries", () => {
    expect(readManifest(certified, live, signManifest(pocKey, live, manifest()))).toEqual(manifest())
    const grown = { ...manifest(), later: 1, devices: [{ ...deviceEntry(S, deviceKey), later: 2 }] }
    expect(read(grown)).toEqual(grown)
  })

  test("of any size up to the limits, and not beyond", { timeout: 60_000 }, () => {
    const devices = Array.from({ length: fixed.devicesPerPocMax + 1 }, (_, i) =>
      deviceEntry(S, signingKeyOf(`device ${i}`)),
    )
    const officers = Array.from({ length: fixed.officersPerPocMax + 1 }, (_, i) =>
      officerEntry(S, signingKeyOf(`officer ${i}`)),
    )
    const full = manifest({ devices: devices.slice(1), officers: officers.slice(1) })
    expect(read(full)).toEqual(full)
    expect(encodeCbor(full).length).toBeLessThan(fixed.logEntryBytesMax / 2)
    expect(read(manifest({ devices: [], officers: [] })).devices).toEqual([])
    expect(codeOf(() => read(manifest({ devices })))).toBe("ERR_MALFORMED")
    expect(codeOf(() => read(manifest({ officers })))).toBe("ERR_MALFORMED")
  })

  const malformed: Record<string, object> = {
    "version 0": { version: 0 },
    "a first version with a predecessor": { previous: hashOf("x") },
    "a second version without one": { version: 2 },
    "no life": { expires: nowSeconds },
    "more than 90 days": { expires: nowSeconds + 90 * day + 1 },
    "a right twice": { devices: [{ ...deviceEntry(S, deviceKey), rights: ["send", "send"] }] },
    "a right that does not exist": { officers: [{ ...officerEntry(S, officerKey), rights: ["reign"] }] },
    "a title of 101 characters": { officers: [{ ...officerEntry(S, officerKey), title: "x".repeat(101) }] },
    "a relay that is no host": { devices: [{ ...deviceEntry(S, deviceKey), relay: "relay example" }] },
    "a short key": { devices: [{ ...deviceEntry(S, deviceKey), key: new Uint8Array(31) }] },
  }
  test.each(Object.entries(malformed))("refuses %s", (_, change) => {
    expect(codeOf(() => read({ ...manifest(), ...change }))).toBe("ERR_MALFORMED")
    expect(codeOf(() => signManifest(pocKey, live, { ...manifest(), ...change }))).toBe("ERR_MALFORMED")
  })

  test("refuses another version of the structure and an unknown critical field", () => {
    expect(codeOf(() => read({ ...manifest(), v: 2 }))).toBe("ERR_VERSION")
    expect(codeOf(() => read({ ...manifest(), crit: ["seal"] }))).toBe("ERR_VERSION")
  })

  test("refuses any changed bit", () => {
    const signed = signUnchecked(manifest())
    fc.assert(
      fc.property(fc.nat(signed.bytes.length - 1), fc.nat(7), (at, bit) => {
        const bytes = signed.bytes.with(at, signed.bytes[at]! ^ (1 << bit))
        expect(codeOf(() => readManifest(certified, live, { ...signed, bytes }))).toBe("ERR_UNTRUSTED")
      }),
      { numRuns: 50 },
    )
  })

  test("nobody signs what nobody accepts: a device of another PoC", () => {
    const said = manifest({ devices: [deviceEntry(R, signingKeyOf("device of R"))] })
    expect(codeOf(() => signManifest(pocKey, live, said))).toBe("ERR_UNTRUSTED")
  })

  test("every right is one that the list names", () => {
    const said = manifest({ officers: [{ ...officerEntry(S, officerKey), rights: officerRights }] })
    expect(read(said).officers[0]!.rights).toEqual(officerRights)
  })
})

describe("the chain of versions", () => {
  const first = signManifest(pocKey, live, manifest())
  const before = { manifest: manifest(), bytes: first.bytes }
  const next = (change: Partial<Manifest> = {}) =>
    manifest({ version: 2, previous: manifestHash(first.bytes), ...change })

  test("goes one by one, each naming the bytes of the one before", () => {
    expect(followsManifest(undefined, manifest())).toBe(true)
    expect(followsManifest(before, next())).toBe(true)
  })

  test("breaks by a gap, a repetition, another predecessor, another PoC, a false beginning", () => {
    for (const change of [{ version: 3 }, { version: 1, previous: null }, { previous: hashOf("x") }, { poc: R }])
      expect(followsManifest(before, next(change))).toBe(false)
    expect(followsManifest(undefined, next())).toBe(false)
    expect(followsManifest({ ...before, bytes: Uint8Array.of(...first.bytes, 0) }, next())).toBe(false)
  })
})

describe("a new device", () => {
  const { bytes } = signUnchecked(
    manifest({ devices: [deviceEntry(S, deviceKey), deviceEntry(S, signingKeyOf("new"))] }),
  )
  const older = [deviceEntry(S, deviceKey)]
  const fresh = deviceEntry(S, signingKeyOf("new"))

  test("is vouched for by an older one", () => {
    expect(isCoSigned(live, bytes, [coSignManifest(deviceKey, live, older[0]!.device, bytes)], older)).toBe(true)
  })

  test("not by itself, not by a device that waits still, not for other bytes, not in another's name or realm", () => {
    const vouch = (key: typeof deviceKey, device: typeof fresh.device, said = bytes, realm = live) =>
      isCoSigned(live, bytes, [coSignManifest(key, realm, device, said)], older)
    expect(isCoSigned(live, bytes, [], older)).toBe(false)
    expect(vouch(signingKeyOf("new"), fresh.device)).toBe(false)
    expect(vouch(signingKeyOf("new"), older[0]!.device)).toBe(false)
    expect(vouch(deviceKey, older[0]!.device, signUnchecked(manifest()).bytes)).toBe(false)
    expect(vouch(deviceKey, older[0]!.device, bytes, exercise)).toBe(false)
    expect(isCoSigned(live, bytes, [coSignManifest(deviceKey, live, older[0]!.device, bytes)], [])).toBe(false)
  })
})

test("a manifest's standing", () => {
  const { expires } = manifest()
  expect(manifestStanding(manifest(), expires)).toBe("current")
  expect(manifestStanding(manifest(), expires + 1)).toBe("grace")
  expect(manifestStanding(manifest(), expires + 30 * day)).toBe("grace")
  expect(manifestStanding(manifest(), expires + 30 * day + 1)).toBe("expired")
})
