/**
 * Where a message lies in the vault, and how it is found again. An id is its sender's choice, and whoever got a message
 * knows its id: so another sender can use it once more. The message that is here keeps its place, the other one gets a
 * place of its own, and whatever refers to a message says by a hash which one it means.
 */
import type { Hash, MessageId } from "../protocol/address.ts"
import { equal, hex } from "../protocol/bytes.ts"
import { sha3 } from "../protocol/primitives.ts"
import type { MessageRecord, Reader } from "./collections.ts"

/** The key for a message that has arrived; `undefined` if this very device has used the id before. */
export function placeOf(tx: Reader, { device, id }: Pick<MessageRecord, "device" | "id">): string | undefined {
  for (const key of [hex(id), hex(sha3(device, id).subarray(0, 16))]) {
    const there = tx.get("messages", key)
    if (!there) return key // defence: 9 own-place => return hex(id)
    if (equal(there.device, device)) return undefined
  }
  return undefined
}

/** A message with this id of which `isMeant` is true. */
export const messageWith = (
  tx: Reader,
  id: MessageId,
  isMeant: (record: MessageRecord) => boolean,
): MessageRecord | undefined => find(tx, id, isMeant)?.[1]

/** The message with this id and this header, and the key under which it lies. */
export const foundUnder = (tx: Reader, id: MessageId, header: Hash): readonly [string, MessageRecord] | undefined =>
  find(tx, id, ({ sealed }) => sealed !== undefined && equal(sealed.headerHash, header))

export const messageUnder = (tx: Reader, id: MessageId, header: Hash): MessageRecord | undefined =>
  foundUnder(tx, id, header)?.[1]

function find(
  tx: Reader,
  id: MessageId,
  isMeant: (record: MessageRecord) => boolean,
): readonly [string, MessageRecord] | undefined {
  const first = tx.get("messages", hex(id))
  if (!first) return undefined
  if (isMeant(first)) return [hex(id), first]
  return [...tx.list("messages")].find(([, row]) => equal(row.id, id) && isMeant(row))
}
