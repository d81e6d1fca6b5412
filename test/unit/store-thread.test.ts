import { expect, test } from "vitest"
import { StoreThread } from "../../relay/store-thread.ts"

const threadOf = (script: string) =>
  new StoreThread<string, string>(
    new URL(
      `data:text/javascript,${encodeURIComponent(`import { parentPort } from "node:worker_threads"; ${script}`)}`,
    ),
  )
const unavailable = { code: "ERR_STORE_UNAVAILABLE", retryable: true }

test("a thread answers in the order of the questions, also that it failed, and is over when it has ended", async () => {
  const echo = threadOf(
    `parentPort.on("message", (m) => {
      if (m === "close") parentPort.close()
      else parentPort.postMessage(m === "b" ? { failed: { code: "ERR_VERSION", message: "no b" } } : { result: m + m })
    })`,
  )
  const [a, b, c] = await Promise.allSettled(["a", "b", "c"].map((m) => echo.ask(m)))
  expect([a, c]).toMatchObject([{ value: "aa" }, { value: "cc" }])
  expect(b).toMatchObject({ reason: { code: "ERR_VERSION", message: "no b" } })
  await echo.end()
  await expect(echo.ask("d")).rejects.toMatchObject(unavailable)
  await echo.end()
})

test.each([
  ["throws", `parentPort.on("message", () => { throw new Error("broken") })`],
  ["exits", `parentPort.on("message", () => process.exit(3))`],
  ["cannot begin", `throw new Error("broken")`],
])("a thread that %s: what waits is refused, what comes later too, and the process lives", async (_, script) => {
  const broken = threadOf(script)
  for (const asked of [broken.ask("a"), broken.ask("b")]) await expect(asked).rejects.toMatchObject(unavailable)
  await expect(broken.ask("c")).rejects.toMatchObject(unavailable)
  await broken.end()
})
