/** The directory's machine: a folder in memory, and the process that writes it, or not. */
import type { PocAddress } from "../../protocol/address.ts"
import { ValiseError } from "../../protocol/errors.ts"
import type { Manifest } from "../../protocol/manifest.ts"
import type { LogSource } from "../../pki/log-source.ts"
import { Directory } from "../../directory/directory.ts"
import { nextManifest } from "../../client-sdk/enrol.ts"
import type { UnlockSecret } from "../../client-sdk/vault/lock.ts"
import type { Chance } from "./chance.ts"
import type { Device } from "./device.ts"
import type { MemoryFolder } from "./files.ts"
import { MachineClock, type VirtualTime } from "./time.ts"

export class DirectoryHost {
  readonly folder: MemoryFolder
  readonly #clock: MachineClock
  readonly #chance: Chance
  readonly #note: (who: string, what: string) => void
  #life = { isAlive: false }
  #directory: Directory | undefined

  constructor(folder: MemoryFolder, time: VirtualTime, chance: Chance, note: (who: string, what: string) => void) {
    this.folder = folder
    this.#clock = new MachineClock(time)
    this.#chance = chance
    this.#note = note
  }

  get isRunning(): boolean {
    return this.#life.isAlive
  }

  async start(): Promise<void> {
    const life = { isAlive: true }
    this.folder.restart()
    const machine = { clock: this.#clock.of(() => life.isAlive), random: this.#chance }
    this.#directory = await Directory.on(this.folder.directoryFiles, machine, () => undefined)
    this.#life = life
    this.#note("directory", "starts")
  }

  /** The process dies, perhaps in the middle of the writes of one change. */
  crash(afterWrites: number): void {
    if (afterWrites > 0) return this.folder.failAfter(afterWrites)
    this.#life.isAlive = false
    this.#note("directory", "crashes")
  }

  get directory(): Directory {
    return this.#directory!
  }

  /** Throws `ERR_OFFLINE` while it is down. */
  log(): LogSource {
    if (!this.isRunning) throw new ValiseError("ERR_OFFLINE", "the directory cannot be reached")
    return this.directory.logSource()
  }

  /** This device's PoC logs its next manifest; `false` if that failed, now. */
  async changeManifest(
    device: Device,
    secret: UnlockSecret,
    change: (manifest: Manifest) => Partial<Pick<Manifest, "devices" | "officers">>,
  ): Promise<boolean> {
    const poc: PocAddress = device.atRest.poc
    const { manifest, manifestBytes } = this.directory.state.poc(poc)!
    const content = { devices: manifest!.devices, officers: manifest!.officers, ...change(manifest!) }
    const previous = { manifest: manifest!, bytes: manifestBytes! }
    try {
      if (!this.isRunning || !device.isRunning) return false
      const machine = { clock: this.#clock.of(() => true) }
      const next = await nextManifest(device.home.vault, secret, machine, previous, content)
      await this.directory.submitManifest(poc, next.signed, next.coSignatures)
      this.#note(device.name, "logs a manifest")
      return true
    } catch (error) {
      if (!(error instanceof ValiseError)) throw error
      this.#note(device.name, `logs no manifest: ${error.code}`)
      return false
    }
  }
}
