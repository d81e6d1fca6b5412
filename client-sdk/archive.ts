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
export function messageWith(
  tx: Reader,
  id: MessageId,
  isMeant: (record: MessageRecord) => boolean,
): MessageRecord | undefined {
  const first = tx.get("messages", hex(id))
  if (!first || isMeant(first)) return first
  return [...tx.list("messages")].map(([, row]) => row).find((row) => equal(row.id, id) && isMeant(row))
}

/** The message with this id and this header. */
export const messageUnder = (tx: Reader, id: MessageId, header: Hash): MessageRecord | undefined =>
  messageWith(tx, id, ({ sealed }) => sealed !== undefined && equal(sealed.headerHash, header))
