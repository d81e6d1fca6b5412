/** What a program says, checked before anything is written. */
import { z } from "zod"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { tlpLabels } from "../protocol/tlp.ts"
import { dispositions, type ReplyInput, type RespondInput, type SendInput } from "./api.ts"
import { checkBundle } from "./indicators.ts"

const text = (max: number) =>
  z
    .string()
    .refine(
      (value) => value.trim() !== "" && value.isWellFormed() && Array.from(value).length <= max,
      `1 to ${max} characters`,
    )

/** A subject is one line on a screen; a note or reply is what a template's field holds. */
const subject = text(300)
export const responseShape = z.strictObject({
  disposition: z.enum(dispositions),
  note: text(8000).optional(),
  disputes: text(64).optional(),
  redirectedTo: text(128).optional(),
})
const replyText = text(16_000)
const partName = /^[a-z][A-Za-z0-9]{0,63}$/

/** Leaves with a meaning of their own (SPEC, "Messages"): no part may be called so. */
const reservedNames: ReadonlySet<string> = new Set([
  "type",
  "case",
  "to",
  "involved",
  "inReplyTo",
  "tlp",
  "pap",
  "language",
  "template",
  "subject",
  "body",
  "terms",
  "translation",
  "indicators",
  "attachments",
  "response",
  "statement",
  "signature",
  "receipt",
  "skipped",
  "resendOf",
])

const usage: z.ZodType = z.looseObject({
  to: z.array(z.string()).min(1),
  tlp: z.enum(tlpLabels),
  language: z
    .string()
    .regex(/^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$/)
    .optional(),
  involved: z.array(z.string()).optional(),
  lifetimeSeconds: z.number().int().min(1).max(fixed.lifetimeSecondsMax).optional(),
  strictForwardSecrecy: z.boolean().optional(),
})

/** Throws `ERR_USAGE`, `ERR_CONTENT` or `ERR_TOO_LARGE`, each with a hint; addresses and the template are checked elsewhere. */
export function checkSend(input: SendInput): void {
  conform("ERR_USAGE", "this cannot be sent", usage, input)
  conform("ERR_CONTENT", "the subject does not fit", subject, input.subject)
  if (input.indicators) checkBundle(input.indicators)
  for (const [name, value] of Object.entries(input.parts ?? {}))
    if (!partName.test(name) || reservedNames.has(name) || !(value instanceof Uint8Array))
      throw new ValiseError("ERR_CONTENT", `a part cannot be named ${JSON.stringify(name.slice(0, 64))}`, {
        hint: "letters and digits, beginning with a lower case letter; names with a meaning of their own are taken",
      })
}

/** Throws `ERR_CONTENT` with a hint. */
export function checkResponse(response: RespondInput): RespondInput {
  return conform("ERR_CONTENT", "this is no response", responseShape, response) as RespondInput
}

/** Throws `ERR_CONTENT` or `ERR_TOO_LARGE`, each with a hint. */
export function checkReply(reply: ReplyInput): void {
  conform("ERR_CONTENT", "the text of the reply does not fit", replyText, reply.text)
  if (reply.indicators) checkBundle(reply.indicators)
}

function conform(code: "ERR_USAGE" | "ERR_CONTENT", message: string, shape: z.ZodType, value: unknown): unknown {
  const parsed = shape.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const field = issue?.path.join(".")
  throw new ValiseError(code, message, { hint: [field, issue?.message].filter(Boolean).join(": ") })
}
