/** Runs the command and `npm start` as a person does: as processes, on folders of their own. */
import { spawn, type ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"

export const root = join(import.meta.dirname, "..", "..")
export const mainFile = join(root, "cli", "valise.mjs")
export const shared = join(root, "..", "shared")

/** No command takes so long; a slow machine gets its time. */
const commandMaxMs = 90_000

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Record<string, string>
  readonly maxMs?: number
  /** What stdin holds; it is closed otherwise. */
  readonly input?: string
}

/** An empty folder of this test file, removed at its end. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "valise-e2e-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Runs a program to its end. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return await new Running(program, args, options).ended
}

/** `valise …`, to its end. */
export const valise = (args: readonly string[], options: RunOptions = {}): Promise<Ended> =>
  run(process.execPath, [mainFile, ...args], options)

/** A process that stays up until it is told to end; killed at the end of the test file if it is still there. */
export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  out = ""
  err = ""
  readonly #looking = new Set<() => void>()

  /** @param group whether it leads a process group of its own, as a shell's foreground job does */
  constructor(program: string, args: readonly string[], options: RunOptions = {}, group = false) {
    const { cwd = root, env, input, maxMs = commandMaxMs } = options
    this.child = spawn(program, args, {
      cwd,
      env: { ...plainEnvironment(), ...env },
      stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
      detached: group,
    })
    this.child.stdin?.end(input)
    const patience = setTimeout(() => this.child.kill("SIGKILL"), maxMs)
    for (const name of ["out", "err"] as const)
      this.child[name === "out" ? "stdout" : "stderr"]!.setEncoding("utf8").on("data", (text: string) => {
        this[name] += text
        for (const look of this.#looking) look()
      })
    this.ended = new Promise((resolve, reject) => {
      this.child.once("error", reject)
      this.child.once("close", (code, signal) => {
        clearTimeout(patience)
        for (const look of this.#looking) look()
        resolve({ code, signal, out: this.out, err: this.err })
      })
    })
    // A failed test does not leave it behind.
    running.add(this)
    void this.ended.then(
      () => running.delete(this),
      () => running.delete(this),
    )
  }

  /** Resolves when stdout has this from the given length on. Rejects with what there was if the process ends before. */
  saying(wanted: string | RegExp, from = 0): Promise<void> {
    const matches = (): boolean =>
      typeof wanted === "string" ? this.out.includes(wanted, from) : wanted.test(this.out.slice(from))
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const isOver = this.child.exitCode !== null || this.child.signalCode !== null
        if (!matches() && !isOver) return
        this.#looking.delete(look)
        if (matches()) resolve()
        else reject(new Error(`it ended without saying ${String(wanted)}:\n${this.out}\n${this.err}`))
      }
      this.#looking.add(look)
      look()
    })
  }
}

const running = new Set<Running>()

/** Call it in `afterAll`. */
export async function endEverything(): Promise<void> {
  await Promise.all(
    [...running].map(async (each) => {
      each.child.kill("SIGKILL")
      await each.ended.catch(() => undefined)
    }),
  )
}

/** The sandbox, up: the story is told and the automatic PoCs answer. */
export async function sandboxUp(data: string, options: RunOptions = {}): Promise<Running> {
  const sandbox = new Running(process.execPath, [mainFile, "--data", data, "sandbox"], { maxMs: 600_000, ...options })
  await sandbox.saying("Ctrl-C ends the sandbox")
  return sandbox
}

export interface Line {
  readonly v: number
  readonly event: string
  readonly at: string
  readonly [name: string]: unknown
}

/** Throws if a line is anything but a JSON object. */
export const jsonLines = (out: string): Line[] =>
  out
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line)

/** The one object that `--json` prints. */
export function parsed(ended: Ended): Record<string, unknown> & { v: number } {
  return JSON.parse(ended.out) as Record<string, unknown> & { v: number }
}

/** The one object that a failure prints on stderr with `--json`. */
export const failure = (ended: Ended): { v: number; code: string; message: string; hint?: string } =>
  JSON.parse(ended.err) as { v: number; code: string; message: string; hint?: string }

/** As in a terminal: nothing of the test runner's or npm's own, and compiled code is shared by all these processes. */
function plainEnvironment(): Record<string, string> {
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && !/^(npm_|NODE_|VITEST|VITE_|TEST$|FORCE_COLOR|NO_COLOR|VALISE_)/.test(name))
      kept[name] = value
  return kept
}
