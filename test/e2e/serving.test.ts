/**
 * `valise directory serve` and `valise relay serve` as their operators meet them: what stops them at the start, papers that
 * are renewed while they run, and a PoC that enrols meanwhile.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { createServer as createTcpServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { WebSocket } from "ws"
import type { PocAddress } from "../../protocol/address.ts"
import { equal, hex, utf8 } from "../../protocol/bytes.ts"
import { ClientConnection } from "../../protocol/connection.ts"
import { subprotocol } from "../../protocol/frames.ts"
import { nominateRelay } from "../../cli/relay-serving.ts"
import { logDestination } from "../../cli/serving.ts"
import { invitationCode } from "../../cli/enrolling.ts"
import { bodyStructures, entryStructure } from "../../pki/entries.ts"
import { nodeRandom } from "../../system/node.ts"
import { day, deviceEntry, deviceKeyOf } from "../support/directory.ts"
import { ServedDirectory } from "../support/directory-service.ts"
import { live as realm } from "../support/sealing.ts"
import { endEverything, failure, mainFile, parsed, Running, testFolder, valise, type Ended } from "./support.ts"

const folder = testFolder()
const at = (...parts: string[]): string => join(folder, ...parts)
const host = "relay.example"

let served: ServedDirectory
/** One that was founded more than thirteen months ago, and so was its relay. */
let aged: ServedDirectory
let relay: Running
let url = ""

beforeAll(async () => {
  served = await ServedDirectory.start()
  const port = await freePort()
  // The first address has nobody listening: clients go on to the next.
  await listed(served, "relay", [`ws://127.0.0.1:${await freePort()}/`, `ws://127.0.0.1:${port}/`])
  url = `ws://127.0.0.1:${port}/`
  relay = new Running(process.execPath, [mainFile, ...serveArgs("relay", served.url, port)], { maxMs: 120_000 })
  await relay.saying('"listening"')
  aged = await ServedDirectory.start(-400 * day)
  await listed(aged, "expired", [])
  aged.aheadSeconds = 0
  await aged.close()
  await aged.open()
}, 60_000)
afterAll(async () => {
  await endEverything()
  await served.end()
  await aged.end()
})

/** Makes a relay's folder and lists its key, with the certificate that the directory then issues. */
async function listed(directory: ServedDirectory, name: string, urls: readonly string[]): Promise<void> {
  const trust = at(`${name}.trust`)
  writeFileSync(trust, directory.directory.trustFile())
  const output = at(`${name}.nomination`)
  nominateRelay({ folder: at(name), host, urls, organisation: "Office of Tests", trust, output })
  const { id } = (await directory.desk.nominateRelay(new Uint8Array(readFileSync(output)))) as { id: string }
  await directory.approve(id, "first")
  await directory.approve(id, "second")
}

const serveArgs = (name: string, directory: string, port = 0): string[] => {
  const where = ["--directory", directory, "--port", String(port)]
  return ["--json", "--data", at(name), "relay", "serve", ...where, "--log", at(`${name}.log`)]
}

/** Free a moment ago. */
async function freePort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

describe("what stops a program at its start is named, with what to do, and ends it with a code", () => {
  const relayRefused = (name: string, directory = served.url, port = 0) => valise(serveArgs(name, directory, port))
  const directoryRefused = (data: string, ...more: string[]) =>
    valise(["--json", "--data", data, "directory", "serve", ...more])

  /** A directory whose clock is an hour ahead. */
  async function withClockAhead<T>(use: (address: string) => Promise<T>): Promise<T> {
    const server = createServer((_, response) => {
      response.setHeader("date", new Date(Date.now() + 3_600_000).toUTCString())
      response.end("a checkpoint")
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    try {
      return await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    } finally {
      server.close()
    }
  }

  const relayPort = () => Number(new URL(url).port)
  const copyOf = (name: string): string => {
    cpSync(at("relay"), at(name), { recursive: true, filter: (path) => !/\/(lock|log|.*-lock)$/.test(path) })
    return name
  }
  const otherDirectory = (): string => {
    cpSync(join(served.folder, "directory"), at("copy"), {
      recursive: true,
      filter: (path) => !/\/(lock|desk)$/.test(path),
    })
    return at("copy")
  }

  test.concurrent.each<[string, number, string, RegExp, () => Promise<Ended>]>([
    ["a relay: clock off", 2, "ERR_USAGE", /NTP/, () => withClockAhead((address) => relayRefused("relay", address))],
    ["a relay: certificate expired", 4, "ERR_UNTRUSTED", /relay init/, () => relayRefused("expired", aged.url)],
    ["a relay: folder in use", 3, "ERR_STORE_UNAVAILABLE", /one relay per store/, () => relayRefused("relay")],
    ["a relay: port in use", 2, "ERR_USAGE", /EADDRINUSE/, () => relayRefused(copyOf("same"), served.url, relayPort())],
    [
      "a relay: not listed with this key",
      1,
      "ERR_NOT_FOUND",
      /relay init/,
      () => {
        const output = at("stranger.nomination")
        const about = { host, urls: [], organisation: "Office of Tests", trust: at("relay.trust"), output }
        nominateRelay({ folder: at("stranger"), ...about })
        return relayRefused("stranger")
      },
    ],
    ["a relay: directory away", 3, "ERR_OFFLINE", /address/, () => relayRefused(copyOf("away"), "http://127.0.0.1:1/")],
    [
      "a directory: folder in use",
      2,
      "ERR_USAGE",
      /only one process/,
      () => directoryRefused(join(served.folder, "directory"), "--port", "0"),
    ],
    [
      "a directory: port in use",
      2,
      "ERR_USAGE",
      /EADDRINUSE/,
      () => directoryRefused(otherDirectory(), "--port", new URL(served.url).port),
    ],
    [
      "a directory: TLS files that are none",
      2,
      "ERR_USAGE",
      /PEM/,
      () => directoryRefused(at("copy"), "--tls-cert", at("relay.trust"), "--tls-key", at("relay.trust")),
    ],
  ])("%s: exit %i, %s", async (_, exit, code, hint, run) => {
    const ended = await run()
    expect({ exit: ended.code, out: ended.out }).toEqual({ exit, out: "" })
    expect(failure(ended)).toMatchObject({ v: 1, code, hint: expect.stringMatching(hint) as string })
    expect(ended.err).not.toMatch(/\n\s+at |node:internal/)
  })
})

test("a log that can no longer be written to ends nothing; one that never could is named", () => {
  mkdirSync(at("logs"))
  const log = logDestination(at("logs", "relay.log"))
  rmSync(at("logs"), { recursive: true })
  const instead = vi.spyOn(process.stderr, "write").mockReturnValue(true)
  log.write("one line\n")
  expect(instead).toHaveBeenCalledWith("one line\n")
  instead.mockRestore()
  expect(() => logDestination(at("logs", "relay.log"))).toThrow(expect.objectContaining({ code: "ERR_USAGE" }))
})

test("a PoC enrols under a passphrase, and reaches the relay at its second address", async () => {
  const poc = "ke/technical/baobab" as PocAddress
  const code = invitationCode(await served.invited(poc), utf8(served.directory.trustFile()))
  const home = ["--json", "--no-input", "--home", at("ke")]
  const secret = ["--passphrase-file", at("passphrase")]
  writeFileSync(at("passphrase"), "four words of dice\n")
  const enrol = [mainFile, ...home, ...secret, "enrol", "--directory", served.url, "--code", code]
  const enrolling = new Running(process.execPath, enrol)
  await enrolling.saying("handed-in")
  const { id } = (await served.client.proposals()).find(({ about }) => about === poc)!
  await served.approve(id, "first")
  await served.approve(id, "second")
  await shown()
  const ended = await enrolling.ended
  expect({ code: ended.code, err: ended.err }).toEqual({ code: 0, err: "" })
  expect(existsSync(at("ke", "device.key"))).toBe(false)

  const [shut, open, kept] = await Promise.all([
    valise([...home, "whoami"]),
    valise([...home, ...secret, "whoami"]),
    valise(["--json", "relay", "inspect", "--store", at("relay")]),
  ])
  expect(failure(shut).code).toBe("ERR_PASSPHRASE")
  expect(parsed(open)).toMatchObject({ poc, notices: [] })
  const { prekeys } = parsed(kept) as unknown as { prekeys: { device: string; oneTime: number }[] }
  expect(prekeys).toMatchObject([{ device: parsed(open)["device"], oneTime: 64 }])
}, 60_000)

test("the issuing CA and the relay's certificate are renewed, and the relay shows the new one without a restart", async () => {
  const data = join(served.folder, "directory")
  const renewCa = () => valise(["--json", "--data", data, "directory", "renew-ca"])
  renameSync(join(data, "root"), at("root-offline"))
  expect(failure(await renewCa())).toMatchObject({
    code: "ERR_NOT_FOUND",
    hint: expect.stringContaining("root") as string,
  })
  renameSync(at("root-offline"), join(data, "root"))
  expect(parsed(await renewCa())).toMatchObject({ outcome: "logged" })
  const leaves = await served.directory.logSource().entries(0, served.directory.state.size)
  const cas = leaves.map((leaf) => entryStructure.decode(leaf)).filter(({ kind }) => kind === "ca")
  expect(new Set(cas.map(({ body }) => hex(bodyStructures.ca.decode(body).certificate))).size).toBe(2)

  const before = await shown()
  expect(before).toEqual(served.directory.state.relay(host)!.certificate)
  await listed(served, "relay", [url])
  const { certificate } = served.directory.state.relay(host)!
  expect(certificate).not.toEqual(before)
  // A device that nobody knows makes the relay look at the log, but not every time.
  let now = before
  for (const deadline = performance.now() + 30_000; !equal(now, certificate) && performance.now() < deadline;) {
    await setTimeout(100)
    now = await shown()
  }
  expect(now).toEqual(certificate)
}, 60_000)

/** The certificate that the relay shows to a device which no directory lists; it then refuses its login. */
function shown(): Promise<Uint8Array> {
  const poc = "sg/technical/nobody" as PocAddress
  let seen: Uint8Array | undefined
  const client = new ClientConnection({
    realm,
    device: deviceEntry(realm, poc).device,
    key: deviceKeyOf(poc),
    host,
    judgeRelay: (certificate) => {
      seen = certificate
      return served.directory.state.relay(host)!.key
    },
    random: (length) => nodeRandom.bytes(length),
  })
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, subprotocol)
    socket.once("open", () => socket.send(client.hello()))
    socket.on("message", (bytes: Buffer) => {
      const event = client.receive(new Uint8Array(bytes))
      if (event.type === "proof") socket.send(event.bytes)
    })
    socket.on("error", reject)
    socket.once("close", () => (seen ? resolve(seen) : reject(new Error("the relay showed no certificate"))))
  })
}
