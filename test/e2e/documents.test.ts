/**
 * The commands of docs/operators.md and docs/poc.md, run in order with real processes, every machine in a network
 * namespace of its own with TLS across them; without namespaces on the loopback interface.
 */
import { spawnSync } from "node:child_process"
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { selfSigned } from "../support/tls.ts"
import { blocksOf, Shell, type Block } from "./documents.ts"
import { mainFile, testFolder } from "./support.ts"

const inCi = process.env["CI"] === "true"
const machines = ["directory", "officer-1", "officer-2", "relay", "poc"] as const
const folder = testFolder()
const operators = blocksOf("operators.md")
const poc = blocksOf("poc.md")

interface Place {
  readonly folder: string
  readonly before: (machine: string) => readonly string[]
  readonly address: (machine: "directory" | "relay") => string
  readonly ports: readonly [number, number]
}

/** Everything that both documents say, in the order in which people would do it. */
async function follow({ address, before, folder, ports }: Place): Promise<void> {
  const [own, other] = [await selfSigned(address("directory")), await selfSigned(address("relay"))]
  const bin = join(folder, "bin")
  mkdirSync(bin)
  writeFileSync(join(bin, "valise"), `#!/bin/sh\nexec ${process.execPath} ${mainFile} "$@"\n`)
  chmodSync(join(bin, "valise"), 0o755)
  writeFileSync(join(folder, "ca.pem"), own.cert + other.cert)
  for (const [name, { cert, key }] of Object.entries({ directory: own, relay: other })) {
    writeFileSync(join(folder, `${name}.crt`), cert)
    writeFileSync(join(folder, `${name}.pem`), key, { mode: 0o600 })
  }
  const shells = new Map<string, Shell>()
  for (const machine of machines) {
    const tls = machine === "directory" ? "directory" : "relay"
    const env = {
      PATH: `${bin}:${process.env["PATH"]}`,
      NODE_EXTRA_CA_CERTS: join(folder, "ca.pem"),
      ORIGIN: "directory.example",
      DIRECTORY_URL: `https://${address("directory")}:${ports[0]}/`,
      DIRECTORY_ADDRESS: address("directory"),
      DIRECTORY_PORT: String(ports[0]),
      RELAY_HOST: `${address("relay")}:${ports[1]}`,
      RELAY_ADDRESS: address("relay"),
      RELAY_PORT: String(ports[1]),
      TLS_CERT: join(folder, `${tls}.crt`),
      TLS_KEY: join(folder, `${tls}.pem`),
    }
    shells.set(machine, new Shell(before(machine), folder, env))
  }
  const shell = (machine: string): Shell => shells.get(machine)!
  const ready = /listens at|words: .+/
  const follow = async (blocks: readonly Block[]): Promise<string> => {
    let said = ""
    for (const { commands, isService, machine } of blocks)
      said += isService ? await shell(machine).start(commands, ready) : await shell(machine).run(commands)
    return said
  }
  /** What one person reads to another over the telephone, or carries on paper. */
  const tell = async (name: string, value: string, ...to: readonly string[]): Promise<void> => {
    for (const machine of to) await shell(machine).run(`${name}="${value}"`)
  }
  const under = (blocks: readonly Block[], ...headings: string[]) => blocks.filter((x) => headings.includes(x.under))

  try {
    await follow(under(operators, "Found the directory", "Run it"))
    const relayBlocks = under(operators, "Add a relay")
    const nominated = await follow(relayBlocks.slice(0, 2))
    await tell("ID", /proposal ([0-9a-f]{32})/.exec(nominated)![1]!, "officer-1", "officer-2")
    await tell("WORDS", wordsIn(nominated), "officer-1", "officer-2")
    const approved = await follow(relayBlocks.slice(2))
    expect(approved).toContain("1 of 2 so far")
    expect(approved).toContain("approved and logged")

    await follow(under(operators, "Invite an agency"))
    await tell("CODE", (await shell("directory").run('echo "$CODE"')).trim(), "poc")
    const enrolling = await follow(under(poc, "Enrol"))
    const waiting = await shell("officer-1").run("valise --home officer-1 --json directory approve")
    const { proposals } = JSON.parse(waiting) as { proposals: { id: string }[] }
    await tell("ID", proposals[0]!.id, "officer-1", "officer-2")
    await tell("WORDS", wordsIn(enrolling), "officer-1", "officer-2")
    await follow(under(operators, "Approve it"))
    await shell("poc").saying(/this home is in the directory/)

    const spoken = await follow(under(poc, "First message"))
    expect(spoken).toContain("First message")
    await follow(under(operators, "Look after it"))
    expect(await follow(under(poc, "Papers that end"))).toContain("renewed: certificate, manifest")
    expect(readFileSync(join(folder, "relay.log"), "utf8")).not.toMatch(/baobab|First message|192\.0\.2|127\.0\.0/)
  } finally {
    await Shell.endAll()
  }
}

const wordsIn = (said: string): string => /words: ([a-z ]+)/.exec(said)![1]!.trim()

test("every block of the documents is run by this test", () => {
  const known = [
    ["Found the directory", "Run it", "Add a relay", "Invite an agency", "Approve it", "Look after it"],
    ["Enrol", "First message", "Papers that end"],
  ]
  expect([operators, poc].map((blocks) => [...new Set(blocks.map((block) => block.under))])).toEqual(known)
})

/** Free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const prefix = `valise-${process.pid}`
const ip = (...args: string[]): boolean => spawnSync("ip", args, { stdio: "ignore" }).status === 0
const addressIn = (machine: string): string => `192.0.2.${1 + machines.findIndex((x) => x === machine)}`

/** Every machine in a namespace of its own, all of them on one bridge, which is in another. */
function makeNamespaces(): boolean {
  const hub = `${prefix}-hub`
  if (process.getuid?.() !== 0 || !ip("netns", "add", hub)) return false
  const made = [ip("-n", hub, "link", "add", "bridge", "type", "bridge"), ip("-n", hub, "link", "set", "bridge", "up")]
  for (const [i, machine] of machines.entries()) {
    const name = `${prefix}-${machine}`
    made.push(
      ip("netns", "add", name),
      ip("-n", hub, "link", "add", `to${i}`, "type", "veth", "peer", "name", "eth0", "netns", name),
      ip("-n", hub, "link", "set", `to${i}`, "master", "bridge", "up"),
      ip("-n", name, "address", "add", `${addressIn(machine)}/24`, "dev", "eth0"),
      ip("-n", name, "link", "set", "eth0", "up"),
      ip("-n", name, "link", "set", "lo", "up"),
    )
  }
  return made.every(Boolean)
}

let hasNamespaces = false
beforeAll(() => {
  hasNamespaces = makeNamespaces()
})
afterAll(async () => {
  await Shell.endAll()
  for (const machine of [...machines, "hub"]) ip("netns", "delete", `${prefix}-${machine}`)
})

test("every command of the documents, between machines, with TLS", async () => {
  if (!hasNamespaces && inCi) throw new Error("there are no network namespaces here, and CI needs them")
  if (!hasNamespaces) {
    console.warn("NOT TESTED across network namespaces: that needs root, and `ip netns` of iproute2")
    const ports = [await freePort(), await freePort()] as const
    return follow({ folder, before: () => [], address: () => "127.0.0.1", ports })
  }
  const before = (machine: string) => ["ip", "netns", "exec", `${prefix}-${machine}`]
  await follow({ folder, before, address: addressIn, ports: [8470, 8443] })
}, 180_000)
