/** The relay's configuration: parsed once, where the process starts, then frozen. */
import { z } from "zod"
import { ValiseError } from "../protocol/errors.ts"

const host = z.string().regex(/^[a-z0-9.:[\]-]{1,255}$/, "a host in lower case, with its port unless that is 443")
const ipAddress = z.union([z.ipv4(), z.ipv6()])

const shape = z
  .strictObject({
    /** Where to listen. Anything but a loopback address is to be chosen on purpose, and needs `hosts`. */
    address: ipAddress.default("127.0.0.1"),
    /** 0: any free port. */
    port: z.number().int().min(0).max(65_535).default(0),
    /** What clients may write in the HTTP header `Host`, besides the loopback names where it listens on loopback. */
    hosts: z.array(host).max(16).default([]),
    /** Web origins whose pages may connect; a client that is no browser sends no Origin. */
    origins: z.array(z.string().max(255)).max(16).default([]),
    /** TLS proxies in front: their `X-Forwarded-For` names the address that budgets count by. */
    proxies: z.array(ipAddress).max(16).default([]),
  })
  .refine((config) => isLoopback(config.address) || config.hosts.length > 0, {
    path: ["hosts"],
    error: "needed when the relay listens on more than the loopback interface",
  })

export type RelayConfig = Readonly<z.infer<typeof shape>>

/** Throws `ERR_USAGE` with a hint that names what is wrong; unknown names are wrong. */
export function parseRelayConfig(value: unknown): RelayConfig {
  const parsed = shape.safeParse(value)
  if (!parsed.success) throw new ValiseError("ERR_USAGE", "the relay's configuration", { hint: hintOf(parsed.error) })
  return Object.freeze(parsed.data)
}

export const isLoopback = (address: string): boolean => address.startsWith("127.") || address === "::1"

const hintOf = (error: z.ZodError): string =>
  error.issues.map((issue) => `${issue.path.join(".") || "configuration"}: ${issue.message}`).join("; ")
