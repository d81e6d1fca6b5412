/** Evidence of an exercise shown as live, and the reverse: on every level at which somebody could try. */
import { beforeAll, expect, test } from "vitest"
import { decodeHeader, encodeHeader } from "../../protocol/header.ts"
import { signStatement } from "../../protocol/statement.ts"
import { deviceKeyOf, makeAuthorities, officerKeyOf } from "../support/directory.ts"
import { ke, kenyasCase, networkUnder, replaced, rewritten, verdictOf } from "../support/evidence.ts"
import { exercise } from "../support/sealing.ts"

let live: Awaited<ReturnType<typeof kenyasCase>>
let drill: Awaited<ReturnType<typeof kenyasCase>>
beforeAll(async () => {
  live = await kenyasCase()
  drill = await kenyasCase(await networkUnder(await makeAuthorities(exercise)))
})

test("14 live/exercise crossover: an exercise's evidence does not verify under the live trust file, nor the reverse", () => {
  expect(verdictOf(drill.directory, drill.bytes)).toBe("verified")
  expect(verdictOf(live.directory, drill.bytes)).toBe("about: realm")
  expect(verdictOf(drill.directory, live.bytes)).toBe("about: realm")
})

test("14 live/exercise crossover: nor does it when it calls itself live", () => {
  const relabelled = rewritten(drill.bytes, ({ about }) => ({ about: { ...about, mode: "live" } }))
  expect(verdictOf(live.directory, relabelled)).toBe("directory: entry")
})

test("14 live/exercise crossover: nor do its messages and receipts in a live file", () => {
  const { header } = drill.notification.sealed
  const { signature } = drill.notification.sealed.release!
  const put = (parts: object) =>
    verdictOf(
      live.directory,
      rewritten(live.bytes, ({ messages }) => ({
        messages: replaced(messages, 0, () => parts),
        receipts: [],
        relayReceipts: [],
      })),
    )
  const checkpoint = { checkpoint: drill.notification.note }
  expect(put({ header, release: signature, ...checkpoint })).toBe("message-1: realm")

  // Relabelled, and signed as a live header by the same keys: the mode in the header itself is what a reader sees.
  const mixed = encodeHeader({ ...decodeHeader(live.notification.sealed.header.bytes), mode: "exercise" })
  const { realm } = live.directory.authorities
  const signed = signStatement(deviceKeyOf(ke), realm, "header", mixed)
  const release = signStatement(officerKeyOf(ke), realm, "release", mixed).signature
  expect(put({ header: signed, release })).toBe("message-1: realm")

  const { kind, signed: receipt } = drill.receipts[0]!
  const withReceipt = rewritten(live.bytes, () => ({ receipts: [{ kind, signed: receipt }], relayReceipts: [] }))
  expect(verdictOf(live.directory, withReceipt)).toBe("receipt-1: unknown-message")
})
