/** A small cast for tests of sealing: devices, prekeys, a message; and a dishonest sender who may alter every step. */
import {
  deviceIdOf,
  mailboxOf,
  officerIdOf,
  prekeyIdOf,
  type Incarnation,
  type MessageId,
  type PocAddress,
  type Realm,
} from "../../protocol/address.ts"
import { utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import { infoOf, writeEnvelope } from "../../protocol/envelope.ts"
import { merkleTree } from "../../protocol/hash.ts"
import { checkpointHash, encapsulationHash, encodeEntry, type Entry, type Header } from "../../protocol/header.ts"
import { setupSender, type HpkeContext } from "../../protocol/hpke.ts"
import { packLeaves, type Leaf } from "../../protocol/leaves.ts"
import type { Opened, OpenedMessage, OpenInput } from "../../protocol/open.ts"
import { pad } from "../../protocol/padding.ts"
import type { Payload } from "../../protocol/payload.ts"
import type { PrekeyKind, PrekeyStatement } from "../../protocol/prekey.ts"
import { KemKey, shake256, SigningKey } from "../../protocol/primitives.ts"
import type { Recipient, SealInput } from "../../protocol/seal.ts"
import { signStatement, type Signed } from "../../protocol/statement.ts"
import { nodeDeflate } from "../../system/node.ts"

export const live: Realm = { origin: "directory.example", mode: "live" }
export const exercise: Realm = { origin: "directory.example", mode: "exercise" }
export const nowSeconds = 1_800_000_000

/** Bytes of a seed, different at every call. */
export function randomOf(seed: string): (length: number) => Uint8Array {
  let calls = 0
  return (length) => shake256(length, utf8(`${seed} ${calls++}`))
}

export interface Device {
  readonly poc: PocAddress
  readonly key: SigningKey
  readonly id: ReturnType<typeof deviceIdOf>
}

export function deviceOf(address: string): Device {
  const poc = address as PocAddress
  const key = new SigningKey(shake256(32, utf8(`signing key of ${address}`)))
  return { poc, key, id: deviceIdOf(poc, key.publicKey) }
}

export const kenya = deviceOf("ke/technical/baobab")
export const singapore = deviceOf("sg/technical/merlion")
export const brazil = deviceOf("br/technical/jacaranda")
const officerKey = new SigningKey(shake256(32, utf8("an officer of Kenya")))
export const officer = { key: officerKey, id: officerIdOf(kenya.poc, officerKey.publicKey) }

export interface HeldPrekey {
  readonly statement: PrekeyStatement
  readonly key: KemKey
}

export function prekeyOf(device: Device, kind: PrekeyKind = "one-time", n = 0): HeldPrekey {
  const key = new KemKey(shake256(32, utf8(`prekey ${n} ${kind} of ${device.poc}`)))
  const id = prekeyIdOf(key.publicKey)
  const incarnation = shake256(16, utf8(`incarnation of ${device.poc}`)) as Incarnation
  const [nbf, exp] = [nowSeconds - 3600, nowSeconds + 14 * 86_400]
  return {
    key,
    statement: { v: 1, device: device.id, incarnation, n, kind, id, suite: 1, nbf, exp, pk: key.publicKey },
  }
}

export function recipientOf(device: Device, prekey: HeldPrekey = prekeyOf(device)): Recipient {
  return {
    poc: device.poc,
    device: device.id,
    mailbox: mailboxOf(device.id, "relay.example"),
    prekey: prekey.statement,
    pairSequence: { incarnation: shake256(16, utf8("incarnation of the sender")) as Incarnation, n: 7 },
  }
}

export const leaf = (name: string, text: string): Leaf => ({ name, value: utf8(text) })

/** Kenya's message to Singapore and Brazil, released by its officer. */
export function messageOf(change: Partial<SealInput> = {}): SealInput {
  const random = randomOf("message")
  return {
    realm: live,
    sender: { poc: kenya.poc, device: kenya.id, key: kenya.key },
    officer,
    messageId: random(16) as MessageId,
    created: nowSeconds,
    expires: nowSeconds + 86_400,
    checkpoint: utf8("directory.example\n12\nrootroot\n\n— directory.example sig\n"),
    contentKey: random(32),
    leaves: [
      leaf("type", "notification"),
      leaf("subject", "Beacons from your network"),
      leaf("body", "a ".repeat(400)),
    ],
    recipients: [recipientOf(singapore), recipientOf(brazil)],
    random,
    deflate: nodeDeflate,
    ...change,
  }
}

/** What a device needs to open an envelope from Kenya. */
export function openerOf(device: Device, bytes: Uint8Array, prekey: HeldPrekey = prekeyOf(device)): OpenInput {
  return {
    bytes,
    realm: live,
    me: { poc: device.poc, device: device.id },
    prekey: { id: prekey.statement.id, kind: prekey.statement.kind, key: prekey.key },
    judgeSender: () => ({ ok: true, deviceKey: kenya.key.publicKey, officerKey: officer.key.publicKey, banners: [] }),
    nowSeconds,
    deflate: nodeDeflate,
  }
}

/** The message; fails the test, with the reason, if it was refused. */
export function opened(result: Opened): OpenedMessage {
  if (!result.ok) throw new Error(`refused: ${result.reason}`)
  return result
}

/** What a dishonest sender may change; whatever it does not name is done as `seal` does it. */
export interface Deceit {
  readonly info?: Uint8Array
  readonly entry?: (entry: Entry) => object
  /** Entries of other devices, beside the recipient's own. */
  readonly others?: readonly Uint8Array[]
  /** What to put in the place of this recipient's entry in the signed root. */
  readonly entryInRoot?: Uint8Array
  readonly header?: (header: Header) => object
  readonly headerSigned?: (bytes: Uint8Array) => Signed
  readonly release?: (bytes: Uint8Array) => Uint8Array | undefined
  readonly payload?: (payload: Payload) => object
  readonly body?: (body: Uint8Array) => Uint8Array
  readonly padded?: (padded: Uint8Array) => Uint8Array
  readonly envelope?: (write: WriteEnvelope) => Uint8Array
}

export interface WriteEnvelope {
  readonly recipient: Recipient
  readonly encapsulation: Uint8Array
  readonly context: HpkeContext
  readonly padded: Uint8Array
}

/** One envelope to one recipient, by whoever holds `input`'s keys and means no good. */
export function sealDishonestly(input: SealInput, deceit: Deceit): Uint8Array {
  const { realm, sender, checkpoint, contentKey, deflate } = input
  const recipient = input.recipients[0]!
  const { poc, device, pairSequence, prekey } = recipient
  const setup = setupSender(prekey.pk, deceit.info ?? infoOf(realm, device, prekey.id, prekey.kind), input.random(64))!
  const { encapsulation, context } = setup
  const honestEntry: Entry = {
    poc,
    device,
    prekeyId: prekey.id,
    kind: prekey.kind,
    pairSequence,
    enc: encapsulationHash(encapsulation),
  }
  const entry = deceit.entry ? encodeCbor(deceit.entry(honestEntry)) : encodeEntry(honestEntry)
  const entries = [deceit.entryInRoot ?? entry, ...(deceit.others ?? [])]
  const tree = merkleTree(entries)
  const honestHeader = {
    v: 1,
    suite: 1,
    mode: realm.mode,
    messageId: input.messageId,
    sender: { poc: sender.poc, device: sender.device, officer: input.officer?.id },
    recipientsRoot: tree.root,
    recipientsCount: entries.length,
    created: input.created,
    expires: input.expires,
    checkpoint: checkpointHash(checkpoint),
  } as Header
  const headerBytes = encodeCbor(deceit.header ? deceit.header(honestHeader) : honestHeader)
  const header = deceit.headerSigned?.(headerBytes) ?? signStatement(sender.key, realm, "header", headerBytes)
  const release = deceit.release
    ? deceit.release(headerBytes)
    : input.officer && signStatement(input.officer.key, realm, "release", headerBytes).signature
  const leaves = packLeaves(input.leaves, deflate)
  const honestPayload: Payload = {
    header,
    release,
    checkpoint,
    entry,
    index: 0,
    path: tree.path(0),
    contentKey,
    leaves,
  }
  const honestBody = encodeCbor(deceit.payload ? deceit.payload(honestPayload) : honestPayload)
  const honestPadded = pad(deceit.body ? deceit.body(honestBody) : honestBody)!
  const padded = deceit.padded ? deceit.padded(honestPadded) : honestPadded
  if (deceit.envelope) return deceit.envelope({ recipient, encapsulation, context, padded })
  return writeEnvelope({ mailbox: recipient.mailbox, prekeyId: prekey.id }, encapsulation, context, padded)
}
