/**
 * The basic scenario, told as it happens over the sandbox's real relay. Each step waits for the signed thing that it
 * speaks of; a step that does not come true throws, and the sandbox ends with a failure.
 */
import { spawnSync } from "node:child_process"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { ValiseError, type Message, type Poc } from "../../client-sdk/index.ts"
import type { EvidenceReport } from "../../client-sdk/evidence/verify.ts"
import { equal } from "../../protocol/bytes.ts"
import { safe } from "../io.ts"
import { forwardWithoutConsent } from "./dishonest.ts"
import { inspection, type Inspection } from "./inspection.ts"
import type { Network } from "./network.ts"
import type { Story } from "./story.ts"

/** No step of the story takes so long; a slow machine gets its time. */
const stepMaxMs = 60_000

export interface Outcome {
  readonly caseId: string
  readonly evidence: string
  readonly inspection: Inspection
  /** Who could open what, as observed. */
  readonly observed: {
    readonly franceReadsIndicators: boolean
    readonly franceReadsMessage: boolean
    readonly relayHolds: readonly string[]
  }
}

export async function playScenario(
  network: Network,
  story: Story,
  indicators: Uint8Array,
  stop: AbortSignal,
): Promise<Outcome> {
  const step = (): AbortSignal => AbortSignal.any([stop, AbortSignal.timeout(stepMaxMs)])
  const { ke, sg, br, fr, frDiplomatic } = network.pocs

  story.tell("\n1. Kenya notifies Singapore and Brazil")
  const subject = "Beaconing from a port authority's network"
  const summary = "Three hosts of a port authority beacon to a control server every 47 seconds."
  const observed = "First seen on 1 March. The loader was signed with a stolen certificate. No data loss is known yet."
  const sent = ke.send({
    to: ["sg/technical", "br/technical"],
    tlp: "AMBER",
    subject,
    content: { summary, observed, classification: "intrusion", requestedAction: "investigate" },
    indicators,
  })
  const caseId = sent.view.case
  const facts = { case: caseId, message: sent.id }
  story.tell(`  Kenya writes message ${short(sent.id)}, TLP:AMBER, indicators attached; it is durable in Kenya's vault`)
  for (const { poc, devices } of await sent.accepted(step())) {
    const waiting = devices.length > 1 ? ` (${devices.length} devices; one of them is switched off)` : ""
    story.happened(
      "message.accepted",
      { ...facts, to: poc, devices: devices.length },
      `the relay signs: stored on disk for ${poc}${waiting}`,
    )
  }

  story.tell("\n2. Singapore and Brazil open, acknowledge and answer")
  for (const poc of ["sg/technical", "br/technical"]) {
    const { devices, poc: address } = await sent.delivered(poc, step())
    const at = devices.find((device) => device.delivered)!.delivered!.at
    story.happened(
      "message.delivered",
      { ...facts, from: address },
      `a device of ${address} signs: decrypted, verified, archived (${at})`,
    )
  }
  const inSingapore = await arrived(sg, sent.id, step())
  const inBrazil = await arrived(br, sent.id, step())
  inSingapore.acknowledge()
  inBrazil.acknowledge()
  for (const poc of ["sg/technical", "br/technical"]) {
    const { acknowledged, poc: address } = await sent.acknowledged(poc, step())
    story.happened(
      "message.acknowledged",
      { ...facts, from: address, officer: acknowledged!.officer },
      `an officer of ${address} signs: seen. This does not indicate concurrence`,
    )
  }
  inSingapore.respond({ disposition: "acting", note: "We block the address and look for the loader." })
  inBrazil.respond({
    disposition: "needs-information",
    note: "Which time zone do the 47 seconds refer to in your logs?",
  })
  const answers: Message[] = []
  for (const poc of ["sg/technical", "br/technical"]) {
    const { response, poc: address } = await sent.responded(poc, step())
    answers.push(ke.message(response!.message))
    story.happened(
      "message.responded",
      { ...facts, from: address, disposition: response!.disposition },
      `${address} answers: ${response!.disposition}`,
    )
  }
  const reply = answers[1]!.reply({ text: "All times are UTC. The first contact was at 02:14." })
  await reply.delivered("br/technical", step())
  story.tell("  Kenya replies to Brazil; the case goes on")

  story.tell("\n3. Singapore tries to pass it on to France without consent")
  const refused = refusal(() => inSingapore.forward({ to: "fr/technical", leaves: ["indicators"] }))
  story.happened(
    "forward.refused",
    { ...facts, from: sg.whoami().poc, to: fr.whoami().poc, code: refused },
    `Singapore's own SDK refuses (${refused})`,
  )
  const dishonest = await network.without("sg", () =>
    forwardWithoutConsent(network.home("sg"), network.home("fr"), sent.id),
  )
  const quarantined = await arrived(fr, dishonest, step())
  const verdict = await fr.until(() => quarantined.view.forward?.unverified, step())
  story.happened(
    "forward.quarantined",
    {
      case: quarantined.view.case,
      message: dishonest,
      from: network.pocs.sg.whoami().poc,
      to: fr.whoami().poc,
      reason: verdict,
    },
    "a dishonest client forwards anyway: France's SDK quarantines it: unverified, the forwarder's word only",
  )

  story.tell("\n4. Singapore asks for consent; then France may see the indicators, and nothing else")
  const singapore = network.pocs.sg
  const message = singapore.message(sent.id)
  const request = message.requestConsent({
    with: "fr/technical",
    leaves: ["indicators"],
    purpose: "The same loader was seen in France.",
  })
  await grant(story, br, request.requestId, "Brazil consents", step())
  await grant(
    story,
    ke,
    request.requestId,
    "Kenya agrees, and attests to France that it wrote these indicators",
    step(),
  )
  const forwarded = message.forward(await request.granted(step()))
  const inFrance = await arrived(fr, forwarded.id, step())
  const from = await fr.until(() => inFrance.view.forward?.verifiedFrom, step())
  const shown = inFrance.view.forward!.parts.map(({ name }) => name)
  const franceReadsIndicators = equal(inFrance.part("indicators"), indicators)
  const franceReadsMessage = shown.some((name) => name !== "indicators" && name !== "involved")
  if (!franceReadsIndicators || franceReadsMessage)
    throw new ValiseError("ERR_INTERNAL", "France sees something else than was agreed")
  story.happened(
    "forward.verified",
    { case: inFrance.view.case, message: forwarded.id, from, to: fr.whoami().poc, parts: shown },
    `France sees ${shown.join(" and ")}: verified from ${from}, byte for byte, and nothing else of the message`,
  )
  const second = message.requestConsent({
    with: frDiplomatic.whoami().poc,
    leaves: ["indicators"],
    purpose: "For a demarche.",
  })
  await grant(story, br, second.requestId, "for a second third party, France's ministry, Brazil consents", step())
  await grant(story, ke, second.requestId, "and Kenya agrees", step())
  await second.granted(step())
  ke.withdraw(second.requestId)
  await singapore.until(() => (second.view.state === "withdrawn" ? true : undefined), step())
  story.happened(
    "consent.withdrawn",
    { case: caseId, message: sent.id, request: second.requestId, from: ke.whoami().poc },
    "Kenya withdraws before anything was passed on",
  )
  const late = refusal(() => message.forward(second.view))
  story.happened(
    "forward.refused",
    { ...facts, from: singapore.whoami().poc, to: frDiplomatic.whoami().poc, code: late },
    `that forward is refused (${late})`,
  )

  story.tell("\n5. Kenya exports the evidence; another process checks it offline")
  const evidence = exportEvidence(network, story, ke, caseId)

  story.tell("\n6. What the relay keeps, and what its operator could watch")
  const seen = inspection(network, { subject, texts: [summary, observed], indicators })
  story.happened(
    "relay.inspected",
    {
      waiting: seen.waiting,
      mailboxes: seen.mailboxes,
      searchedBytes: seen.searchedBytes,
      needles: seen.needles,
      found: seen.found,
    },
    undefined,
  )
  story.tell(seen.words)
  if (seen.found.length > 0) throw new ValiseError("ERR_INTERNAL", "the relay holds something that it must not hold")
  return {
    caseId,
    evidence,
    inspection: seen,
    observed: { franceReadsIndicators, franceReadsMessage, relayHolds: seen.found },
  }
}

async function grant(story: Story, poc: Poc, requestId: string, words: string, signal: AbortSignal): Promise<void> {
  await poc.until(() => poc.consents().find((view) => view.requestId === requestId), signal)
  const view = poc.grant(requestId)
  story.happened(
    "consent.granted",
    { message: view.message, request: requestId, from: poc.whoami().poc, to: view.thirdParty },
    words,
  )
}

/** Writes the file and lets `valise verify` judge it in a process of its own, whole, damaged and without a trust anchor. */
function exportEvidence(network: Network, story: Story, ke: Poc, caseId: string): string {
  const folder = join(network.folder, "evidence")
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `case-${short(caseId)}.valise`)
  writeFileSync(file, ke.exportEvidence(caseId), { mode: 0o600 })
  const whole = verify(file, network.trustFile)
  if (whole.status !== 0)
    throw new ValiseError("ERR_EVIDENCE", "the exported evidence does not verify", { hint: whole.err.trim() })
  story.tell(digest(JSON.parse(whole.out) as EvidenceReport))
  const damaged = join(folder, "one-byte-flipped.valise")
  const bytes = readFileSync(file)
  const at = Math.floor(bytes.length / 2)
  bytes[at] = bytes[at]! ^ 1
  writeFileSync(damaged, bytes, { mode: 0o600 })
  const flipped = verify(damaged, network.trustFile)
  const loose = verify(file)
  if (flipped.status === 0 || loose.status === 0)
    throw new ValiseError("ERR_EVIDENCE", "damaged or unanchored evidence passed")
  story.tell(`  the whole report: npx valise verify ${file} --trust ${network.trustFile}`)
  story.tell(`  with one byte flipped (number ${at}): ${lastError(flipped.err)}`)
  story.tell(`  without --trust: ${lastError(loose.err)}`)
  story.happened(
    "evidence.verified",
    { case: caseId, file, trust: network.trustFile, flippedRefused: true, unanchoredRefused: true },
    `evidence: ${file}`,
  )
  return file
}

function verify(file: string, trust?: string): { status: number | null; out: string; err: string } {
  const command = join(dirname(dirname(fileURLToPath(import.meta.url))), "valise.mjs")
  const wanted = ["--json", "verify", file, ...(trust === undefined ? [] : ["--trust", trust])]
  const done = spawnSync(process.execPath, [command, ...wanted], { encoding: "utf8" })
  return { status: done.status, out: done.stdout, err: done.stderr }
}

const lastError = (err: string): string => (JSON.parse(err) as { message: string }).message

/** One finding of each kind: what it proves, what it does not, and to whom. */
function digest({ caveats, findings, verdict }: EvidenceReport): string {
  const kinds = ["message sent", "relay receipt", "device receipt", "officer receipt", "message received"]
  const shown = kinds.flatMap((kind) => findings.find((finding) => finding.kind === kind) ?? [])
  const lines = shown.flatMap(({ doesNotProve, kind, proves, title }) => [
    `${kind}: ${title}`,
    ...proves.map(({ text, to }) => `    proves to ${to}: ${text}`),
    ...doesNotProve.map((text) => `    does not prove ${text}`),
  ])
  const count = `${findings.length} findings, one of each kind here; ${caveats.length} things that no such file can show`
  return [`verdict: ${verdict}; ${count}`, ...lines].map((line) => `  | ${safe(line)}`).join("\n")
}

function refusal(attempt: () => unknown): string {
  try {
    attempt()
  } catch (error) {
    if (error instanceof ValiseError) return error.code
    throw error
  }
  throw new ValiseError("ERR_INTERNAL", "a forward without consent was not refused")
}

/** The message, once it has arrived here. */
function arrived(poc: Poc, id: string, signal: AbortSignal): Promise<Message> {
  return poc.until(() => (poc.received().some((view) => view.id === id) ? poc.message(id) : undefined), signal)
}

const short = (id: string): string => id.slice(0, 8)
