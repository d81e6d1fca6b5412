/** A real directory with its service on a loopback socket, and what an agency hands in. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { PocAddress } from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { fixed } from "../../protocol/limits.ts"
import { signManifest, signMember } from "../../protocol/manifest.ts"
import type { SigningKey } from "../../protocol/primitives.ts"
import { Directory } from "../../directory/directory.ts"
import { durableFiles } from "../../directory/files.ts"
import { Nominations } from "../../directory/nominations.ts"
import { serveDirectory, type DirectoryServer } from "../../directory/server.ts"
import { Service } from "../../directory/service.ts"
import { enrolmentStructure, trustHash } from "../../pki/directory-api.ts"
import { DeskClient, DirectoryClient } from "../../pki/directory-client.ts"
import { signApproval, subjectOf } from "../../pki/entries.ts"
import { nodeHttp, nodeSocketHttp } from "../../system/node-http.ts"
import { nodeClock, nodeRandom } from "../../system/node.ts"
import { day, deviceEntry, officerEntry, officerKeyOf, officerOf, pocKeyOf, secretariat } from "./directory.ts"
import { live as realm } from "./sealing.ts"

export const nobodysLog = { info: () => {}, refused: () => {}, fault: () => {} }

export class ServedDirectory {
  readonly folder = mkdtempSync(join(tmpdir(), "valise-service-"))
  /** How far the directory's clock is ahead of the machine's, in seconds. */
  aheadSeconds = 0
  directory!: Directory
  client!: DirectoryClient
  desk!: DeskClient
  url = ""
  #server: DirectoryServer | undefined

  /** @param aheadSeconds when it is founded */
  static async start(aheadSeconds = 0): Promise<ServedDirectory> {
    const served = new ServedDirectory()
    served.aheadSeconds = aheadSeconds
    const key = pocKeyOf(secretariat)
    const officers = ["first", "second"].map((name) => officerEntry(realm, secretariat, name, ["approve"]))
    const directory = await Directory.init(join(served.folder, "directory"), {
      realm,
      ...served.machine,
      secretariat: {
        agency: "valise",
        organisation: "Secretariat of Tests",
        key: key.publicKey,
        member: signMember(key, realm, secretariat),
        manifest: served.manifestOf(secretariat, { officers, devices: [] }),
      },
    })
    await directory.close()
    await served.open()
    return served
  }

  readonly machine = {
    clock: { ...nodeClock, now: () => nodeClock.now() + this.aheadSeconds * 1000 },
    random: nodeRandom,
  }

  get now(): number {
    return Math.floor(this.machine.clock.now() / 1000)
  }

  /** Also after `close`: the same folder, another process as far as it can tell. */
  async open(): Promise<void> {
    const folder = join(this.folder, "directory")
    this.directory = await Directory.open(folder, this.machine)
    const nominations = await Nominations.open(durableFiles(join(folder, "nominations")))
    const service = new Service({ directory: this.directory, nominations, machine: this.machine, log: nobodysLog })
    const deskSocket = join(folder, "desk")
    const server = await serveDirectory({
      service,
      host: "127.0.0.1",
      port: 0,
      proxies: [],
      deskSocket,
      log: nobodysLog,
    })
    this.#server = server
    this.url = server.url
    this.client = new DirectoryClient(server.url, nodeHttp)
    this.desk = new DeskClient(nodeSocketHttp(deskSocket))
  }

  async close(): Promise<void> {
    await this.#server?.close()
    await this.directory.close()
  }

  async end(): Promise<void> {
    await this.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  manifestOf(
    poc: PocAddress,
    { officers = [officerEntry(realm, poc)], devices = [deviceEntry(realm, poc)] } = {},
    key: SigningKey = pocKeyOf(poc),
  ) {
    const times = { created: this.now, expires: this.now + 90 * day }
    return signManifest(key, realm, { v: 1, poc, version: 1, previous: null, ...times, devices, officers })
  }

  /** @param key the name of the PoC's key */
  requestOf(poc: PocAddress, key = "first", trust = this.directory.trustFile()): Uint8Array {
    const pocKey = pocKeyOf(poc, key)
    return enrolmentStructure.encode({
      v: 1,
      poc,
      key: pocKey.publicKey,
      member: signMember(pocKey, realm, poc),
      manifest: this.manifestOf(poc, {}, pocKey),
      trust: trustHash(utf8(trust)),
    })
  }

  async invited(poc: PocAddress): Promise<Uint8Array> {
    await this.desk.nominate({ poc, organisation: "Agency of Tests" })
    return (await this.desk.invite(poc)).secret
  }

  /** By an officer of the Secretariat, for what he is shown. */
  async approve(id: string, officer: "first" | "second") {
    const { kind, body } = await this.client.proposal(id)
    const times = { created: this.now, expires: this.now + fixed.approvalSecondsMax }
    const subject = subjectOf(kind, body)
    const approval = {
      v: 1,
      poc: secretariat,
      officer: officerOf(secretariat, officer),
      kind,
      subject,
      ...times,
    } as const
    return await this.client.approve(id, signApproval(officerKeyOf(secretariat, officer), realm, approval))
  }
}
