/** Evidence from a split view: a message that names a checkpoint of another history than the file's own. */
import { beforeAll, expect, test } from "vitest"
import {
  exported,
  homeOf,
  inRecord,
  ke,
  kenyasCase,
  network,
  noteOf,
  now,
  outRecord,
  replaced,
  rewritten,
  send,
  sg,
  verdictOf,
} from "../support/evidence.ts"
import { start, type TestDirectory } from "../support/directory.ts"

let directory: TestDirectory
let fork: TestDirectory
beforeAll(async () => {
  ;[directory, fork] = await Promise.all([network(), network()])
})

test("20 split view: a message sealed under another history of the same log is found by its consistency proof", async () => {
  const honest = send(directory, ke, [{ poc: sg }])
  const bytes = exported(await homeOf(directory, ke, [outRecord(honest)]))
  expect(verdictOf(directory, bytes)).toBe("verified")

  const forked = send(directory, ke, [{ poc: sg }], { note: noteOf(fork, start + 3540) })
  const { header, release } = forked.sealed
  const parts = {
    header,
    release: release!.signature,
    checkpoint: forked.note,
    leaves: forked.leaves,
    contentKey: forked.contentKey,
  }
  const put = (consistency: readonly Uint8Array[]) =>
    verdictOf(
      directory,
      rewritten(bytes, ({ messages }) => ({
        messages: replaced(messages, 0, () => ({ ...parts, consistency })),
        relayReceipts: [],
      })),
    )
  expect(put([])).toBe("message-1: history")
  expect(put(fork.state.consistencyProof(4, fork.state.size))).toBe("message-1: history")
})

test("20 split view: the checkpoint beside a header is the one that the header names", async () => {
  const { bytes, directory: own } = await kenyasCase()
  const changed = (change: object) =>
    verdictOf(
      own,
      rewritten(bytes, ({ messages }) => ({ messages: replaced(messages, 1, () => change) })),
    )
  expect(changed({ checkpoint: noteOf(own, now) })).toBe("message-2: checkpoint")
})

test("20 split view: a checkpoint that the log has not signed", async () => {
  const sent = send(directory, sg, [{ poc: ke }])
  const bytes = exported(await homeOf(directory, ke, [inRecord(sent, { poc: ke })]))
  const note = new TextDecoder().decode(noteOf(directory, now - 30))
  const unsigned = new TextEncoder().encode(
    note.replace(/\n([0-9]+)\n/, (_, size: string) => `\n${Number(size) - 1}\n`),
  )
  expect(
    verdictOf(
      directory,
      rewritten(bytes, ({ about }) => ({ about: { ...about, checkpoint: unsigned } })),
    ),
  ).toBe("about: checkpoint")
})
