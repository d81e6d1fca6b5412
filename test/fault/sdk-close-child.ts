/** Opens a PoC, closes it, and has nothing more to do: if this process does not end by itself, something was left open. */
import { openPoc } from "../../client-sdk/index.ts"

const [vault, keyFile, relay, wait] = process.argv.slice(2) as [string, string, string, string]
const poc = await openPoc({ vault, keyFile, relay })
if (wait === "ready") await poc.until(() => (poc.ready ? true : undefined))
else await new Promise((resolve) => setTimeout(resolve, 300))
await poc.close()
process.stdout.write("closed\n")
