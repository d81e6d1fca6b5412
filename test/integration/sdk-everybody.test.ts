/** A message to everybody: as many devices as the directory has, in one outbox, and each receipt kept. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { ValiseError } from "../../protocol/errors.ts"
import type { Carrier } from "../../client-sdk/outbox.ts"
import { Everybody } from "../support/everybody.ts"

const [pocs, devicesEach] = [60, 16]
const devices = pocs * devicesEach
const folder = mkdtempSync(join(tmpdir(), "valise-everybody-"))
let everybody: Everybody

beforeAll(async () => {
  everybody = await Everybody.open(join(folder, "ke.vault"), pocs, devicesEach)
})
afterAll(async () => {
  await everybody.close()
  rmSync(folder, { recursive: true, force: true })
})

const counted = () =>
  everybody.home.vault.read((tx) => [tx.count("outbox"), tx.count("outgoing"), tx.count("accepted")])

test("what 960 devices get is sealed at once, leaves so many at a time, and goes on where the line broke", async () => {
  const { home, outbox, carrier } = everybody
  const key = everybody.compose("Scanning from 192.0.2.7.")
  await outbox.fetchPrekeys(key, carrier)
  expect(counted()).toEqual([1, devices, 0])
  outbox.sealIfReady(key)
  expect(home.vault.read((tx) => tx.get("outbox", key))).toMatchObject({ state: "sealed", waiting: devices })

  let [underWay, most, submitted] = [0, 0, 0]
  const breaking: Carrier = {
    ...carrier,
    submit: async (...envelope) => {
      if (++submitted > 500) throw new ValiseError("ERR_OFFLINE", "the line broke")
      most = Math.max(most, ++underWay)
      const receipt = await carrier.submit(...envelope)
      underWay -= 1
      return receipt
    },
  }
  await expect(outbox.submit(key, breaking)).rejects.toMatchObject({ code: "ERR_OFFLINE" })
  expect(most).toBeLessThanOrEqual(128)
  expect(submitted).toBeLessThan(devices)
  expect(counted()).toEqual([1, devices - 500, 500])

  await outbox.submit(key, carrier)
  expect(counted()).toEqual([0, 0, devices])
})
