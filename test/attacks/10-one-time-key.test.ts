/** A one-time key opens one message: it is erased with the archiving, never before and never after. */
import { expect, test } from "vitest"
import { hex } from "../../protocol/bytes.ts"
import { parseEnvelope } from "../../protocol/envelope.ts"
import { MemoryVaultStorage, type CommitFault } from "../../client-sdk/vault/storage-memory.ts"
import { Inside, snapshot, useDesks } from "../support/inside.ts"

const desks = useDesks("kenya", "singapore")

const holds = (desk: Inside, bytes: Uint8Array): boolean =>
  desk.home.vault.read((tx) => tx.get("prekeys", hex(parseEnvelope(bytes)!.prekeyId)) !== undefined)

test("10 one-time key: it is gone when its message is archived, and nothing opens the envelope again", async () => {
  const { kenya, singapore } = desks.at
  const bytes = kenya.forge("notification", singapore, desks.post.prekeyFor(singapore))
  expect(holds(singapore, bytes)).toBe(true)
  singapore.receive(bytes)
  expect(holds(singapore, bytes)).toBe(false)
  // Not even a thief of the whole vault who makes it forget that it has opened it.
  singapore.home.vault.transaction((tx) => {
    for (const [key] of tx.list("replay")) tx.delete("replay", key)
    for (const [key] of tx.list("messages")) tx.delete("messages", key)
  })
  singapore.receive(bytes)
  expect(singapore.received()).toEqual([])
  expect(singapore.journal("not-opened")).toEqual([{ reason: "prekey" }])
})

test.each<[CommitFault, number]>([
  ["crash before", 0],
  ["crash after", 1],
  ["refuse", 0],
])(
  "10 one-time key: %s the commit: archived and erased, or neither, and collected only then",
  async (fault, archived) => {
    const { kenya, singapore } = desks.at
    const bytes = kenya.forge("notification", singapore, desks.post.prekeyFor(singapore))
    const file = snapshot(desks.network.vaultPath("singapore"))()
    const storage = new MemoryVaultStorage(file)
    const crashing = await Inside.open(desks.network, "singapore", { storage })
    storage.failNextCommit(fault)
    expect(() => crashing.receive(bytes)).toThrow()
    const after = await Inside.open(desks.network, "singapore", { storage: new MemoryVaultStorage(file) })
    expect([after.received().length, holds(after, bytes), after.outbox.pending().length]).toEqual([
      archived,
      archived === 0,
      archived,
    ])
    expect(after.receive(bytes)).toBe("collected")
    expect([after.received().length, holds(after, bytes), after.outbox.pending().length]).toEqual([1, false, 1])
  },
)
