/**
 * Templates: what the content of a message must say. No template has a field for a verdict on who is guilty, and none
 * will: establishing that is not what this channel is for (README, "Non-goal").
 */
import { z } from "zod"
import { ValiseError } from "../protocol/errors.ts"

/** Bound into every notification; a notification without it is shown with a banner. */
export const terms =
  "This notification does not imply responsibility of any State. A receipt does not indicate concurrence. " +
  "Replies and actions are each State's own decision."

const text = (max: number) => z.string().trim().min(1).max(max)

export const templates = {
  /** A computer incident: something has happened. */
  "incident-notification": z.strictObject({
    summary: text(4000),
    observed: text(8000),
    observedFrom: z.iso.datetime().optional(),
    observedUntil: z.iso.datetime().optional(),
    classification: text(200).optional(),
    severity: z.enum(["red", "yellow", "green", "white"]).optional(),
    requestedAction: z.enum(["investigate", "block", "contact", "inform", "none"]),
  }),
  /** A computer attack that is under way or expected. */
  "attack-alert": z.strictObject({
    summary: text(4000),
    observed: text(8000),
    outlook: z.enum(["improving", "stable", "worsening"]).optional(),
    requestedAction: z.enum(["investigate", "block", "contact", "inform", "none"]),
  }),
  /** Anything else between duty officers. */
  note: z.strictObject({ text: text(16_000) }),
} as const

export type TemplateName = keyof typeof templates
export const templateVersion = 1

/** Throws `ERR_CONTENT` with a hint that names the field. */
export function checkContent(template: string, content: unknown): Record<string, unknown> {
  if (!Object.hasOwn(templates, template))
    throw new ValiseError("ERR_CONTENT", "no such template", {
      hint: `templates: ${Object.keys(templates).join(", ")}`,
    })
  const parsed = templates[template as TemplateName].safeParse(content)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    const field = issue?.path.join(".")
    throw new ValiseError("ERR_CONTENT", `the content does not fit the template ${template}`, {
      hint: field ? `${field}: ${issue?.message}` : (issue?.message ?? "see the template's fields"),
    })
  }
  return parsed.data
}
