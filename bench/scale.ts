/** Group `scale`: many idle connections, and a mailbox in which a million envelopes wait. */
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { nodeRandom } from "../system/node.ts"
import { openSegmentStore } from "../relay/store-segment.ts"
import { envelopeTo, TestClient } from "../test/support/relay.ts"
import type { TestDevice } from "../test/support/login.ts"
import { believe, selfSigned, type TlsIdentity } from "../test/support/tls.ts"
import { after } from "./carriers/carrier.ts"
import { benchDevices, benchMailbox } from "./carriers/devices.ts"
import { startOurs } from "./carriers/process.ts"
import { figure, median, type Figure } from "./figures.ts"
import type { Measured, Size } from "./main.ts"

const idleConnections = 10_000
/** Fewer: a handshake costs more than everything else here. */
const tlsConnections = 2000
const backlog = 1_000_000
const sentTogether = 64
/** As many as are on their way to a device at a time. */
const readTogether = 128

export async function scaleGroup(size: Size): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "valise-bench-"))
  try {
    const [idle, idleTls, full] = ["idle", "idle-tls", "backlog"].map((name) => {
      mkdirSync(join(folder, name))
      return join(folder, name)
    }) as [string, string, string]
    const counts = size.tiny ? [20, 20] : [idleConnections, tlsConnections]
    const identity = await selfSigned("127.0.0.1")
    believe(identity)
    return {
      configuration: [
        `idle: ${counts[0]} connections that have logged in, TLS ended elsewhere; ${counts[1]} with TLS ended by the relay; the growth of the relay's resident memory`,
        `backlog: ${size.tiny ? 2000 : backlog} envelopes of 5,298 bytes in one mailbox, written to the store directly; sending ${sentTogether} and waiting for their receipts, and logging in until ${readTogether} have arrived, beside the same with an empty mailbox (${readTogether} envelopes)`,
      ],
      figures: [
        await idleMemory("idle-kb-per-connection", idle, counts[0]!, size),
        await idleMemory("idle-kb-per-connection-tls", idleTls, counts[1]!, size, identity),
        ...(await backlogRatios(full, size)),
      ],
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function idleMemory(
  id: string,
  folder: string,
  count: number,
  { tiny, runs, note }: Size,
  tls?: TlsIdentity,
): Promise<Figure> {
  const devices = benchDevices(count)
  const perConnection: number[] = []
  for (let run = 0; run < runs; run++) {
    const { child, line: url } = await startRelay(folder, count, tls)
    // Whatever the first connections bring into memory is not theirs.
    const first = await Promise.all(devices.slice(0, count / 10).map((device) => TestClient.dial(url, device)))
    const before = residentKb(child.pid!)
    const rest: TestClient[] = []
    for (let at = count / 10; at < count; at += 50)
      rest.push(...(await Promise.all(devices.slice(at, at + 50).map((device) => TestClient.dial(url, device)))))
    await after(tiny ? 100 : 3000)
    perConnection.push((residentKb(child.pid!) - before) / rest.length)
    note(`${count} connections: ${perConnection.at(-1)!.toFixed(1)} KB each`)
    for (const client of [...first, ...rest]) client.socket.terminate()
    await stopRelay(child)
  }
  return figure(id, "KB", perConnection)
}

async function backlogRatios(folder: string, size: Size): Promise<Figure[]> {
  const { tiny, runs, note } = size
  const [sender, full, empty] = benchDevices(3) as [TestDevice, TestDevice, TestDevice]
  await fill(folder, full, tiny ? 2000 : backlog, note)
  const { child, line: url } = await startRelay(folder, 3)
  const client = await TestClient.dial(url, sender)
  const sent = { full: [] as number[], empty: [] as number[] }
  const read = { full: [] as number[], empty: [] as number[] }
  await send(client, empty, readTogether)
  for (let run = 0; run < runs; run++) {
    const times = { full: [] as number[], empty: [] as number[] }
    for (let round = 0; round < (tiny ? 2 : 50); round++) {
      times.full.push(await send(client, full, sentTogether))
      times.empty.push(await send(client, empty, sentTogether))
    }
    sent.full.push(median(times.full))
    sent.empty.push(median(times.empty))
    read.full.push(await readFirst(url, full))
    read.empty.push(await readFirst(url, empty))
    note(
      `send ${sent.full.at(-1)!.toFixed(2)} ms, empty ${sent.empty.at(-1)!.toFixed(2)} ms; read ${read.full.at(-1)!.toFixed(1)} ms, empty ${read.empty.at(-1)!.toFixed(1)} ms`,
    )
  }
  client.socket.terminate()
  await stopRelay(child)
  return [
    figure("backlog-send-ratio", "ms", sent.full, sent.empty),
    figure("backlog-read-ratio", "ms", read.full, read.empty),
  ]
}

async function fill(folder: string, device: TestDevice, count: number, note: Size["note"]): Promise<void> {
  const store = await openSegmentStore(folder, { quota: { envelopesMax: 1e9, bytesMax: 1e15 } })
  const bytes = envelopeTo(device)
  for (let at = 0; at < count; at += 2000) {
    const together = Array.from({ length: Math.min(2000, count - at) }, () =>
      store.append(benchMailbox(device), nodeRandom.bytes(32), 29_000_000, bytes),
    )
    await Promise.all(together)
  }
  await store.close()
  note(`${count} envelopes wait`)
}

/** Milliseconds until all have their receipts. */
async function send(client: TestClient, to: TestDevice, count: number): Promise<number> {
  const envelopes = Array.from({ length: count }, () => envelopeTo(to))
  const begin = performance.now()
  for (const bytes of envelopes) client.submit(to, bytes)
  for (let accepted = 0; accepted < count;) accepted += (await client.next("accepted")).items.length
  return performance.now() - begin
}

/** The median of some: milliseconds from dialling until so many envelopes have arrived. */
async function readFirst(url: string, device: TestDevice): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 9; i++) {
    const begin = performance.now()
    const client = await TestClient.dial(url, device)
    for (let arrived = 0; arrived < readTogether; arrived++) await client.next("envelope")
    times.push(performance.now() - begin)
    client.socket.terminate()
    await client.closed
  }
  return median(times)
}

function startRelay(folder: string, devices: number, tls?: TlsIdentity): ReturnType<typeof startOurs> {
  if (tls) writeFileSync(join(folder, "tls.json"), JSON.stringify({ cert: tls.cert, key: tls.key }), { mode: 0o600 })
  return startOurs(join(import.meta.dirname, "carriers", "relay-process.ts"), [folder, `${devices}`])
}

async function stopRelay(child: Awaited<ReturnType<typeof startRelay>>["child"]): Promise<void> {
  const ended = once(child, "exit")
  child.kill("SIGTERM")
  await ended
}

const residentKb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1])
