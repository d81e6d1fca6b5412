/**
 * P7, with the relay, the strangers and the bystanders in processes of their own: while 960 strangers do what they can,
 * two devices go on exchanging messages, and what the strangers cost stays within its bound. How much slower the messages
 * are is for a measurement (docs/track-record.md); here none may wait longer than a stranger may stay.
 */
import { fork, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { expect, onTestFinished, test } from "vitest"
import { chosen } from "../../protocol/limits.ts"
import { devices, TestClient } from "../support/relay.ts"
import type { RelayUse } from "./strangers-relay.ts"

/** As many as the relay lets in, of 24 addresses: none is turned away at the door. */
const strangers = 960
/** The bound of P7. */
const bytesPerStranger = 128 * 1024
/** What V8 takes for short-lived objects and gives back late, however few strangers there are at a time. */
const churnBytes = 64 * 2 ** 20
const roundTripsMin = 100
const roundTripsPerLook = 10
/** So often each is sent away and comes again, on the average of its kind. */
const timesEachMin = 2

test.skipIf(process.platform !== "linux")(
  "960 strangers of every kind: bystanders get on, memory stays bounded, and all of them pass",
  { timeout: 120_000 },
  async () => {
    const relay = start("strangers-relay.ts")
    const { url, port } = await next<{ url: string; port: number }>(relay)
    const [from, to] = [await TestClient.dial(url, devices.kenya), await TestClient.dial(url, devices.singapore)]
    const quiet: number[] = []
    for (let i = 0; i < roundTripsMin; i++) quiet.push(await roundTrip(from, to))
    const before = await ask<RelayUse>(relay)
    expect(before.sockets).toBe(2)

    const attack = start("strangers-attack.ts", String(port), String(strangers))
    const waits: number[] = []
    const uses: RelayUse[] = []
    for (let isSeen = false; !isSeen || waits.length < roundTripsMin;) {
      for (let i = 0; i < roundTripsPerLook; i++) waits.push(await roundTrip(from, to))
      uses.push(await ask<RelayUse>(relay))
      isSeen = (await ask<number[]>(attack)).every((times) => times >= timesEachMin)
    }
    attack.kill("SIGKILL")

    expect(Math.max(...waits)).toBeLessThan(chosen.strangerSecondsMax * 1000)
    for (const { liveBytes, sockets } of uses)
      expect(liveBytes - before.liveBytes).toBeLessThan(Math.max(sockets, 100) * bytesPerStranger)
    const growth = uses.at(-1)!.peakBytes - before.peakBytes
    expect(growth).toBeLessThan(strangers * bytesPerStranger + churnBytes)

    while ((await ask<RelayUse>(relay)).sockets > 2) await roundTrip(from, to)
    const late = await TestClient.dial(url, devices.kenya)
    await roundTrip(late, to)
    if (process.env.VALISE_FIGURES) {
      const live = Math.max(...uses.map((use) => (use.liveBytes - before.liveBytes) / use.sockets / 1024))
      console.log({
        quiet: figures(quiet),
        attacked: figures(waits),
        kibEach: live,
        peakMiB: growth / 2 ** 20,
      })
    }
  },
)

/** Submitted, signed for, delivered, collected. In milliseconds. */
async function roundTrip(from: TestClient, to: TestClient): Promise<number> {
  const start = performance.now()
  from.submit(to.device)
  const [, { sequence }] = await Promise.all([from.next("accepted"), to.next("envelope")])
  to.send({ type: "collected", sequences: [sequence] })
  return performance.now() - start
}

const figures = (ms: readonly number[]) => {
  const sorted = ms.toSorted((a, b) => a - b)
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))]! * 10) / 10
  return { roundTrips: ms.length, medianMs: at(0.5), p99Ms: at(0.99), maxMs: at(1) }
}

function start(script: string, ...args: readonly string[]): ChildProcess {
  const child = fork(join(import.meta.dirname, script), args, { execArgv: ["--expose-gc"] })
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, "exit")
    child.disconnect()
    await gone
  })
  return child
}

function next<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    const fail = (code: number | null) => reject(new Error(`a child ended with ${code}`))
    child.once("exit", fail)
    child.once("message", (message) => {
      child.off("exit", fail)
      resolve(message as T)
    })
  })
}

function ask<T>(child: ChildProcess): Promise<T> {
  const answer = next<T>(child)
  child.send("?")
  return answer
}
