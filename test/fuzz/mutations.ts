/** Ways to change an input: blindly, or in the form that its decoder reads, so that it gets beyond the first check. */
import { decode, encode, rfc8949EncodeOptions } from "cborg"
import { concat, u16be, u32be, u64be } from "../../protocol/bytes.ts"
import { der } from "../../pki/der.ts"
import type { Chance } from "./chance.ts"

/** @param other another input of the corpus, to take parts from */
export type Mutation = (input: Uint8Array, chance: Chance, other: Uint8Array) => Uint8Array

/** One to four blind changes. */
export const bytes: Mutation = (input, chance, other) => {
  let out = input
  for (let left = 1 + chance.below(4); left > 0; left--) out = chance.pick(blindChanges)(out, chance, other)
  return out
}

const blindChanges: readonly Mutation[] = [
  (input, chance) => changed(input, chance, (byte) => byte ^ (1 << chance.below(8))),
  (input, chance) => changed(input, chance, () => chance.below(256)),
  (input, chance) => changed(input, chance, (byte) => byte + chance.pick([1, -1])),
  (input, chance) => overwritten(input, chance.below(input.length), chance.pick(integers)),
  (input, chance) => input.slice(0, chance.below(input.length + 1)),
  (input, chance) => spliced(input, chance.below(input.length), 1 + chance.below(8), new Uint8Array(0)),
  (input, chance) => spliced(input, chance.below(input.length + 1), 0, chance.pick(integers)),
  (input, chance) => spliced(input, chance.below(input.length + 1), 0, piece(input, chance)),
  (input, chance, other) => spliced(input, chance.below(input.length + 1), chance.below(16), piece(other, chance)),
  (input, chance, other) => concat(input.slice(0, chance.below(input.length + 1)), piece(other, chance)),
]

/** Lengths and counts at which decoders have erred before. */
const numbers = [0, 1, 0x17, 0x18, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 2 ** 31, 2 ** 32 - 1]
const integers: readonly Uint8Array[] = [
  ...numbers.filter((n) => n < 256).map((n) => Uint8Array.of(n)),
  ...numbers.filter((n) => n < 65_536).map(u16be),
  ...numbers.map(u32be),
  ...[...numbers, 2 ** 48, 2 ** 53 - 1].map(u64be),
  new Uint8Array(8).fill(255),
]

/** One change in the tree that the CBOR is, or in CBOR inside one of its byte strings; canonical again afterwards. */
export const cbor: Mutation = (input, chance, other) => {
  const tree = parsed(input)
  const changedTree = tree && changeTree(tree.value, chance, other)
  return changedTree === undefined ? bytes(input, chance, other) : canonical(changedTree.value)
}

/** Likewise JSON. */
export const json: Mutation = (input, chance, other) => {
  try {
    const { value } = changeTree(JSON.parse(Buffer.from(input).toString()), chance, other)
    return new Uint8Array(Buffer.from(JSON.stringify(value) ?? ""))
  } catch {
    return bytes(input, chance, other)
  }
}

/** Lines out, double, in another order, or with other characters. */
export const lines: Mutation = (input, chance, other) => {
  const text = Buffer.from(input).toString().split("\n")
  const at = chance.below(text.length)
  const line = chance.pick([text[at]!, chance.pick(text), chance.pick(Buffer.from(other).toString().split("\n"))])
  const inside = Buffer.from(bytes(new Uint8Array(Buffer.from(line)), chance, other)).toString()
  text.splice(at, chance.below(2), ...chance.pick([[], [line], [line, line], [inside], [line.trim()], [""]]))
  return new Uint8Array(Buffer.from(text.join("\n")))
}

/** One change in the tree that the DER is; every length right again afterwards. */
export const derTree: Mutation = (input, chance, other) => {
  const nodes = readDer(input)
  if (!nodes) return bytes(input, chance, other)
  const path: DerNode[][] = [nodes]
  while (chance.below(5) > 0) {
    const inner = path.at(-1)!.filter(({ parts }) => parts !== undefined && parts.length > 0)
    if (inner.length === 0) break
    path.push(chance.pick(inner).parts!)
  }
  const siblings = path.at(-1)!
  const at = chance.below(siblings.length)
  const node = siblings[at]!
  chance.pick([
    () => siblings.splice(at, 1),
    () => siblings.splice(at, 0, node),
    () => siblings.push(...siblings.splice(at, 1)),
    () => (node.tag = chance.pick([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x17, 0x18, 0x30, 0x31, 0x80, 0xa0, 0xa3])), // prettier-ignore
    () =>
      siblings.splice(at, 1, { tag: node.tag, content: bytes(writeDer(node.parts) ?? node.content, chance, other) }),
  ])()
  return writeDer(nodes)!
}

/** Leaves the first bytes as they are. */
export const after =
  (head: number, mutation: Mutation): Mutation =>
  (input, chance, other) =>
    concat(input.slice(0, head), mutation(input.slice(head), chance, other.slice(head)))

/** One change anywhere in a value of maps, lists and leaves. Boxed, because the result may be `undefined`'s cousin `null`. */
export function changeTree(root: unknown, chance: Chance, other: Uint8Array): { readonly value: unknown } {
  const isTree = typeof root === "object" && root !== null && !(root instanceof Uint8Array)
  const keys = isTree ? Object.keys(root) : []
  if (!isTree || keys.length === 0 || chance.oneIn(6)) return { value: replacement(root, chance, other) }
  const key = chance.pick(keys)
  const entries = Object.entries(root).flatMap(([name, value]): [string, unknown][] => {
    if (name !== key) return [[name, value]]
    if (chance.oneIn(8)) return []
    if (chance.oneIn(8))
      return [
        [name, value],
        [chance.pick(["v", "crit", "x", "__proto__", ""]), value],
      ]
    return [[name, changeTree(value, chance, other).value]]
  })
  return { value: Array.isArray(root) ? entries.map(([, value]) => value) : new Map(entries) }
}

function replacement(leaf: unknown, chance: Chance, other: Uint8Array): unknown {
  if (chance.oneIn(8)) return chance.pick([0, -1, "", null, true, [], {}, new Uint8Array(0), leaf])
  if (leaf instanceof Uint8Array) {
    const inner = parsed(leaf)
    if (inner && chance.below(4) > 0) return canonical(changeTree(inner.value, chance, other).value)
    return bytes(leaf, chance, other)
  }
  if (typeof leaf === "number") return chance.pick([leaf + 1, leaf - 1, -leaf, 0, 1, 2 ** 40, 2 ** 48, 2 ** 53 - 1])
  if (typeof leaf === "string") return Buffer.from(bytes(new Uint8Array(Buffer.from(leaf)), chance, other)).toString()
  if (typeof leaf === "boolean") return !leaf
  if (Array.isArray(leaf)) return chance.pick([leaf.toReversed(), [...leaf, ...leaf], leaf.slice(1)])
  return leaf
}

interface DerNode {
  tag: number
  content: Uint8Array
  parts?: DerNode[]
}

function readDer(input: Uint8Array): DerNode[] | undefined {
  const nodes: DerNode[] = []
  for (let at = 0; at < input.length;) {
    const first = input[at + 1] ?? 0xff
    const lengthBytes = first < 0x80 ? 0 : first - 0x80
    const start = at + 2 + lengthBytes
    const length = first < 0x80 ? first : Number(`0x${Buffer.from(input.subarray(at + 2, start)).toString("hex")}`)
    if (lengthBytes > 2 || !(start + length <= input.length)) return undefined
    const tag = input[at]!
    const content = input.slice(start, start + length)
    const parts = (tag & 0x20) !== 0 || tag === 0x04 ? readDer(content) : undefined
    nodes.push(parts ? { tag, content, parts } : { tag, content })
    at = start + length
  }
  return nodes
}

const writeDer = (nodes: readonly DerNode[] | undefined): Uint8Array | undefined =>
  nodes && concat(...nodes.map(({ tag, content, parts }) => der(tag, writeDer(parts) ?? content)))

function parsed(input: Uint8Array): { readonly value: unknown } | undefined {
  try {
    return { value: decode(input) }
  } catch {
    return undefined
  }
}

const canonical = (value: unknown): Uint8Array => Uint8Array.from(encode(value, rfc8949EncodeOptions))

function changed(input: Uint8Array, chance: Chance, change: (byte: number) => number): Uint8Array {
  const out = input.slice()
  const at = chance.below(out.length)
  if (out.length > 0) out[at] = change(out[at]!)
  return out
}

const spliced = (input: Uint8Array, at: number, length: number, by: Uint8Array): Uint8Array =>
  concat(input.slice(0, at), by, input.slice(at + length))

const overwritten = (input: Uint8Array, at: number, by: Uint8Array): Uint8Array => spliced(input, at, by.length, by)

function piece(input: Uint8Array, chance: Chance): Uint8Array {
  const at = chance.below(input.length)
  return input.slice(at, at + 1 + chance.below(32))
}
