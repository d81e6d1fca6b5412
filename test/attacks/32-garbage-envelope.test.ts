/** An envelope that cannot be opened burns no key, however it is wrong, and tells nobody why. */
import { describe, expect, test } from "vitest"
import { hex } from "../../protocol/bytes.ts"
import { parseEnvelope, wireSizes } from "../../protocol/envelope.ts"
import { nodeRandom } from "../../system/node.ts"
import { useDesks } from "../support/inside.ts"

const desks = useDesks("kenya", "singapore", "brazil")

describe("32 garbage", () => {
  test("32 garbage naming a one-time key: whatever byte is changed, the key stays, and the genuine envelope opens afterwards", () => {
    const { kenya, singapore } = desks.at
    const bytes = kenya.forge("notification", singapore, desks.post.prekeyFor(singapore))
    const id = hex(parseEnvelope(bytes)!.prekeyId)
    const held = (): boolean => singapore.home.vault.read((tx) => tx.get("prekeys", id) !== undefined)
    // Mailbox, commitment, encapsulation, ciphertext, tag; and an envelope of nothing but the key's name.
    const offsets = [2, 34, 65, 66, 1185, 1186, 3000, bytes.length - 1]
    const garbage = offsets.map((at) => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte)))
    const made = nodeRandom.bytes(wireSizes[0]!)
    made.set(bytes.subarray(0, 34))
    for (const one of [...garbage, made, bytes.subarray(0, 500), new Uint8Array(0)]) {
      expect(singapore.receive(one)).toBe("collected")
      expect(held()).toBe(true)
    }
    expect([singapore.received(), singapore.outbox.pending(), singapore.notices()]).toEqual([[], [], []])
    expect(singapore.receive(bytes)).toBe("collected")
    expect([held(), singapore.received().length]).toEqual([false, 1])
  })

  test("32 garbage: an envelope for another device, or under a key that is not held, changes nothing", () => {
    const { kenya, singapore, brazil } = desks.at
    const before = singapore.home.vault.read((tx) => tx.count("prekeys"))
    singapore.receive(kenya.forge("notification", brazil, desks.post.prekeyFor(brazil)))
    expect(singapore.home.vault.read((tx) => tx.count("prekeys"))).toBe(before)
    expect(singapore.received()).toEqual([])
  })

  test("32 garbage: a thousand of them leave a line or two in the journal, not a thousand", () => {
    const { singapore } = desks.at
    const before = singapore.home.vault.read((tx) => [...tx.journal()].length)
    for (let i = 0; i < 1000; i++) {
      const garbage = nodeRandom.bytes(wireSizes[0]!)
      garbage.set([1, 1])
      singapore.receive(garbage)
    }
    expect(singapore.home.vault.read((tx) => [...tx.journal()].length) - before).toBeLessThanOrEqual(1)
  })
})
