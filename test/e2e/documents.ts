/** Runs the fenced commands of a document: every machine that it names is a shell of its own, with real processes. */
import { spawn, type ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { root } from "./support.ts"

export interface Block {
  /** The heading above it. */
  readonly under: string
  readonly machine: string
  /** It runs on until it is told to end. */
  readonly isService: boolean
  readonly commands: string
}

/** The blocks whose fence reads `sh MACHINE` or `sh MACHINE service`, in order. */
export function blocksOf(document: string): readonly Block[] {
  const blocks: Block[] = []
  let under = ""
  const lines = readFileSync(join(root, "docs", document), "utf8").split("\n")
  for (let i = 0; i < lines.length; i++) {
    under = /^#+ (.+)$/.exec(lines[i]!)?.[1] ?? under
    const [, machine, service] = /^```sh (\S+)( service)?$/.exec(lines[i]!) ?? []
    if (machine === undefined) continue
    const end = lines.indexOf("```", i)
    blocks.push({ under, machine, isService: service !== undefined, commands: lines.slice(i + 1, end).join("\n") })
    i = end
  }
  return blocks
}

const shells = new Set<Shell>()

/** One machine's shell: a `bash` that stays, in which variables stay too. */
export class Shell {
  readonly #child: ChildProcess
  #out = ""
  readonly #looking = new Set<() => void>()

  /** @param before what the shell is started by, e.g. `["ip", "netns", "exec", NAME]` */
  constructor(before: readonly string[], cwd: string, env: Record<string, string>) {
    const [program, ...args] = [...before, "bash", "-u"]
    this.#child = spawn(program, args, { cwd, env, stdio: ["pipe", "pipe", "pipe"], detached: true })
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.#out += text
        for (const look of this.#looking) look()
      })
    shells.add(this)
    this.#child.once("close", () => {
      shells.delete(this)
      for (const look of this.#looking) look()
    })
  }

  /** What the commands print. Rejects with it if one of them fails. */
  async run(commands: string): Promise<string> {
    const from = this.#out.length
    const chained = commands.replaceAll("\\\n", " ").split("\n").join(" &&\n")
    this.#child.stdin!.write(`{ ${chained}\n}; echo "exit=$?."\n`)
    await this.saying(/exit=\d+\.\n/, from)
    const out = this.#out.slice(from)
    if (!out.includes("exit=0.")) throw new Error(`${commands}\n${out}`)
    return out.replace(/exit=0\.\n/, "")
  }

  /** Starts a service in the background; resolves to what it has said once it says this. */
  async start(commands: string, ready: RegExp): Promise<string> {
    const from = this.#out.length
    this.#child.stdin!.write(`${commands.replaceAll("\\\n", " ")} &\n`)
    await this.saying(ready, from)
    return this.#out.slice(from)
  }

  async saying(wanted: RegExp, from = 0): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        const isOver = this.#child.exitCode !== null || this.#child.signalCode !== null
        const isThere = wanted.test(this.#out.slice(from))
        if (!isThere && !isOver) return
        this.#looking.delete(look)
        if (isThere) resolve()
        else reject(new Error(`the shell ended:\n${this.#out}`))
      }
      this.#looking.add(look)
      look()
    })
  }

  /** All that are there, also those of a test that was given up. */
  static async endAll(): Promise<void> {
    await Promise.all([...shells].map((shell) => shell.end()))
  }

  /** Ends the shell and what runs in it. */
  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const closed = new Promise((resolve) => this.#child.once("close", resolve))
    process.kill(-this.#child.pid!, "SIGTERM")
    this.#child.stdin!.destroy()
    await closed
  }
}
