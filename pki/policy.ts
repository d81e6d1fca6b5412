/** C2SP tlog-policy: which logs and witnesses a reader trusts, and how many witnesses must have cosigned (SPEC, "Transparency log"). */
import { equal } from "../protocol/bytes.ts"
import { ValiseError } from "../protocol/errors.ts"
import { fixed } from "../protocol/limits.ts"
import { parseVerifierKey, type SignatureType, type VerifierKey } from "./note.ts"

export interface WitnessPolicy {
  /** As it was written, comments included: a trust file passes it on unchanged. */
  readonly text: string
  /** Logs that the policy lists; none means that the log is known from elsewhere. */
  readonly logs: readonly VerifierKey[]
  readonly witnesses: readonly VerifierKey[]
  readonly quorum: Quorum
}

/** `none`: no witness is asked for, so a checkpoint is the operator's word only. */
export type Quorum = { readonly kind: "none" } | Member

export type Member =
  | { readonly kind: "witness"; readonly name: string; readonly key: VerifierKey }
  | { readonly kind: "group"; readonly name: string; readonly threshold: number; readonly members: readonly Member[] }

/** Throws `ERR_MALFORMED`, naming the line, for anything that tlog-policy does not allow. */
export function parsePolicy(text: string): WitnessPolicy {
  if (text.length > fixed.policyCharactersMax || !text.endsWith("\n")) refuse("it is too long, or its last line is cut")
  const logs: VerifierKey[] = []
  const witnesses: VerifierKey[] = []
  const members = new Map<string, Member>()
  const grouped = new Set<string>()
  let quorum: Quorum | undefined

  const define = (member: Member): void => {
    if (member.name === "none" || members.has(member.name)) refuse("a name is used twice, or is the reserved `none`")
    if (members.size >= fixed.policyNamesMax) refuse("it names too many witnesses and groups")
    members.set(member.name, member)
  }
  const lookUp = (name: string): Member => members.get(name) ?? refuse("a name is used before it is defined")

  for (const line of text.slice(0, -1).split("\n")) {
    if (Array.from(line).some((c) => (c < " " && c !== "\t") || c === "\x7f")) refuse("it holds a control character")
    const words = line.split(/[ \t]+/).filter((word) => word !== "")
    if (words.length === 0 || words[0]!.startsWith("#")) continue
    const [keyword, ...items] = words
    if (keyword === "log" && (items.length === 1 || items.length === 2)) {
      if (logs.length >= fixed.policyNamesMax) refuse("it names too many logs")
      logs.push(newKey(items[0]!, "ed25519", logs))
    } else if (keyword === "witness" && (items.length === 2 || items.length === 3)) {
      const key = newKey(items[1]!, "cosignature", witnesses)
      define({ kind: "witness", name: items[0]!, key })
      witnesses.push(key)
    } else if (keyword === "group" && items.length >= 3) {
      const [name, count, ...names] = items
      for (const member of names) {
        if (grouped.has(member)) refuse("a name is a member twice, so one witness would count twice")
        grouped.add(member)
      }
      const found = names.map(lookUp)
      define({ kind: "group", name: name!, threshold: thresholdOf(count!, found.length), members: found })
    } else if (keyword === "quorum" && items.length === 1 && !quorum) {
      quorum = items[0] === "none" ? { kind: "none" } : lookUp(items[0]!)
    } else refuse("a line is not one of log, witness, group, and exactly one quorum")
  }
  return { text, logs, witnesses, quorum: quorum ?? refuse("it has no quorum line") }
}

/** For a directory that has no witnesses yet. */
export const noWitnesses: WitnessPolicy = parsePolicy("quorum none\n")

/** In words, for people: what a checkpoint that passes this policy is worth. */
export function describePolicy({ quorum }: WitnessPolicy): string {
  return quorum.kind === "none" ? "no witnesses: the operator's word only" : `cosigned by ${describe(quorum)}`
}

/**
 * The latest time such that enough witnesses have cosigned at or after it; `undefined` if too few have cosigned at all.
 * @param timeOf when this witness cosigned, in seconds; `undefined` if it has not.
 */
export function quorumTime(member: Member, timeOf: (witness: VerifierKey) => number | undefined): number | undefined {
  if (member.kind === "witness") return timeOf(member.key)
  const times = member.members.map((inner) => quorumTime(inner, timeOf)).filter((time) => time !== undefined)
  return times.toSorted((a, b) => b - a)[member.threshold - 1]
}

function newKey(text: string, type: SignatureType, known: readonly VerifierKey[]): VerifierKey {
  const key = parseVerifierKey(text)
  if (key.type !== type) refuse("a key is of the wrong type: logs sign with type 1, witnesses with type 4")
  if (known.some(({ publicKey }) => equal(publicKey, key.publicKey))) refuse("a key is listed twice")
  return key
}

function thresholdOf(count: string, members: number): number {
  if (count === "any") return 1
  if (count === "all") return members
  if (!/^[1-9][0-9]{0,4}$/.test(count) || Number(count) > members) refuse("a group asks for more than it has members")
  return Number(count)
}

function describe(member: Member): string {
  if (member.kind === "witness") return member.name
  return `${member.threshold} of (${member.members.map(describe).join(", ")})`
}

function refuse(why: string): never {
  throw new ValiseError("ERR_MALFORMED", `not a witness policy: ${why}`, {
    hint: "the format is C2SP tlog-policy; a directory without witnesses has the one line `quorum none`",
  })
}
