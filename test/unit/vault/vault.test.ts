import { describe, expect, test, vi } from "vitest"
import { z } from "zod"
import { MemoryVaultFile, MemoryVaultStorage } from "../../../client-sdk/vault/storage-memory.ts"
import { Vault } from "../../../client-sdk/vault/vault.ts"
import { utf8 } from "../../../protocol/bytes.ts"
import { codeOf } from "../../support/errors.ts"
import { about, createVault, keySecret, memoryVault, openVault, testMachine, testSchema } from "../../support/vault.ts"

const body = (n: number) => ({ subject: `subject ${n}`, n })

describe("making and opening", () => {
  test("a vault opens again with what was put in, and knows whose it is", async () => {
    const { vault, reopen } = await memoryVault()
    vault.transaction((tx) => {
      tx.put("archive", "m1", { ...body(1), body: utf8("bytes") })
      tx.put("prekeys", "k1", { seed: utf8("seed") })
    })
    const again = await reopen()
    expect(again.about).toEqual(about)
    expect(again.incarnation).toEqual(vault.incarnation)
    expect(again.read((tx) => [tx.get("archive", "m1"), tx.get("prekeys", "k1"), tx.get("archive", "m2")])).toEqual([
      { ...body(1), body: utf8("bytes") },
      { seed: utf8("seed") },
      undefined,
    ])
  })

  test("the wrong secret, no vault, a second vault in one place", async () => {
    const { file } = await memoryVault()
    const machine = testMachine()
    const wrong = Vault.open(new MemoryVaultStorage(file), keySecret(2), machine, testSchema)
    await expect(wrong).rejects.toMatchObject({ code: "ERR_PASSPHRASE" })
    await expect(openVault(new MemoryVaultStorage())).rejects.toMatchObject({ code: "ERR_VAULT" })
    await expect(createVault(new MemoryVaultStorage(file))).rejects.toMatchObject({ code: "ERR_USAGE" })
    expect((await openVault(new MemoryVaultStorage(file))).about).toEqual(about)
  })

  test("the vault's own names are not for others", async () => {
    const taken = { collections: {}, events: ["vault.created"] } as const
    const making = Vault.create(new MemoryVaultStorage(), keySecret(), testMachine(), taken, about)
    await expect(making).rejects.toMatchObject({ code: "ERR_USAGE" })
  })

  test("a creation that does not reach the disk leaves room for the next", async () => {
    const file = new MemoryVaultFile()
    const storage = new MemoryVaultStorage(file)
    storage.failNextCommit("crash before")
    await expect(createVault(storage)).rejects.toMatchObject({ code: "ERR_USAGE" })
    await createVault(new MemoryVaultStorage(file))
    expect((await openVault(new MemoryVaultStorage(file))).about).toEqual(about)
  })
})

describe("collections", () => {
  test("list in order of keys, by prefix, after a key, backwards, with a limit", async () => {
    const { vault } = await memoryVault()
    vault.transaction((tx) => {
      for (const key of ["b/2", "a/10", "b/1", "c", "a/9"]) tx.put("archive", key, body(key.length))
      tx.put("contacts", "a/1", { name: "of another collection" })
    })
    const keys = (range?: object) => vault.read((tx) => Array.from(tx.list("archive", range), ([key]) => key))
    expect(keys()).toEqual(["a/10", "a/9", "b/1", "b/2", "c"])
    expect(keys({ reverse: true })).toEqual(["c", "b/2", "b/1", "a/9", "a/10"])
    expect(keys({ after: "a/9", limit: 2 })).toEqual(["b/1", "b/2"])
    expect(keys({ after: "b/1", reverse: true })).toEqual(["a/9", "a/10"])
    expect(keys({ prefix: "b/" })).toEqual(["b/1", "b/2"])
    expect(keys({ prefix: "b/", after: "b/1" })).toEqual(["b/2"])
    expect(vault.read((tx) => [tx.count("archive"), tx.count("prekeys")])).toEqual([5, 0])
  })

  test("replace, delete, and change while they are listed", async () => {
    const { vault } = await memoryVault()
    vault.transaction((tx) => {
      for (const n of [1, 2, 3]) tx.put("archive", `m${n}`, body(n))
      const seen: string[] = []
      for (const [key] of tx.list("archive")) {
        seen.push(key)
        tx.delete("archive", "m2")
        tx.put("archive", "m4", body(4))
      }
      expect(seen).toEqual(["m1", "m3"])
      tx.put("archive", "m1", body(10))
      tx.delete("archive", "never there")
    })
    expect(vault.read((tx) => [...tx.list("archive")])).toEqual([
      ["m1", body(10)],
      ["m3", body(3)],
      ["m4", body(4)],
    ])
  })

  test("take nothing of another shape, nothing that cannot be encoded, nothing too large", async () => {
    const { vault } = await memoryVault()
    const put = (value: unknown, key = "k") =>
      codeOf(() => vault.transaction((tx) => tx.put("archive", key, value as { subject: string; n: number })))
    expect(put({ subject: "x" })).toBe("ERR_MALFORMED")
    expect(put({ subject: "x", n: 1, more: 1 })).toBe("ERR_MALFORMED")
    expect(put({ subject: "x", n: 0.5 })).toBe("ERR_MALFORMED")
    expect(put({ ...body(1), body: new Uint8Array(5_000_000) })).toBe("ERR_TOO_LARGE")
    expect(put(body(1), "k".repeat(513))).toBe("ERR_TOO_LARGE")
    expect(put(body(1), "k".repeat(512))).toBe("none")
    expect(codeOf(() => vault.read((tx) => tx.get("nothing" as "archive", "k")))).toBe("ERR_USAGE")
  })

  test("a record written under another shape is an error of its own, not a wrong value", async () => {
    const { file, vault } = await memoryVault()
    vault.transaction((tx) => tx.put("contacts", "k", { name: "x" }))
    const contacts = { shape: z.strictObject({ title: z.string() }) }
    const changed = { ...testSchema, collections: { ...testSchema.collections, contacts } }
    const later = await Vault.open(new MemoryVaultStorage(file), keySecret(), testMachine("x"), changed)
    expect(codeOf(() => later.read((tx) => tx.get("contacts", "k")))).toBe("ERR_VAULT")
    later.verify()
  })
})

describe("transactions", () => {
  test("that throw change nothing", async () => {
    const { vault, reopen } = await memoryVault()
    const failure = new Error("no")
    const failing = () =>
      vault.transaction((tx) => {
        tx.put("archive", "m1", body(1))
        tx.appendJournal({ event: "received" })
        throw failure
      })
    expect(failing).toThrow(failure)
    expect((await reopen()).read((tx) => [tx.count("archive"), [...tx.journal()].length])).toEqual([0, 1])
  })

  test("on a full disk change nothing, and go through later", async () => {
    const { vault, storage } = await memoryVault()
    const put = () => vault.transaction((tx) => tx.put("archive", "m1", body(1)))
    storage.failNextCommit("refuse")
    expect(codeOf(put)).toBe("ERR_DISK")
    expect(vault.read((tx) => tx.count("archive"))).toBe(0)
    put()
    expect(vault.read((tx) => tx.count("archive"))).toBe(1)
    vault.verify()
  })

  test("do not nest, are not async, and end with their body", async () => {
    const { vault } = await memoryVault()
    expect(codeOf(() => vault.transaction(() => vault.transaction(() => 0)))).toBe("ERR_USAGE")
    const async = () =>
      vault.transaction(async (tx) => {
        tx.put("archive", "m1", body(1))
        await Promise.resolve()
        tx.put("archive", "m2", body(2))
      })
    expect(codeOf(async)).toBe("ERR_USAGE")
    expect(vault.read((tx) => tx.count("archive"))).toBe(0)
    const [kept, list] = vault.transaction((tx) => {
      tx.put("archive", "m1", body(1))
      return [tx, tx.list("archive")]
    })
    expect(codeOf(() => kept.put("archive", "m3", body(3)))).toBe("ERR_USAGE")
    expect(codeOf(() => kept.get("archive", "m1"))).toBe("ERR_USAGE")
    expect(codeOf(() => [...list])).toBe("ERR_USAGE")
  })

  test("of two processes follow one another", async () => {
    const { vault, reopen } = await memoryVault()
    const other = await reopen()
    for (let i = 0; i < 10; i++)
      for (const each of [vault, other])
        each.transaction((tx) => {
          tx.put("counters", "c", { n: (tx.get("counters", "c")?.n ?? 0) + 1 })
          tx.appendJournal({ event: "received" })
        })
    expect(vault.read((tx) => tx.get("counters", "c"))).toEqual({ n: 20 })
    expect(vault.verifyJournal()).toMatchObject({ ok: true, head: { count: 21 } })
    vault.verify()
    await other.close()
    expect(codeOf(() => other.read(() => 0))).toBe("ERR_USAGE")
    vault.transaction((tx) => tx.put("counters", "c", { n: 0 }))
  })
})

describe("changes", () => {
  test("are told after each transaction that changes something, outside of it, until the listener leaves", async () => {
    const { vault } = await memoryVault()
    const heard = vi.fn<() => void>(() => void vault.read((tx) => tx.count("archive")))
    const leave = vault.onChange(heard)
    vault.transaction((tx) => {
      tx.put("archive", "m1", body(1))
      expect(heard).not.toHaveBeenCalled()
    })
    expect(heard).not.toHaveBeenCalled()
    await Promise.resolve()
    expect(heard).toHaveBeenCalledTimes(1)
    vault.transaction((tx) => tx.get("archive", "m1"))
    vault.read((tx) => tx.get("archive", "m1"))
    await Promise.resolve()
    expect(heard).toHaveBeenCalledTimes(1)
    leave()
    vault.transaction((tx) => tx.put("archive", "m2", body(2)))
    await Promise.resolve()
    expect(heard).toHaveBeenCalledTimes(1)
  })

  test("of other processes are told within 200 ms, once", async () => {
    const { vault, machine, reopen } = await memoryVault()
    const other = await reopen()
    const heard = vi.fn<() => void>()
    vault.onChange(heard)
    other.transaction((tx) => tx.put("archive", "m1", body(1)))
    machine.advance(200)
    await Promise.resolve()
    expect(heard).toHaveBeenCalledTimes(1)
    machine.advance(200)
    await Promise.resolve()
    expect(heard).toHaveBeenCalledTimes(1)
    await vault.close()
    other.transaction((tx) => tx.put("archive", "m2", body(2)))
    machine.advance(200)
    await Promise.resolve()
    expect(heard).toHaveBeenCalledTimes(1)
  })
})

describe("the journal", () => {
  test("keeps what was appended, in order, with the vault's own events, and checks out", async () => {
    const { vault, machine } = await memoryVault()
    vault.transaction((tx) => tx.appendJournal({ event: "received", details: { id: utf8("m1") } }))
    machine.advance(5000)
    vault.transaction((tx) => tx.appendJournal({ event: "erased" }))
    const records = vault.read((tx) => [...tx.journal()])
    expect(records.map(({ i, at, event, details }) => [i, at, event, details])).toEqual([
      [0, 1_800_000_000, "vault.created", {}],
      [1, 1_800_000_000, "received", { id: utf8("m1") }],
      [2, 1_800_000_005, "erased", {}],
    ])
    const numbers = (range: object) => vault.read((tx) => Array.from(tx.journal(range), ({ i }) => i))
    expect(numbers({ reverse: true, limit: 2 })).toEqual([2, 1])
    expect(numbers({ from: 1 })).toEqual([1, 2])
    expect(numbers({ from: 1, limit: 1 })).toEqual([1])
    expect(numbers({ from: 9 })).toEqual([])
    expect(vault.verifyJournal()).toMatchObject({ ok: true, head: { count: 3 } })
  })

  test("takes only events of the closed list", async () => {
    const { vault } = await memoryVault()
    const append = () => vault.transaction((tx) => tx.appendJournal({ event: "invented" as "received" }))
    expect(codeOf(append)).toBe("ERR_USAGE")
    const fraction = () => vault.transaction((tx) => tx.appendJournal({ event: "received", details: { n: 0.5 } }))
    expect(codeOf(fraction)).toBe("ERR_MALFORMED")
  })

  test("with a record taken out or changed under the open vault does not check out", async () => {
    for (const change of ["delete", "alter"] as const) {
      const { vault, file } = await memoryVault()
      const before = new Set(file.records.keys())
      vault.transaction((tx) => tx.appendJournal({ event: "received" }))
      vault.transaction((tx) => tx.appendJournal({ event: "erased" }))
      const [place, record] = [...file.records].find(([place]) => !before.has(place))!
      if (change === "delete") file.records.delete(place)
      else file.records.set(place, { ...record, value: record.value.with(5, record.value[5]! ^ 1) })
      expect(vault.verifyJournal()).toMatchObject({ ok: false, reason: change === "delete" ? "missing" : "altered" })
      expect(codeOf(() => vault.verify())).toBe("ERR_VAULT_TAMPERED")
    }
  })
})

describe("tampering with single records", () => {
  async function tampered(change: (file: MemoryVaultFile) => void): Promise<string> {
    const { file, vault } = await memoryVault()
    vault.transaction((tx) => {
      tx.put("archive", "m1", body(1))
      tx.put("archive", "m2", body(2))
      tx.put("counters", "c", { n: 1 })
    })
    change(file)
    try {
      const again = await openVault(new MemoryVaultStorage(file))
      return codeOf(() => again.verify())
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  const placesOf = (file: MemoryVaultFile) => [...file.records.keys()]

  test("control: an untouched vault opens and verifies", async () => {
    expect(await tampered(() => undefined)).toBe("none")
  })

  test("taken out, swapped, moved, renamed, flagged otherwise: always found", async () => {
    const count = 4
    for (let i = 0; i < count; i++) {
      const changes: ((file: MemoryVaultFile) => void)[] = [
        (file) => file.records.delete(placesOf(file)[i]!),
        (file) => {
          const [a, b] = [placesOf(file)[i]!, placesOf(file)[(i + 1) % count]!]
          const [x, y] = [file.records.get(a)!, file.records.get(b)!]
          file.records.set(a, { ...y, collection: x.collection, id: x.id })
          file.records.set(b, { ...x, collection: y.collection, id: y.id })
        },
        ...(["collection", "id", "nonce", "name", "value"] as const).map((field) => (file: MemoryVaultFile) => {
          const record = file.records.get(placesOf(file)[i]!)!
          file.records.set(placesOf(file)[i]!, { ...record, [field]: record[field].with(2, record[field][2]! ^ 4) })
        }),
        (file) => {
          const record = file.records.get(placesOf(file)[i]!)!
          file.records.set(placesOf(file)[i]!, { ...record, volatile: !record.volatile })
        },
      ]
      for (const [n, change] of changes.entries())
        expect(await tampered(change), `record ${i}, change ${n}`).toBe("ERR_VAULT_TAMPERED")
    }
  })

  test("swapped under the open vault: not read in another's place", async () => {
    const { file, vault } = await memoryVault()
    vault.transaction((tx) => {
      for (const n of [1, 2]) tx.put("archive", `m${n}`, body(n))
    })
    const [a, b] = placesOf(file).slice(-2) as [string, string]
    const [x, y] = [file.records.get(a)!, file.records.get(b)!]
    file.records.set(a, { ...y, collection: x.collection, id: x.id })
    file.records.set(b, { ...x, collection: y.collection, id: y.id })
    expect(codeOf(() => vault.read((tx) => tx.get("archive", "m1")))).toBe("ERR_VAULT_TAMPERED")
    expect(codeOf(() => vault.read((tx) => [...tx.list("archive")]))).toBe("ERR_VAULT_TAMPERED")
  })

  test("head or header gone or changed: found", async () => {
    for (const name of ["head", "header"] as const) {
      expect(await tampered((file) => file.meta.delete(name))).toBe(
        name === "head" ? "ERR_VAULT_TAMPERED" : "ERR_VAULT",
      )
      const length = (await memoryVault()).file.meta.get(name)!.length
      for (let at = 0; at < length; at++) {
        const flip = (file: MemoryVaultFile) => {
          const bytes = file.meta.get(name)!
          file.meta.set(name, bytes.with(at, bytes[at]! ^ 0x10))
        }
        expect(await tampered(flip), `${name}, byte ${at}`).toBe("ERR_VAULT_TAMPERED")
      }
    }
  })

  test("the whole vault put back while it is open: found at the next transaction", async () => {
    const { file, vault } = await memoryVault()
    vault.transaction((tx) => tx.put("counters", "c", { n: 1 }))
    const [meta, records] = [new Map(file.meta), new Map(file.records)]
    vault.transaction((tx) => tx.put("counters", "c", { n: 2 }))
    for (const [name, bytes] of meta) file.meta.set(name, bytes)
    for (const [place, record] of records) file.records.set(place, record)
    expect(codeOf(() => vault.transaction((tx) => tx.get("counters", "c")))).toBe("ERR_VAULT_TAMPERED")
  })
})

describe("erasing", () => {
  test("scrub reseals the volatile part under a new key, and only if something was erased", async () => {
    const { vault, file } = await memoryVault()
    vault.transaction((tx) => {
      tx.put("prekeys", "k1", { seed: utf8("one") })
      tx.put("prekeys", "k2", { seed: utf8("two") })
      tx.put("archive", "m1", body(1))
    })
    const before = new Map(file.records)
    vault.scrub()
    expect(new Map(file.records)).toEqual(before)
    vault.transaction((tx) => tx.delete("prekeys", "k1"))
    vault.scrub()
    for (const [place, record] of file.records)
      if (record.volatile) expect(record).not.toEqual(before.get(place))
      else expect(record).toEqual(before.get(place))
    const after = new Map(file.records)
    vault.scrub()
    expect(new Map(file.records)).toEqual(after)
    vault.compact()
    expect(vault.read((tx) => [...tx.list("prekeys")])).toEqual([["k2", { seed: utf8("two") }]])
    vault.verify()
  })

  test("what was sealed before a scrub cannot be put back after it, not even with the vault's secret", async () => {
    const { vault, file } = await memoryVault()
    vault.transaction((tx) => tx.put("prekeys", "k1", { seed: utf8("one") }))
    const [place, remnant] = [...file.records].find(([, record]) => record.volatile)!
    vault.transaction((tx) => tx.delete("prekeys", "k1"))
    file.records.set(place, remnant)
    expect(vault.read((tx) => tx.get("prekeys", "k1"))).toEqual({ seed: utf8("one") })
    file.records.delete(place)
    vault.scrub()
    file.records.set(place, remnant)
    expect(codeOf(() => vault.read((tx) => tx.get("prekeys", "k1")))).toBe("ERR_VAULT_TAMPERED")
  })
})
