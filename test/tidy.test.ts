/** Holds the layers of docs/architecture.md, and the few habits that a machine can check. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { fileURLToPath } from "node:url"
import { describe, expect, test } from "vitest"

const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** What each folder may import of ours. `types:` an interface only. */
const layers: Record<string, readonly string[]> = {
  protocol: [],
  system: ["types:protocol"],
  pki: ["protocol", "types:system"],
  relay: ["protocol", "pki", "types:system", "system/machine.ts", "system/budget.ts"],
  "client-sdk": ["protocol", "pki", "types:system", "system/machine.ts"],
  directory: ["protocol", "pki", "client-sdk", "types:system", "system/machine.ts", "system/budget.ts"],
  cli: ["protocol", "pki", "relay", "client-sdk", "directory", "system"],
}

/** Where the SDK chooses real implementations. */
const choosers: Record<string, readonly string[]> = { "client-sdk/open.ts": ["system/node.ts", "system/node-http.ts"] }

/** A third-party package is imported where it is wrapped and nowhere else. */
const wrapped: Record<string, RegExp> = {
  "libsodium-wrappers": /^protocol\/primitives\.ts$/,
  cborg: /^protocol\/cbor\.ts$/,
  "@noble/curves": /^(protocol\/edge-keys|pki\/p384)\.ts$/,
  "@noble/hashes": /^pki\/(sha256|p384)\.ts$/,
  "@peculiar/x509": /^pki\/certificate\.ts$/,
  "@peculiar/asn1-x509": /^pki\/certificate\.ts$/,
  "reflect-metadata": /^pki\/certificate\.ts$/,
  ws: /^(relay\/server|client-sdk\/transport-ws)\.ts$/,
  pino: /^(relay|directory)\/log\.ts$/,
  commander: /^cli\/(main|verbs\/[a-z-]+)\.ts$/,
  zod: /^(protocol|pki|directory|relay|client-sdk|cli)\//,
}

/** Files that may use Node: real implementations, programs, and what is on a server anyway. */
const mayUseNode =
  /^(system\/node(-http)?|client-sdk\/(open|transport-ws|vault\/(argon2-node|key-file|line|sqlite-file|storage-sqlite)))\.ts$|^(relay|directory|cli)\//

const files = Object.keys(layers).flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => join(folder, name)),
)

interface Import {
  readonly file: string
  readonly from: string
  readonly typeOnly: boolean
}

const imports: Import[] = files.flatMap((file) =>
  [
    ...readFileSync(join(root, file), "utf8").matchAll(
      /^(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"/gm,
    ),
  ].map(([, typeOnly, from]) => ({ file, from: from!, typeOnly: typeOnly !== undefined })),
)

const packageOf = (from: string): string =>
  from
    .split("/")
    .slice(0, from.startsWith("@") ? 2 : 1)
    .join("/")

describe("layers", () => {
  test.each(Object.entries(layers))("%s imports only what it may", (here, allowed) => {
    const foreign = imports
      .filter(({ file, from }) => file.startsWith(`${here}/`) && from.startsWith("."))
      .map(({ file, from, typeOnly }) => ({ file, target: normalize(join(dirname(file), from)), typeOnly }))
      .filter(({ file, target, typeOnly }) => {
        const there = target.split("/")[0]!
        return !(
          here === there ||
          choosers[file]?.includes(target) ||
          allowed.includes(there) ||
          allowed.includes(target) ||
          (typeOnly && allowed.includes(`types:${there}`))
        )
      })
    expect(foreign).toEqual([])
  })

  test("the SDK is used by programs through its index, its evidence and its enrolment only", () => {
    const inside = imports.filter(
      ({ file, from }) =>
        file.startsWith("cli/verbs/") &&
        from.includes("client-sdk/") &&
        !/client-sdk\/(index|indicators|evidence\/(describe|verify))\.ts$/.test(from),
    )
    expect(inside).toEqual([])
  })
})

describe("packages", () => {
  const packages = imports.filter(({ from }) => !from.startsWith(".") && !from.startsWith("node:"))
  test("each is imported where it is wrapped and nowhere else", () => {
    const astray = packages.filter(({ file, from }) => !wrapped[packageOf(from)]?.test(file))
    expect(astray).toEqual([])
  })

  test("every dependency is used", () => {
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      dependencies: Record<string, string>
    }
    const used = new Set(packages.map(({ from }) => packageOf(from)))
    // `node` is the runtime itself.
    expect(Object.keys(dependencies).filter((name) => name !== "node" && !used.has(name))).toEqual([])
  })

  test("only files that are named for it import node:", () => {
    expect(imports.filter(({ file, from }) => from.startsWith("node:") && !mayUseNode.test(file))).toEqual([])
  })
})

describe("habits", () => {
  test("time, chance and the environment are taken from the machine in system/ and in the programs' main files only", () => {
    const found = files.filter((file) => {
      if (file.startsWith("system/") || file.startsWith("cli/")) return false
      return /Date\.now\(|new Date\(\)|Math\.random\(|(?<![.#\w])setTimeout\(|(?<![.#\w])setInterval\(|process\.env/.test(
        readFileSync(join(root, file), "utf8"),
      )
    })
    expect(found).toEqual([])
  })

  test("no escape from the type checker, nothing left to do", () => {
    const found = files.filter((file) =>
      /:\s*any\s*[,;)=|\]>}]|as any\b|@ts-(ignore|expect-error)|\b(TODO|FIXME|XXX)\b|not implemented/.test(
        readFileSync(join(root, file), "utf8"),
      ),
    )
    expect(found).toEqual([])
  })
})
