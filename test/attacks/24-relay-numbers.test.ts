import { afterEach, expect, test } from "vitest"
import type { Incarnation } from "../../protocol/address.ts"
import { wireOfError } from "../../protocol/errors.ts"
import { devices, firstIncarnation, startRelay, stopRelays, testPrekeys, type TestClient } from "../support/relay.ts"

afterEach(stopRelays)

const { kenya } = devices
const refused = wireOfError("ERR_PREKEYS_REFUSED")

async function publish(client: TestClient, n: number, incarnation: Incarnation, reset = false) {
  const oneTime = [testPrekeys(kenya, "one-time", n, { incarnation })]
  const answer = await client.answerTo(client.send({ type: "publish-prekeys", incarnation, reset, oneTime }))
  if (answer.type === "error") return answer.code
  return answer.type === "notice" ? answer.count : undefined
}

test("24 restored vault: prekeys under numbers that its incarnation has used are refused, so that it notices", async () => {
  const { dial } = await startRelay({ devices: [kenya] })
  const client = await dial(kenya)
  expect(await publish(client, 5, firstIncarnation, true)).toBe(1)
  expect(await publish(client, 6, firstIncarnation)).toBe(2)
  const restored = await dial(kenya)
  expect(await publish(restored, 6, firstIncarnation)).toBe(refused)
  expect(await publish(restored, 4, firstIncarnation, true)).toBe(refused)
  expect(await publish(restored, 7, firstIncarnation)).toBe(3)
})

test("24 two copies: an incarnation that another copy has replaced gets nothing in without a reset", async () => {
  const { dial } = await startRelay({ devices: [kenya] })
  const second = new Uint8Array(16).fill(2) as Incarnation
  const client = await dial(kenya)
  expect(await publish(client, 1, firstIncarnation, true)).toBe(1)
  expect(await publish(client, 1, second, true)).toBe(1)
  expect(await publish(client, 2, firstIncarnation)).toBe(refused)
  expect(await publish(client, 2, second)).toBe(2)
})
