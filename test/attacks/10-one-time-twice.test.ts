/** Row 10, the relay's part: a one-time key served twice. (A crash between archive and erase is the vault's part.) */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import type { MailboxStore } from "../../relay/store.ts"

const device = new Uint8Array(32).fill(1) as DeviceId
const statement = (n: number) => new Uint8Array(Buffer.from(`prekey ${n}`))

let folder: string
let store: MailboxStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-attack-"))
  store = await openSegmentStore(folder)
})
afterEach(async () => {
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})
const restart = async () => {
  await store.close()
  store = await openSegmentStore(folder)
}
const put = (...oneTime: number[]) => store.putPrekeys(device, { reset: false, oneTime: oneTime.map(statement) })
const take = async () => {
  const prekey = await store.takePrekey(device)
  return prekey && Buffer.from(prekey).toString()
}

describe("10 one-time key served twice", () => {
  test("10 to two senders who ask at once", async () => {
    await put(1, 2, 3)
    const taken = await Promise.all([take(), take(), take(), take()])
    expect(taken.toSorted()).toEqual(["prekey 1", "prekey 2", "prekey 3", undefined])
    expect(await store.countPrekeys(device)).toBe(0)
  })

  test("10 to one sender after another, across restarts", async () => {
    await put(1, 2)
    const first = await take()
    await restart()
    expect([first, await take(), await take()]).toEqual(["prekey 1", "prekey 2", undefined])
  })

  test("10 because the device offered it twice, not knowing whether the first offer had arrived", async () => {
    expect(await put(1)).toBe(1)
    expect(await put(1)).toBe(1)
    expect([await take(), await take()]).toEqual(["prekey 1", undefined])
  })

  test("10 because the device offers it again when it has been taken already", async () => {
    await put(1)
    await take()
    expect(await put(1)).toBe(0)
    expect(await take()).toBeUndefined()
    await store.putPrekeys(device, { reset: true, oneTime: [statement(1)] })
    await restart()
    await put(1)
    expect(await take()).toBeUndefined()
  })

  test("10 because the device left the directory, came back and offers what it has", async () => {
    await put(1, 2)
    await take()
    await store.forget(new Uint8Array(16) as MailboxId, device)
    await put(1, 2)
    expect([await take(), await take()]).toEqual(["prekey 2", undefined])
  })
})
