import fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { hex } from "../../protocol/bytes.ts"
import { decodeBundle } from "../../client-sdk/evidence/bundle.ts"
import { etsiEvents, type Finding } from "../../client-sdk/evidence/findings.ts"
import { verifyEvidence, type EvidenceReport } from "../../client-sdk/evidence/verify.ts"
import { deviceOf, start } from "../support/directory.ts"
import {
  br,
  exported,
  homeOf,
  inRecord,
  ke,
  kenyasCase,
  outcome,
  outRecord,
  rewritten,
  sg,
  verdictOf,
  verified,
} from "../support/evidence.ts"

let world: Awaited<ReturnType<typeof kenyasCase>>
let report: EvidenceReport
beforeAll(async () => {
  world = await kenyasCase()
  report = verified(world.directory, world.bytes)
})

const only = (kind: Finding["kind"], text: string): Finding => {
  const found = report.findings.filter((finding) => finding.kind === kind && finding.title.includes(text))
  expect(found).toHaveLength(1)
  return found[0]!
}
const short = (poc: typeof sg, name = "first"): string => hex(deviceOf(poc, name)).slice(0, 8)
const provedToAnyone = ({ proves }: Finding): string =>
  proves
    .filter(({ to }) => to === "anyone")
    .map(({ text }) => text)
    .join("; ")

describe("what the sender's file proves", () => {
  test("the report says whose it is, how old its directory is, and what that is worth", () => {
    expect(report).toMatchObject({
      verdict: "verified",
      directory: { origin: "directory.example", mode: "live", size: world.directory.leaves.length },
      about: { exporter: ke, leftOut: 0, exported: "2027-01-15T10:00:00Z" },
    })
    expect(report.directory.asOf).toBe("2027-01-15T09:59:30Z")
    expect(report.directory.witnesses).toBe("no witnesses: the operator's word only")
    expect(report.findings.map(({ kind }) => kind)).toEqual([
      "message sent",
      "relay receipt",
      "relay receipt",
      "relay receipt",
      "device receipt",
      "device receipt",
      "officer receipt",
      "message received",
    ])
  })

  test("that its device wrote, not what; before the relay's minute, and after the checkpoint that the header names", () => {
    const sent = only("message sent", "notification")
    expect(provedToAnyone(sent)).toContain(`device ${short(ke)} of ${ke} signed the header`)
    expect(sent.doesNotProve.join()).toContain("what it says")
    expect(sent.notBefore).toEqual({ at: "2027-01-15T08:59:00Z", by: "log checkpoint" })
    expect(sent.notAfter).toEqual({ at: "2027-01-15T09:00:59Z", by: "relay receipt" })
    expect(sent.events).toEqual([])
  })

  test("that recipients' devices and officers received exactly this content, and not that they agree", () => {
    const delivered = only("device receipt", short(sg))
    expect(provedToAnyone(delivered)).toContain("exactly the content in this file")
    expect(delivered.notAfter).toEqual({ at: "2027-01-15T09:01:30Z", by: "device receipt" })
    expect(delivered.events).toEqual(["ContentHandover"])
    const seen = only("officer receipt", sg)
    expect(seen.doesNotProve.join()).toContain("receipt does not indicate concurrence")
    expect(seen.doesNotProve.join()).toContain(`that ${ke} wrote this content`)
    expect(seen.events).toEqual(["ContentAccessTracking"])
  })

  test("that the relay kept the bytes, which are this message only if the device's receipt names them", () => {
    const tied = only("relay receipt", short(sg))
    expect(provedToAnyone(tied)).toContain("the very bytes")
    expect(tied.events).toEqual(["SubmissionAcceptance", "ContentConsignment"])
    const untied = only("relay receipt", short(br, "second"))
    expect(untied.doesNotProve.join()).toContain("that the bytes are this message")
    expect(untied.events).toEqual(["SubmissionAcceptance"])
  })

  test("without any receipt the date is the sender's own word", () => {
    const bare = rewritten(world.bytes, () => ({ receipts: [], relayReceipts: [] }))
    const [sent] = verified(world.directory, bare).findings
    expect(sent!.notAfter).toBeNull()
    expect(sent!.doesNotProve.join()).toContain("its date is the sender's own word")
  })
})

test("a recipient's file proves that the sender's device wrote to it, and to nobody else what", async () => {
  const { directory, notification } = world
  const bytes = exported(await homeOf(directory, sg, [inRecord(notification, { poc: sg })]))
  const { findings } = verified(directory, bytes)
  expect(findings).toHaveLength(1)
  const [received] = findings
  expect(received!.kind).toBe("message received")
  expect(provedToAnyone(received!)).toContain(`the header names a device of ${sg} as one of 3 recipients`)
  expect(received!.proves.map(({ to }) => to)).toEqual(["anyone", "participants"])
  expect(received!.doesNotProve.join()).toContain("with any other content")
  expect(received!.notBefore).not.toBeNull()
  expect(received!.notAfter).toBeNull()
  expect(received!.events).toEqual([])
})

test("what no file can show stands in every report", () => {
  const said = report.caveats.join(" ")
  for (const words of [
    "ask the directory",
    "deniable by design",
    "not signed as a whole",
    "operator's word only",
    "own clocks",
  ])
    expect(said).toContain(words)
})

test("without a trust file: consistent, not anchored, and proves nothing; a false signature is found all the same", () => {
  const loose = verifyEvidence(world.bytes, undefined)
  expect(loose.verdict).toBe("consistent, not anchored")
  for (const finding of loose.findings)
    expect(finding).toMatchObject({ proves: [], events: [], notBefore: null, notAfter: null })
  const forged = rewritten(world.bytes, ({ receipts }) => ({
    receipts: receipts.map(({ kind, signed }) => ({ kind, signed: { ...signed, signature: new Uint8Array(64) } })),
    relayReceipts: [],
  }))
  expect(outcome(() => verifyEvidence(forged, undefined))).toContain("receipt-1: signature")
  const otherTrust = rewritten(world.bytes, ({ about }) => ({ about: { ...about, trust: "trust me" } }))
  expect(outcome(() => verifyEvidence(otherTrust, undefined))).toBe("about: malformed")
})

test("the reader's own trust file decides, whatever the file says of itself", () => {
  const otherTrust = rewritten(world.bytes, ({ about }) => ({ about: { ...about, trust: "trust me" } }))
  expect(verdictOf(world.directory, otherTrust)).toBe("verified")
})

test("a clock sees what lies in its future; without one nothing does", () => {
  expect(verdictOf(world.directory, world.bytes, start - 86_400)).toBe("about: checkpoint")
  const dated = rewritten(world.bytes, ({ about }) => ({ about: { ...about, time: start + 10 ** 6 } }))
  expect(verdictOf(world.directory, dated)).toBe("about: future")
  expect(verifyEvidence(dated, world.directory.anchor).verdict).toBe("verified")
})

test("the report is plain data, and its events are those of the standard that are used", () => {
  expect(JSON.parse(JSON.stringify(report))).toEqual(report)
  for (const { events } of report.findings) for (const event of events) expect(etsiEvents).toContain(event)
})

test("an error names section, check and all failures, and carries nothing else", () => {
  const changed = rewritten(world.bytes, ({ messages }) => ({ messages: messages.slice(1) }))
  expect(() => verified(world.directory, changed)).toThrow(
    "receipt-1: it is about a message that the exporter has not sent, or that this file does not hold (unknown-message); 5 further parts fail",
  )
})

test("any one byte string in any section replaced, hashes computed anew: never verified, unless it is deniable content", () => {
  const bundle = decodeBundle(world.bytes)
  const strings = leavesOf(bundle)
  fc.assert(
    fc.property(fc.nat(strings.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, at, mask) => {
      const { path, value } = strings[which]!
      if (value.length === 0) return
      const altered = value.slice()
      altered[at % value.length]! ^= mask
      const verdict = verdictOf(
        world.directory,
        rewritten(world.bytes, () => replacedAt(bundle, path, altered)),
      )
      // Of a received message the content is the exporter's word, and so is the time of the export.
      if (verdict === "verified") expect(path.join("/")).toMatch(/^messages\/1\/(leaves|contentKey)/)
    }),
    { numRuns: 60 },
  )
}, 120_000)

interface Place {
  readonly path: readonly (string | number)[]
  readonly value: Uint8Array
}

function leavesOf(value: unknown, path: readonly (string | number)[] = []): Place[] {
  if (value instanceof Uint8Array) return [{ path, value }]
  if (typeof value !== "object" || value === null) return []
  return Object.entries(value).flatMap(([key, item]) =>
    leavesOf(item, [...path, Array.isArray(value) ? Number(key) : key]),
  )
}

function replacedAt<T>(value: T, [key, ...rest]: readonly (string | number)[], put: Uint8Array): T {
  if (key === undefined) return put as T
  const inner = (value as Record<string | number, unknown>)[key]
  const changed = replacedAt(inner, rest, put)
  if (Array.isArray(value)) return value.map((item: unknown, i) => (i === key ? changed : item)) as T
  return { ...value, [key]: changed }
}

test("a message that the relay has not accepted yet: the header alone", async () => {
  const bytes = exported(await homeOf(world.directory, ke, [outRecord(world.notification, [])], []))
  expect(decodeBundle(bytes).relayReceipts).toEqual([])
  expect(verdictOf(world.directory, bytes)).toBe("verified")
})
