/** The SDK's mirror of the log: it holds one history, and a peer who was shown another one exposes it. */
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import { homeSchema, type HomeVault } from "../../client-sdk/collections.ts"
import { Mirror } from "../../client-sdk/mirror.ts"
import { durableFiles } from "../../directory/files.ts"
import { readLogKey } from "../../directory/keys.ts"
import { writeTrustFile } from "../../pki/anchor.ts"
import { readCheckpoint, signCheckpoint } from "../../pki/checkpoint.ts"
import type { LogSource } from "../../pki/log-source.ts"
import { MerkleLog } from "../../pki/tree.ts"
import { nodeMachine, nodeRandom } from "../../system/node.ts"
import { makeAuthorities, TestDirectory } from "../support/directory.ts"
import { useDesks } from "../support/inside.ts"
import { TestClock } from "../support/network.ts"
import { signingKeyOf, S } from "../support/papers.ts"
import { live } from "../support/sealing.ts"

const clock = new TestClock()
const logKey = signingKeyOf("log")
const authorities = makeAuthorities()

/** A log as somebody is shown it; `published` entries, all of them unless told otherwise. */
function source(entries: readonly Uint8Array[], published = entries.length, served = entries): LogSource {
  const tree = new MerkleLog()
  for (const entry of entries) tree.append(entry)
  const note = signCheckpoint(
    logKey,
    { origin: "directory.example/log", size: published, root: tree.rootAt(published) },
    clock.seconds,
  )
  return { checkpoint: async () => note, entries: async (from, max) => served.slice(from, from + max) }
}

const entry = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes)
const history = [entry(1), entry(2), entry(3), entry(4)]

async function mirror(): Promise<{ mirror: Mirror; vault: HomeVault; again: () => Mirror }> {
  const secret = { kind: "key-file", key: nodeRandom.bytes(32) } as const
  const vault = await Vault.create(new MemoryVaultStorage(), secret, nodeMachine, homeSchema, { poc: S, realm: live })
  const trust = writeTrustFile(new TestDirectory(await authorities).anchor)
  const again = (): Mirror => new Mirror(vault, clock, trust)
  return { mirror: again(), vault, again }
}

describe("20 split view: the mirror", () => {
  test("20 split view: it takes over what the checkpoint covers, and goes on from there after a restart", async () => {
    const { mirror: own, again } = await mirror()
    expect(await own.sync(source(history, 3))).toBe(true)
    expect(own.size).toBe(3)
    const restarted = again()
    expect(await restarted.sync(source(history))).toBe(true)
    expect(await restarted.sync(source(history))).toBe(false)
    expect([restarted.size, own.size]).toEqual([4, 3])
    own.refresh()
    expect(own.fingerprint()).toBe(restarted.fingerprint())
  })

  const forks: readonly [string, LogSource][] = [
    ["of the same size", source([...history.slice(0, 2), entry(9), entry(4)])],
    ["that is shorter", source([entry(9), ...history.slice(1)], 3)],
    ["that is longer", source([...history.slice(0, 3), entry(9), entry(5)])],
    ["whose entries are not those of its checkpoint", source([...history, entry(5)], 5, [...history, entry(6)])],
  ]
  test.each(forks)(
    "20 split view: another history %s is refused, nothing of it is kept, and the evidence is",
    async (_, forked) => {
      const { mirror: own, vault, again } = await mirror()
      await own.sync(source(history))
      const before = own.fingerprint()
      await expect(own.sync(forked)).rejects.toMatchObject({ code: "ERR_DIRECTORY_SPLIT" })
      expect([own.size, own.fingerprint(), again().fingerprint()]).toEqual([4, before, before])
      expect(own.freshCheckpoint().length).toBeGreaterThan(0)
      const kept = vault.read((tx) => tx.get("checkpoint", "contradicting"))
      expect(kept?.note).toEqual(await forked.checkpoint())
      expect(await own.sync(source([...history, entry(5)]))).toBe(true)
    },
  )

  test("20 split view: an older checkpoint of the same history is true, and changes nothing", async () => {
    const { mirror: own, vault } = await mirror()
    await own.sync(source(history))
    expect(await own.sync(source(history, 2))).toBe(false)
    expect([own.size, vault.read((tx) => tx.get("checkpoint", "contradicting"))]).toEqual([4, undefined])
  })

  test("20 split view: two syncs at once, and two processes at once, mirror one history without a false alarm", async () => {
    const { mirror: own, again } = await mirror()
    const other = again()
    const [longer, shorter] = [source(history), source(history, 2)]
    await Promise.all([own.sync(shorter), own.sync(longer), other.sync(longer), other.sync(shorter), own.sync(longer)])
    for (const one of [own, other, again()]) {
      one.refresh()
      expect([one.size, one.fingerprint()]).toEqual([4, own.fingerprint()])
    }
  })
})

describe("20 split view: a peer", () => {
  const desks = useDesks("kenya", "singapore")

  test("20 split view: a peer's checkpoint that contradicts one's own is refused, told and kept", async () => {
    const { kenya, singapore } = desks.at
    const key = await readLogKey(durableFiles(join(desks.network.folder, "directory")))
    const { origin, size } = readCheckpoint(kenya.home.mirror.freshCheckpoint())!
    const forked = signCheckpoint(key, { origin, size, root: new Uint8Array(32) }, kenya.home.now)
    const bytes = kenya.forge("notification", singapore, desks.post.prekeyFor(singapore), { checkpoint: forked })
    expect(singapore.receive(bytes)).toBe("collected")
    expect(singapore.received()).toEqual([])
    expect(singapore.notices()).toEqual([expect.stringMatching(/^split-view: a peer's checkpoint contradicts/)])
    expect(singapore.home.vault.read((tx) => tx.get("checkpoint", "contradicting"))?.note).toEqual(forked)
  })

  test("20 split view: one that the log did not sign is the peer's word only", () => {
    const { kenya, singapore } = desks.at
    const { origin, size } = readCheckpoint(kenya.home.mirror.freshCheckpoint())!
    const forged = signCheckpoint(logKey, { origin, size, root: new Uint8Array(32) }, kenya.home.now)
    singapore.receive(kenya.forge("notification", singapore, desks.post.prekeyFor(singapore), { checkpoint: forged }))
    expect([singapore.received(), singapore.notices()]).toEqual([[], []])
  })
})
