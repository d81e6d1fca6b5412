/** Group `seal`: what sealing and opening cost a device, beside OpenPGP, and what one message to everybody costs. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as openpgp from "openpgp"
import { checkPrekey, signPrekey } from "../protocol/prekey.ts"
import { open } from "../protocol/open.ts"
import { seal, type Recipient } from "../protocol/seal.ts"
import { nodeRandom } from "../system/node.ts"
import {
  live,
  messageOf,
  nowSeconds,
  openerOf,
  opened,
  prekeyOf,
  recipientOf,
  singapore,
  type Device,
} from "../test/support/sealing.ts"
import { Everybody } from "../test/support/everybody.ts"
import { figure, type Figure } from "./figures.ts"
import type { Measured, Size } from "./main.ts"

const text = "A line of a report about beacons, as a duty officer writes it. ".repeat(46)
const messagesPerRun = 200
const warmUp = 500

export async function sealGroup(size: Size): Promise<Measured> {
  const figures = [await besideOpenPgp(size), await toAll(size)]
  return {
    configuration: [
      `Valise: ${text.length} bytes of text in a payload of 4 KiB, to one device; the prekey's signature and key are checked, the envelope sealed, opened, and the sender's signatures verified`,
      "OpenPGP.js 6: curve25519 keys, encrypt and sign, then decrypt and verify, the same text, no armour",
      "seal-fanout: the outbox on its vault's file, 340 PoCs with 5 devices each; served prekeys stored and checked, envelopes sealed and durable",
    ],
    figures,
  }
}

async function besideOpenPgp({ tiny, runs, note }: Size): Promise<Figure> {
  const random = (length: number): Uint8Array => nodeRandom.bytes(length)
  const prekey = prekeyOf(singapore)
  const signed = signPrekey(singapore.key, live, prekey.statement)
  const message = messageOf({ leaves: [{ name: "body", value: Buffer.from(text) }], random })
  const ours = async (): Promise<void> => {
    const statement = checkedPrekey(singapore, signed)
    const recipients: Recipient[] = [{ ...recipientOf(singapore, prekey), prekey: statement }]
    const { envelopes } = seal({ ...message, recipients, contentKey: random(32) })
    opened(open(openerOf(singapore, envelopes[0]!.bytes, prekey)))
  }
  const sender = await keyOf("sender")
  const recipient = await keyOf("recipient")
  const theirs = async (): Promise<void> => {
    const message = await openpgp.createMessage({ text })
    const binary = (await openpgp.encrypt({
      message,
      encryptionKeys: recipient.publicKey,
      signingKeys: sender.privateKey,
      format: "binary",
    })) as Uint8Array
    const { signatures } = await openpgp.decrypt({
      message: await openpgp.readMessage({ binaryMessage: binary }),
      decryptionKeys: recipient.privateKey,
      verificationKeys: sender.publicKey,
    })
    await signatures[0]!.verified
  }
  const [mine, other]: [number[], number[]] = [[], []]
  // Both are compiled first: a device seals and opens all day.
  for (const call of [ours, theirs]) await msPerCall(call, tiny ? 1 : warmUp)
  for (let run = 0; run < runs; run++) {
    const calls = tiny ? 2 : messagesPerRun
    const times = [await msPerCall(ours, calls), await msPerCall(theirs, calls)]
    mine.push(times[0]!)
    other.push(times[1]!)
    note(`Valise ${times[0]!.toFixed(2)} ms, OpenPGP ${times[1]!.toFixed(2)} ms`)
  }
  return figure("seal-open-vs-openpgp", "ms", mine, other)
}

/** By the outbox, on a vault's file: the prekeys that the relay serves are stored and checked, the envelopes sealed and durable. */
async function toAll({ tiny, runs, note }: Size): Promise<Figure> {
  const folder = mkdtempSync(join(tmpdir(), "valise-bench-"))
  const [pocs, devicesEach] = tiny ? [3, 2] : [340, 5]
  const everybody = await Everybody.open(join(folder, "vault"), pocs, devicesEach)
  const took: number[] = []
  try {
    for (let run = 0; run < runs; run++) {
      const { carrier, home, outbox } = everybody
      const key = everybody.compose(text)
      const [begin, before] = [performance.now(), process.resourceUsage().maxRSS]
      await outbox.fetchPrekeys(key, carrier)
      outbox.sealIfReady(key)
      took.push((performance.now() - begin) / 1000)
      const sealed = home.vault.read((tx) => tx.get("outbox", key)?.waiting)
      if (sealed !== pocs * devicesEach) throw new Error("an envelope is missing")
      const grown = Math.round((process.resourceUsage().maxRSS - before) / 1024)
      note(`${sealed} devices: ${took.at(-1)!.toFixed(2)} s, ${grown} MB more than ever before`)
      await outbox.submit(key, carrier)
    }
  } finally {
    await everybody.close()
    rmSync(folder, { recursive: true, force: true })
  }
  return figure("seal-fanout-1700", "s", took)
}

/** As the outbox does it. */
const checkedPrekey = (device: Device, signed: ReturnType<typeof signPrekey>): ReturnType<typeof checkPrekey> =>
  checkPrekey(live, { id: device.id, signingKey: device.key.publicKey }, signed, nowSeconds)

async function msPerCall(call: () => Promise<void>, calls: number): Promise<number> {
  const begin = performance.now()
  for (let i = 0; i < calls; i++) await call()
  return (performance.now() - begin) / calls
}

async function keyOf(name: string): Promise<{ privateKey: openpgp.PrivateKey; publicKey: openpgp.PublicKey }> {
  return openpgp.generateKey({ type: "curve25519", userIDs: [{ name }], format: "object" })
}
