/** A relay as it runs in earnest, but for its directory, which is a table, and its budgets, which are out of the way. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { mailboxOf } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { chosen } from "../../protocol/limits.ts"
import { parseRelayConfig } from "../../relay/config.ts"
import type { DirectoryView, ServedDevice } from "../../relay/directory-view.ts"
import { relayLog } from "../../relay/log.ts"
import { Relay } from "../../relay/relay.ts"
import { serveRelay } from "../../relay/server.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { nodeClock as clock, nodeRandom as random } from "../../system/node.ts"
import { realm, relayCertificate, relayHost, relayKey } from "../../test/support/login.ts"
import { benchDevices } from "./devices.ts"

const [folder, count] = process.argv.slice(2)
const quota = { envelopesMax: 10_000_000, bytesMax: 2 ** 40 }
const store = await openSegmentStore(folder!, { quota })
const served: ServedDevice[] = benchDevices(Number(count)).map(({ id, key, poc }) => ({
  device: id,
  key: key.publicKey,
  mailbox: mailboxOf(id, relayHost),
  poc,
}))
const byDevice = new Map(served.map((row) => [hex(row.device), row]))
const byMailbox = new Map(served.map((row) => [hex(row.mailbox), row]))
const directory: DirectoryView = {
  device: (id) => byDevice.get(hex(id)),
  deviceOfMailbox: (mailbox) => byMailbox.get(hex(mailbox)),
  lookSoon: () => undefined,
  size: 0,
  log: { checkpoint: async () => new Uint8Array(0), entries: async () => [] },
}
const limits = {
  ...chosen,
  submissionsPerMinute: 1e9,
  requestsPerMinute: 1e9,
  loginsPerAddressPerMinute: 1e9,
  strangersMax: 1e6,
  strangersPerAddressMax: 1e6,
}
const log = relayLog(process.stderr)
const quiet = { ...log, info: () => undefined }
const relay = new Relay({
  realm,
  host: relayHost,
  key: relayKey,
  certificate: () => relayCertificate,
  store,
  directory,
  clock,
  random,
  log: quiet,
  limits,
})
const tlsFile = join(folder!, "tls.json")
const tls = existsSync(tlsFile)
  ? (JSON.parse(readFileSync(tlsFile, "utf8")) as { readonly cert: string; readonly key: string })
  : undefined
const server = await serveRelay({ relay, config: parseRelayConfig({}), clock, log: quiet, limits, ...(tls && { tls }) })
process.stdout.write(`${server.url}\n`)
process.once("SIGTERM", () => void stop())

async function stop(): Promise<void> {
  await server.close()
  const waiting = (await store.inspect()).envelopes.length
  await store.close()
  // What was collected must be gone; a message of its own would be a wrong figure.
  process.exit(waiting === 0 ? 0 : 1)
}
