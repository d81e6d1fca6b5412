/** Group `relay`: what a whole relay carries, beside what other carriers do on the same machine at the same time. */
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Load, type Carrier } from "./carriers/carrier.ts"
import { openMosquitto } from "./carriers/mosquitto.ts"
import { openNats } from "./carriers/nats.ts"
import { openRabbit } from "./carriers/rabbitmq.ts"
import { openValise, type Valise } from "./carriers/valise.ts"
import { openEcho } from "./carriers/ws-echo.ts"
import { startOurs } from "./carriers/process.ts"
import { figure, percentile, type Figure } from "./figures.ts"
import type { Measured, Size } from "./main.ts"

export async function relayGroup(size: Size): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "valise-bench-"))
  const place = (name: string): string => {
    mkdirSync(join(folder, name))
    return join(folder, name)
  }
  const opened: Carrier[] = []
  const open = async <C extends Carrier>(opening: Promise<C>): Promise<C> => {
    const carrier = await opening
    opened.push(carrier)
    return carrier
  }
  try {
    const valise = await open(openValise(place("valise")))
    const load = new Load()
    const peers: readonly [string, Carrier][] = size.tiny
      ? []
      : [
          ["relay-vs-ws-echo", await open(openEcho(load))],
          ["relay-vs-nats", await open(openNats(place("nats"), load))],
          ["relay-vs-rabbitmq", await open(openRabbit(place("rabbitmq"), load))],
          ["relay-vs-mosquitto", await open(openMosquitto(place("mosquitto"), load))],
        ]
    const configuration = opened.map((carrier) => carrier.configuration)
    const figures = await rates(valise, peers, load, size)
    // The others stop first: they are not to share the disk with the latencies.
    for (const carrier of opened.splice(1)) await carrier.close()
    // A tiny run on a busy machine may have carried next to nothing, of which a tenth is no load.
    figures.push(await acceptLatency(valise, Math.max(100, figures[0]!.value / 10), place("fsync"), size))
    return { configuration, figures }
  } finally {
    for (const carrier of opened) await carrier.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** All in turn, as often as asked for, so that what the machine does meanwhile hits all alike. */
async function rates(
  valise: Valise,
  peers: readonly (readonly [string, Carrier])[],
  load: Load,
  { runs, seconds, note }: Size,
): Promise<Figure[]> {
  const ours: number[] = []
  const theirs = peers.map((): number[] => [])
  const measure = async (carrier: Carrier, with_: Load): Promise<number> => {
    const rate = await with_.rate(carrier, seconds)
    note(`${carrier.name}: ${Math.round(rate)} messages/s`)
    return rate
  }
  for (let run = 0; run < runs; run++) {
    ours.push(await measure(valise, valise.load))
    for (const [i, [, carrier]] of peers.entries()) theirs[i]!.push(await measure(carrier, load))
  }
  return [
    figure("relay-end-to-end", "messages/s", ours),
    ...peers.map(([id], i) => figure(id, "messages/s", ours, theirs[i])),
  ]
}

/** How long a sender waits for its receipt at this rate, beside what the disk alone takes at the same moment. */
async function acceptLatency(
  valise: Valise,
  perSecond: number,
  folder: string,
  { runs, seconds, note }: Size,
): Promise<Figure> {
  const ours: number[] = []
  const disk: number[] = []
  for (let run = 0; run < runs; run++) {
    const bare = await startOurs(join(import.meta.dirname, "carriers", "fsync-process.ts"), [folder])
    const waits = await valise.load.pace(valise, perSecond, 2 * seconds)
    const said = once(createInterface(bare.child.stdout!), "line")
    bare.child.stdin!.end()
    const syncs = JSON.parse(String((await said)[0])) as number[]
    ours.push(percentile(waits, 0.99))
    disk.push(percentile(syncs, 0.99))
    note(
      `accept p99 ${ours.at(-1)!.toFixed(2)} ms of ${waits.length}, fdatasync p99 ${disk.at(-1)!.toFixed(2)} ms of ${syncs.length}`,
    )
  }
  return figure("accept-p99-vs-fsync", "ms", ours, disk)
}
