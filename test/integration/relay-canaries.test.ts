import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { base64, concat, hex, utf8 } from "../../protocol/bytes.ts"
import { encodeLoginFrame } from "../../protocol/frames.ts"
import { sha3 } from "../../protocol/primitives.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { nodeRandom } from "../../system/node.ts"
import { relayHost, relayKey, testDevice } from "../support/login.ts"
import { opcodes, RawSocket, upgradeRequest, wsFrame } from "../support/raw-socket.ts"
import { devices, envelopeTo, mailboxOfDevice, startRelay, stopRelays, testPrekeys } from "../support/relay.ts"

const folder = mkdtempSync(join(tmpdir(), "valise-canaries-"))
afterEach(async () => {
  await stopRelays()
  rmSync(folder, { recursive: true, force: true })
})

const { kenya, singapore } = devices
const stranger = testDevice("zz/technical/nobody")
const content = utf8("CANARY-content-that-the-relay-must-not-print")

/** What a value could look like if somebody printed it. */
const spellings = (value: Uint8Array | string): readonly string[] =>
  typeof value === "string"
    ? [value]
    : [hex(value), hex(value).toUpperCase(), base64(value).replace(/=+$/, ""), [...value.subarray(0, 8)].join(",")]

test("the log holds no key, name, address, mailbox, content or digest; the store nothing of who submitted", async () => {
  const store = await openSegmentStore(folder)
  const { relay, dial, directory, server, logged } = await startRelay({
    devices: [kenya, singapore],
    store,
    limits: { strangerSecondsMax: 0.5 },
  })
  const [from, to] = [await dial(kenya), await dial(singapore)]
  const blind = nodeRandom.bytes(32)
  const envelope = concat(envelopeTo(singapore).subarray(0, -content.length), content)
  from.submit(singapore, envelope, blind)
  await from.next("accepted")
  await to.next("envelope")
  const prekey = testPrekeys(singapore, "one-time", 1)
  to.send({ type: "publish-prekeys", incarnation: nodeRandom.bytes(16) as never, reset: true, oneTime: [prekey] })
  from.send({ type: "fetch-prekeys", device: singapore.id })
  await from.next("prekeys")

  // Every way to go wrong that the relay writes down.
  from.submit(stranger)
  await from.next("error")
  await dial(kenya)
  await expect(dial(stranger)).rejects.toThrow("ERR_LOGIN")
  const raw = [
    upgradeRequest(server.port, { Host: "canary.attacker.example" }),
    upgradeRequest(server.port, { Origin: "https://canary.attacker.example" }, "GET /canary-path HTTP/1.1"),
    `GET /canary-path HTTP/1.1\r\n${"canary: canary\r\n".repeat(200)}\r\n`,
  ]
  for (const request of raw) await new RawSocket(server.port).write(request).ended
  const hello = { type: "hello", kind: "device", nonce: blind, ephemeral: blind, host: "canary.example" } as const
  for (const bytes of [encodeLoginFrame(hello), content]) {
    const socket = await new RawSocket(server.port).write(upgradeRequest(server.port)).upgraded()
    await socket.endPolitely().write(wsFrame(opcodes.binary, bytes)).ended
  }
  directory.log.checkpoint = () => Promise.reject(new TypeError(`canary ${hex(singapore.id)}`))
  to.send({ type: "sync-log", from: 0 })
  expect(await to.closed).toEqual({ code: 4499, reason: "ERR_INTERNAL" })
  directory.remove(kenya)
  await relay.deviceLeft(kenya.id, mailboxOfDevice(kenya))

  const text = logged()
  const events = text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line).event)
  expect(new Set(events)).toEqual(
    new Set([
      "relay.listening",
      "connection.live",
      "connection.closed",
      "connection.refused",
      "relay.fault",
      "device.left",
    ]),
  )
  const secrets = [kenya, singapore, stranger].flatMap((device) => [
    device.poc,
    device.id,
    device.key.publicKey,
    mailboxOfDevice(device),
  ])
  const forbidden = [
    ...secrets,
    envelope,
    content,
    "CANARY",
    "canary",
    blind,
    sha3(envelope),
    prekey.bytes,
    relayKey.publicKey,
    "127.0.0.1",
    relayHost,
  ]
  for (const value of forbidden)
    for (const spelling of spellings(value)) expect(text.includes(spelling), spelling.slice(0, 40)).toBe(false)

  const kept = Buffer.concat([...inspectStore(folder).rawBytes()].map((chunk) => chunk.bytes))
  expect(kept.includes(Buffer.from(content))).toBe(true)
  const submitter = [kenya.poc, kenya.id, kenya.key.publicKey, mailboxOfDevice(kenya), singapore.poc]
  for (const value of [...submitter, blind, sha3(envelope)])
    expect(kept.includes(typeof value === "string" ? value : Buffer.from(value))).toBe(false)
})
