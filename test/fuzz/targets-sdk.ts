/** What a person opens that came from elsewhere: evidence, indicators, a vault's outer parts. */
import { utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { checkBundle, indicatorValues } from "../../client-sdk/indicators.ts"
import { checkContent } from "../../client-sdk/templates.ts"
import { decodeBundle, encodeBundle, type Bundle } from "../../client-sdk/evidence/bundle.ts"
import { describeEvidence } from "../../client-sdk/evidence/describe.ts"
import { verifyEvidence } from "../../client-sdk/evidence/verify.ts"
import { decodeHeader, encodeHeader } from "../../client-sdk/vault/header.ts"
import { decodeJournalRecord, emptyJournal, nextJournalRecord } from "../../client-sdk/vault/journal.ts"
import { lock } from "../../client-sdk/vault/lock.ts"
import { kenyasCase, now } from "../support/evidence.ts"
import type { Target } from "./engine.ts"
import * as by from "./mutations.ts"
import { ensure, sameBytes, tried } from "./properties.ts"

const honest = await kenyasCase()

/** A change inside the parts, with every hash of the file made anew, as a forger would. */
const forged: by.Mutation = (input, chance, other) => {
  try {
    const { value } = by.changeTree(decodeBundle(input), chance, other)
    return encodeBundle(plain(value) as Bundle)
  } catch {
    return by.bytes(input, chance, other)
  }
}

/** The maps of a changed tree as objects again. */
function plain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plain(item)]))
  return Array.isArray(value) ? value.map(plain) : value
}

/** The file's form alone, which costs little. */
const evidenceFiles: Target = {
  name: "evidence-file",
  seeds: [honest.bytes],
  mutations: [forged, by.bytes],
  stepsMax: { base: 20_000, perByte: 20 },
  cost: 4,
  check: (input) => {
    const bundle = tried(["ERR_EVIDENCE"], () => decodeBundle(input))
    if (bundle) sameBytes("evidence", encodeBundle(bundle), input)
  },
}

/** What it proves: with the reader's trust file, or, for every second one, without. */
const evidence: Target = {
  name: "evidence",
  seeds: [honest.bytes],
  mutations: [forged],
  stepsMax: { base: 100_000, perByte: 60 },
  // Each asks for some ten signatures of P-384.
  cost: 20,
  check: (input) => {
    const anchor = input.at(-1)! % 2 === 0 ? honest.directory.anchor : undefined
    const report = tried(["ERR_EVIDENCE"], () => verifyEvidence(input, anchor, { nowSeconds: now }))
    if (report) describeEvidence(report)
  },
}

const indicators: Target = {
  name: "indicators",
  seeds: [
    '{"type":"bundle","id":"bundle--1","objects":[{"type":"indicator","id":"indicator--1","pattern":"[ipv4-addr:value = \'192.0.2.7\']"}]}',
    '{"Event":{"uuid":"1","info":"x","date":"2026-11-21","Attribute":[{"type":"ip-dst","value":"192.0.2.7"}],"Object":[{"Attribute":[]}]}}',
    '{"text":"A note."}',
    '{"summary":"s","observed":"o","observedFrom":"2026-11-21T00:00:00Z","requestedAction":"block"}',
    `${"[".repeat(20_000)}${"]".repeat(20_000)}`,
    `{"type":"bundle","id":"b","objects":[{"type":"i","id":"i","pattern":"${"='".repeat(9000)}"}]}`,
  ].map(utf8),
  mutations: [by.json, by.json, by.bytes],
  stepsMax: { base: 2000, perByte: 10 },
  check: (input) => {
    const format = tried(["ERR_CONTENT", "ERR_TOO_LARGE"], () => checkBundle(input))
    if (format) for (const value of indicatorValues(input)) ensure(typeof value === "string", "a value is no text")
    const said = tried(["ERR_CONTENT"], (): unknown => JSON.parse(jsonOr(input)))
    for (const template of ["note", "incident-notification", "attack-alert", "__proto__"])
      tried(["ERR_CONTENT"], () => checkContent(template, said))
  },
}

function jsonOr(input: Uint8Array): string {
  const text = Buffer.from(input).toString()
  try {
    JSON.parse(text)
    return text
  } catch {
    return "null"
  }
}

const random = { bytes: (length: number) => new Uint8Array(length).fill(4) }
const locked = await lock({ kind: "key-file", key: new Uint8Array(32).fill(1) }, "a lock", utf8("secret"), random)
const journal = nextJournalRecord(emptyJournal, 1, "opened", { message: "ab", n: 1, deep: [{ a: [null, true] }] })

/** A copied vault's file, as far as it is read without its key; and a journal record. */
const vaults: Target = {
  name: "vault",
  seeds: [encodeHeader(locked), journal.bytes],
  mutations: [by.cbor, by.cbor, by.bytes],
  stepsMax: { base: 12_000, perByte: 60 },
  check: (input) => {
    const header = tried(["ERR_VAULT_TAMPERED", "ERR_VAULT"], () => decodeHeader(input))
    if (header) sameBytes("vault header", encodeHeader(header), input)
    const record = tried(["ERR_MALFORMED"], () => decodeJournalRecord(input))
    if (record) sameBytes("journal record", encodeCbor(record), input)
  },
}

export const sdkTargets: readonly Target[] = [evidenceFiles, evidence, indicators, vaults]
