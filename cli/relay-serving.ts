/** A relay as a program: its key and nomination, what must be right before it serves, and its life until it is told to end. */
import { z } from "zod"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { createKeyFile, readKeyFile } from "../client-sdk/vault/key-file.ts"
import { equal, fromUtf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { SigningKey } from "../protocol/primitives.ts"
import { verificationWords } from "../protocol/words.ts"
import { readTrustFile, type TrustAnchor } from "../pki/anchor.ts"
import { relayRequestStructure } from "../pki/directory-api.ts"
import { DirectoryClient } from "../pki/directory-client.ts"
import type { LogSource } from "../pki/log-source.ts"
import { signPossession } from "../pki/possession.ts"
import { isRelayHost } from "../pki/profile.ts"
import type { RelayRecord } from "../pki/state.ts"
import { isLoopback, parseRelayConfig, type RelayConfig } from "../relay/config.ts"
import { DirectoryMirror } from "../relay/directory-mirror.ts"
import { logFolder } from "../relay/log-folder.ts"
import { relayLog, type RelayLog } from "../relay/log.ts"
import { Relay } from "../relay/relay.ts"
import { serveRelay, type RelayServer, type ServerParts } from "../relay/server.ts"
import { openSegmentStore } from "../relay/store-segment.ts"
import { seconds } from "../system/machine.ts"
import { nodeHttp } from "../system/node-http.ts"
import { nodeMachine } from "../system/node.ts"
import { readBytes } from "./founding.ts"
import { ended, logDestination, readTls, tlsCertificateHash, type TlsFiles } from "./serving.ts"

export interface NewRelay {
  readonly folder: string
  /** As clients dial it and the log lists it. */
  readonly host: string
  readonly urls: readonly string[]
  readonly organisation: string
  /** The directory's trust file. */
  readonly trust: string
  readonly output: string
}

/**
 * Makes the relay's key, once, and the file that nominates it; for a renewal or other addresses the same again.
 * Resolves to the words that name the nomination.
 */
export function nominateRelay(options: NewRelay): readonly string[] {
  const { folder, host, organisation, output, urls } = options
  const trust = fromUtf8(readBytes(options.trust))
  const { realm } = readTrustFile(trust)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const key = relayKey(folder)
  const possession = signPossession(key, realm, { use: "relay", host })
  const request = relayRequestStructure.encode({
    v: 1,
    host,
    urls,
    organisation,
    key: key.publicKey,
    member: possession,
  })
  key.erase()
  writeFileSync(join(folder, "trust"), trust, { mode: 0o600 })
  writeFileSync(join(folder, "relay.json"), `${JSON.stringify({ v: 1, host })}\n`, { mode: 0o600 })
  writeFileSync(output, request, { mode: 0o644 })
  return verificationWords("relay", request)
}

/** The relay's own signing key, made at the relay. */
export function relayKey(folder: string): SigningKey {
  const path = join(folder, "relay.key")
  const secret = existsSync(path) ? readKeyFile(path) : createKeyFile(path, nodeMachine.random)
  if (secret.kind !== "key-file") throw new ValiseError("ERR_INTERNAL", "a key file holds a passphrase")
  return new SigningKey(secret.key)
}

export interface ServeRelayOptions extends TlsFiles {
  readonly folder: string
  readonly directory: string
  readonly host: string
  readonly port: number
  /** The certificate (PEM) of the proxy that ends TLS in front. */
  readonly tlsHashOf?: string
  readonly proxies: readonly string[]
  readonly log?: string
  readonly stop: AbortSignal
}

export interface Listening {
  readonly host: string
  readonly url: string
  /** What the operator should see to, in words. */
  readonly notes: readonly string[]
}

/** @param told when it listens */
export async function runRelay(options: ServeRelayOptions, told: (listening: Listening) => void): Promise<void> {
  const { directory: url, folder, host: address, port, proxies, stop } = options
  const host = readHost(folder)
  const tls = readTls(options)
  const certificateFile = options.tlsCert ?? options.tlsHashOf
  if (!isLoopback(address) && certificateFile === undefined)
    throw new ValiseError("ERR_USAGE", "beyond this machine a relay is reached over TLS only", {
      hint: "give --tls-cert and --tls-key, or --tls-hash-of with the certificate of the proxy in front",
    })
  const anchor = readTrustFile(fromUtf8(readBytes(join(folder, "trust"))))
  const directory = new DirectoryClient(url, nodeHttp)
  await requireClock(directory)
  await using opened = new AsyncDisposableStack()
  const log = relayLog(logDestination(options.log))
  const hostsOf = ({ host, urls }: RelayRecord) => [host, ...urls.map((each) => new URL(each).host)]
  const { record, server } = await startRelay(
    {
      folder,
      host,
      anchor,
      key: relayKey(folder),
      source: directory.log,
      configFor: (listed) =>
        parseRelayConfig({ address, port, proxies: [...proxies], hosts: [...new Set(hostsOf(listed))] }),
      log,
      keepsLog: true,
      ...(tls && { tls }),
      ...(certificateFile !== undefined && { tlsCertificate: certificateFile }),
    },
    opened,
  )
  told({ host, url: server.url, notes: notesOn(record) })
  await ended(stop)
}

export interface RelayStart {
  /** Where its store is. */
  readonly folder: string
  readonly host: string
  readonly anchor: TrustAnchor
  readonly key: SigningKey
  readonly source: LogSource
  readonly configFor: (listed: RelayRecord) => RelayConfig
  readonly log: RelayLog
  /** Whether a copy of the log is kept in the folder. */
  readonly keepsLog: boolean
  readonly tls?: NonNullable<ServerParts["tls"]>
  /** The file (PEM) with the certificate that clients see. Read at every login: a proxy's is replaced while it serves. */
  readonly tlsCertificate?: string
}

/** Mirrors the log, finds itself in it, opens the store and listens; what must be closed later goes onto the stack. */
export async function startRelay(
  start: RelayStart,
  opened: AsyncDisposableStack,
): Promise<{ readonly record: RelayRecord; readonly server: RelayServer }> {
  const { anchor, folder, host, key, log, source, tls, tlsCertificate } = start
  const { clock, random } = nodeMachine
  // Its lock keeps a second relay out, also of the copy of the log.
  const store = await openSegmentStore(folder, { onDecayed: () => log.warn("store.quarantined", { count: 1 }) })
  opened.defer(() => store.close())
  const kept = logFolder(join(folder, "log"))
  const mirror = new DirectoryMirror({ anchor, source, clock, log, host, ...(start.keepsLog && { keep: kept.keep }) })
  opened.defer(() => mirror.stop())
  if (start.keepsLog) await mirror.recall(kept.source)
  await mirror.sync().catch((error: unknown) => {
    const isAway = error instanceof ValiseError && error.code === "ERR_OFFLINE" && mirror.size > 0
    if (!isAway) throw error
  })
  const record = requireListed(mirror.relay(), key.publicKey, seconds(clock))
  const hash = tlsCertificate === undefined ? undefined : () => tlsCertificateHash(tlsCertificate)
  hash?.()
  const certificate = () => certificateNow(mirror, record)
  const parts = { realm: anchor.realm, host, key, certificate, store, directory: mirror, clock, random, log }
  const relay = new Relay({ ...parts, ...(hash && { tlsCertificateHash: hash }) })
  await mirror.follow((device, mailbox) => relay.deviceLeft(device, mailbox))
  const config = start.configFor(record)
  const server = await serveRelay({ relay, config, clock, log, ...(tls && { tls }) }).catch(
    (cause: NodeJS.ErrnoException) => {
      throw new ValiseError("ERR_USAGE", `the relay cannot listen on port ${config.port} of ${config.address}`, {
        cause,
        hint: `${cause.code}: another program has it, this machine has no such address, or it is not for everybody (below 1024)`,
      })
    },
  )
  opened.defer(() => server.close())
  return { record, server }
}

/** The log's newest for the key that this relay has: a renewed one counts without a restart. */
function certificateNow(mirror: DirectoryMirror, atStart: RelayRecord): Uint8Array {
  const now = mirror.relay()
  return now && equal(now.key, atStart.key) ? now.certificate : atStart.certificate
}

/** A relay whose clock is off would refuse good papers and date receipts wrongly. */
async function requireClock(directory: DirectoryClient): Promise<void> {
  const theirs = await directory.timeSeconds().catch((error: unknown) => {
    if (error instanceof ValiseError && error.code === "ERR_OFFLINE") return undefined
    throw error
  })
  const ahead = theirs === undefined ? 0 : seconds(nodeMachine.clock) - theirs
  if (Math.abs(ahead) <= fixed.clockSkewSecondsMax) return
  throw new ValiseError("ERR_USAGE", `this machine's clock and the directory's differ by ${Math.abs(ahead)} seconds`, {
    hint: "set both by NTP, then start again",
  })
}

function requireListed(record: RelayRecord | undefined, key: Uint8Array, now: number): RelayRecord {
  if (!record || !equal(record.key, key))
    throw new ValiseError(
      "ERR_NOT_FOUND",
      "the directory does not list this relay, or not with the key in this folder",
      {
        hint: "`valise relay init` makes its nomination; two officers of the directory approve it",
      },
    )
  if (record.notAfter > now) return record
  throw new ValiseError("ERR_UNTRUSTED", "this relay's certificate has expired, so no client would talk to it", {
    hint: "`valise relay init` makes the nomination for a new one; two officers of the directory approve it",
  })
}

function notesOn({ notAfter, urls }: RelayRecord): readonly string[] {
  const left = Math.floor((notAfter - seconds(nodeMachine.clock)) / 86_400)
  const notes = []
  if (left < renewAheadDays)
    notes.push(`the relay's certificate ends in ${left} days: valise relay init, and two approvals`)
  if (urls.length === 0) notes.push("the directory lists no address of this relay: clients try wss:// and its host")
  return notes
}

const renewAheadDays = 30

const hostShape = z.strictObject({ v: z.literal(1), host: z.string().refine(isRelayHost) })

function readHost(folder: string): string {
  try {
    return hostShape.parse(JSON.parse(readFileSync(join(folder, "relay.json"), "utf8"))).host
  } catch (cause) {
    throw new ValiseError("ERR_NOT_FOUND", "there is no relay in this folder", { cause, hint: "valise relay init" })
  }
}
