/**
 * Row 22, by resubmission: a recipient submits the bytes that it received once more, to itself, in order to get the
 * relay's word that they existed when the sender submitted them. The relay must know them for that only by the blind.
 */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { MailboxId } from "../../protocol/address.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { hex } from "../../protocol/bytes.ts"
import { sha3 } from "../../protocol/primitives.ts"
import { devices, envelopeTo, startRelay, stopRelays } from "../support/relay.ts"

const mailbox = new Uint8Array(16).fill(1) as MailboxId
const envelope = new Uint8Array(randomBytes(5300))
const blindOfSender = new Uint8Array(randomBytes(32))

let folder: string
let store: MailboxStore
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "valise-attack-"))
  store = await openSegmentStore(folder)
  await store.append(mailbox, blindOfSender, 1000, envelope)
})
afterEach(async () => {
  await stopRelays()
  await store.close()
  rmSync(folder, { recursive: true, force: true })
})

describe("22 evidence laundering by resubmission", () => {
  test("22 the same bytes with another blind get this minute, though the mailbox holds them", async () => {
    const again = await store.append(mailbox, new Uint8Array(randomBytes(32)), 2000, envelope)
    expect(again).toEqual({ outcome: "stored", minute: 2000 })
    const minutes = (await store.read(mailbox, 0, 10)).map(({ minute }) => minute)
    expect(minutes).toEqual([1000, 2000])
  })

  test("22 so they do with a blind that differs in one bit", async () => {
    const almost = blindOfSender.slice()
    almost[31]! ^= 1
    expect(await store.append(mailbox, almost, 2000, envelope)).toEqual({ outcome: "stored", minute: 2000 })
  })

  test("22 only the sender's own retry gets the first minute", async () => {
    expect(await store.append(mailbox, blindOfSender, 2000, envelope)).toEqual({ outcome: "stored", minute: 1000 })
  })

  test("22 over a relay, too: it stores once more what comes with another blind, and signs for when that came", async () => {
    const { kenya, singapore } = devices
    const { dial, store: relayStore } = await startRelay({ devices: [kenya, singapore] })
    const [sender, recipient] = [await dial(kenya), await dial(singapore)]
    const sealed = envelopeTo(singapore)
    sender.submit(singapore, sealed, blindOfSender)
    await sender.next("accepted")
    recipient.submit(singapore, sealed, new Uint8Array(randomBytes(32)))
    await recipient.next("accepted")
    expect((await relayStore.inspect()).envelopes).toHaveLength(2)
  })

  test("22 no digest of an envelope is kept, while it waits or afterwards", async () => {
    const digest = sha3(envelope)
    const kept = () => [...inspectStore(folder).rawBytes(64)].map(({ bytes }) => hex(bytes)).join(" ")
    expect(kept()).toContain(hex(envelope.subarray(0, 200)))
    expect(kept()).not.toContain(hex(digest))
    await store.collect(mailbox, [1])
    await store.expire(0)
    expect(kept()).not.toContain(hex(digest))
  })
})
