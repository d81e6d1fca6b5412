/** The contract of relay/store.ts, sentence by sentence, for every implementation. */
import { randomBytes } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import type { DeviceId, MailboxId } from "../../protocol/address.ts"
import { chosen, fixed } from "../../protocol/limits.ts"
import type { MailboxStore, Quota } from "../../relay/store.ts"

/** @param open opens the store that lies in this folder, anew or for the first time; default quotas if none are given */
export function mailboxStoreContract(
  name: string,
  open: (folder: string, quota?: Quota) => Promise<MailboxStore>,
): void {
  describe(`mailbox store contract: ${name}`, () => {
    let folder: string
    let store: MailboxStore

    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "valise-store-"))
      store = await open(folder)
    })
    afterEach(async () => {
      await store.close()
      await rm(folder, { recursive: true, force: true })
    })
    const reopen = async (quota?: Quota): Promise<void> => {
      await store.close()
      store = await open(folder, quota)
    }
    const sequences = async (mailbox: MailboxId, after = 0, max = 100_000): Promise<number[]> =>
      (await store.read(mailbox, after, max)).map(({ sequence }) => sequence)
    const contents = async (mailbox: MailboxId): Promise<string[]> =>
      (await store.read(mailbox, 0, 100_000)).map(({ bytes }) => text(bytes))

    describe("append", () => {
      test("keeps the exact bytes, of every length, and the minute of the call", async () => {
        const mailbox = newMailbox()
        const sent = [0, 1, 489, 4096, 5300, 66_800].map((length) => new Uint8Array(randomBytes(length)))
        for (const [i, bytes] of sent.entries())
          expect(await store.append(mailbox, newBlind(), 100 + i, bytes)).toEqual({
            outcome: "stored",
            minute: 100 + i,
          })
        await reopen()
        const read = await store.read(mailbox, 0, 10)
        expect(read.map(({ bytes }) => bytes)).toEqual(sent)
        expect(read.map(({ minute }) => minute)).toEqual([100, 101, 102, 103, 104, 105])
      })

      test("stores and answers in the order of the calls, also when they are made at once", async () => {
        const mailbox = newMailbox()
        const answered: number[] = []
        await Promise.all(
          range(300).map(async (i) => {
            await store.append(mailbox, newBlind(), 1, bytesOf(`${i}`))
            answered.push(i)
          }),
        )
        expect(answered).toEqual(range(300))
        expect(await contents(mailbox)).toEqual(range(300).map(String))
      })

      test("is durable when it resolves", async () => {
        const mailbox = newMailbox()
        await store.append(mailbox, newBlind(), 1, bytesOf("a"))
        await reopen()
        expect(await contents(mailbox)).toEqual(["a"])
      })

      test("the same blind with the same bytes is a retry: the first minute, and nothing is added", async () => {
        const mailbox = newMailbox()
        const blind = newBlind()
        const retry = (minute: number) => store.append(mailbox, blind, minute, bytesOf("a"))
        expect(await Promise.all([retry(7), retry(8)])).toEqual([
          { outcome: "stored", minute: 7 },
          { outcome: "stored", minute: 7 },
        ])
        expect(await retry(9)).toEqual({ outcome: "stored", minute: 7 })
        await reopen()
        expect(await retry(10)).toEqual({ outcome: "stored", minute: 7 })
        expect(await contents(mailbox)).toEqual(["a"])
      })

      test("the same blind with other bytes is another envelope", async () => {
        const mailbox = newMailbox()
        const blind = newBlind()
        await store.append(mailbox, blind, 7, bytesOf("a"))
        expect(await store.append(mailbox, blind, 8, bytesOf("b"))).toEqual({ outcome: "stored", minute: 8 })
        expect(await store.append(mailbox, blind, 9, bytesOf("b"))).toEqual({ outcome: "stored", minute: 8 })
        expect(await contents(mailbox)).toEqual(["a", "b"])
      })

      test("the same blind and bytes for another mailbox are another envelope", async () => {
        const [one, other] = [newMailbox(), newMailbox()]
        const blind = newBlind()
        await store.append(one, blind, 7, bytesOf("a"))
        expect(await store.append(other, blind, 8, bytesOf("a"))).toEqual({ outcome: "stored", minute: 8 })
        expect(await contents(other)).toEqual(["a"])
      })

      test("the same bytes with another blind are another envelope, of this minute", async () => {
        const mailbox = newMailbox()
        await store.append(mailbox, newBlind(), 7, bytesOf("a"))
        expect(await store.append(mailbox, newBlind(), 8, bytesOf("a"))).toEqual({ outcome: "stored", minute: 8 })
        expect(await contents(mailbox)).toEqual(["a", "a"])
      })

      test("a blind that the mailbox holds no longer starts anew", async () => {
        const mailbox = newMailbox()
        const blind = newBlind()
        await store.append(mailbox, blind, 7, bytesOf("a"))
        await store.collect(mailbox, await sequences(mailbox))
        expect(await store.append(mailbox, blind, 8, bytesOf("a"))).toEqual({ outcome: "stored", minute: 8 })
      })

      test("copies what it is given before it returns", async () => {
        const mailbox = newMailbox()
        const [blind, bytes] = [newBlind(), bytesOf("as it was")]
        const given = { mailbox: mailbox.slice() as MailboxId, blind: blind.slice() }
        const appended = store.append(given.mailbox, given.blind, 7, bytes)
        for (const each of [given.mailbox, given.blind, bytes]) each.fill(0)
        await appended
        expect(await contents(mailbox)).toEqual(["as it was"])
        expect(await store.append(mailbox, blind, 8, bytesOf("as it was"))).toEqual({ outcome: "stored", minute: 7 })
      })

      test("says full at the quota of envelopes, to this mailbox alone, and not to a retry", async () => {
        await reopen({ envelopesMax: 2, bytesMax: 1000 })
        const mailbox = newMailbox()
        const blind = newBlind()
        await store.append(mailbox, blind, 1, bytesOf("a"))
        await store.append(mailbox, newBlind(), 1, bytesOf("b"))
        expect(await store.append(mailbox, newBlind(), 2, bytesOf("c"))).toEqual({ outcome: "full" })
        expect(await store.append(mailbox, blind, 2, bytesOf("a"))).toEqual({ outcome: "stored", minute: 1 })
        expect(await store.append(newMailbox(), newBlind(), 2, bytesOf("c"))).toMatchObject({ outcome: "stored" })
        expect(await contents(mailbox)).toEqual(["a", "b"])
      })

      test("says full at the quota of bytes", async () => {
        await reopen({ envelopesMax: 100, bytesMax: 10 })
        const mailbox = newMailbox()
        expect(await store.append(mailbox, newBlind(), 1, new Uint8Array(11))).toEqual({ outcome: "full" })
        expect(await store.append(mailbox, newBlind(), 1, new Uint8Array(6))).toMatchObject({ outcome: "stored" })
        expect(await store.append(mailbox, newBlind(), 1, new Uint8Array(5))).toEqual({ outcome: "full" })
        expect(await store.append(mailbox, newBlind(), 1, new Uint8Array(4))).toMatchObject({ outcome: "stored" })
      })

      test.each(["collect", "expire", "forget", "reopen"] as const)("counts right after %s", async (how) => {
        await reopen({ envelopesMax: 2, bytesMax: 100 })
        const mailbox = newMailbox()
        const fill = async () => [
          await store.append(mailbox, newBlind(), 1, new Uint8Array(50)),
          await store.append(mailbox, newBlind(), 1, new Uint8Array(50)),
        ]
        await fill()
        if (how === "collect") await store.collect(mailbox, await sequences(mailbox))
        if (how === "expire") await store.expire(2)
        if (how === "forget") await store.forget(mailbox, newDevice())
        if (how === "reopen") await reopen({ envelopesMax: 2, bytesMax: 100 })
        const outcomes = (await fill()).map(({ outcome }) => outcome)
        expect(outcomes).toEqual(how === "reopen" ? ["full", "full"] : ["stored", "stored"])
        expect(await store.append(mailbox, newBlind(), 1, new Uint8Array(1))).toEqual({ outcome: "full" })
      })

      test("has the quota of protocol/limits.ts by default", async () => {
        const mailbox = newMailbox()
        const outcomes = await Promise.all(
          range(chosen.mailboxEnvelopesMax + 1).map((i) => store.append(mailbox, newBlind(), 1, bytesOf(`${i}`))),
        )
        expect(outcomes.filter(({ outcome }) => outcome === "stored")).toHaveLength(chosen.mailboxEnvelopesMax)
        expect(outcomes.at(-1)).toEqual({ outcome: "full" })
        const ofOne = (length: number) => store.append(newMailbox(), newBlind(), 1, new Uint8Array(length))
        expect(await ofOne(chosen.mailboxBytesMax + 1)).toEqual({ outcome: "full" })
        // Too much at once for a disk, perhaps; but not for the mailbox.
        const [whole] = await Promise.allSettled([ofOne(chosen.mailboxBytesMax)])
        expect(whole).not.toMatchObject({ value: { outcome: "full" } })
      }, 120_000)

      test.each([
        [
          "a mailbox number of another length",
          (m: MailboxId) => store.append(m.subarray(1) as MailboxId, newBlind(), 1, bytesOf("a")),
        ],
        ["a blind of another length", (m: MailboxId) => store.append(m, new Uint8Array(31), 1, bytesOf("a"))],
        ["a minute that is none", (m: MailboxId) => store.append(m, newBlind(), 1.5, bytesOf("a"))],
      ])("refuses %s, and goes on", async (_, append) => {
        const mailbox = newMailbox()
        await expect(append(mailbox)).rejects.toMatchObject({ code: "ERR_MALFORMED" })
        expect(await store.append(mailbox, newBlind(), 1, bytesOf("a"))).toMatchObject({ outcome: "stored" })
      })
    })

    describe("read", () => {
      test("gives what comes after a sequence, oldest first, at most so many", async () => {
        const mailbox = newMailbox()
        for (const i of range(5)) await store.append(mailbox, newBlind(), 1, bytesOf(`${i}`))
        const all = await sequences(mailbox)
        expect(all).toEqual(all.toSorted((a, b) => a - b))
        expect(await sequences(mailbox, all[1], 2)).toEqual(all.slice(2, 4))
        expect(await sequences(mailbox, all[4])).toEqual([])
        expect(await sequences(mailbox, 0, 0)).toEqual([])
      })

      test("sees everything whose append has resolved", async () => {
        const mailbox = newMailbox()
        await Promise.all(
          range(100).map(async (i) => {
            await store.append(mailbox, newBlind(), 1, bytesOf(`${i}`))
            expect(await contents(mailbox)).toContain(`${i}`)
          }),
        )
      })

      test("knows no other mailbox's envelopes", async () => {
        const [one, other] = [newMailbox(), newMailbox()]
        await store.append(one, newBlind(), 1, bytesOf("a"))
        expect(await store.read(other, 0, 10)).toEqual([])
      })
    })

    describe("sequence numbers", () => {
      test("are positive", async () => {
        const mailbox = newMailbox()
        await store.append(mailbox, newBlind(), 1, bytesOf("a"))
        expect((await sequences(mailbox))[0]).toBeGreaterThan(0)
      })

      test.each([
        ["collect", (mailbox: MailboxId, all: number[]) => store.collect(mailbox, all)],
        ["expire", () => store.expire(10)],
        ["forget", (mailbox: MailboxId) => store.forget(mailbox, newDevice())],
      ] as const)("are not used again after %s of the last envelope and a restart", async (_, remove) => {
        const mailbox = newMailbox()
        const used = new Set<number>()
        for (const isRestarted of [false, true, true]) {
          await store.append(mailbox, newBlind(), 1, bytesOf("a"))
          await store.append(mailbox, newBlind(), 1, bytesOf("b"))
          const all = await sequences(mailbox)
          expect(all).toHaveLength(2)
          for (const sequence of all) {
            expect(sequence).toBeGreaterThan(Math.max(0, ...used))
            used.add(sequence)
          }
          await remove(mailbox, all)
          if (isRestarted) await reopen()
        }
      })

      test("rise in each mailbox by itself: nothing of another's traffic can be read from them", async () => {
        const [one, other] = [newMailbox(), newMailbox()]
        await store.append(one, newBlind(), 1, bytesOf("a"))
        for (const _ of range(10)) await store.append(other, newBlind(), 1, bytesOf("b"))
        await store.append(one, newBlind(), 1, bytesOf("c"))
        const [first, second] = await sequences(one)
        expect(second! - first!).toBe(1)
      })
    })

    describe("collect", () => {
      test("deletes these, durably, and no others", async () => {
        const [one, other] = [newMailbox(), newMailbox()]
        for (const i of range(4)) {
          await store.append(one, newBlind(), 1, bytesOf(`${i}`))
          await store.append(other, newBlind(), 1, bytesOf(`${i}`))
        }
        const all = await sequences(one)
        await store.collect(one, [all[0]!, all[2]!])
        await reopen()
        expect(await contents(one)).toEqual(["1", "3"])
        expect(await contents(other)).toEqual(["0", "1", "2", "3"])
      })

      test("ignores unknown numbers and repetitions", async () => {
        const mailbox = newMailbox()
        await store.append(mailbox, newBlind(), 1, bytesOf("a"))
        const [known] = await sequences(mailbox)
        await store.collect(mailbox, [known! + 1, 0, -1, 2.5, Number.NaN, Number.MAX_SAFE_INTEGER])
        expect(await contents(mailbox)).toEqual(["a"])
        await store.collect(mailbox, [known!, known!])
        await store.collect(newMailbox(), [1])
        expect(await contents(mailbox)).toEqual([])
        expect((await store.inspect()).envelopes).toEqual([])
      })
    })

    describe("expire", () => {
      test("deletes what was accepted before the minute, durably, and says how many", async () => {
        const mailbox = newMailbox()
        for (const minute of [10, 12, 11, 13]) await store.append(mailbox, newBlind(), minute, bytesOf(`${minute}`))
        expect(await store.expire(12)).toBe(2)
        expect(await store.expire(12)).toBe(0)
        await reopen()
        expect(await contents(mailbox)).toEqual(["12", "13"])
      })

      test("deletes thousands, of many mailboxes", async () => {
        const mailboxes = range(7).map(newMailbox)
        await Promise.all(range(2000).map((i) => store.append(mailboxes[i % 7]!, newBlind(), i, bytesOf(`${i}`))))
        expect(await store.expire(1900)).toBe(1900)
        expect((await store.inspect()).envelopes).toHaveLength(100)
      })
    })

    describe("prekeys", () => {
      const put = (device: DeviceId, oneTime: string[], rotating?: string, reset = false) =>
        store.putPrekeys(device, {
          reset,
          oneTime: oneTime.map(bytesOf),
          ...(rotating === undefined ? {} : { rotating: bytesOf(rotating) }),
        })
      const take = async (device: DeviceId) => {
        const prekey = await store.takePrekey(device)
        return prekey && text(prekey)
      }

      test("are added, counted, and durable", async () => {
        const device = newDevice()
        expect(await store.countPrekeys(device)).toBe(0)
        expect(await put(device, ["a", "b"], "r")).toBe(2)
        expect(await put(device, ["c"])).toBe(3)
        await reopen()
        expect(await store.countPrekeys(device)).toBe(3)
        expect([await take(device), await take(device), await take(device), await take(device)]).toEqual([
          "a",
          "b",
          "c",
          "r",
        ])
      })

      test("each one-time prekey is taken once, also by many at once and after a restart", async () => {
        const device = newDevice()
        await put(device, range(fixed.oneTimePrekeys).map(String))
        const first = await Promise.all(range(40).map(() => take(device)))
        await reopen()
        const rest = await Promise.all(range(40).map(() => take(device)))
        const taken = [...first, ...rest].filter((prekey) => prekey !== undefined)
        expect(new Set(taken).size).toBe(fixed.oneTimePrekeys)
        expect(taken).toHaveLength(fixed.oneTimePrekeys)
        expect(await store.countPrekeys(device)).toBe(0)
      })

      test("the rotating one stands in when there is no other, as often as it is asked for", async () => {
        const device = newDevice()
        await put(device, [], "r1")
        expect([await take(device), await take(device)]).toEqual(["r1", "r1"])
        await put(device, [], "r2")
        expect(await take(device)).toBe("r2")
        await put(device, [])
        expect(await take(device)).toBe("r2")
      })

      test("of a device without any: undefined", async () => {
        expect(await take(newDevice())).toBeUndefined()
      })

      test("reset drops what was there", async () => {
        const device = newDevice()
        await put(device, ["a", "b"], "r")
        expect(await put(device, ["c"], undefined, true)).toBe(1)
        await reopen()
        expect([await take(device), await take(device)]).toEqual(["c", undefined])
      })

      test("one that is held already is not added again", async () => {
        const device = newDevice()
        await put(device, ["a", "a"])
        expect(await put(device, ["a", "b"])).toBe(2)
        expect([await take(device), await take(device), await take(device)]).toEqual(["a", "b", undefined])
      })

      test("one that was taken is not added again, not even after reset, restart and forget", async () => {
        const device = newDevice()
        await put(device, ["a"])
        await take(device)
        expect(await put(device, ["a"])).toBe(0)
        expect(await put(device, ["a"], undefined, true)).toBe(0)
        await reopen()
        expect(await put(device, ["a"])).toBe(0)
        await store.forget(newMailbox(), device)
        expect(await put(device, ["a", "b"])).toBe(1)
        expect([await take(device), await take(device)]).toEqual(["b", undefined])
      })

      test("that it was taken is forgotten when its validity is over, and not before", async () => {
        const device = newDevice()
        const day = 1440
        const days = fixed.rotatingPrekeySeconds / 86_400
        await put(device, ["a"])
        await take(device)
        await store.expire(1000 * day)
        await reopen()
        await store.expire((1000 + days) * day)
        expect((await store.inspect()).takenPrekeys).toBe(1)
        expect(await put(device, ["a"])).toBe(0)
        await store.expire((1002 + days) * day)
        expect((await store.inspect()).takenPrekeys).toBe(0)
      })

      test("beyond the maximum the oldest go", async () => {
        const device = newDevice()
        await put(device, range(fixed.oneTimePrekeys).map(String))
        expect(await put(device, ["x", "y"])).toBe(fixed.oneTimePrekeys)
        expect(await take(device)).toBe("2")
      })

      test("are each device's own", async () => {
        const [one, other] = [newDevice(), newDevice()]
        await put(one, ["a"], "r")
        expect(await put(other, ["a"])).toBe(1)
        await put(other, [], undefined, true)
        expect([await take(other), await take(one), await take(one)]).toEqual([undefined, "a", "r"])
      })
    })

    test("forget drops mailbox and prekeys of this device, durably, and nothing else", async () => {
      const [mailbox, other] = [newMailbox(), newMailbox()]
      const [device, otherDevice] = [newDevice(), newDevice()]
      await Promise.all(range(1500).map((i) => store.append(mailbox, newBlind(), 1, bytesOf(`${i}`))))
      await store.append(other, newBlind(), 1, bytesOf("stays"))
      for (const each of [device, otherDevice])
        await store.putPrekeys(each, { reset: false, rotating: bytesOf("r"), oneTime: [bytesOf("a")] })
      await store.forget(mailbox, device)
      await reopen()
      const { envelopes, prekeys, counters } = await store.inspect()
      expect(envelopes.map((envelope) => text(envelope.mailbox))).toEqual([text(other)])
      expect(prekeys).toEqual([{ device: otherDevice, oneTime: 1, rotating: true }])
      expect(counters.map((counter) => text(counter.mailbox))).toEqual([text(other)])
      expect(await store.takePrekey(device)).toBeUndefined()
    })

    test("inspect lists everything that is kept", async () => {
      const [mailbox, device] = [newMailbox(), newDevice()]
      await store.append(mailbox, newBlind(), 17, bytesOf("abc"))
      await store.append(mailbox, newBlind(), 18, bytesOf("defg"))
      await store.putPrekeys(device, { reset: false, oneTime: [bytesOf("a"), bytesOf("b")] })
      await store.takePrekey(device)
      const [first, second] = await sequences(mailbox)
      const found = await store.inspect()
      expect(found.envelopes.toSorted((a, b) => a.sequence - b.sequence)).toEqual([
        { mailbox, sequence: first, minute: 17, bytes: 3 },
        { mailbox, sequence: second, minute: 18, bytes: 4 },
      ])
      expect(found).toMatchObject({
        prekeys: [{ device, oneTime: 1, rotating: false }],
        counters: [{ mailbox, next: second! + 1 }],
        takenPrekeys: 1,
        quarantined: { envelopes: [], prekeys: 0 },
        intact: true,
      })
    })

    test("inspect of an empty store", async () => {
      expect(await store.inspect()).toMatchObject({ envelopes: [], prekeys: [], counters: [], takenPrekeys: 0 })
    })

    test("close finishes what is under way, then refuses", async () => {
      const mailbox = newMailbox()
      const device = newDevice()
      const appended = Promise.all(range(2000).map((i) => store.append(mailbox, newBlind(), i, bytesOf(`${i}`))))
      const expired = store.expire(1600)
      const [first, second] = [store.close(), store.close()]
      expect((await appended).every(({ outcome }) => outcome === "stored")).toBe(true)
      expect(await expired).toBe(1600)
      await Promise.all([first, second])
      for (const late of [
        store.append(mailbox, newBlind(), 1, bytesOf("late")),
        store.read(mailbox, 0, 1),
        store.collect(mailbox, [1]),
        store.expire(1),
        store.putPrekeys(device, { reset: false, oneTime: [] }),
        store.takePrekey(device),
        store.countPrekeys(device),
        store.forget(mailbox, device),
        store.inspect(),
      ])
        await expect(late).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
      await reopen()
      expect(await contents(mailbox)).toHaveLength(400)
    })

    test("one store at a time: a second opening is refused, and does no harm to the first", async () => {
      await expect(open(folder)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
      expect(await store.append(newMailbox(), newBlind(), 1, bytesOf("a"))).toMatchObject({ outcome: "stored" })
      await expect(open(folder)).rejects.toMatchObject({ code: "ERR_STORE_UNAVAILABLE" })
    })
  })
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i)
const newMailbox = (): MailboxId => new Uint8Array(randomBytes(16)) as MailboxId
const newDevice = (): DeviceId => new Uint8Array(randomBytes(32)) as DeviceId
const newBlind = (): Uint8Array => new Uint8Array(randomBytes(32))
const bytesOf = (content: string): Uint8Array => new Uint8Array(Buffer.from(content))
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
