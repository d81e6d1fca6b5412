/**
 * Indicators travel byte for byte; this only checks that they are what they claim to be, and reads their values for those
 * who look for leaks. Nothing well kept exists for STIX 2.1 or MISP events, so the shapes here are small and lenient.
 */
import { z } from "zod"
import { fromUtf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"

export type BundleFormat = "stix-2.1" | "misp-event"

const stixBundle = z.looseObject({
  type: z.literal("bundle"),
  id: z.string(),
  objects: z.array(z.looseObject({ type: z.string(), id: z.string() })).min(1),
})
const mispAttribute = z.looseObject({ type: z.string(), value: z.string() })
const mispContent = z.looseObject({
  uuid: z.string(),
  info: z.string(),
  date: z.string(),
  Attribute: z.array(mispAttribute).optional(),
  Object: z.array(z.looseObject({ Attribute: z.array(mispAttribute).optional() })).optional(),
})
/** As MISP exports it, in an envelope `Event` or bare. */
const mispEvent = z.union([z.looseObject({ Event: mispContent }).transform(({ Event }) => Event), mispContent])

/** Throws `ERR_CONTENT` or `ERR_TOO_LARGE`, each with a hint. */
export function checkBundle(bytes: Uint8Array): BundleFormat {
  const hint = "give a STIX 2.1 bundle or a MISP event as JSON"
  if (bytes.length === 0) throw new ValiseError("ERR_CONTENT", "the indicators are empty", { hint })
  if (bytes.length > fixed.contentBytesMax)
    throw new ValiseError("ERR_TOO_LARGE", "the indicators are too large for one message", {
      hint: `at most ${fixed.contentBytesMax} bytes; split the bundle`,
    })
  let value: unknown
  try {
    value = JSON.parse(fromUtf8(bytes))
  } catch (cause) {
    throw new ValiseError("ERR_CONTENT", "the indicators are not JSON, or cut short", { cause, hint })
  }
  if (stixBundle.safeParse(value).success) return "stix-2.1"
  if (mispEvent.safeParse(value).success) return "misp-event"
  throw new ValiseError("ERR_CONTENT", "the indicators are JSON, but neither a STIX 2.1 bundle nor a MISP event", {
    hint,
  })
}

/** Values of indicators as they stand in the bundle: quoted literals of STIX patterns, `value` and `name` of observables, values of MISP attributes. */
export function indicatorValues(bytes: Uint8Array): string[] {
  const value: unknown = JSON.parse(fromUtf8(bytes))
  const found = new Set<string>()
  const misp = mispEvent.safeParse(value)
  if (misp.success) {
    const { Attribute = [], Object: objects = [] } = misp.data
    for (const { value } of [...Attribute, ...objects.flatMap((object) => object.Attribute ?? [])]) found.add(value)
  }
  const stix = stixBundle.safeParse(value)
  if (stix.success)
    for (const object of stix.data.objects) {
      if (typeof object["value"] === "string") found.add(object["value"])
      if (typeof object["pattern"] === "string")
        for (const [, literal] of object["pattern"].matchAll(/=\s*'((?:[^'\\]|\\.)*)'/g)) found.add(literal!)
    }
  return [...found]
}
