import { expect, test } from "vitest"
import { StoreThread } from "../../relay/store-sqlite-thread.ts"

const thread = (script: string) =>
  new StoreThread<string, string>(new URL(`data:text/javascript,${encodeURIComponent(`${header}${script}`)}`))
const header = `import { parentPort } from "node:worker_threads";`
const unavailable = { code: "ERR_STORE_UNAVAILABLE", retryable: true }

test("a thread answers in the order of the questions", async () => {
  const echo = thread(
    `parentPort.on("message", (m) => m === "end" ? parentPort.close() : parentPort.postMessage(m + m))`,
  )
  expect(await Promise.all(["a", "b", "c"].map((m) => echo.ask(m)))).toEqual(["aa", "bb", "cc"])
  await echo.end("end")
  await expect(echo.ask("d")).rejects.toMatchObject(unavailable)
  await echo.end("end")
})

test.each([
  ["throws", `parentPort.on("message", () => { throw new Error("broken") })`],
  ["exits", `parentPort.on("message", () => process.exit(3))`],
  [
    "runs out of memory",
    `parentPort.on("message", () => { const all = []; for (;;) all.push(new Array(1e6).fill({})) })`,
  ],
  ["cannot begin", `throw new Error("broken")`],
])(
  "a thread that %s: whatever waits is refused, whatever comes later too, and the process lives",
  async (_, script) => {
    const broken = new StoreThread<string, string>(
      new URL(`data:text/javascript,${encodeURIComponent(`${header}${script}`)}`),
    )
    const asked = [broken.ask("a"), broken.ask("b")]
    for (const each of asked) await expect(each).rejects.toMatchObject(unavailable)
    await expect(broken.ask("c")).rejects.toMatchObject(unavailable)
    await broken.end("end")
  },
  60_000,
)
