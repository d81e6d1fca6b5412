/** The duty officers of a seed: each looks in every few seconds and does one thing that is to be done, or not. */
import { fromHex, utf8 } from "../../protocol/bytes.ts"
import { encodeForward, type RequestId } from "../../protocol/consent.ts"
import { saltOf } from "../../protocol/leaves.ts"
import type { ConsentView, MessageView } from "../../client-sdk/api.ts"
import { bytesLeaf, frameLeaves } from "../../client-sdk/content.ts"
import { Outbox } from "../../client-sdk/outbox.ts"
import type { Poc } from "../../client-sdk/poc.ts"
import { Chance } from "./chance.ts"
import type { Device } from "./device.ts"
import { canary, type World } from "./world.ts"

/** Consent requests of one seed: each is a dozen messages, with their receipts. */
const requestsMax = 1
const indicators = utf8(JSON.stringify({ type: "bundle", id: `bundle--${canary}`, objects: [] }))

/** What an officer has before himself, after so many commits of the device. */
interface Desk {
  readonly changes: number
  readonly received: readonly MessageView[]
  readonly consents: readonly ConsentView[]
}

export class People {
  readonly #world: World
  readonly #chance: Chance
  readonly #desks = new Map<Device, Desk>()
  /** What somebody means to do, or has done or decided against. */
  readonly #wishes = new Map<string, boolean>()
  /** Left to be said, besides what answers it. */
  #notifications: number
  #requests = 0
  #isOver = false

  constructor(world: World) {
    this.#world = world
    this.#chance = new Chance(world.seed, "people")
    this.#notifications = this.#chance.between(1, 2)
  }

  begin(): void {
    for (const device of this.#world.devices) if (device.atRest.officerSecret) this.#again(device)
  }

  /** Everybody goes home: nothing new is said. */
  end(): void {
    this.#isOver = true
  }

  #again(device: Device): void {
    this.#world.time.after(this.#chance.between(500, 12_000), () => {
      if (this.#isOver) return
      if (device.isRunning) this.#look(device)
      this.#again(device)
    })
  }

  #look(device: Device): void {
    const { changes } = device.storage
    const { received, consents } =
      this.#desks.get(device)?.changes === changes
        ? this.#desks.get(device)!
        : { received: device.poc.received(), consents: device.poc.consents() }
    this.#desks.set(device, { changes, received, consents })
    const todo = [
      ...received.flatMap((view) => this.#answers(device, view)),
      ...consents.flatMap((view) => this.#words(device, view)),
      ...(this.#notifications > 0 ? [() => this.#notify(device)] : []),
    ]
    if (todo.length > 0) this.#chance.pick(todo)()
  }

  #notify(device: Device): void {
    const others = this.#pocs().filter((poc) => poc !== device.atRest.poc)
    const to = this.#chance.some(others, this.#chance.between(1, Math.min(3, others.length)))
    const isShort = this.#chance.percent(15)
    const isRed = this.#chance.percent(10)
    const isDone = device.act(`notifies ${to.join(" ")}`, (poc) =>
      poc.send({
        to,
        tlp: isRed ? "RED" : "AMBER",
        subject: `Beacons ${canary} ${this.#notifications}`,
        content: { summary: canary, observed: `Every ${this.#chance.below(90)} seconds.`, requestedAction: "block" },
        ...(this.#chance.percent(70) && { indicators }),
        ...(isShort && { lifetimeSeconds: this.#chance.between(20, 4000) }),
      }),
    )
    if (isDone) this.#notifications--
  }

  #answers(device: Device, view: MessageView): (() => void)[] {
    const { id } = view
    const message = (poc: Poc) => poc.message(id)
    const isNotification = view.type === "notification"
    return [
      ...this.#maybe(device, `acknowledge ${id}`, 80, (poc) => message(poc).acknowledge()),
      ...(isNotification
        ? [
            ...this.#maybe(device, `respond ${id}`, 30, (poc) =>
              message(poc).respond({ disposition: "acting", note: canary }),
            ),
            ...this.#maybe(device, `reply ${id}`, 15, (poc) => message(poc).reply({ text: `Since when? ${canary}` })),
          ]
        : []),
      ...(isNotification && view.tlp === "AMBER" && this.#requests < requestsMax ? this.#asks(device, view) : []),
    ]
  }

  #asks(device: Device, view: MessageView): (() => void)[] {
    const strangers = this.#pocs().filter((poc) => ![view.from, ...view.to, device.atRest.poc].includes(poc))
    const others =
      strangers.length > 0 ? strangers : this.#pocs().filter((poc) => ![view.from, device.atRest.poc].includes(poc))
    const leaves = view.parts.map(({ name }) => name).filter((name) => name === "indicators" || name === "body")
    return this.#maybe(device, `ask ${view.id}`, 70, (poc) => {
      poc.requestConsent(view.id, { with: this.#chance.pick(others), leaves: leaves.slice(-1), purpose: "To protect." })
      this.#requests++
    })
  }

  #words(device: Device, view: ConsentView): (() => void)[] {
    const { requestId, role, mine, state } = view
    const isAsked = (role === "sender" || role === "involved") && mine === "nothing"
    const refusal = isAsked ? this.#maybe(device, `refuse ${requestId}`, 15, (poc) => poc.refuse(requestId, "No.")) : []
    if (refusal.length > 0) return refusal
    return [
      ...(isAsked ? [() => void device.act(`grant ${requestId}`, (poc) => poc.grant(requestId))] : []),
      ...(mine === "granted" ? this.#maybe(device, `withdraw ${requestId}`, 20, (poc) => poc.withdraw(requestId)) : []),
      ...(role === "forwarder" && state === "granted" && !view.forwarded
        ? [() => void device.act(`forward ${requestId}`, (poc) => poc.forward(requestId))]
        : []),
      ...(role === "forwarder"
        ? [
            ...this.#maybe(device, `try ${requestId}`, 40, (poc) => poc.forward(requestId)),
            ...this.#maybe(device, `cheat ${requestId}`, 25, () => this.#cheat(device, view)),
          ]
        : []),
    ]
  }

  /** A dishonest program forwards what nobody has agreed to, and more than was asked for. */
  #cheat(device: Device, view: ConsentView): void {
    const { home } = device
    home.vault.transaction((tx) => {
      const record = tx.get("messages", view.message)!
      const isGreedy = this.#chance.percent(50)
      const leaves = record.leaves
        .filter(({ name }) => isGreedy || name === "involved" || view.leaves.includes(name))
        .map(({ name, value }) => ({ name, salt: saltOf(record.contentKey, name), value }))
      const statement = encodeForward({ v: 1, requestId: fromHex(view.requestId) as RequestId, leaves })
      const frame = { type: "forward" as const, case: home.machine.random.bytes(16), to: [view.thirdParty] }
      new Outbox(home).compose(tx, {
        ...frame,
        leaves: [...frameLeaves(frame), bytesLeaf("statement", statement)],
        copyToOwnDevices: false,
      })
    })
  }

  /** Decided once, in so many of a hundred cases, and done once. */
  #maybe(device: Device, what: string, share: number, action: (poc: Poc) => void): (() => void)[] {
    const name = `${device.name} ${what}`
    const isWanted = this.#wishes.get(name) ?? this.#chance.percent(share)
    this.#wishes.set(name, isWanted)
    if (!isWanted) return []
    return [() => void (device.act(what, action) && this.#wishes.set(name, false))]
  }

  #pocs() {
    return [...new Set(this.#world.devices.map((device) => device.atRest.poc))]
  }
}
