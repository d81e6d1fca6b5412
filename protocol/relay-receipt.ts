/**
 * The relay's *accepted* receipts: one signature over the Merkle root of a batch, and a path (SPEC, "Relay receipts").
 * Leaves are blinded, because a path shows the leaves of neighbours: without the blind, a neighbour's receipt would date
 * this envelope's digest for whoever holds the envelope.
 */
import { z } from "zod"
import { shapes, type Hash, type MailboxId, type Realm } from "./address.ts"
import { equal, u64be } from "./bytes.ts"
import { ValiseError } from "./errors.ts"
import { merkleRootOf, merkleTree, taggedHash } from "./hash.ts"
import { fixed } from "./limits.ts"
import type { SigningKey } from "./primitives.ts"
import { growing, signedShape, signStatement, verifyStatement, type Signed } from "./statement.ts"
import { structureOf } from "./structure.ts"

/** What identifies one submission; `blind` is 32 random bytes that its submitter chose. */
export interface SubmittedItem {
  readonly blind: Uint8Array
  /** SHA3-256 of the envelope, computed by the relay from the bytes. */
  readonly digest: Hash
  readonly mailbox: MailboxId
}

export interface AcceptedItem extends SubmittedItem {
  /** Minutes since 1970: durably stored since then, by the relay's clock. */
  readonly minute: number
}

/** Given to the submitter alone. */
export interface RelayReceipt {
  /** The host under which the log lists the relay. */
  readonly relay: string
  /** CBOR `{ v: 1, relay, root, size }`, label `relay-receipt`. */
  readonly batch: Signed
  readonly index: number
  readonly path: readonly Uint8Array[]
  readonly minute: number
}

export const relayReceiptShape: z.ZodType<RelayReceipt> = z.strictObject({
  relay: shapes.host,
  batch: signedShape,
  index: shapes.counter.max(fixed.receiptBatchMax - 1),
  path: z.array(shapes.hash).max(fixed.receiptPathMax),
  minute: shapes.minute,
})

/** Signs once for all items, which must be on stable storage. Throws `ERR_USAGE` for none, or for more than `receiptBatchMax`. */
export function signBatch(
  key: SigningKey,
  realm: Realm,
  relay: string,
  items: readonly AcceptedItem[],
): { readonly batch: Signed; readonly receipt: (index: number) => RelayReceipt } {
  if (items.length < 1 || items.length > fixed.receiptBatchMax)
    throw new ValiseError("ERR_USAGE", `a batch has 1 to ${fixed.receiptBatchMax} items`)
  const tree = merkleTree(items.map(acceptedLeaf))
  const bytes = batchStatement.encode({ v: 1, relay, root: tree.root as Hash, size: items.length })
  const batch = signStatement(key, realm, "relay-receipt", bytes)
  return {
    batch,
    receipt: (index) => ({ relay, batch, index, path: tree.path(index), minute: items[index]!.minute }),
  }
}

/**
 * Whether the relay says that it stored this submission.
 * @param relayKey the key that the log lists under `receipt.relay`
 */
export function verifyRelayReceipt(
  relayKey: Uint8Array,
  realm: Realm,
  receipt: RelayReceipt,
  item: SubmittedItem,
): boolean {
  if (!verifyStatement(relayKey, realm, "relay-receipt", receipt.batch)) return false // defence: 15 batch-signature
  const batch = readBatch(receipt.batch.bytes)
  if (batch?.relay !== receipt.relay) return false // defence: 15 batch-relay
  const leaf = acceptedLeaf({ ...item, minute: receipt.minute })
  const root = merkleRootOf(leaf, receipt.index, batch.size, receipt.path)
  return root !== undefined && equal(root, batch.root) // defence: 15 batch-root => return true
}

interface BatchStatement {
  readonly v: 1
  readonly relay: string
  readonly root: Hash
  readonly size: number
  readonly crit?: readonly string[] | undefined
}

function acceptedLeaf({ blind, digest, mailbox, minute }: AcceptedItem): Uint8Array {
  return taggedHash("accepted", blind, digest, mailbox, u64be(minute)) // defence: 22 blinded-leaf => return taggedHash("accepted", digest, mailbox, u64be(minute))
}

function readBatch(bytes: Uint8Array): BatchStatement | undefined {
  try {
    return batchStatement.decode(bytes)
  } catch {
    return undefined
  }
}

const batchStatement = structureOf<BatchStatement>(
  growing({
    v: z.literal(1),
    relay: shapes.host,
    root: shapes.hash,
    size: z.number().int().min(1).max(fixed.receiptBatchMax),
  }),
)
