/**
 * Enrolment at the PoC: a code becomes a home. Keys are made here; public keys, proof of possession and the first
 * manifest are handed in; when two officers have approved, the home works. Every step can be repeated.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { setTimeout as after } from "node:timers/promises"
import { Mirror } from "../client-sdk/mirror.ts"
import { equal, fromUtf8 } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { verificationWords } from "../protocol/words.ts"
import { readTrustFile } from "../pki/anchor.ts"
import { openCheckpoint } from "../pki/checkpoint.ts"
import { decodeCode, encodeCode } from "../pki/codes.ts"
import { enrolmentStructure, invitationBytes, trustHash, type SubmittedAnswer } from "../pki/directory-api.ts"
import { DirectoryClient } from "../pki/directory-client.ts"
import { DirectoryState } from "../pki/state.ts"
import { seconds } from "../system/machine.ts"
import { nodeHttp } from "../system/node-http.ts"
import { nodeClock } from "../system/node.ts"
import { findHome, openHome, passphrase, type HomeOptions } from "./homes.ts"
import { dutyRights, makeHome } from "./making.ts"
import { withVault } from "./own-keys.ts"

export interface EnrolOptions extends HomeOptions {
  readonly directory: string
  readonly code: string
  readonly officerTitle: string
  readonly relayHost?: string
  /** `false`: hand in and return; the same command later goes on. */
  readonly wait: boolean
}

export interface HandedIn {
  readonly poc: string
  readonly words: readonly string[]
}

/** @param told once it is handed in. Resolves to whether the home can be used now. */
export async function enrol(options: EnrolOptions, told: (handedIn: HandedIn) => void): Promise<boolean> {
  const home = options.home
  if (home === undefined) throw new ValiseError("ERR_USAGE", "where shall the home be?", { hint: "give --home DIR" })
  const { secret, trust: trustHead } = readInvitation(options.code)
  const client = new DirectoryClient(options.directory, nodeHttp)
  const trust = await client.trustFile()
  if (!equal(trustHash(trust).subarray(0, trustHead.length), trustHead))
    throw new ValiseError("ERR_UNTRUSTED", "this is not the directory that the invitation is from", {
      hint: "compare the address and the code with the letter; do not go on if both are right, and telephone",
    })
  if (!existsSync(resolve(home))) await begin(home, options, client, secret, trust)
  const pending = join(home, requestFile)
  if (!existsSync(pending))
    throw new ValiseError("ERR_USAGE", "this home is enrolled already", { hint: `valise --home ${home} whoami` })
  const request = new Uint8Array(readFileSync(pending))
  let state = await client.enrol(secret, request)
  told({ poc: enrolmentStructure.decode(request).poc, words: verificationWords("enrolment", request) })
  if (options.wait) state = await logged(state, () => client.enrol(secret, request), options.stop)
  if (state.outcome === "waiting") return false
  await finish(options, client, request)
  await comeOnLine(options)
  return true
}

/** The code of an invitation, from the directory's secret and its trust file. */
export function invitationCode(secret: Uint8Array, trust: Uint8Array): string {
  return encodeCode(Buffer.concat([secret, trustHash(trust).subarray(0, invitationBytes.trust)]))
}

function readInvitation(code: string): { readonly secret: Uint8Array; readonly trust: Uint8Array } {
  const bytes = decodeCode(code, invitationBytes.secret + invitationBytes.trust)
  return { secret: bytes.subarray(0, invitationBytes.secret), trust: bytes.subarray(invitationBytes.secret) }
}

/** What is handed in, until it is logged: the same bytes at every repetition. */
const requestFile = "enrolment"

async function begin(
  home: string,
  options: EnrolOptions,
  client: DirectoryClient,
  secret: Uint8Array,
  trustFile: Uint8Array,
): Promise<void> {
  const { poc } = await client.invitation(secret)
  const trust = fromUtf8(trustFile)
  const relay = options.relayHost ?? (await listedRelay(client, trust))
  const given = options.passphraseFile === undefined ? undefined : await passphrase(options, poc)
  const { realm } = readTrustFile(trust)
  const officer = { title: options.officerTitle, rights: dutyRights }
  const made = { poc, realm, relay, trust, officer, directory: options.directory }
  const { relay: relayUrl } = options
  await makeHome(
    home,
    { ...made, ...(given !== undefined && { passphrase: given }), ...(relayUrl !== undefined && { relayUrl }) },
    async ({ folder, becomePoc }) => {
      const { key, manifest } = await becomePoc()
      const request = enrolmentStructure.encode({ v: 1, poc, ...key, manifest, trust: trustHash(trustFile) })
      writeFileSync(join(folder, requestFile), request, { mode: 0o600 })
    },
  )
}

/** The first relay that the log lists and whose certificate holds. */
async function listedRelay(client: DirectoryClient, trust: string): Promise<string> {
  const state = await readDirectory(client, trust)
  const relay = state.relays().find(({ notAfter }) => notAfter > seconds(nodeClock))
  if (relay) return relay.host
  throw new ValiseError("ERR_NOT_FOUND", "the directory lists no relay yet", {
    hint: "come back when it does, or name one with --relay-host",
  })
}

/** The whole log, checked and replayed, for a home that is yet to be made. Throws `ERR_DIRECTORY_SPLIT`. */
export async function readDirectory(client: DirectoryClient, trust: string): Promise<DirectoryState> {
  const anchor = readTrustFile(trust)
  const now = seconds(nodeClock)
  const checkpoint = openCheckpoint(await client.log.checkpoint(), anchor, now)
  const state = new DirectoryState(anchor)
  for (const entry of await client.log.entries(0, checkpoint.size)) state.apply(entry)
  if (!equal(state.rootAt(state.size), checkpoint.root))
    throw new ValiseError("ERR_DIRECTORY_SPLIT", "the directory's log contradicts its checkpoint")
  return state
}

/** Asks again, less and less often, until it is logged. Throws `ERR_ABORTED`. */
async function logged(
  first: SubmittedAnswer,
  again: () => Promise<SubmittedAnswer>,
  stop: AbortSignal,
): Promise<SubmittedAnswer> {
  let state = first
  for (let pauseMs = 500; state.outcome === "waiting"; pauseMs = Math.min(2 * pauseMs, pauseMaxMs)) {
    await after(pauseMs, undefined, { signal: stop }).catch((cause: unknown) => {
      throw new ValiseError("ERR_ABORTED", "it is handed in and waits for approval", {
        cause,
        hint: "the same command goes on with it later",
      })
    })
    state = await again().catch((error: unknown) => {
      const isForNow = error instanceof ValiseError && error.retryable
      if (isForNow) return state
      throw error
    })
  }
  return state
}

const pauseMaxMs = 10_000

/**
 * Publishes this device's prekeys, so that peers can write to it; the relay finds it in the log when it logs in. Resolves
 * to whether it came so far: a relay that cannot be reached now is for later, the device is in the directory all the same.
 */
export async function comeOnLine(options: HomeOptions): Promise<boolean> {
  const poc = await openHome(options, true)
  const patience = AbortSignal.any([options.stop, AbortSignal.timeout(onLineMaxMs)])
  try {
    return await poc.until(() => (poc.ready ? true : undefined), patience)
  } catch (error) {
    if (error instanceof ValiseError && error.code === "ERR_ABORTED") return false
    throw error
  } finally {
    await poc.close()
  }
}

/** Some refused logins, until the relay has looked at the log; a slow line gets its time. */
const onLineMaxMs = 30_000

/** The log decides, not what the directory answers. */
async function finish(options: EnrolOptions, client: DirectoryClient, request: Uint8Array): Promise<void> {
  const { poc, key } = enrolmentStructure.decode(request)
  await withVault(options, async (vault) => {
    const identity = vault.read((tx) => tx.get("identity", "self"))!
    const mirror = new Mirror(vault, nodeClock, identity.trust)
    await mirror.sync(client.log)
    const listed = mirror.state.poc(poc)
    if (!listed || !equal(listed.key, key))
      throw new ValiseError("ERR_UNTRUSTED", "the log lists another key for this PoC than the one made here", {
        hint: "this home cannot be used; tell the directory's desk by telephone",
      })
  })
  rmSync(join(findHome(options).folder, requestFile))
}
