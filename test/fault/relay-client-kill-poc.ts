/**
 * A PoC on its own vault until it is killed: `send` writes messages as fast as the relay accepts them, `receive` signs for
 * some of what arrives, `settle` only goes on with what is under way. What it says is sure.
 */
import { join } from "node:path"
import { openPoc, type Poc } from "../../client-sdk/index.ts"
import { say, seededRandom } from "./store-load.ts"

/** Messages that have not been accepted yet, of this run. */
const underWayMax = 6

const [home, relay, role, run] = process.argv.slice(2)
const random = seededRandom(Number(run))
const file = (name: string): string => join(home!, name)

process.stdin.on("end", () => process.exit(1)).resume()
const poc = await openPoc({
  vault: file("device-1.vault"),
  keyFile: file("device-1.key"),
  officer: { keyFile: file("officer.key"), title: "duty officer (exercise)" },
  relay: relay!,
  connect: false,
})
const underWay = new Set<string>()
poc.on((event) => {
  if (event.kind === "accepted") {
    underWay.delete(event.message)
    say("accepted", event.message)
  }
  if (event.kind === "message" && event.type === "notification") {
    say("arrived", event.message)
    // Not inside the SDK's own call.
    if (role === "receive" && random() < 0.3) setImmediate(() => poc.message(event.message).acknowledge())
  }
})
poc.connect()
say("open")
if (role === "send") await send(poc)

async function send(from: Poc): Promise<never> {
  for (let n = 0; ; n++) {
    await from.until(() => (underWay.size < underWayMax ? true : undefined))
    const text = `${run}-${n} `.repeat(1 + Math.floor(random() * 400))
    const content = { summary: `${run}-${n}`, observed: text, requestedAction: "none" }
    const { id } = from.send({ to: ["sg/technical"], tlp: "AMBER", subject: `${run}-${n}`, content })
    underWay.add(id)
    say("composed", id)
  }
}
