/** The relay and the directory of this sandbox folder, on this port (0: any), until they are killed. */
import { join } from "node:path"
import { startRelay } from "../../cli/sandbox/network.ts"
import { Directory } from "../../directory/directory.ts"
import { nodeMachine } from "../../system/node.ts"
import { say } from "./store-load.ts"

const [folder, port] = process.argv.slice(2)
// Nothing of a run is left behind when its parent dies.
process.stdin.on("end", () => process.exit(1)).resume()
const directory = await Directory.open(join(folder!, "directory"), nodeMachine)
say("listening", await startRelay(folder!, directory, Number(port), new AsyncDisposableStack()))
