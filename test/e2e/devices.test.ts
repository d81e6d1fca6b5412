/** Devices and officers by the command: processes, homes of their own, a directory over HTTP and a relay on a socket. */
import { mkdirSync, writeFileSync } from "node:fs"
import { connect, createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { durableFiles } from "../../directory/files.ts"
import { Nominations } from "../../directory/nominations.ts"
import { serveDirectory, type DirectoryServer } from "../../directory/server.ts"
import { Service } from "../../directory/service.ts"
import { nobodysLog } from "../support/directory-service.ts"
import { TestNetwork, type Name } from "../support/network.ts"
import { endEverything, failure, mainFile, parsed, Running, valise, type Ended } from "./support.ts"

let network: TestNetwork
let server: DirectoryServer

/** In front of the relay; it hangs up at the first caller, as a relay does that has just been started. */
class Proxy {
  refused = 0
  readonly #server = createServer((socket) => {
    socket.on("error", () => socket.destroy())
    if (this.refused === 0) {
      this.refused += 1
      socket.destroy()
      return
    }
    const onward = connect(Number(new URL(network.url).port), "127.0.0.1")
    onward.on("error", () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  })

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  close(): void {
    this.#server.close()
  }
}

const proxy = new Proxy()
const second = (): string => join(network.folder, "second")
const home = (name: Name): string => join(network.folder, name)

beforeAll(async () => {
  await proxy.listen()
  network = await TestNetwork.open({
    members: ["kenya", "singapore"],
    inFront: { hosts: [`127.0.0.1:${proxy.port}`] },
  })
  const { directory, machine } = network
  mkdirSync(join(network.folder, "service"))
  const nominations = await Nominations.open(durableFiles(join(network.folder, "service", "nominations")))
  const service = new Service({ directory, nominations, machine, log: nobodysLog })
  const deskSocket = join(network.folder, "service", "desk")
  server = await serveDirectory({ service, host: "127.0.0.1", port: 0, proxies: [], deskSocket, log: nobodysLog })
  for (const name of ["kenya", "singapore"] as const) {
    const file = {
      v: 1,
      poc: network.address(name),
      vault: "device-1.vault",
      keyFile: "device-1.key",
      officerKeyFile: "officer.key",
      pocKeyFile: "poc.key",
      directory: server.url,
      relay: network.url,
    }
    writeFileSync(join(home(name), "home.json"), JSON.stringify(file))
    await network.shut(await network.poc(name))
  }
})
afterAll(async () => {
  await endEverything()
  await server.close()
  await network.close()
  proxy.close()
})

async function ok(...args: string[]): Promise<Ended> {
  const ended = await valise(args)
  expect({ code: ended.code, err: ended.err }, args.join(" ")).toEqual({ code: 0, err: "" })
  return ended
}
const json = async (...args: string[]): Promise<Record<string, unknown>> => parsed(await ok("--json", ...args))

interface Member {
  readonly id: string
  readonly title: string
  readonly here: boolean
}

test("a second device is linked by code and words; it receives, sees and acknowledges; then it is lost", async () => {
  const asSecond = ["--home", second()]
  const link = ["device", "link", "--poc", "sg/technical", "--directory", server.url, "--relay", network.url]
  const linking = new Running(process.execPath, [mainFile, "--json", ...asSecond, ...link])
  await linking.saying("offered")
  const { code, words } = JSON.parse(linking.out.split("\n")[0]!) as { code: string; words: string }

  const atFirst = ["--home", home("singapore"), "device", "approve", code]
  expect(await json(...atFirst)).toMatchObject({ words, listed: false, officers: ["deputy duty officer"] })
  const wrong = await valise(["--json", ...atFirst, "--words", words.replace(/^\w+/, "anchor anchor")])
  expect(failure(wrong).code).toBe("ERR_UNTRUSTED")
  expect(await json(...atFirst, "--words", words.toUpperCase())).toMatchObject({ listed: true })
  expect((await linking.ended).code).toBe(0)
  expect(linking.out).toContain("linked")

  const { devices } = (await json(...asSecond, "device", "list")) as unknown as { devices: Member[] }
  expect(devices.map(({ here }) => here)).toEqual([false, true])
  // The relay refused its first login, because it had not read the log since: that is over, and no alarm.
  expect(linking.out).toContain('"onLine":true')
  expect(await json(...asSecond, "notices")).toMatchObject({ notices: [] })

  const watching = new Running(process.execPath, [mainFile, "--json", ...asSecond, "inbox", "watch", "--count", "1"])
  const send = ["--to", "sg/technical", "--subject", "to both", "--text", "Do you both see this?"]
  const viaProxy = ["--relay", `ws://127.0.0.1:${proxy.port}/`]
  expect(await json("--home", home("kenya"), ...viaProxy, "send", ...send)).toMatchObject({ accepted: true })
  expect(proxy.refused).toBe(1)
  expect((await watching.ended).out).toContain("to both")
  await ok(...asSecond, "acknowledge", "latest")
  const first = new Running(process.execPath, [mainFile, "--json", "--home", home("singapore"), "inbox", "watch"])
  await first.saying("to both")
  first.child.kill("SIGINT")
  await first.ended
  const { messages } = (await json("--home", home("singapore"), "inbox")) as unknown as {
    messages: { acknowledgedBy?: string }[]
  }
  expect(messages[0]!.acknowledgedBy).toBe("deputy duty officer")

  await ok("--home", home("singapore"), "device", "remove", devices[1]!.id.slice(0, 8))
  await network.relayFollows()
  const late = await json(...asSecond, "reply", "latest", "--text", "Still here?", "--wait", "3")
  expect(late).toMatchObject({ accepted: false, link: { state: "offline", reason: "ERR_LOGIN" } })
  const { notices } = (await json(...asSecond, "whoami")) as unknown as { notices: { kind: string }[] }
  expect(notices.map(({ kind }) => kind)).toContain("not-listed")
  const { out } = await ok(...asSecond, "inbox")
  expect(out).toMatch(/^! .*not-listed: the relay refuses this device/m)
  await ok(...asSecond, "notices", "seen")
  expect((await ok(...asSecond, "inbox")).out).not.toContain("not-listed")
}, 120_000)

test("the officer on duty changes, and the home goes on with the next one's key", async () => {
  const kenya = ["--home", home("kenya")]
  await ok(...kenya, "officer", "remove", "duty officer of kenya")
  const send = ["send", "--to", "sg/technical", "--subject", "s", "--text", "t"]
  expect(failure(await valise(["--json", ...kenya, ...send])).code).toBe("ERR_NO_RIGHT")
  await ok(...kenya, "officer", "add", "night duty")
  const { officers } = (await json(...kenya, "officer", "list")) as unknown as { officers: Member[] }
  expect(officers).toMatchObject([{ title: "night duty", here: true }])
  expect(await json(...kenya, ...send)).toMatchObject({ accepted: true, message: { releasedBy: "night duty" } })
}, 60_000)
