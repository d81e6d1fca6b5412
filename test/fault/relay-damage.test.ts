/** P1, the other side: what a disk has lost after it was accepted, the relay says, and the sender's own copy heals it. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { expect, onTestFinished, test } from "vitest"
import { hex } from "../../protocol/bytes.ts"
import { inspectionWords } from "../../cli/verbs/relay.ts"
import { describeRelay } from "../../relay/inspect.ts"
import { shelfPath } from "../../relay/prekey-shelf-file.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import { devices, envelopeTo, mailboxOfDevice, startRelay, stopRelays, type TestRelay } from "../support/relay.ts"

const { kenya, singapore } = devices
const mailbox = hex(mailboxOfDevice(singapore))

/** A relay that has accepted three envelopes for a device, and was stopped; their file, bytes and blinds. */
async function accepted() {
  const folder = mkdtempSync(join(tmpdir(), "valise-relay-damage-"))
  onTestFinished(async () => {
    await stopRelays()
    rmSync(folder, { recursive: true, force: true })
  })
  const { dial } = await relayOn(folder)
  const sent = [1, 2, 3].map((n) => ({ bytes: envelopeTo(singapore).fill(n, 100), blind: new Uint8Array(32).fill(n) }))
  const from = await dial(kenya)
  for (const { bytes, blind } of sent) {
    from.submit(singapore, bytes, blind)
    await from.next("accepted")
  }
  await stopRelays()
  return { folder, file: join(folder, readdirSync(folder)[0]!), sent }
}

const relayOn = async (folder: string, onDecayed = () => {}): Promise<TestRelay> =>
  startRelay({ devices: [kenya, singapore], store: await openSegmentStore(folder, { onDecayed }) })

const placeOf = ({ bytes }: { readonly bytes: Uint8Array }, file: string): number =>
  readFileSync(file).indexOf(Buffer.from(bytes.subarray(90, 400))) + 200

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at]! ^= 1
  writeFileSync(file, bytes)
}

test("a flipped bit in an envelope: the relay says so at start, delivers the others, and a retry brings it back", async () => {
  const { folder, file, sent } = await accepted()
  flip(file, placeOf(sent[1]!, file))
  const { dial, logged, store } = await relayOn(folder)

  const inspected = describeRelay(await store.inspect())
  expect(inspected.quarantined).toEqual({ envelopes: [{ mailbox, sequence: 2 }], prekeys: 0 })
  expect(inspectionWords(inspected)).toContain(`envelope 2 of mailbox ${mailbox}: lost, its sender must send again`)
  const to = await dial(singapore)
  expect([(await to.next("envelope")).envelope, (await to.next("envelope")).envelope].map(hex)).toEqual(
    [sent[0]!, sent[2]!].map(({ bytes }) => hex(bytes)),
  )
  await expect.poll(logged).toMatch(/"count":1,"event":"store\.quarantined"/)
  expect(logged()).not.toContain(mailbox)

  const from = await dial(kenya)
  from.submit(singapore, sent[1]!.bytes, sent[1]!.blind)
  await from.next("accepted")
  expect(hex((await to.next("envelope")).envelope)).toBe(hex(sent[1]!.bytes))
})

test("bits that flip while the relay runs: it says so once of each envelope, and delivers the others", async () => {
  const { folder, file, sent } = await accepted()
  let decayed = 0
  const { dial } = await relayOn(folder, () => (decayed += 1))
  for (const each of sent.slice(0, 2)) flip(file, placeOf(each, file))
  for (let round = 0; round < 2; round++) {
    const to = await dial(singapore)
    expect(hex((await to.next("envelope")).envelope)).toBe(hex(sent[2]!.bytes))
  }
  expect(decayed).toBe(2)
})

test("a flipped bit in the structure of the prekeys' file: the relay says so, accepts nothing, and answers that it cannot", async () => {
  const { folder, sent } = await accepted()
  const file = shelfPath(folder)
  const db = new DatabaseSync(file, { readOnly: true })
  const root = Number(db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'taken_prekey'").get()?.rootpage)
  db.close()
  flip(file, 4096 * (root - 1))
  const { dial, logged, store } = await relayOn(folder)

  const inspected = describeRelay(await store.inspect())
  expect(inspected.intact).toBe(false)
  expect(inspectionWords(inspected)).toContain("Nothing is accepted")
  await expect.poll(logged).toMatch(/"event":"store\.damaged"/)
  const from = await dial(kenya)
  const counter = from.submit(singapore, sent[1]!.bytes)
  expect(await from.answerTo(counter)).toMatchObject({ type: "error", code: 4425 })
})
