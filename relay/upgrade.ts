/** What an HTTP request must be like to become a connection (SPEC, "Connection"); `ws` itself would take almost anything. */
import type { IncomingMessage } from "node:http"
import { subprotocol } from "../protocol/frames.ts"

export interface UpgradeRules {
  /** Lower case. */
  readonly hosts: readonly string[]
  readonly origins: readonly string[]
}

/** The HTTP status to refuse with, or `undefined`. */
export function judgeUpgrade(request: IncomingMessage, rules: UpgradeRules): number | undefined {
  const [host, ...otherHosts] = headerValues(request, "host")
  const origins = headerValues(request, "origin")
  const protocols = headerValues(request, "sec-websocket-protocol")
  if (request.method !== "GET") return 405
  if (request.httpVersion !== "1.1") return 505
  if (host === undefined || otherHosts.length > 0) return 400
  if (!rules.hosts.includes(host.toLowerCase())) return 421
  if (origins.length > 1 || origins.some((origin) => !rules.origins.includes(origin))) return 403
  if (request.url !== "/") return 404
  if (protocols.length !== 1 || protocols[0] !== subprotocol) return 400
  return undefined
}

/** Every value of a header, also where Node keeps only the first. */
function headerValues(request: IncomingMessage, name: string): readonly string[] {
  const values: string[] = []
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2)
    if (request.rawHeaders[i]!.toLowerCase() === name) values.push(request.rawHeaders[i + 1]!)
  return values
}
