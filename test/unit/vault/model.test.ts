/** Random work on a vault against a plain map: whatever is done, and however often it is opened anew, both agree. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { MemoryVaultStorage, type CommitFault } from "../../../client-sdk/vault/storage-memory.ts"
import { memoryVault, openVault } from "../../support/vault.ts"

const key = fc.constantFrom("a", "b", "c/1", "c/2", "d")
const collection = fc.constantFrom("counters" as const, "archive" as const)
const change = fc.record({ collection, key, n: fc.option(fc.nat(9), { nil: undefined }) })
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("transaction" as const), changes: fc.array(change), throws: fc.boolean(), fault: fc.option(fc.constantFrom<CommitFault>("refuse", "crash before", "crash after"), { nil: undefined, freq: 4 }) }) }, // prettier-ignore
  { weight: 1, arbitrary: fc.constantFrom({ kind: "reopen" as const }, { kind: "scrub" as const }, { kind: "backup" as const }, { kind: "incarnation" as const }) }, // prettier-ignore
)

test("property: a vault behaves as a map with transactions", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      let { file, storage, vault } = await memoryVault()
      let model = new Map<string, number>()
      const open = async (from = file) => {
        file = from
        storage = new MemoryVaultStorage(file)
        vault = await openVault(storage)
      }
      const dropVolatile = () => (model = new Map([...model].filter(([name]) => !name.startsWith("counters "))))
      for (const step of steps) {
        if (step.kind === "reopen") await open()
        else if (step.kind === "scrub") vault.scrub()
        else if (step.kind === "incarnation") {
          vault.startNewIncarnation()
          dropVolatile()
        } else if (step.kind === "backup") {
          const copy = (await memoryVault()).file
          copy.meta.clear()
          copy.records.clear()
          vault.backup(new MemoryVaultStorage(copy))
          await open(copy)
          dropVolatile()
        } else {
          const next = new Map(model)
          if (step.fault) storage.failNextCommit(step.fault)
          try {
            vault.transaction((tx) => {
              for (const { collection, key, n } of step.changes) {
                if (n === undefined) tx.delete(collection, key)
                else if (collection === "counters") tx.put(collection, key, { n })
                else tx.put(collection, key, { subject: key, n })
                if (n === undefined) next.delete(`${collection} ${key}`)
                else next.set(`${collection} ${key}`, n)
                expect(tx.get(collection, key)?.n).toBe(n)
              }
              if (step.throws) throw new Error("body")
            })
            model = next
          } catch {
            if (step.fault === "crash after" && !step.throws) model = next
            if (step.fault) await open()
          }
        }
        const found = vault.read((tx) =>
          (["archive", "counters"] as const).flatMap((name) =>
            Array.from(tx.list(name), ([key, { n }]) => [`${name} ${key}`, n] as const),
          ),
        )
        expect(found).toEqual([...model].toSorted(([a], [b]) => (a < b ? -1 : 1)))
      }
      vault.verify()
    }),
    { numRuns: 60 },
  )
})
