/**
 * The relay as its operator sees it, and the search through every byte that it keeps for anything of the message:
 * subject, text, names of States and PoCs, values of indicators, and every stretch of the content itself.
 */
import { readFileSync } from "node:fs"
import { indicatorValues } from "../../client-sdk/indicators.ts"
import { base64, hex, utf8 } from "../../protocol/bytes.ts"
import { describeRelay } from "../../relay/inspect.ts"
import { inspectStore } from "../../relay/store-inspect.ts"
import { inspectionWords } from "../verbs/relay.ts"
import type { Network } from "./network.ts"

export interface Secrets {
  readonly subject: string
  readonly texts: readonly string[]
  readonly indicators: Uint8Array
}

export interface Inspection {
  readonly waiting: number
  readonly mailboxes: number
  readonly searchedBytes: number
  readonly needles: number
  /** What was found; empty, or the relay is broken. */
  readonly found: readonly string[]
  readonly words: string
}

/** Stretches of content are looked for in pieces so long that chance does not find them. */
const pieceBytes = 16

export function inspection(network: Network, secrets: Secrets): Inspection {
  const kept = inspectStore(network.relayFolder)
  const inspected = describeRelay(kept.contents)
  const needles = needlesOf(network, secrets)
  const overlap = Math.max(...[...needles.keys()].map((needle) => needle.length))
  const look = searcher(needles)
  let searchedBytes = 0
  const chunks = [...kept.rawBytes(overlap)].map(({ bytes }) => bytes)
  for (const bytes of [...chunks, readFileSync(network.relayLogFile)]) {
    searchedBytes += bytes.length
    look.in(bytes)
  }
  const found = [...look.found]
  const waiting = inspected.mailboxes.reduce((sum, mailbox) => sum + mailbox.waiting.length, 0)
  const result =
    found.length === 0
      ? `Searched ${searchedBytes} bytes of the relay's store and log for ${needles.size} pieces of the message, names and indicators (as they are, in hex and in base64): nothing found.`
      : `FOUND in the relay's store or log: ${found.join(", ")}`
  const words = `${inspectionWords(inspected)}\n\n${result}`.replaceAll(/^/gm, "  ")
  return { waiting, mailboxes: inspected.mailboxes.length, searchedBytes, needles: needles.size, found, words }
}

/** Each with a name that may be shown. */
function needlesOf(network: Network, { subject, texts, indicators }: Secrets): Map<string, string> {
  const needles = new Map<string, string>()
  const add = (what: string, bytes: Uint8Array): void => {
    needles.set(Buffer.from(bytes).toString("latin1"), what)
    needles.set(hex(bytes), `${what}, in hex`)
    if (bytes.length >= 6)
      needles.set(base64(bytes.subarray(0, bytes.length - (bytes.length % 3))), `${what}, in base64`)
  }
  for (const text of [subject, ...texts]) add("text of the message", utf8(text))
  for (const value of indicatorValues(indicators)) if (value.length >= 4) add("value of an indicator", utf8(value))
  for (const { address, organisation } of network.pocs.ke.contacts()) {
    add("address of a PoC", utf8(address))
    add("State and role", utf8(address.split("/").slice(0, 2).join("/")))
    add("name of an agency", utf8(organisation))
  }
  for (const content of [indicators, ...texts.map(utf8), utf8(subject)])
    for (let at = 0; at + pieceBytes <= content.length; at++)
      needles.set(Buffer.from(content.subarray(at, at + pieceBytes)).toString("latin1"), "stretch of the content")
  return needles
}

/** All needles in one pass: they are looked up by their first bytes. */
function searcher(needles: ReadonlyMap<string, string>): { readonly found: Set<string>; in(bytes: Uint8Array): void } {
  const prefixLength = Math.min(...[...needles.keys()].map((needle) => needle.length))
  const byPrefix = Map.groupBy(needles.keys(), (needle) => needle.slice(0, prefixLength))
  const found = new Set<string>()
  return {
    found,
    in: (bytes) => {
      const text = Buffer.from(bytes).toString("latin1")
      for (let at = 0; at + prefixLength <= text.length; at++)
        for (const needle of byPrefix.get(text.slice(at, at + prefixLength)) ?? [])
          if (text.startsWith(needle, at)) found.add(needles.get(needle)!)
    },
  }
}
