/** Away for weeks: whoever comes back receives what still lives, and its peers are told what does not. Real sockets and files. */
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { Message, Notice, Poc } from "../../client-sdk/index.ts"
import { fixed } from "../../protocol/limits.ts"
import { arrived, day, noticed, notification, settled, soon, TestNetwork, type Name } from "../support/network.ts"

let network: TestNetwork
let today = 0

beforeEach(async () => {
  network = await TestNetwork.open({ members: ["kenya", "singapore"], relay: "disk" })
  today = 0
})
afterEach(() => network.close())

/** Later. The directory dates its log anew; the relay follows. */
async function until(dayNumber: number): Promise<void> {
  network.clock.aheadSeconds += (dayNumber - today) * day
  today = dayNumber
  await network.redate()
}

/** The relay drops what is too old, as it does every minute; here when it starts again, on the same files. */
async function relayTidies(): Promise<void> {
  await network.stopRelay()
  await network.startRelay()
}

/** Switches a PoC on for what `act` does, and off again. */
async function on<T>(name: Name, act: (poc: Poc) => T | Promise<T>): Promise<T> {
  const poc = await network.poc(name)
  try {
    return await act(poc)
  } finally {
    await network.shut(poc)
  }
}

/** What Kenya writes; `accepted` unless it has to wait. */
const written = (subject: string, isTaken = true): Promise<string> =>
  on("kenya", async (kenya) => {
    const sent = kenya.send({ ...notification, subject, to: ["sg/technical"] })
    if (isTaken) await sent.accepted(soon())
    else await noticed(kenya, "no-prekeys")
    return sent.id
  })

/** The states of Kenya's messages, and what it was told, once it knows that nothing waits for it. */
const known = (ids: readonly string[], awaited: (states: string[]) => boolean): Promise<[string[], Notice[]]> =>
  on("kenya", async (kenya) => {
    const states = (): string[] => ids.map((id) => (kenya.message(id) satisfies Message).status()[0]!.state)
    await kenya.until(() => awaited(states()) || undefined, soon())
    await settled(kenya)
    network.clock.aheadMonotonicMs += 61_000
    await kenya.syncLog()
    const count = (): number => states().filter((state) => state === "undelivered").length
    await kenya.until(() => texts(kenya.notices(), "undelivered").length >= count() || undefined, soon())
    return [states(), kenya.notices()]
  })

const texts = (notices: readonly Notice[], kind: Notice["kind"]): string[] =>
  notices.filter((notice) => notice.kind === kind).map(({ text }) => text)
const subjects = (poc: Poc): (string | undefined)[] => poc.received().map(({ subject }) => subject)

describe("a recipient that was away", () => {
  beforeEach(() => on("singapore", () => {}))

  test("for 10 days receives everything, with nothing to remark", async () => {
    const first = await written("day 0")
    await until(9)
    const second = await written("day 9")
    await until(10)
    await on("singapore", async (singapore) => {
      for (const id of [first, second]) expect((await arrived(singapore, id)).view.banners).toEqual([])
      await settled(singapore)
      expect(singapore.notices()).toEqual([])
    })
    const [states, notices] = await known([first, second], (all) => all.every((state) => state === "delivered"))
    expect([states, notices]).toEqual([["delivered", "delivered"], []])
  })

  test("for 20 days receives what still lives; what expired is told to both, and what had to wait goes out", async () => {
    const gone = await written("day 0")
    await until(10)
    const lives = await written("day 10")
    await until(16)
    const waits = await written("day 16", false)
    await until(20)
    await relayTidies()
    const singapore = await network.poc("singapore")
    await arrived(singapore, lives)
    const [states, notices] = await known([gone, lives, waits], ([, , last]) => last === "delivered")
    expect(states).toEqual(["undelivered", "delivered", "delivered"])
    const told = [`message ${gone.slice(0, 8)} expired undelivered at ${network.address("singapore")}`]
    expect(texts(notices, "undelivered")).toEqual(told)
    await settled(singapore)
    expect(subjects(singapore)).toEqual(["day 10", "day 16"])
    expect(singapore.notices().map(({ kind }) => kind)).toEqual(["sequence-gap"])
    expect(singapore.notices()[0]!.text).toContain(
      "1 earlier message(s) of this device have not arrived (late, expired",
    )
  })

  test("for 40 days finds new messages only, its old secrets are gone, and every loss was told", async () => {
    const gone = await written("day 0")
    await until(20)
    const never = await written("day 20", false)
    await until(35)
    const [before, early] = await known([gone, never], () => true)
    expect(before).toEqual(["undelivered", "undelivered"])
    expect(texts(early, "undelivered")).toContain(
      `message ${never.slice(0, 8)} expired before it could leave: undelivered at ${network.address("singapore")}`,
    )
    await until(36)
    const waits = await written("day 36", false)
    await until(40)
    await relayTidies()
    const singapore = await network.poc("singapore")
    const [states, notices] = await known([gone, never, waits], ([, , last]) => last === "delivered")
    expect(states).toEqual(["undelivered", "undelivered", "delivered"])
    expect(texts(notices, "undelivered")).toHaveLength(2)
    await settled(singapore)
    expect(subjects(singapore)).toEqual(["day 36"])
    await network.shut(singapore)
    const oldest = await network.vault("singapore", (vault) =>
      vault.read((tx) => Math.min(...[...tx.list("prekeys")].map(([, { nbf }]) => nbf))),
    )
    expect(network.clock.seconds - oldest).toBeLessThan(day)
  })
})

test("a sender that was away for 40 days says that it does not know, not that nothing was delivered", async () => {
  await on("singapore", () => {})
  await on("kenya", async (kenya) => {
    network.clock.aheadMonotonicMs += 61_000
    await kenya.syncLog()
  })
  const sent = await written("day 0")
  await until(1)
  await on("singapore", async (singapore) => {
    await arrived(singapore, sent)
    await settled(singapore)
  })
  await until(40)
  await relayTidies()
  await on("kenya", async (kenya) => {
    network.clock.aheadMonotonicMs += 61_000
    await kenya.syncLog()
    expect((await noticed(kenya, "undelivered")).text).toContain("ask whether it arrived at")
    expect(kenya.message(sent).status()[0]!.state).toBe("unknown")
  })
})

test("a manifest serves in its grace, with a banner; after it nothing is sealed for or by its PoC, until it is renewed", async () => {
  await until(fixed.manifestSecondsMax / day + 5)
  const singapore = await network.poc("singapore")
  await on("kenya", async (kenya) => {
    const sent = kenya.send({ ...notification, to: ["sg/technical"] })
    expect((await arrived(singapore, sent.id)).view.banners).toContain("manifest-expired")
    await noticed(kenya, "manifest-expiring")
  })
  await network.shut(singapore)
  await until((fixed.manifestSecondsMax + fixed.manifestGraceSeconds) / day + 5)
  await on("kenya", (kenya) => {
    const send = (): unknown => kenya.send({ ...notification, to: ["sg/technical"] })
    expect(send).toThrow(expect.objectContaining({ code: "ERR_UNKNOWN_ADDRESS" }))
  })
  await network.changeManifest("singapore", () => ({}))
  const again = await network.poc("singapore")
  const waits = await on("kenya", async (kenya) => {
    const sent = kenya.send({ ...notification, subject: "renewed", to: ["sg/technical"] })
    await kenya.until(() => kenya.notices().find(({ text }) => text.includes("nobody would open it")), soon())
    expect(sent.status()[0]!.state).toBe("waiting")
    return sent.id
  })
  await network.changeManifest("kenya", () => ({}))
  await on("kenya", async (kenya) => void (await kenya.message(waits).delivered("sg/technical", soon())))
  expect(subjects(again)).toContain("renewed")
})
