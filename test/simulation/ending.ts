/** After the faults: what was accepted was delivered or truthfully expired, and every status is backed by what happened. */
import { hex } from "../../protocol/bytes.ts"
import type { MessageView } from "../../client-sdk/api.ts"
import type { Device } from "./device.ts"
import { Broken, type Truth } from "./truth.ts"
import type { World } from "./world.ts"

/** So long the network may take to bring everything where it belongs. */
const patienceMs = 20 * 60_000
const lookEveryMs = 5000

/** Runs until nothing is on its way. Throws `Broken` if that takes too long. */
export async function comeToRest(world: World): Promise<void> {
  for (let waited = 0; waited < patienceMs; waited += lookEveryMs) {
    await world.run(lookEveryMs)
    if (await isAtRest(world)) return
  }
  const waiting = listed(world).flatMap((device) => [
    ...(device.isRunning && device.poc.ready ? [] : [`${device.name} is not ready`]),
    ...device.pending().map((key) => `${device.name}:${key.slice(0, 8)}`),
  ])
  throw new Broken("P2", `still on its way: ${waiting.join(" ")}; ${await heldFor(world)} envelopes at the relay`)
}

async function isAtRest(world: World): Promise<boolean> {
  if (!listed(world).every((device) => device.isRunning && device.poc.ready && device.pending().length === 0))
    return false
  return (await heldFor(world)) === 0
}

/** Envelopes for devices that take part. */
async function heldFor(world: World): Promise<number> {
  const { relay } = world
  if (!relay.store) return -1
  const { envelopes } = await relay.store.inspect()
  const mailboxes = new Set(listed(world).map(({ mailbox }) => mailbox))
  return envelopes.filter(({ mailbox }) => mailboxes.has(hex(mailbox))).length
}

/** Devices that the directory still lists. */
const listed = ({ devices, truth }: World): Device[] => devices.filter(({ id }) => !truth.removed.has(id))

export function checkEnding(world: World): void {
  const { devices, truth } = world
  for (const sealed of truth.sealed.values())
    for (const [to, part] of sealed.envelopes) {
      const isAccepted = truth.accepted.has(`${sealed.message}:${to}`)
      if (!isAccepted || truth.lost.has(part.digest) || truth.hasOpened(to, sealed.header)) continue
      if (truth.mayStayClosed(sealed, to, part)) continue
      const way = `${sealed.type} ${sealed.message.slice(0, 8)} from ${sealed.sender.name} to ${truth.device(to).name}`
      throw new Broken("P2", `${way} was accepted and never delivered`)
    }
  for (const device of devices) {
    checkArchive(device)
    for (const view of device.poc.sent()) checkStatus(truth, device, view)
  }
  // Two weeks later everything has expired, and says so.
  for (const device of devices) {
    device.clock.aheadMs = 15 * 86_400_000
    for (const view of device.poc.sent()) checkStatus(truth, device, view)
  }
}

/** P2: an application sees each message once, and the vault is whole after all its crashes. */
function checkArchive(device: Device): void {
  const ids = device.poc.received().map(({ id }) => id)
  if (new Set(ids).size !== ids.length) throw new Broken("P2", `${device.name} shows a message twice`)
  device.home.vault.verify()
}

function checkStatus(truth: Truth, sender: Device, view: MessageView): void {
  const isCopy = [...truth.sealed.values()].some((each) => each.message === view.id && each.sender !== sender)
  const isExpired = Date.parse(view.expires) <= sender.nowSeconds * 1000
  const wrong = (poc: string, what: string): never => {
    throw new Broken("P3", `${sender.name} shows ${view.id.slice(0, 8)} to ${poc} as ${what}, which is not so`)
  }
  for (const row of view.status ?? []) {
    for (const { accepted, delivered, device } of row.devices) {
      if (accepted && !truth.accepted.has(`${view.id}:${device}`)) wrong(row.poc, "accepted")
      if (delivered && !truth.delivered.has(`${view.id}:${device}`)) wrong(row.poc, "delivered")
    }
    if (row.acknowledged && !truth.acknowledgedBy.has(`${view.id}:${row.poc}`)) wrong(row.poc, "acknowledged")
    const answered = [...truth.sealed.values()].some(
      ({ record, type }) => type === "response" && record.from === row.poc && record.to.includes(view.from),
    )
    if (row.response && !answered) wrong(row.poc, "responded")
    const isQuiet = !row.acknowledged && !row.response
    const isDelivered = row.devices.some(({ delivered }) => delivered)
    // Another device of the same PoC keeps a copy, and a sender that was away itself may have missed receipts.
    const unheard = isCopy ? ["sent-elsewhere"] : ["undelivered", "unknown"]
    const expected: readonly string[] = isDelivered ? ["delivered-silent"] : unheard
    if (isExpired && isQuiet && !expected.includes(row.state)) wrong(row.poc, row.state)
  }
}
