/**
 * The relay's core: who is connected, what they may use, and what is kept for those who are not. No sockets in here:
 * a server brings connections with `accept`. Everything that lasts is in the store; a core that dies loses nothing
 * that was accepted.
 */
import type { DeviceId, Hash, MailboxId, Realm } from "../protocol/address.ts"
import { hex } from "../protocol/bytes.ts"
import { chosen, fixed, type Chosen } from "../protocol/limits.ts"
import type { SigningKey } from "../protocol/primitives.ts"
import { seconds, type Clock, type Random } from "../system/machine.ts"
import { Batcher } from "./batcher.ts"
import { Budget } from "../system/budget.ts"
import type { DirectoryView, ServedDevice } from "./directory-view.ts"
import type { RelayLog } from "./log.ts"
import { PrekeyDesk } from "./prekey-desk.ts"
import { RecentDigests } from "./recent-digests.ts"
import { Session, type Wire } from "./session.ts"
import type { MailboxStore } from "./store.ts"

export interface RelayParts {
  readonly realm: Realm
  /** The one host under which the directory lists this relay. */
  readonly host: string
  readonly key: SigningKey
  /** DER; asked for at every login, because it is renewed while the relay serves. */
  readonly certificate: () => Uint8Array
  readonly store: MailboxStore
  readonly directory: DirectoryView
  readonly clock: Clock
  readonly random: Random
  readonly log: RelayLog
  readonly limits?: Chosen
  /** SHA3-256 of the TLS certificate (DER) that clients see, here or at a proxy in front; none without TLS. */
  readonly tlsCertificateHash?: () => Hash | undefined
}

/** What a session has from its relay. */
export interface RelayCore extends Required<RelayParts> {
  /** By address. */
  readonly logins: Budget
  /** By PoC, equal for all. */
  readonly submissions: Budget
  readonly requests: Budget
  readonly fetches: Budget
  readonly storing: Allowance
  readonly batcher: Batcher
  readonly prekeys: PrekeyDesk
  readonly digests: RecentDigests
  /** Makes this the device's one connection; another one is told and ended. */
  seat(session: Session, device: ServedDevice): void
  left(session: Session): void
  /** Something new lies in this mailbox. */
  arrived(mailbox: MailboxId): void
  /** Tells a device that is connected when its pool runs low. */
  prekeyTaken(device: DeviceId): void
}

export class Relay {
  readonly #core: RelayCore
  readonly #sessions = new Set<Session>()
  /** The one connection of each device, by device and by mailbox. */
  readonly #byDevice = new Map<string, Session>()
  readonly #byMailbox = new Map<string, Session>()
  #accepted = 0
  #cancelTick: (() => void) | undefined

  constructor(parts: RelayParts) {
    const { clock, key, realm, host, store, limits = chosen } = parts
    this.#core = {
      ...parts,
      limits,
      tlsCertificateHash: parts.tlsCertificateHash ?? (() => undefined),
      logins: new Budget(clock, limits.loginsPerAddressPerMinute, minuteMs),
      submissions: new Budget(clock, limits.submissionsPerMinute, minuteMs),
      requests: new Budget(clock, limits.requestsPerMinute, minuteMs),
      fetches: new Budget(clock, limits.prekeyFetchesPerHour, 60 * minuteMs),
      storing: new Allowance(limits.storingBytesMax),
      batcher: new Batcher({ key, realm, host, limits }),
      prekeys: new PrekeyDesk({ store, realm }),
      digests: new RecentDigests(),
      seat: (session, device) => this.#seat(session, device),
      left: (session) => this.#left(session),
      arrived: (mailbox) => this.#byMailbox.get(hex(mailbox))?.deliver(),
      prekeyTaken: (device) => this.#prekeyTaken(device),
    }
    this.#tick()
    this.#sayWhatIsLost()
  }

  /** A new connection. @param address whose login budget it draws on, e.g. the peer's IP address */
  accept(wire: Wire, address: string): Session {
    this.#accepted += 1
    const session = new Session(this.#core, wire, address, this.#accepted)
    this.#sessions.add(session)
    return session
  }

  /** A device has left the directory: its connection ends now, and what was kept for it is forgotten. */
  async deviceLeft(device: DeviceId, mailbox: MailboxId): Promise<void> {
    this.#byDevice.get(hex(device))?.end("ERR_LOGIN")
    this.#core.prekeys.forget(device)
    await this.#core.store.forget(mailbox, device)
    this.#core.log.info("device.left")
  }

  /** Takes nothing new, finishes what is under way, tells the devices to come back, and ends all connections. */
  async drain(): Promise<void> {
    const { clock, limits, log } = this.#core
    log.info("relay.draining", { count: this.#sessions.size })
    this.#cancelTick?.()
    const deadline = clock.monotonic() + limits.drainSecondsMax * 1000
    for (const session of this.#sessions) session.drain(limits.drainRetrySeconds)
    while (clock.monotonic() < deadline && ![...this.#sessions].every((session) => session.isIdle))
      await new Promise<void>((resolve) => clock.after(drainPollMs, resolve))
    for (const session of this.#sessions) session.end("ERR_DRAINING")
  }

  #seat(session: Session, device: ServedDevice): void {
    const name = hex(device.device)
    this.#byDevice.get(name)?.replaced()
    this.#byDevice.set(name, session)
    this.#byMailbox.set(hex(device.mailbox), session)
  }

  #left(session: Session): void {
    this.#sessions.delete(session)
    const { device } = session
    if (!device || this.#byDevice.get(hex(device.device)) !== session) return
    this.#byDevice.delete(hex(device.device))
    this.#byMailbox.delete(hex(device.mailbox))
  }

  #prekeyTaken(device: DeviceId): void {
    const session = this.#byDevice.get(hex(device))
    if (!session) return
    this.#core.store.countPrekeys(device).then(
      (held) => held <= fixed.oneTimeRefillAt && session.prekeysLow(held),
      (error) => this.#core.log.fault(error),
    )
  }

  /** Of what was accepted: how much has decayed while the relay was down. `valise relay inspect` says which. */
  #sayWhatIsLost(): void {
    const { log, store } = this.#core
    store.inspect().then(
      ({ intact, quarantined: { envelopes, prekeys } }) => {
        if (envelopes.length + prekeys > 0) log.warn("store.quarantined", { count: envelopes.length + prekeys })
        if (!intact) log.warn("store.damaged")
      },
      (error) => log.fault(error),
    )
  }

  /** Once a minute: envelopes past the keeping time, and connections of devices that the directory no longer lists. */
  #tick(): void {
    const { clock, directory, log, store } = this.#core
    for (const session of this.#sessions)
      if (session.device && !directory.device(session.device.device)) session.end("ERR_LOGIN")
    const keptSince = Math.floor((seconds(clock) - fixed.lifetimeSecondsMax) / 60)
    store.expire(keptSince).then(
      (count) => count > 0 && log.info("mailbox.expired", { count }),
      (error) => log.fault(error),
    )
    this.#cancelTick = clock.after(minuteMs, () => this.#tick())
  }
}

/** A sum that must not be exceeded at any one time. */
export class Allowance {
  readonly #max: number
  #taken = 0

  constructor(max: number) {
    this.#max = max
  }

  take(amount: number): boolean {
    if (this.#taken + amount > this.#max) return false
    this.#taken += amount
    return true
  }

  release(amount: number): void {
    this.#taken -= amount
  }
}

const minuteMs = 60_000
const drainPollMs = 20
