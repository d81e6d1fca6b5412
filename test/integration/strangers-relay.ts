/** A relay in a process of its own, that says what it uses when it is asked. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { devices, startRelay, stopRelays } from "../support/relay.ts"

export interface RelayUse {
  /** Heap and buffers, after a collection of garbage: what is really held. */
  readonly liveBytes: number
  /** The most that the process has ever had of the machine's memory. */
  readonly peakBytes: number
  readonly sockets: number
}

const folder = mkdtempSync(join(tmpdir(), "valise-strangers-"))
const { server } = await startRelay({
  devices: [devices.kenya, devices.singapore],
  store: await openSegmentStore(folder),
  limits: { strangerSecondsMax: 1 },
})
process.on("message", () => {
  globalThis.gc!()
  const { heapUsed, external } = process.memoryUsage()
  const sockets = process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length
  const peakBytes = process.resourceUsage().maxRSS * 1024
  process.send!({ liveBytes: heapUsed + external, peakBytes, sockets } satisfies RelayUse)
})
process.once("disconnect", () => {
  void stopRelays().then(() => {
    rmSync(folder, { recursive: true, force: true })
    process.exit()
  })
})
process.send!({ url: server.url, port: server.port })
