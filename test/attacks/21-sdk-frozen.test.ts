/** While the directory's newest known state is stale, nothing is sealed: a revocation may have been held back. */
import { afterEach, expect, test } from "vitest"
import { fixed } from "../../protocol/limits.ts"
import { useDesks } from "../support/inside.ts"
import { noticed, notification, soon, TestNetwork } from "../support/network.ts"

const desks = useDesks("kenya", "singapore")

test("21 frozen checkpoint: what is composed waits, sealed by nobody, until the log is fresh again", async () => {
  const { kenya, singapore } = desks.at
  const id = kenya.write("notification", [singapore.home.identity.poc])
  desks.network.clock.aheadSeconds = fixed.checkpointSecondsMax + 60
  const carrier = {
    fetchPrekey: async () => desks.post.prekeyFor(singapore),
    submit: () => Promise.reject(new Error("sealed")),
  }
  await kenya.outbox.fetchPrekeys(id, carrier)
  expect(() => kenya.outbox.sealIfReady(id)).toThrow(expect.objectContaining({ code: "ERR_DIRECTORY_STALE" }))
  await kenya.outbox.submit(id, carrier)
  expect(kenya.record(id)!.sealed).toBeUndefined()
  await desks.network.redate()
  await kenya.home.mirror.sync(desks.network.directory.logSource())
  kenya.outbox.sealIfReady(id)
  expect(kenya.record(id)!.sealed).toBeDefined()
})

let network: TestNetwork | undefined
afterEach(() => network?.close())

test("21 frozen checkpoint: a relay that shows an old one is told of, once, and nothing leaves", async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "malicious" })
  const relay = network.malicious!
  const [kenya] = await network.all()
  relay.freezeCheckpoint(await network.directory.logSource().checkpoint())
  network.clock.aheadSeconds += fixed.checkpointSecondsMax + 60
  const sent = kenya!.send({ ...notification, to: ["sg/technical"] })
  await noticed(kenya!, "stale-directory")
  for (let i = 0; i < 3; i++) kenya!.send({ ...notification, to: ["sg/technical"] })
  await expect(kenya!.syncLog()).rejects.toMatchObject({ code: "ERR_DIRECTORY_STALE" })
  expect(kenya!.notices()).toHaveLength(1)
  expect([relay.submissions, sent.status()[0]!.state]).toEqual([[], "waiting"])
  relay.behave()
  await network.redate()
  await kenya!.syncLog()
  await sent.accepted(soon())
})
