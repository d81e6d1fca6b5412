/**
 * Uses the store in this folder step by step while its disk is made to fail, and says what came of each step. With
 * `--die` it ends as if killed, otherwise by closing.
 */
import { equal } from "../../protocol/bytes.ts"
import { openSegmentStore } from "../../relay/store-segment.ts"
import type { MailboxStore } from "../../relay/store.ts"
import { blindOf, contentOf, deviceOf, mailboxOf, nameOf, say } from "./store-load.ts"

const [folder, run, ...flags] = process.argv.slice(2)
const store = await openSegmentStore(folder!, { headroomBytes: 0 }).catch((error: unknown) => {
  say("unopened", codeOf(error))
  process.exit(0)
})
say("ready")
for (let n = 0; n < 12; n++) {
  const name = `${run}-${n}`
  await step("accepted", name, () => store.append(mailboxOf(0), blindOf(name), n, contentOf(name)))
  const prekey = `prekey-${name}`
  const oneTime = [new Uint8Array(Buffer.from(prekey))]
  if (n % 4 === 0) await step("published", prekey, () => store.putPrekeys(deviceOf(0), { reset: false, oneTime }))
  if (n % 4 === 1) await take(store)
  // An `expire` empties the shelf's write-ahead log, and overwrites what is deleted in segments: of the last step, here.
  if (n % 4 === 2) await collectFirst()
  if (n % 4 === 2) await step("emptied", name, () => store.expire(0))
}
const held = await store.read(mailboxOf(0), 0, 1000)
say("read", ...held.map(({ bytes }) => nameOf(bytes)))
const { envelopes } = await store.inspect()
say("inspected", envelopes.filter(({ mailbox }) => equal(mailbox, mailboxOf(0))).length)
if (flags.includes("--die")) process.kill(process.pid, "SIGKILL")
await store.close()
say("closed")

/** Of another mailbox than what is compared. */
async function collectFirst(): Promise<void> {
  try {
    await store.append(mailboxOf(1), blindOf("goes"), 0, contentOf("goes"))
    const held = await store.read(mailboxOf(1), 0, 10)
    await store.collect(
      mailboxOf(1),
      held.map(({ sequence }) => sequence),
    )
  } catch (error) {
    say("refused", "goes", codeOf(error))
  }
}

async function take(from: MailboxStore): Promise<void> {
  let taken = "none"
  await step("asked", "", async () => {
    const prekey = await from.takePrekey(deviceOf(0))
    taken = prekey ? Buffer.from(prekey).toString() : "none"
  })
  say("taken", taken)
}

async function step(done: string, name: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
    say(done, name)
  } catch (error) {
    say("refused", name, codeOf(error))
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : String(error)
}
