/** What the directory's service says of itself: events with counts and codes. Who asked for what stands in the log of entries. */
import { pino, type DestinationStream } from "pino"
import { ValiseError, type ErrorCode } from "../protocol/errors.ts"

export type ServiceEventName =
  | "service.listening"
  | "service.closed"
  | "service.fault"
  | "question.refused"
  | "entry.logged"
  | "proposal.waiting"

export interface ServiceLog {
  info(event: ServiceEventName, fields?: { readonly index?: number; readonly port?: number }): void
  refused(code: ErrorCode): void
  /** A fault of the service's own: its code and stack, never a question's content. */
  fault(error: unknown): void
}

/** @param destination where JSON lines go */
export function serviceLog(destination: DestinationStream): ServiceLog {
  const out = pino({ base: null, messageKey: "event" }, destination)
  return {
    info: (event, fields = {}) => out.info(fields, event),
    refused: (code) => out.warn({ code }, "question.refused"),
    fault: (error) => {
      const code = error instanceof ValiseError ? error.code : "ERR_INTERNAL"
      const stack = error instanceof Error ? error.stack : undefined
      out.error({ code, stack }, "service.fault")
    },
  }
}
