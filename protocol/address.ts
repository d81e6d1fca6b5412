/** Who is who: States, roles, addresses and identifiers (SPEC, "Addresses and identifiers"). */
import { z } from "zod"
import { taggedHash } from "./hash.ts"
import { ValiseError } from "./errors.ts"
import { fixed } from "./limits.ts"

/** `live` or `exercise`: bound into every key, header and signature; separate roots. */
export type Mode = "live" | "exercise"

/** The directory that everything signed is bound to: its name and mode. */
export interface Realm {
  /** The directory's name, e.g. `directory.example`. Never a WebSocket Origin, never a relay's host. */
  readonly origin: string
  readonly mode: Mode
}

export type PocAddress = string & { readonly brand: "PocAddress" }
export type DeviceId = Uint8Array & { readonly brand: "DeviceId" }
export type OfficerId = Uint8Array & { readonly brand: "OfficerId" }
export type MailboxId = Uint8Array & { readonly brand: "MailboxId" }
export type PrekeyId = Uint8Array & { readonly brand: "PrekeyId" }
export type MessageId = Uint8Array & { readonly brand: "MessageId" }
export type Incarnation = Uint8Array & { readonly brand: "Incarnation" }
/** SHA3-256, of what the field's name says. */
export type Hash = Uint8Array & { readonly brand: "Hash" }

export interface PocName {
  readonly state: string
  readonly role: string
  readonly agency: string
}

/** `ke/technical/baobab`: State (lower case ISO 3166-1 alpha-2), role, agency. */
export function parsePocAddress(text: string): PocName & { readonly address: PocAddress } {
  const match = addressPattern.exec(text)
  if (!match || text.length > fixed.addressBytesMax)
    throw new ValiseError("ERR_UNKNOWN_ADDRESS", "not an address of a PoC", {
      hint: "an address reads state/role/agency, e.g. ke/technical/baobab; state/role means the State's default for that role",
    })
  const [, state, role, agency] = match
  return { state: state!, role: role!, agency: agency!, address: text as PocAddress }
}

/** The certificate's one SAN: State and role stand in the host, where URI name constraints reach them. */
export function pocUri(poc: PocName, origin: string): string {
  return `poc://${poc.agency}.${poc.role}.${poc.state}.${origin}/`
}

export const deviceIdOf = (poc: PocAddress, signingKey: Uint8Array): DeviceId =>
  taggedHash("device", poc, signingKey) as DeviceId

export const officerIdOf = (poc: PocAddress, signingKey: Uint8Array): OfficerId =>
  taggedHash("officer", poc, signingKey) as OfficerId

/** A mailbox belongs to one device at one relay by construction: nobody can list another's. */
export const mailboxOf = (device: DeviceId, relay: string): MailboxId =>
  taggedHash("mailbox", device, relay).subarray(0, 16) as MailboxId

export const prekeyIdOf = (publicKey: Uint8Array): PrekeyId =>
  taggedHash("prekey", publicKey).subarray(0, 16) as PrekeyId

/** Zod shapes for these types inside CBOR structures. */
export const shapes = {
  poc: z.custom<PocAddress>(
    (x) => typeof x === "string" && x.length <= fixed.addressBytesMax && addressPattern.test(x),
  ),
  device: bytesOf<DeviceId>(32),
  officer: bytesOf<OfficerId>(32),
  mailbox: bytesOf<MailboxId>(16),
  prekeyId: bytesOf<PrekeyId>(16),
  messageId: bytesOf<MessageId>(16),
  incarnation: bytesOf<Incarnation>(16),
  hash: bytesOf<Hash>(32),
  signature: bytesOf<Uint8Array>(64),
  signingKey: bytesOf<Uint8Array>(32),
  bytes: z.custom<Uint8Array>((x) => x instanceof Uint8Array),
  seconds: z
    .number()
    .int()
    .min(0)
    .max(2 ** 40),
  /** Minutes since 1970, the relay's unit of time. */
  minute: z
    .number()
    .int()
    .min(0)
    .max(2 ** 36),
  /** A relay's host as dialled and as the log lists it: visible ASCII, so it never needs decoding or escaping. */
  host: z.string().regex(/^[!-~]{1,255}$/),
  counter: z
    .number()
    .int()
    .min(0)
    .max(2 ** 48),
  mode: z.enum(["live", "exercise"]),
}

function bytesOf<T extends Uint8Array>(length: number): z.ZodType<T> {
  return z.custom<T>((x) => x instanceof Uint8Array && x.length === length)
}

const addressPattern = /^([a-z]{2})\/([a-z][a-z0-9-]{0,30})\/([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)$/
