/** What goes over HTTP between the directory's service, the desk and their clients; and what a person types of it. */
import type { PocAddress, Realm } from "../../protocol/address.ts"
import { concat, utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { errorTable, ValiseError, type ErrorCode } from "../../protocol/errors.ts"
import { judgeDevice, signManifest, signMember } from "../../protocol/manifest.ts"
import { readWords } from "../../protocol/words.ts"
import { decodeCode, encodeCode } from "../../pki/codes.ts"
import {
  deskQuestions,
  deviceOfferStructure,
  enrolmentStructure,
  questions,
  relayRequestStructure,
  trustHash,
  type QuestionTable,
} from "../../pki/directory-api.ts"
import { readAnswer } from "../../pki/directory-client.ts"
import { isVisibleLine } from "../../pki/profile.ts"
import { signPossession } from "../../pki/possession.ts"
import { readQuestion } from "../../directory/service.ts"
import { budgetName } from "../../system/budget.ts"
import { deviceEntry, officerEntry, pocKeyOf, start } from "../support/directory.ts"
import type { Target } from "./engine.ts"
import * as by from "./mutations.ts"
import { ensure, sameBytes, tried } from "./properties.ts"

const realm: Realm = { origin: "directory.example", mode: "exercise" }
const poc = "ke/technical/baobab" as PocAddress
const key = pocKeyOf(poc)
const [device, officer] = [deviceEntry(realm, poc), officerEntry(realm, poc)]
const member = signMember(key, realm, poc)
const times = { created: start, expires: start + 86_400 }
const listed = { version: 1, previous: null, ...times, devices: [device], officers: [officer] }
const manifest = signManifest(key, realm, { v: 1, poc, ...listed })
const trust = trustHash(utf8("trust"))
const signed = { bytes: utf8("statement"), signature: new Uint8Array(64) }
const host = "relay.example"
const organisation = "Office of Tests"
const id = "0123456789abcdef".repeat(2)
const [secret, code] = [new Uint8Array(10).fill(7), new Uint8Array(5).fill(9)]
const enrolment = enrolmentStructure.encode({ v: 1, poc, key: key.publicKey, member, manifest, trust })
const nomination = relayRequestStructure.encode({
  v: 1,
  host,
  urls: [`wss://${host}/`],
  organisation,
  key: key.publicKey,
  member: signPossession(key, realm, { use: "relay", host }),
})
const offer = deviceOfferStructure.encode({ v: 1, poc, device, officers: [officer], trust })
const proposal = {
  id,
  kind: "certificate",
  body: utf8("body"),
  request: enrolment,
  approvals: [signed],
  created: start,
}
const summary = { id, kind: "relay", about: host, approvals: 1, created: start }
const [logged, waiting] = [
  { outcome: "logged", index: 7 },
  { outcome: "waiting", id, approvals: 1 },
]

const asked: Record<string, readonly object[]> = {
  invitation: [{ secret }],
  enrol: [{ secret, request: enrolment }],
  manifest: [{ poc, manifest, coSignatures: [] }],
  revocation: [{ statement: signed }],
  renewal: [{ poc, member }],
  proposal: [{ id }],
  approve: [{ id, approval: signed }],
  "offer-device": [{ code, offer }],
  "fetch-device": [{ code }],
  nominate: [{ poc, organisation }],
  invite: [{ poc }],
  "nominate-relay": [{ request: nomination }],
}
const answered: Record<string, readonly object[]> = {
  invitation: [{ poc, organisation }],
  enrol: [logged, waiting],
  renewal: [proposal],
  proposals: [{ proposals: [summary, summary] }],
  "fetch-device": [{ offer }],
  invite: [{ secret, expires: start }],
  nominations: [{ nominations: [{ poc, organisation, state: "handed-in", expires: start, proposal: id }] }],
}
const failure = { code: "ERR_INVITATION", message: "no such code", hint: "ask the desk" }

const table: QuestionTable = { ...questions, ...deskQuestions }
const names = Object.keys(table)
const nameOf = (input: Uint8Array): string => names[(input[0] ?? 0) % names.length]!
/** The name's place in the table, then the body, after what else stands in front. */
const seedsOf = (bodies: Record<string, readonly object[]>, ...front: readonly number[]): Uint8Array[] =>
  Object.entries(bodies).flatMap(([name, all]) =>
    all.map((body) => concat(Uint8Array.of(names.indexOf(name), ...front), encodeCbor(body))),
  )

/** A stranger's question to the service, and what is handed in with it. */
const directoryQuestions: Target = {
  name: "directory-question",
  seeds: seedsOf(asked),
  mutations: [by.after(1, by.cbor), by.after(1, by.cbor), by.bytes],
  stepsMax: { base: 20_000, perByte: 300 },
  check: (input) => {
    const name = nameOf(input)
    const body = input.slice(1)
    const question = tried(["ERR_MALFORMED"], () => readQuestion(table, name, body)) as Question | undefined
    if (!question) return
    sameBytes(name, encodeCbor(question), body)
    for (const inner of [question.request, question.offer]) if (inner) readHandedIn(inner)
  },
}

interface Question {
  readonly request?: Uint8Array
  readonly offer?: Uint8Array
}

function readHandedIn(bytes: Uint8Array): void {
  for (const structure of [enrolmentStructure, relayRequestStructure, deviceOfferStructure]) {
    const read = tried(["ERR_MALFORMED", "ERR_VERSION"], () => structure.decode(bytes))
    if (read) sameBytes("handed in", encodeCbor(read), bytes)
    if (read && "device" in read) tried(["ERR_UNTRUSTED"], () => judgeDevice(read.poc, realm, read.device))
  }
}

const statuses = [200, 400, 403, 404, 429, 500, 503]
const codes = Object.keys(errorTable) as ErrorCode[]

/** Whatever answers where a directory should be: an answer of its shape, or an error that is fit for a screen. */
const directoryAnswers: Target = {
  name: "directory-answer",
  seeds: [...seedsOf(answered, 0), ...[1, 2, 6].map((status) => concat(Uint8Array.of(0, status), encodeCbor(failure)))],
  mutations: [by.after(2, by.cbor), by.after(2, by.cbor), by.bytes],
  stepsMax: { base: 20_000, perByte: 300 },
  check: (input) => {
    const name = nameOf(input)
    const body = input.slice(2)
    const status = statuses[(input[1] ?? 0) % statuses.length]!
    const answer = tried(codes, () => fitForAScreen(() => readAnswer(table, name, { status, dateSeconds: 0, body })))
    if (answer) sameBytes(name, encodeCbor(answer), body)
  },
}

function fitForAScreen<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof ValiseError)
      for (const text of [error.message, error.hint ?? "none"])
        ensure(isVisibleLine(text, 500), "an error that says more than one line")
    throw error
  }
}

/** Codes and words as somebody types them, and an address as a proxy tells it. */
const typed: Target = {
  name: "typed",
  seeds: [encodeCode(secret), encodeCode(code), "anchor apple bamboo candle", "198.51.100.7, 2001:db8::7"].map(utf8),
  mutations: [by.bytes, by.lines],
  stepsMax: { base: 20_000, perByte: 300 },
  check: (input) => {
    const text = Buffer.from(input).toString()
    for (const length of [5, 20]) {
      const bytes = tried(["ERR_INVITATION"], () => decodeCode(text, length))
      if (bytes) sameBytes("code", decodeCode(encodeCode(bytes), length), bytes)
    }
    readWords(text)
    ensure(budgetName("192.0.2.1", text, ["192.0.2.1"]).length <= addressCharactersMax, "a long name of a budget")
  },
}

/** An IPv6 address in its longest form. */
const addressCharactersMax = 45

export const serviceTargets: readonly Target[] = [directoryQuestions, directoryAnswers, typed]
