/** SPEC.md stands without its authors: a program in Python, written from it alone, works with all that is ours. */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import type { Poc } from "../../client-sdk/index.ts"
import { decodeBundle, type RelayReceiptSection } from "../../client-sdk/evidence/bundle.ts"
import { fromHex, fromUtf8, hex } from "../../protocol/bytes.ts"
import type { ManifestDevice } from "../../protocol/manifest.ts"
import { MerkleLog } from "../../pki/tree.ts"
import { rewritten, replaced } from "../support/evidence.ts"
import { arrived, indicators, notification, soon, TestNetwork } from "../support/network.ts"
import { needPython, second } from "./second.ts"

const vectors = fileURLToPath(new URL("../../protocol/vectors", import.meta.url))
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "valise-second-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const written = (name: string, content: string | Uint8Array): string => {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

describe("vectors", () => {
  test("it makes every value of every file anew", async (context) => {
    needPython(context)
    expect(await second("vectors", vectors)).toMatchObject({ checked: expect.arrayContaining(["envelope", "pki"]) })
  })

  test("and would see one that is not so", async (context) => {
    needPython(context)
    const copy = join(folder, "vectors")
    cpSync(vectors, copy, { recursive: true })
    const text = readFileSync(join(copy, "leaves.json"), "utf8")
    writeFileSync(join(copy, "leaves.json"), text.replace(/"contentHash": "./, '"contentHash": "x'))
    await expect(second("vectors", copy)).rejects.toThrow("leaves: C:")
  })
})

describe("a network with one device in Python", () => {
  let network: TestNetwork
  let kenya: Poc
  let evidence: Uint8Array
  /** The log's checkpoint before the last manifest. */
  let older: Uint8Array
  let trust: string
  let log: string
  let device: readonly string[]

  beforeAll(async () => {
    network = await TestNetwork.open({ members: ["kenya", "singapore"] })
    trust = written("trust", network.trust)
    log = join(network.folder, "directory", "log")
    older = await network.directory.logSource().checkpoint()
    const poc = network.address("singapore")
    device = ["--trust", trust, "--poc", poc, "--seed", "11".repeat(32), "--host", "relay.example"]
  })
  afterAll(() => network?.close())

  const mail = (...more: readonly string[]): Promise<unknown> =>
    second("mail", ...device, "--url", network.url, "--log", log, "--prekeys", join(folder, "prekeys"), ...more)

  test("it is listed, logs in, publishes prekeys, and opens what the SDK seals to it", async (context) => {
    needPython(context)
    const listing = (await second("listing", ...device)) as Record<string, string>
    const { relay, ...ids } = listing
    const bytes = Object.fromEntries(Object.entries(ids).map(([name, value]) => [name, fromHex(value)]))
    const row = { ...bytes, relay, rights: ["send", "receive"] } as unknown as ManifestDevice
    await network.changeManifest("singapore", ({ devices }) => ({ devices: [...devices, row] }))
    expect(await mail("--publish", "2", "--wait", "0")).toMatchObject({ prekeys: 2, opened: [], refused: [] })

    kenya = await network.poc("kenya")
    const singapore = await network.poc("singapore")
    const sent = kenya.send({ ...notification, to: ["sg/technical"], indicators })
    ;(await arrived(singapore, sent.id)).acknowledge()
    await sent.acknowledged("sg/technical", soon())
    await kenya.until(() => (sent.status()[0]!.devices.every(({ accepted }) => accepted) ? true : undefined), soon())
    const { opened, refused } = (await mail("--wait", "10", "--count", "1", "--sync")) as Mail
    expect(refused).toEqual([])
    expect(opened).toMatchObject([{ sender: network.address("kenya"), id: sent.id, kind: "one-time", banners: [] }])
    expect(opened[0]!.leaves).toMatchObject({ subject: notification.subject, indicators: fromUtf8(indicators) })
    // It said that it has it, and has erased the prekey; what its own PoC acknowledges comes to it, too.
    const again = (await mail("--wait", "0")) as Mail
    expect(again.refused).toEqual([])
    for (const { leaves } of again.opened) expect(leaves).toMatchObject({ type: "officer-receipt" })
    evidence = kenya.exportEvidence(sent.id)
  })

  test("the relay tells it no more than anybody else if its key is wrong", async (context) => {
    needPython(context)
    const stranger = device.map((word) => (word === "11".repeat(32) ? "22".repeat(32) : word))
    const dialled = second("mail", ...stranger, "--url", network.url, "--log", log, "--prekeys", join(folder, "none"))
    expect(await dialled).toBe("refused: closed 4401 ERR_LOGIN")
  })

  test("it verifies a relay's receipt, and refuses it for anything else", async (context) => {
    needPython(context)
    const { relayReceipts } = decodeBundle(evidence)
    expect(relayReceipts).toHaveLength(2)
    const judged = (name: string, change: object = {}) =>
      second("receipt", written(name, JSON.stringify({ ...receiptAsJson(relayReceipts[0]!), ...change })), trust, log)
    expect(await judged("receipt")).toMatchObject({ relay: "relay.example" })
    for (const [name, change] of Object.entries({
      digest: { digest: "00".repeat(32) },
      minute: { minute: 1 },
      relay: { relay: "other.example" },
    }))
      expect(await judged(name, change), name).toMatch(/^refused: ERR_UNTRUSTED/)
  })

  test("it judges evidence as the SDK does: with a byte changed, whatever hashes are computed anew, it refuses", async (context) => {
    needPython(context)
    const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, bytes[at]! ^ 1)
    const files = {
      whole: evidence,
      accident: flipped(evidence, evidence.length >> 1),
      end: evidence.slice(0, -1),
      signature: rewritten(evidence, ({ messages }) => ({
        messages: replaced(messages, 0, ({ header }) => ({
          header: { ...header, signature: flipped(header.signature, 0) },
        })),
      })),
      content: rewritten(evidence, ({ messages }) => ({
        messages: replaced(messages, 0, ({ leaves }) => ({
          leaves: leaves.map((leaf) => (leaf.name === "body" ? { ...leaf, value: flipped(leaf.value, 3) } : leaf)),
        })),
      })),
      entry: rewritten(evidence, ({ directory }) => ({
        directory: replaced(directory, 3, ({ bytes }) => ({ bytes: flipped(bytes, 40) })),
      })),
      digest: rewritten(evidence, ({ relayReceipts }) => ({
        relayReceipts: replaced(relayReceipts, 0, ({ digest }) => ({ digest: flipped(digest, 0) })),
      })),
    }
    const place = join(folder, "evidence")
    mkdirSync(place)
    for (const [name, bytes] of Object.entries(files)) writeFileSync(join(place, name), bytes)
    expect(await second("verdicts", place, trust)).toEqual({
      whole: "verified",
      accident: expect.stringMatching(/: altered$/),
      end: "end: truncated",
      signature: "message-1: signature",
      content: "receipt-1: content-hash",
      entry: "directory: inclusion",
      digest: "relay-receipt-1: relay-receipt",
    })
    expect(await second("evidence", join(place, "whole"))).toBe("refused: ERR_NOT_ANCHORED")
    const report = await second("evidence", join(place, "whole"), trust)
    expect(report).toMatchObject({
      exporter: network.address("kenya"),
      messages: [{ direction: "sent" }],
      receipts: expect.arrayContaining([expect.objectContaining({ kind: "officer-receipt" })]),
      relayReceipts: expect.arrayContaining([expect.objectContaining({ tied: true })]),
    })
  })

  test("it replays the directory's log, and verifies proofs of it", async (context) => {
    needPython(context)
    const { size } = network.directory.state
    expect(await second("log", log, trust)).toMatchObject({ size, refused: [], relays: ["relay.example"] })
    const source = network.directory.logSource()
    const leaves = await source.entries(0, size)
    const tree = new MerkleLog()
    for (const leaf of leaves) tree.append(leaf)
    const proof = {
      checkpoint: fromUtf8(await source.checkpoint()),
      inclusion: { index: size - 1, leaf: hex(leaves.at(-1)!), proof: tree.inclusionProof(size - 1, size).map(hex) },
      consistency: { checkpoint: fromUtf8(older), proof: tree.consistencyProof(size - 1, size).map(hex) },
    }
    const judged = (name: string, content: object) => second("proof", written(name, JSON.stringify(content)), trust)
    expect(await judged("proof", proof)).toEqual({ size, included: size - 1, consistentFrom: size - 1 })
    const elsewhere = { ...proof, inclusion: { ...proof.inclusion, index: 0 } }
    expect(await judged("elsewhere", elsewhere)).toMatch(/^refused: ERR_UNTRUSTED/)
    const short = { ...proof, consistency: { ...proof.consistency, proof: proof.consistency.proof.slice(1) } }
    expect(await judged("short", short)).toMatch(/^refused: ERR_UNTRUSTED/)
    const forged = { ...proof, checkpoint: proof.checkpoint.replace(`\n${size}\n`, `\n${size + 1}\n`) }
    expect(await judged("forged", forged)).toMatch(/^refused: ERR_UNTRUSTED/)
  })
})

interface Mail {
  readonly opened: readonly { readonly leaves: Record<string, string> }[]
  readonly refused: readonly string[]
}

function receiptAsJson({ blind, digest, mailbox, receipt }: RelayReceiptSection): object {
  const { relay, batch, index, path, minute } = receipt
  const signed = { bytes: hex(batch.bytes), signature: hex(batch.signature) }
  return { relay, batch: signed, index, path: path.map(hex), minute, ...hexed({ blind, digest, mailbox }) }
}

const hexed = (values: Record<string, Uint8Array>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, hex(value)]))
