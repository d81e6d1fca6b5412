/** A PoC that writes to everybody: a directory of many devices, and a vault file whose outbox knows them all. */
import { deviceIdOf, mailboxOf, type MailboxId, type PocAddress } from "../../protocol/address.ts"
import { hex, utf8 } from "../../protocol/bytes.ts"
import { envelopeDigest } from "../../protocol/envelope.ts"
import { signPrekey } from "../../protocol/prekey.ts"
import { shake256 } from "../../protocol/primitives.ts"
import { signBatch, type AcceptedItem, type RelayReceipt } from "../../protocol/relay-receipt.ts"
import type { Signed } from "../../protocol/statement.ts"
import { homeSchema } from "../../client-sdk/collections.ts"
import { frameLeaves, textLeaf } from "../../client-sdk/content.ts"
import { Home } from "../../client-sdk/home.ts"
import { Outbox, type Carrier } from "../../client-sdk/outbox.ts"
import { sealOfficerKey } from "../../client-sdk/vault/officer-key.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import { writeTrustFile } from "../../pki/anchor.ts"
import { nodeMachine } from "../../system/node.ts"
import { deviceEntry, deviceKeyOf, makeAuthorities, officerOf, start, TestDirectory } from "./directory.ts"
import { noteOf, relayHost, relayKey } from "./evidence.ts"
import { bytesOf } from "./papers.ts"
import { prekeyOf } from "./sealing.ts"

/** A fixed moment, at which everything that is made here is valid. */
const now = start + 7200
const machine = { ...nodeMachine, clock: { ...nodeMachine.clock, now: () => now * 1000 } }
const secret = { kind: "key-file", key: bytesOf(32, "secret of everybody") } as const
const caseId = bytesOf(16, "to everybody")
const writer = "ke/technical/baobab" as PocAddress

export class Everybody {
  readonly home: Home
  readonly outbox: Outbox
  readonly #to: readonly PocAddress[]
  /** By hex of the device. */
  readonly #prekeys: ReadonlyMap<string, Signed>

  /** @param path of the vault that is made */
  static async open(path: string, pocs: number, devicesEach: number): Promise<Everybody> {
    const directory = await TestDirectory.create(await makeAuthorities())
    const { realm } = directory.authorities
    const names = Array.from({ length: devicesEach }, (_, i) => `device ${i}`)
    const to = Array.from({ length: pocs }, (_, i) => `sg/technical/agency-${i}` as PocAddress)
    const prekeys = new Map<string, Signed>()
    await directory.enrol(writer)
    for (const poc of to) {
      const body = await directory.certificateBody(poc, { isDefault: poc === to[0] })
      directory.must(directory.log("certificate", body, ["first", "second"]))
      directory.must(directory.logManifest(poc, { devices: names.map((name) => deviceEntry(realm, poc, name)) }))
      for (const name of names) {
        const key = deviceKeyOf(poc, name)
        const id = deviceIdOf(poc, key.publicKey)
        prekeys.set(hex(id), signPrekey(key, realm, prekeyOf({ poc, id, key }).statement))
      }
    }
    directory.must(directory.log("relay", await directory.relayBody(relayHost), ["first", "second"]))
    return new Everybody(await homeAt(path, directory), to, prekeys)
  }

  constructor(home: Home, to: readonly PocAddress[], prekeys: ReadonlyMap<string, Signed>) {
    this.home = home
    this.outbox = new Outbox(home)
    this.#to = to
    this.#prekeys = prekeys
  }

  /** Durable, and not sealed yet. Returns its key. */
  compose(text: string): string {
    const [type, to] = ["notification", this.#to] as const
    const leaves = [...frameLeaves({ type, case: caseId, to }), textLeaf("body", text)]
    const composition = { type, case: caseId, to, leaves, copyToOwnDevices: false }
    return hex(this.home.vault.transaction((tx) => this.outbox.compose(tx, composition)))
  }

  /** A relay that is near: it has every prekey, and one receipt for all that comes in one turn. */
  readonly carrier: Carrier = {
    fetchPrekey: async (device) => this.#prekeys.get(hex(device)),
    submit: (mailbox, blind, bytes) =>
      new Promise((resolve) => {
        const item = { blind, digest: envelopeDigest(bytes), mailbox: mailbox as MailboxId, minute: now / 60 }
        if (this.#submitted.push({ item, resolve }) === 1) setImmediate(() => this.#accept())
      }),
  }
  readonly #submitted: { readonly item: AcceptedItem; readonly resolve: (receipt: RelayReceipt) => void }[] = []

  #accept(): void {
    const all = this.#submitted.splice(0)
    const { receipt } = signBatch(
      relayKey,
      this.home.realm,
      relayHost,
      all.map(({ item }) => item),
    )
    for (const [i, { resolve }] of all.entries()) resolve(receipt(i))
  }

  async close(): Promise<void> {
    this.home.close()
    await this.home.vault.close()
  }
}

async function homeAt(path: string, directory: TestDirectory): Promise<Home> {
  const about = { poc: writer, realm: directory.authorities.realm }
  const vault = await Vault.create(openVaultFile(path, "create"), secret, machine, homeSchema, about)
  const device = deviceIdOf(writer, deviceKeyOf(writer).publicKey)
  const officer = officerOf(writer)
  const seedOf = (what: string): Uint8Array => shake256(32, utf8(`signing key: first ${what} of ${writer}`))
  const locked = await sealOfficerKey(secret, officer, seedOf("officer"), machine.random)
  vault.transaction((tx) => {
    tx.put("identity", "self", {
      poc: writer,
      device,
      deviceSeed: seedOf("device"),
      relay: relayHost,
      mailbox: mailboxOf(device, relayHost),
      trust: writeTrustFile(directory.anchor),
    })
    tx.put("keys", hex(officer), { title: "duty officer", locked })
    for (const [i, bytes] of directory.leaves.entries()) tx.put("log", String(i).padStart(10, "0"), { bytes })
    tx.put("checkpoint", "newest", { note: noteOf(directory, now - 30), size: directory.state.size })
  })
  const home = new Home(vault, machine)
  await home.unlockOfficer(secret)
  return home
}
