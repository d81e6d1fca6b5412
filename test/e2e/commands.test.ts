/** Every verb of the command, beside a sandbox that runs and after one that does not; its errors, exit codes and habits. */
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createDevice, trustDirectory } from "../../client-sdk/enrol.ts"
import { passphraseSecret } from "../../client-sdk/vault/argon2-node.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import type { PocAddress } from "../../protocol/address.ts"
import { nodeMachine } from "../../system/node.ts"
import {
  endEverything,
  failure,
  mainFile,
  parsed,
  root,
  run,
  Running,
  sandboxUp,
  testFolder,
  valise,
  type Ended,
} from "./support.ts"

const inCi = process.env["CI"] === "true"
const isRoot = process.platform === "linux" && process.getuid?.() === 0

/** Commands run here, as in the project's folder: `.valise` is the sandbox's, `cli` is the project's. */
const folder = testFolder()
symlinkSync(join(root, "cli"), join(folder, "cli"))
const here = { cwd: folder }
const at = (...parts: string[]): string => join(folder, ...parts)
const home = (poc: string): string => at(".valise", "pocs", poc)

const ok = async (...args: string[]): Promise<Ended> => {
  const ended = await valise(args, here)
  expect({ code: ended.code, err: ended.err }, args.join(" ")).toEqual({ code: 0, err: "" })
  return ended
}
const json = async (...args: string[]): Promise<Record<string, unknown>> => parsed(await ok("--json", ...args))
const refused = async (
  args: string[],
  options: { env?: Record<string, string> } = {},
): Promise<{ exit: number | null; code: string; hint?: string }> => {
  const ended = await valise(["--json", ...args], { ...here, ...options })
  expect(ended.out, args.join(" ")).toBe("")
  const { v, code, message, ...rest } = failure(ended)
  expect({ v, message }).toEqual({ v: 1, message: expect.stringMatching(/\S/) as string })
  return { exit: ended.code, code, ...rest }
}

interface View {
  readonly id: string
  readonly type: string
  readonly subject?: string
  readonly direction: string
  readonly status?: { readonly state: string; readonly response?: { readonly disposition: string } }[]
  readonly parts: { readonly name: string }[]
  readonly response?: { readonly note?: string }
}
const messages = async (as: string, verb: string): Promise<View[]> =>
  (await json("--as", as, verb))["messages"] as View[]

/** Looks every now and then until it is there. */
async function eventually<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (const deadline = performance.now() + 60_000; ;) {
    const found = await look()
    if (found !== undefined) return found
    if (performance.now() > deadline) throw new Error("it never came true")
  }
}

beforeAll(async () => {
  await ok("--data", ".valise", "sandbox", "--once")
}, 180_000)
afterAll(endEverything)

describe("while nothing runs", () => {
  test.each([
    ["--as", "ke/technical", "whoami"],
    ["--as", "ke/technical", "contacts"],
    ["--as", "ke/technical", "sent"],
    ["--as", "ke/technical", "show", "latest"],
    ["--as", "sg/technical", "inbox"],
    ["--as", "sg/technical", "inbox", "list"],
    ["--as", "sg/technical", "inbox", "read", "latest"],
    ["--as", "sg/technical", "inbox", "watch", "--count", "1"],
    ["--as", "br/technical", "consent"],
    ["--as", "br/technical", "consent", "list"],
    ["--as", "fr/technical", "inbox", "read", "latest"],
    ["relay", "inspect"],
    ["--as", "ke/technical", "evidence", "export", "latest", "-o", "case.valise"],
    ["verify", "case.valise", "--trust", ".valise/trust.txt"],
  ])("%s %s %s %s: in words, and as one JSON object", async (...args) => {
    const words = await ok(...args)
    expect(words.out.trim()).not.toBe("")
    expect(words.out).not.toContain("\u001b")
    expect(await json(...args)).toMatchObject({ v: 1 })
  })

  test("what is written waits, and says so; it goes out when the sandbox is back", async () => {
    const sent = await json(
      "--as",
      "ke/technical",
      "send",
      "--to",
      "sg/technical",
      "--subject",
      "written offline",
      "--text",
      "one",
      "--wait",
      "1",
    )
    expect(sent).toMatchObject({
      accepted: false,
      link: { state: "offline", reason: "ERR_OFFLINE" },
      message: { subject: "written offline", status: [{ state: "waiting" }] },
    })
    const [first] = await messages("ke/technical", "sent")
    const words = await ok("--as", "ke/technical", "reply", first!.id, "--text", "two", "--wait", "1")
    expect(words.out).toContain("durable in the outbox")
    expect(words.out).toContain("The relay cannot be reached (ERR_OFFLINE)")
  })

  test("a part's exact bytes go to stdout or a file", async () => {
    const [notification] = await messages("sg/technical", "inbox")
    const file = at("indicators.json")
    await ok("--as", "sg/technical", "inbox", "read", notification!.id, "--share", "indicators", "-o", file)
    const sample = readFileSync(at("cli", "sandbox", "sample.json"))
    expect(readFileSync(file).equals(sample)).toBe(true)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(
      (await ok("--as", "sg/technical", "inbox", "read", notification!.id.slice(0, 6), "--share", "indicators")).out,
    ).toBe(sample.toString())
  })

  test("a home of one's own by --home or VALISE_HOME", async () => {
    const byOption = await json("--home", home("ke-technical"), "whoami")
    const byName = parsed(await valise(["--json", "whoami"], { ...here, env: { VALISE_HOME: home("ke-technical") } }))
    expect(byName).toEqual(byOption)
    expect(byOption).toMatchObject({ poc: "ke/technical/baobab", realm: { mode: "exercise" } })
  })

  test("a vault with a passphrase: from a file, never required to be asked, Ctrl-C at the question ends it", async () => {
    const own = at("own")
    mkdirSync(own, { mode: 0o700 })
    const realm = { origin: "sandbox.valise.example", mode: "exercise" } as const
    const about = { poc: "ke/technical/teak" as PocAddress, relay: "relay.sandbox.valise.example", realm }
    const vault = await createDevice(
      openVaultFile(join(own, "own.vault"), "create"),
      passphraseSecret("four words of dice"),
      nodeMachine,
      about,
    )
    trustDirectory(vault, readFileSync(at(".valise", "trust.txt"), "utf8"))
    await vault.close()
    writeFileSync(join(own, "home.json"), JSON.stringify({ v: 1, poc: about.poc, vault: "own.vault" }))
    writeFileSync(at("right.txt"), "four words of dice\n")
    writeFileSync(at("wrong.txt"), "four other words\n")
    expect(await json("--home", own, "--passphrase-file", at("right.txt"), "whoami")).toMatchObject({ poc: about.poc })
    const passphrase = { exit: 4, code: "ERR_PASSPHRASE", hint: expect.any(String) as string }
    expect(await refused(["--home", own, "whoami"])).toEqual(passphrase)
    expect(await refused(["--home", own, "--no-input", "whoami"])).toEqual(passphrase)
    expect(await refused(["--home", own, "--passphrase-file", at("wrong.txt"), "whoami"])).toMatchObject({
      exit: 4,
      code: "ERR_PASSPHRASE",
    })
    expect(await refused(["--home", own, "--passphrase-file", at("none.txt"), "whoami"])).toEqual(passphrase)
    const asked = await terminal(`--home ${own} whoami`, "\u0003")
    expect(asked).toMatchObject({
      code: 130,
      out: expect.stringContaining("Passphrase of ke/technical/teak") as string,
    })
  })

  test.each<[string, number, string, ...string[]]>([
    ["no verb", 2, "ERR_USAGE"],
    ["an unknown verb", 2, "ERR_USAGE", "frobnicate"],
    ["a group alone", 2, "ERR_USAGE", "relay"],
    ["an unknown option", 2, "ERR_USAGE", "--as", "ke/technical", "sent", "--colour"],
    ["a missing option", 2, "ERR_USAGE", "--as", "ke/technical", "send", "--to", "sg/technical"],
    ["no number", 2, "ERR_USAGE", "--as", "ke/technical", "acknowledge", "latest", "--wait", "soon"],
    ["no port", 2, "ERR_USAGE", "sandbox", "--port", "70000"],
    ["nobody", 2, "ERR_USAGE", "whoami"],
    ["a PoC that the sandbox has not", 2, "ERR_USAGE", "--as", "xx/technical", "whoami"],
    ["a way out of the folder", 2, "ERR_USAGE", "--as", "../../etc", "whoami"],
    ["no disposition", 2, "ERR_USAGE", "--as", "sg/technical", "respond", "latest", "guilty"],
    [
      "no TLP label",
      2,
      "ERR_USAGE",
      "--as",
      "ke/technical",
      "send",
      "--to",
      "sg/technical",
      "--subject",
      "a",
      "--text",
      "b",
      "--tlp",
      "PINK",
    ],
    [
      "an unknown address",
      2,
      "ERR_UNKNOWN_ADDRESS",
      "--as",
      "ke/technical",
      "send",
      "--to",
      "de/technical",
      "--subject",
      "a",
      "--text",
      "b",
    ],
    [
      "an address that is none",
      2,
      "ERR_UNKNOWN_ADDRESS",
      "--as",
      "ke/technical",
      "send",
      "--to",
      "Singapore",
      "--subject",
      "a",
      "--text",
      "b",
    ],
    [
      "oneself",
      2,
      "ERR_USAGE",
      "--as",
      "ke/technical",
      "send",
      "--to",
      "ke/technical",
      "--subject",
      "a",
      "--text",
      "b",
    ],
    [
      "no text",
      2,
      "ERR_CONTENT",
      "--as",
      "ke/technical",
      "send",
      "--to",
      "sg/technical",
      "--subject",
      "a",
      "--text",
      "",
    ],
    [
      "a part that is not there",
      1,
      "ERR_NOT_FOUND",
      "--as",
      "sg/technical",
      "inbox",
      "read",
      "latest",
      "--share",
      "nonsense",
    ],
    ["an unknown message", 1, "ERR_NOT_FOUND", "--as", "ke/technical", "show", "ffffffffffff"],
    ["an empty id", 1, "ERR_NOT_FOUND", "--as", "ke/technical", "show", ""],
    [
      "a forward that nobody was asked for",
      4,
      "ERR_NO_CONSENT",
      "--as",
      "sg/technical",
      "forward",
      "latest",
      "--to",
      "fr/diplomatic",
      "--share",
      "body",
    ],
    ["evidence that is none", 4, "ERR_EVIDENCE", "verify", "cli/main.ts", "--trust", ".valise/trust.txt"],
    ["evidence that is not there", 2, "ERR_USAGE", "verify", "none.valise"],
    ["a relay's folder that is none", 1, "ERR_NOT_FOUND", "relay", "inspect", "--store", "cli"],
  ])("%s: exit %i, %s", async (_, exit, code, ...args) => {
    expect(await refused(args)).toMatchObject({ exit, code })
  })

  test("who asks for a PoC that the sandbox has not is told which it has", async () => {
    const { hint } = await refused(["--as", "xx/technical", "whoami"])
    expect(hint).toBe(
      "the sandbox in .valise has br/technical, fr/diplomatic, fr/technical, ke/technical, sg/technical, un/secretariat",
    )
    expect((await refused(["--data", "none", "--as", "ke/technical", "whoami"])).hint).toContain("npm start")
  })

  test("in words, an error is two lines on stderr: what, and what to do", async () => {
    const ended = await valise(
      ["--as", "ke/technical", "send", "--to", "de/technical", "--subject", "a", "--text", "b"],
      here,
    )
    expect(ended).toMatchObject({ code: 2, out: "" })
    expect(ended.err).toMatch(/^valise: error: .+ \(ERR_UNKNOWN_ADDRESS\)\nvalise: hint: .+\n$/)
  })

  test("a wrong key file, and one that others may read, are refused", async () => {
    const copy = at("copy")
    cpSync(home("ke-technical"), copy, { recursive: true })
    chmodSync(join(copy, "device-1.key"), 0o644)
    expect(await refused(["--home", copy, "whoami"])).toEqual({
      exit: 4,
      code: "ERR_PASSPHRASE",
      hint: expect.stringContaining("chmod 600") as string,
    })
    cpSync(join(home("sg-technical"), "device-1.key"), join(copy, "device-1.key"))
    chmodSync(join(copy, "device-1.key"), 0o600)
    expect(await refused(["--home", copy, "whoami"])).toMatchObject({ exit: 4, code: "ERR_PASSPHRASE" })
    writeFileSync(join(copy, "device-1.key"), "short")
    expect(await refused(["--home", copy, "whoami"])).toMatchObject({ exit: 4, code: "ERR_PASSPHRASE" })
    rmSync(join(copy, "device-1.key"))
    expect(await refused(["--home", copy, "whoami"])).toMatchObject({ exit: 4, code: "ERR_PASSPHRASE" })
  })

  test("a damaged vault, and a damaged home.json, are named", async () => {
    const copy = at("damaged")
    cpSync(home("ke-technical"), copy, { recursive: true })
    const file = join(copy, "device-1.vault")
    const bytes = readFileSync(file)
    bytes.fill(0x5a, Math.floor(bytes.length / 3), Math.floor(bytes.length / 3) + 4096)
    writeFileSync(file, bytes)
    expect((await refused(["--home", copy, "sent"])).code).toMatch(/^ERR_VAULT(_TAMPERED)?$/)
    writeFileSync(join(copy, "home.json"), '{"v":1,"poc"')
    expect(await refused(["--home", copy, "sent"])).toMatchObject({ exit: 1, code: "ERR_VAULT" })
  })

  test("a reader that goes away ends it quietly", async () => {
    const piped = `"$NODE" "$MAIN" relay inspect | head -1; "$NODE" "$MAIN" verify case.valise --trust .valise/trust.txt | true`
    const ended = await run("bash", ["-c", `${piped}; echo "\${PIPESTATUS[0]}"`], {
      ...here,
      env: { NODE: process.execPath, MAIN: mainFile },
    })
    expect(ended).toMatchObject({ out: "Mailboxes\n0\n", err: "" })
  })

  test.skipIf(!isRoot && !inCi)(
    "a full disk: ERR_DISK, nothing lost, still readable, and on with it when there is space",
    async () => {
      const disk = at("disk")
      mkdirSync(disk)
      expect(await run("mount", ["-t", "tmpfs", "-o", "size=1m,mode=700", "none", disk])).toMatchObject({ code: 0 })
      try {
        cpSync(home("ke-technical"), disk, { recursive: true })
        const before = parsed(await valise(["--json", "--home", disk, "sent"], here))["messages"] as View[]
        writeUntilFull(join(disk, "ballast"))
        const send = [
          "--json",
          "--home",
          disk,
          "send",
          "--to",
          "sg/technical",
          "--subject",
          "full",
          "--text",
          "x".repeat(7000),
          "--wait",
          "0",
        ]
        let stored = before.length
        let ended: Ended
        do ended = await valise(send, here)
        while (ended.code === 0 && ++stored < before.length + 20)
        expect(ended.code).toBe(1)
        expect(failure(ended)).toMatchObject({ code: "ERR_DISK", hint: expect.any(String) as string })
        rmSync(join(disk, "ballast"))
        expect(parsed(await valise(["--json", "--home", disk, "sent"], here))["messages"]).toHaveLength(stored)
        expect(await valise(send, here)).toMatchObject({ code: 0 })
        expect(parsed(await valise(["--json", "--home", disk, "sent"], here))["messages"]).toHaveLength(stored + 1)
      } finally {
        await run("umount", [disk])
      }
    },
  )
})

describe("while the sandbox runs", () => {
  let sandbox: Running

  beforeAll(async () => {
    sandbox = await sandboxUp(".valise", here)
  }, 180_000)

  test("what was written before has gone out, and is answered", async () => {
    const sent = await eventually(async () =>
      (await messages("ke/technical", "sent")).find(
        ({ subject, status }) => subject === "written offline" && status?.every(({ state }) => state === "responded"),
      ),
    )
    expect(sent.status).toMatchObject([{ response: { disposition: "acting" } }])
  })

  test("a message from a second process arrives, and is answered by itself, visibly", async () => {
    const from = sandbox.out.length
    const { accepted, message } = (await json(
      "--as",
      "ke/technical",
      "send",
      "--to",
      "br/technical",
      "--subject",
      "from outside",
      "--text",
      "do you see this?",
    )) as { accepted: boolean; message: View } & Record<string, unknown>
    expect(accepted).toBe(true)
    await sandbox.saying(
      `br/technical/ipe (automatic) acknowledges and answers message ${message.id.slice(0, 8)}`,
      from,
    )
    const answer = await eventually(async () =>
      (await messages("ke/technical", "inbox")).find((view) => view.response?.note?.startsWith("Automatic answer")),
    )
    expect(answer).toMatchObject({ type: "response", releasedBy: "automatic answer (exercise)" })
    expect((await ok("--as", "ke/technical", "show", message.id)).out).toContain("answered acting")
  })

  test("a second device is linked by its code, and both get the same mail; then it is removed", async () => {
    const link = ["--json", "--as", "sg/second", "device", "link", "--poc", "sg/technical"]
    const linking = new Running(process.execPath, [mainFile, ...link], here)
    await linking.saying("offered")
    const { code, words } = JSON.parse(linking.out.split("\n")[0]!) as { code: string; words: string }
    await ok("--as", "sg/technical", "device", "approve", code, "--words", words)
    expect((await linking.ended).code).toBe(0)
    const watch = ["--json", "--as", "sg/second", "inbox", "watch", "--count", "1"]
    const watching = new Running(process.execPath, [mainFile, ...watch], here)
    const text = ["--subject", "to both devices", "--text", "here"]
    await ok("--as", "ke/technical", "send", "--to", "sg/technical", ...text, "--wait", "60")
    expect((await watching.ended).out).toContain("to both devices")
    await eventually(async () =>
      (await messages("sg/technical", "inbox")).find(({ subject }) => subject === "to both devices"),
    )
    const { devices } = (await json("--as", "sg/second", "device", "list")) as unknown as {
      devices: { id: string; here: boolean }[]
    }
    expect(devices.map(({ here }) => here)).toEqual([false, true])
    await ok("--as", "sg/technical", "device", "remove", devices[1]!.id)
    expect((await json("--as", "sg/technical", "device", "list"))["devices"]).toHaveLength(1)
  })

  test("31 terminal injection: what others wrote is shown escaped, in words and in JSON", async () => {
    const evil = "\u001b]0;owned\u0007\u001b[2Jx\u009b31m\u202etxt\u2028\u200b"
    await ok("--as", "ke/technical", "send", "--to", "sg/technical", "--subject", evil, "--text", evil)
    const arrived = await eventually(async () =>
      (await messages("sg/technical", "inbox")).find(({ subject }) => subject === evil),
    )
    for (const args of [
      ["inbox"],
      ["inbox", "read", arrived.id],
      ["show", arrived.id],
      ["--json", "inbox", "read", arrived.id],
    ]) {
      const { out } = await ok("--as", "sg/technical", ...args)
      expect(out, args.join(" ")).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e]/)
      expect(out.toLowerCase(), args.join(" ")).toMatch(/\\u\{?0*1b\}?\]0;owned\\u\{?0*7\}?/)
    }
  })

  /** Each in the place where a person would give it; what it needs stands before it. */
  const inOrder = [
    "", "whoami", "notices", "notices list", "notices seen", "device", "device list", "officer", "officer list",
    "contacts", "send", "sent", "show", "inbox", "inbox list", "inbox read", "inbox watch", "acknowledge",
    "consent", "consent list", "consent request", "consent grant", "forward", "consent withdraw", "consent request",
    "consent refuse", "respond", "reply", "evidence", "evidence export", "verify", "relay", "relay inspect",
  ] // prettier-ignore

  /** What happens between machines: documents.test.ts and devices.test.ts run these. */
  const isBetweenMachines = (verb: string): boolean =>
    /^(enrol|renew|trust|directory.*|relay (init|serve)|device (link|approve|remove)|officer (add|remove))$/.test(verb)

  test("the example in each verb's help works as it stands", async () => {
    const known = await verbs()
    expect(known.filter((verb) => ![...inOrder, "sandbox"].includes(verb) && !isBetweenMachines(verb))).toEqual([])
    for (const verb of known.filter(isBetweenMachines)) expect(example(await help(verb)), verb).toMatch(/^valise /)
    // What the first of these tests ran.
    expect(example(await help("sandbox"))).toBe("valise --data .valise sandbox --once")
    for (const verb of inOrder) {
      const command = example(await help(verb))
      expect(command, verb).toMatch(/^valise /)
      await ready(verb)
      const ended = await run("sh", ["-c", `valise() { "$NODE" "$MAIN" "$@"; }\n${command}`], {
        ...here,
        env: { NODE: process.execPath, MAIN: mainFile },
      })
      expect({ code: ended.code, err: ended.err }, command).toEqual({ code: 0, err: "" })
    }
  }, 240_000)

  /** Waits for what the next example speaks of: peers answer in their own time. */
  async function ready(verb: string): Promise<void> {
    const consents = async (as: string) =>
      ((await json("--as", as, "consent"))["consents"] as { requestId: string; state: string; attested: boolean }[]).at(
        -1,
      )!
    if (verb === "consent request")
      await eventually(async () =>
        (await messages("sg/technical", "inbox")).find(({ parts }) => parts.some(({ name }) => name === "indicators")),
      )
    const asked = verb.startsWith("consent ") || verb === "forward" ? await consents("sg/technical") : undefined
    if (verb === "consent grant" || verb === "consent refuse")
      await eventually(async () => ((await consents("ke/technical")).requestId === asked?.requestId ? true : undefined))
    if (verb === "forward")
      await eventually(async () => ((await consents("sg/technical")).state === "granted" ? true : undefined))
  }

  test("a watcher sees what arrives; Ctrl-C ends it with 130, and everything is closed", async () => {
    const watcher = new Running(process.execPath, [mainFile, "--as", "sg/technical", "--json", "inbox", "watch"], here)
    await ok("--as", "ke/technical", "send", "--to", "sg/technical", "--subject", "for the watcher", "--text", "here")
    await watcher.saying("for the watcher")
    watcher.child.kill("SIGINT")
    const ended = await watcher.ended
    expect({ code: ended.code, err: ended.err }).toEqual({ code: 130, err: "" })
    for (const line of ended.out.trim().split("\n")) expect(JSON.parse(line)).toMatchObject({ v: 1, message: {} })
  })

  test("Ctrl-C ends it with 130, everything closed, and nothing that was accepted is lost", async () => {
    const before = await messages("sg/technical", "inbox")
    sandbox.child.kill("SIGINT")
    const ended = await sandbox.ended
    expect({ code: ended.code, err: ended.err }).toEqual({ code: 130, err: "" })
    expect(
      readFileSync(at(".valise", "relay", "relay.log"), "utf8")
        .trim()
        .split("\n")
        .at(-1),
    ).toContain("relay.closed")
    expect((await messages("sg/technical", "inbox")).map(({ id }) => id)).toEqual(
      expect.arrayContaining(before.map(({ id }) => id)),
    )
    expect((await json("relay", "inspect"))["intact"]).toBe(true)
  })
})

/** Every verb, as the program's own help lists them; groups by their parts, too. */
async function verbs(): Promise<string[]> {
  const listed = async (verb: string): Promise<string[]> => {
    const [, commands] = (await help(verb)).split("\nCommands:\n")
    return [...(commands ?? "").matchAll(/^ {2}([a-z]+)\b/gm)]
      .map(([, name]) => name!)
      .filter((name) => name !== "help")
  }
  const found = await listed("")
  for (const verb of found.slice()) found.push(...(await listed(verb)).map((part) => `${verb} ${part}`))
  return found
}

const helps = new Map<string, string>()
async function help(verb: string): Promise<string> {
  const text = helps.get(verb) ?? (await ok(...verb.split(" ").filter(Boolean), "--help")).out
  helps.set(verb, text)
  return text
}

const example = (text: string): string => /\nExample:\n {2}\$ (.+)\n/.exec(text)?.[1] ?? ""

/** Runs the command on a terminal of its own, and types. */
function terminal(args: string, typed: string): Promise<Ended> {
  const line = `sleep 3; printf '${typed}' | cat; sleep 3`
  return run("bash", ["-c", `(${line}) | script -qec '"$NODE" "$MAIN" ${args}' /dev/null`], {
    ...here,
    env: { NODE: process.execPath, MAIN: mainFile },
  })
}

/** Leaves no block free. */
function writeUntilFull(file: string): void {
  try {
    for (let size = 1; ; size++) writeFileSync(file, new Uint8Array(size * 4096))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error
  }
}
