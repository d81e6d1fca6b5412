/** From what a person means to say to leaves, and back (SPEC, "Messages", table of content leaves). */
import { z } from "zod"
import { shapes, type Hash, type MessageId, type PocAddress } from "../protocol/address.ts"
import { fromHex, fromUtf8, hex, utf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import type { Leaf } from "../protocol/leaves.ts"
import { tlpLabels, type Tlp } from "../protocol/tlp.ts"
import { decodeInvolved } from "../protocol/consent.ts"
import { messageTypes, type MessageType, type RespondInput } from "./api.ts"
import { responseShape } from "./inputs.ts"
import { templateVersion, terms } from "./templates.ts"

export interface Reference {
  readonly message: MessageId
  /** The C of the message that is answered: participants notice when a sender told them different things. */
  readonly content: Hash
}

/** What every message says of itself; each field is one leaf. */
export interface Frame {
  readonly type: MessageType
  readonly case: Uint8Array
  readonly to: readonly PocAddress[]
  readonly involved?: readonly PocAddress[]
  readonly inReplyTo?: Reference
}

export interface Notification {
  readonly tlp: Tlp
  readonly language: string
  readonly template: string
  readonly subject: string
  readonly body: Readonly<Record<string, unknown>>
  readonly indicators?: Uint8Array
  readonly parts?: Readonly<Record<string, Uint8Array>>
}

export function frameLeaves(frame: Frame): Leaf[] {
  const leaves: Leaf[] = [textLeaf("type", frame.type), textLeaf("case", hex(frame.case)), jsonLeaf("to", frame.to)]
  if (frame.involved) leaves.push(jsonLeaf("involved", frame.involved))
  if (frame.inReplyTo)
    leaves.push(jsonLeaf("inReplyTo", { message: hex(frame.inReplyTo.message), content: hex(frame.inReplyTo.content) }))
  return leaves
}

export function notificationLeaves(frame: Frame, said: Notification): Leaf[] {
  const leaves = [
    ...frameLeaves(frame),
    textLeaf("tlp", said.tlp),
    textLeaf("language", said.language),
    jsonLeaf("template", { id: said.template, version: templateVersion }),
    textLeaf("subject", said.subject),
    jsonLeaf("body", said.body),
    textLeaf("terms", terms),
  ]
  if (said.indicators) leaves.push({ name: "indicators", value: said.indicators })
  for (const [name, value] of Object.entries(said.parts ?? {})) leaves.push({ name, value })
  return leaves
}

/** A response keeps the label of what it answers. */
export function responseLeaves(frame: Frame, tlp: Tlp, response: RespondInput): Leaf[] {
  return [...frameLeaves(frame), textLeaf("tlp", tlp), jsonLeaf("response", response), textLeaf("terms", terms)]
}

/** The right of the officer who must release a message of this type; `undefined` for what a device sends by itself. */
export const releaseRight = (type: MessageType): "release" | "consent" | "attest" | undefined => releaseRights[type]

const releaseRights = {
  notification: "release",
  reply: "release",
  response: "release",
  "consent-request": "release",
  consent: "consent",
  "consent-refusal": "consent",
  "consent-withdrawal": "release",
  attestation: "attest",
  attested: "release",
  forward: "release",
  "use-receipt": undefined,
  "device-receipt": undefined,
  "officer-receipt": undefined,
} as const satisfies Record<MessageType, string | undefined>

export const textLeaf = (name: string, text: string): Leaf => ({ name, value: utf8(text) })
export const jsonLeaf = (name: string, value: unknown): Leaf => ({ name, value: utf8(JSON.stringify(value)) })
export const bytesLeaf = (name: string, value: Uint8Array): Leaf => ({ name, value })

export function leafNamed(leaves: readonly Leaf[], name: string): Uint8Array | undefined {
  return leaves.find((leaf) => leaf.name === name)?.value
}

/** The frame of a received message. Throws `ERR_CONTENT` or `ERR_MALFORMED` if one of its leaves is missing or malformed. */
export function readFrame(leaves: readonly Leaf[]): Frame {
  const type = messageType.safeParse(readText(leaves, "type"))
  const caseId = caseShape.safeParse(readText(leaves, "case"))
  const to = addresses.safeParse(readJson(leaves, "to"))
  if (!type.success || !caseId.success || !to.success) throw malformed()
  const involvedLeaf = leafNamed(leaves, "involved")
  const involved = involvedLeaf && decodeInvolved(involvedLeaf)
  const inReplyTo = leafNamed(leaves, "inReplyTo") && reference.safeParse(readJson(leaves, "inReplyTo"))
  if (inReplyTo && !inReplyTo.success) throw malformed()
  return {
    type: type.data,
    case: caseId.data,
    to: to.data,
    ...(involved && { involved }),
    ...(inReplyTo && {
      inReplyTo: { message: inReplyTo.data.message as MessageId, content: inReplyTo.data.content as Hash },
    }),
  }
}

export function readTlp(leaves: readonly Leaf[]): Tlp | undefined {
  const parsed = tlpShape.safeParse(readText(leaves, "tlp"))
  return parsed.success ? parsed.data : undefined
}

export function readResponse(leaves: readonly Leaf[]): RespondInput | undefined {
  const parsed = responseShape.safeParse(readJson(leaves, "response"))
  return parsed.success ? (parsed.data as RespondInput) : undefined
}

/** `undefined` if there is no such leaf or it is not UTF-8. */
export function readText(leaves: readonly Leaf[], name: string): string | undefined {
  const value = leafNamed(leaves, name)
  if (!value) return undefined
  try {
    return fromUtf8(value)
  } catch {
    return undefined
  }
}

export function readJson(leaves: readonly Leaf[], name: string): unknown {
  const text = readText(leaves, name)
  if (text === undefined) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const messageType = z.enum(messageTypes)
const addresses = z.array(shapes.poc).min(1).max(1024)
const hexOf = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`))
    .transform(fromHex)
const caseShape = hexOf(16)
const tlpShape = z.enum(tlpLabels)
const reference = z.strictObject({ message: hexOf(16), content: hexOf(32) })
const malformed = (): ValiseError => new ValiseError("ERR_CONTENT", "a leaf that every message needs is malformed")
