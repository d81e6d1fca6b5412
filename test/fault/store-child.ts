/** Loads the store in this folder until it is killed, saying what was accepted, collected and taken once it is sure. */
import { openSegmentStore } from "../../relay/store-segment.ts"
import { blindOf, contentOf, deviceOf, mailboxOf, nameOf, say, seededRandom } from "./store-load.ts"

const [folder, run] = process.argv.slice(2)
const random = seededRandom(Number(run))
const store = await openSegmentStore(folder!)
say("ready")

let minute = 0
await Promise.all([
  ...Array.from({ length: 24 }, (_, i) => sendTo(i % 4, i)),
  sendAndCollect(4),
  ...[0, 1].flatMap((device) => [publish(device), ...Array.from({ length: 3 }, () => take(device))]),
])

/** Every third envelope is submitted twice: at once, or after the answer. */
async function sendTo(mailbox: number, sender: number): Promise<void> {
  for (let n = 0; ; n++) {
    const name = `${run}-${sender}-${n}`
    const append = () => store.append(mailboxOf(mailbox), blindOf(name), minute++, contentOf(name))
    const again = random() < 0.33
    const first = append()
    const second = again && random() < 0.5 ? append() : undefined
    const accepted = await first
    if (accepted.outcome !== "stored") throw new Error("full")
    say("accepted", mailbox, name, accepted.minute)
    const retried = await (second ?? (again ? append() : undefined))
    if (retried) say("accepted", mailbox, name, retried.outcome === "stored" ? retried.minute : "full")
  }
}

async function sendAndCollect(mailbox: number): Promise<void> {
  for (let n = 0; ; n++) {
    const names = Array.from({ length: 10 }, (_, i) => `${run}-c-${n}-${i}`)
    await Promise.all(
      names.map(async (name) => {
        const accepted = await store.append(mailboxOf(mailbox), blindOf(name), minute, contentOf(name))
        say("accepted", mailbox, name, accepted.outcome === "stored" ? accepted.minute : "full")
      }),
    )
    const held = await store.read(mailboxOf(mailbox), 0, 5)
    for (const { bytes } of held) say("collecting", nameOf(bytes))
    await store.collect(
      mailboxOf(mailbox),
      held.map(({ sequence }) => sequence),
    )
    for (const { bytes } of held) say("collected", nameOf(bytes))
  }
}

async function publish(device: number): Promise<void> {
  for (let n = 0; ; n++) {
    const statements = Array.from({ length: 16 }, (_, i) => `prekey-${device}-${run}-${n}-${i}`)
    if ((await store.countPrekeys(deviceOf(device))) > 16) continue
    const oneTime = statements.map((statement) => new Uint8Array(Buffer.from(statement)))
    await store.putPrekeys(deviceOf(device), { reset: false, oneTime })
    for (const statement of statements) say("published", statement)
  }
}

async function take(device: number): Promise<void> {
  for (;;) {
    const prekey = await store.takePrekey(deviceOf(device))
    if (prekey) say("taken", Buffer.from(prekey).toString())
  }
}
