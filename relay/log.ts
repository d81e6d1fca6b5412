/**
 * The relay's log: events, with fields that can hold a count, a duration, a code or a number of this run, and nothing
 * else. Keys, names, addresses, mailboxes and content do not type-check, and are dropped if a cast lets them through.
 */
import { pino, type DestinationStream } from "pino"
import { errorTable, ValiseError, type ErrorCode } from "../protocol/errors.ts"

export type RelayEventName =
  | "relay.listening"
  | "relay.draining"
  | "relay.closed"
  | "relay.fault"
  | "connection.refused"
  | "connection.closed"
  | "connection.live"
  | "mailbox.expired"
  | "store.quarantined"
  | "store.damaged"
  | "device.left"
  | "directory.grown"
  | "directory.refused"

export interface RelayLogFields {
  /** Counted from the start of this process. */
  readonly connection?: number
  readonly code?: ErrorCode
  /** HTTP status or WebSocket close code. */
  readonly status?: number
  readonly count?: number
  readonly bytes?: number
  readonly ms?: number
  readonly size?: number
  readonly port?: number
}

export interface RelayLog {
  info(event: RelayEventName, fields?: RelayLogFields): void
  warn(event: RelayEventName, fields?: RelayLogFields): void
  /** A fault of the relay's own: its code and the place in our source, not its message, which may quote anything. */
  fault(error: unknown): void
}

/** @param destination where JSON lines go; standard output unless given */
export function relayLog(destination?: DestinationStream): RelayLog {
  const options = { base: null, messageKey: "event" }
  const out = destination ? pino(options, destination) : pino(options)
  return {
    info: (event, fields = {}) => out.info(admitted(fields), event),
    warn: (event, fields = {}) => out.warn(admitted(fields), event),
    fault: (error) => {
      const code = error instanceof ValiseError ? error.code : "ERR_INTERNAL"
      out.error({ ...admitted({ code }), ...placeOf(error) }, "relay.fault")
    },
  }
}

export const silentLog: RelayLog = { info: () => {}, warn: () => {}, fault: () => {} }

const numberFields = new Set(["connection", "status", "count", "bytes", "ms", "size", "port"])

function admitted(fields: RelayLogFields): Record<string, number | string> {
  const out: Record<string, number | string> = {}
  for (const [name, value] of Object.entries(fields))
    if (numberFields.has(name) ? Number.isFinite(value) : name === "code" && Object.hasOwn(errorTable, String(value)))
      out[name] = value as number | string
  return out
}

/** File name and line of the innermost frame, e.g. `session.ts:120`. Nothing of the message, which comes before. */
function placeOf(error: unknown): { readonly place?: string } {
  if (!(error instanceof Error)) return {}
  const [, frames] = error.stack?.split(error.message === "" ? "\n" : error.message, 2) ?? []
  const place = /^\s+at .*?[/\\]([a-z][a-z.-]{0,40}\.[jt]s:\d{1,6}):\d+\)?$/m.exec(frames ?? "")?.[1]
  return place === undefined ? {} : { place }
}
