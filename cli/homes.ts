/** Where a PoC's installation lies: a home folder of its own, or one of the sandbox's by `--as`. */
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { basename, join, resolve } from "node:path"
import { createInterface } from "node:readline/promises"
import { z } from "zod"
import { openPoc, type Poc } from "../client-sdk/index.ts"
import { ValiseError } from "../protocol/errors.ts"

/** `home.json`: where the parts of a home lie, relative to it. Secrets are files of their own, 0600. */
export const homeFileShape = z.strictObject({
  v: z.literal(1),
  poc: z.string(),
  vault: z.string(),
  keyFile: z.string().optional(),
  officerKeyFile: z.string().optional(),
  /** Opens the PoC's own key, which signs manifests. On a removable disk it is there only when it is needed. */
  pocKeyFile: z.string().optional(),
  /** Where the directory's service is reached. */
  directory: z.string().optional(),
  /** Where the relay is reached, if not where the directory lists it. */
  relay: z.string().optional(),
})
export type HomeFile = z.infer<typeof homeFileShape>

/** The options that every verb takes. */
export interface HomeOptions {
  readonly as?: string
  readonly data: string
  readonly home?: string
  readonly passphraseFile?: string
  readonly relay?: string
  readonly input: boolean
  /** Aborts when the person at the terminal gives up. */
  readonly stop: AbortSignal
}

export interface HomePlace {
  readonly folder: string
  readonly file: HomeFile
}

/** Throws `ERR_USAGE` with a hint if there is no such home. */
export function findHome(options: Pick<HomeOptions, "as" | "data" | "home">): HomePlace {
  const folder = options.as === undefined ? options.home : sandboxHome(options.data, options.as)
  if (folder === undefined)
    throw new ValiseError("ERR_USAGE", "whose vault?", {
      hint: "give --as sg/technical (the sandbox's, see `valise sandbox`), or --home DIR, or set VALISE_HOME",
    })
  const path = join(folder, "home.json")
  if (!existsSync(path))
    throw new ValiseError("ERR_USAGE", `there is no home at ${folder}`, {
      hint: options.as === undefined ? "a home holds a file home.json" : whoIsThere(options.data),
    })
  const parsed = homeFileShape.safeParse(readJson(path))
  if (!parsed.success) throw new ValiseError("ERR_VAULT", `${path} is damaged`, { cause: parsed.error })
  return { folder: resolve(folder), file: parsed.data }
}

/** @param connect `false`: only the vault, for verbs that ask nothing of the relay */
export async function openHome(options: HomeOptions, connect: boolean): Promise<Poc> {
  const { folder, file } = findHome(options)
  const relay = options.relay ?? file.relay
  return openPoc({
    vault: resolve(folder, file.vault),
    ...(await vaultSecret(options, { folder, file })),
    ...(relay !== undefined && { relay }),
    ...(file.directory !== undefined && { directory: file.directory }),
    ...(file.officerKeyFile && { officer: { keyFile: resolve(folder, file.officerKeyFile) } }),
    connect,
  })
}

/** What opens the home's vault: its key file, or a passphrase, which is asked for if there is a terminal. */
export async function vaultSecret(
  options: Pick<HomeOptions, "passphraseFile" | "input" | "stop">,
  { folder, file }: HomePlace,
): Promise<{ readonly keyFile: string } | { readonly passphrase: string }> {
  if (file.keyFile) return { keyFile: resolve(folder, file.keyFile) }
  return { passphrase: await passphrase(options, file.poc) }
}

/** Replaces `home.json`. */
export function writeHome({ folder, file }: HomePlace): void {
  const path = join(folder, "home.json")
  writeFileSync(`${path}.new`, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** The folder of a sandbox's PoC, by `state/role`. */
export const sandboxHome = (data: string, as: string): string => join(data, "pocs", as.split("/").slice(0, 2).join("-"))

/** The folders of all homes in a sandbox. */
export function sandboxHomes(data: string): readonly string[] {
  const pocs = join(data, "pocs")
  const folders = existsSync(pocs) ? readdirSync(pocs).map((name) => join(pocs, name)) : []
  return folders.filter((folder) => existsSync(join(folder, "home.json"))).toSorted()
}

function whoIsThere(data: string): string {
  const names = sandboxHomes(data).map((folder) => basename(folder).replace("-", "/"))
  return names.length > 0
    ? `the sandbox in ${data} has ${names.join(", ")}`
    : "start the sandbox once: npm start -- --once"
}

export async function passphrase(
  options: Pick<HomeOptions, "passphraseFile" | "input" | "stop">,
  poc: string,
): Promise<string> {
  if (options.passphraseFile !== undefined) {
    try {
      return readFileSync(options.passphraseFile, "utf8").replace(/\r?\n$/, "")
    } catch (cause) {
      throw new ValiseError("ERR_PASSPHRASE", "the passphrase file cannot be read", {
        cause,
        hint: options.passphraseFile,
      })
    }
  }
  if (!options.input || !process.stdin.isTTY)
    throw new ValiseError("ERR_PASSPHRASE", "the vault needs its passphrase", { hint: "give --passphrase-file FILE" })
  return askHidden(`Passphrase of ${poc}: `, options.stop)
}

/** Asks on stderr without showing what is typed. Throws `ERR_ABORTED` at Ctrl-C and at the end of input. */
async function askHidden(question: string, stop: AbortSignal): Promise<string> {
  process.stderr.write(question)
  const lines = createInterface({ input: process.stdin, terminal: true })
  const given = new AbortController()
  // While the terminal is raw, Ctrl-C is a key and no signal.
  for (const event of ["SIGINT", "close"] as const) lines.on(event, () => given.abort())
  try {
    return await lines.question("", { signal: AbortSignal.any([stop, given.signal]) })
  } catch (cause) {
    throw new ValiseError("ERR_ABORTED", "no passphrase was given", { cause })
  } finally {
    lines.close()
    process.stderr.write("\n")
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch (cause) {
    throw new ValiseError("ERR_VAULT", `${path} cannot be read`, { cause })
  }
}
