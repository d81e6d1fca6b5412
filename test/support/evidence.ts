/** A case in an invented network, as its participants' vaults hold it, from real seals, logs and receipts. */
import {
  mailboxOf,
  prekeyIdOf,
  type Incarnation,
  type DeviceId,
  type MessageId,
  type PocAddress,
  type Realm,
} from "../../protocol/address.ts"
import { hex, utf8 } from "../../protocol/bytes.ts"
import { encodeInvolved } from "../../protocol/consent.ts"
import { decodeHeader } from "../../protocol/header.ts"
import type { Leaf } from "../../protocol/leaves.ts"
import { open } from "../../protocol/open.ts"
import { KemKey, shake256 } from "../../protocol/primitives.ts"
import { clause, signDeviceReceipt, signOfficerReceipt } from "../../protocol/receipts.ts"
import { signBatch, type AcceptedItem } from "../../protocol/relay-receipt.ts"
import { seal, type Sealed } from "../../protocol/seal.ts"
import { writeTrustFile } from "../../pki/anchor.ts"
import { signCheckpoint } from "../../pki/checkpoint.ts"
import { nodeDeflate } from "../../system/node.ts"
import type { MessageType } from "../../client-sdk/api.ts"
import {
  homeSchema,
  perDevice,
  type AcceptedRecord,
  type MessageRecord,
  type ReceiptRecord,
} from "../../client-sdk/collections.ts"
import { textLeaf } from "../../client-sdk/content.ts"
import { decodeBundle, encodeBundle, type Bundle } from "../../client-sdk/evidence/bundle.ts"
import { bundleOf } from "../../client-sdk/evidence/export.ts"
import { EvidenceError, type EvidenceReason } from "../../client-sdk/evidence/reasons.ts"
import { verifyEvidence } from "../../client-sdk/evidence/verify.ts"
import { Home } from "../../client-sdk/home.ts"
import { MemoryVaultStorage } from "../../client-sdk/vault/storage-memory.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import {
  deviceEntry,
  deviceKeyOf,
  deviceOf,
  makeAuthorities,
  officerKeyOf,
  officerOf,
  start,
  TestDirectory,
  type Authorities,
} from "./directory.ts"
import { signingKeyOf } from "./papers.ts"
import { openerOf, opened, randomOf } from "./sealing.ts"

export const ke = "ke/technical/baobab" as PocAddress
export const sg = "sg/technical/merlion" as PocAddress
export const br = "br/technical/jacaranda" as PocAddress
export const fr = "fr/technical/chene" as PocAddress
/** Not its State's default. */
export const sg2 = "sg/technical/orchid" as PocAddress
export const relayHost = "relay.example"
export const relayKey = signingKeyOf(relayHost)
export const caseId = shake256(16, utf8("the case"))
export const now = start + 7200

const authorities = makeAuthorities()

/** KE, SG and BR (with a second device that is switched off), the relay, and whoever else is wanted. */
export async function network(...others: readonly PocAddress[]): Promise<TestDirectory> {
  return await networkUnder(await authorities, ...others)
}

export async function networkUnder(under: Authorities, ...others: readonly PocAddress[]): Promise<TestDirectory> {
  const directory = await TestDirectory.create(under)
  for (const poc of [ke, sg, br, ...others]) await directory.enrol(poc, poc !== sg2)
  const [first, second] = ["first", "second"].map((name) => deviceEntry(under.realm, br, name))
  directory.must(directory.logManifest(br, { devices: [first!, second!] }, { coSigner: "first" }))
  directory.must(directory.log("relay", await directory.relayBody(relayHost), ["first", "second"]))
  return directory
}

export function noteOf({ state }: TestDirectory, at: number): Uint8Array {
  const tree = { origin: "directory.example/log", size: state.size, root: state.rootAt(state.size) }
  return signCheckpoint(signingKeyOf("log"), tree, at)
}

export interface Target {
  readonly poc: PocAddress
  readonly name?: string
}

export interface SentMessage {
  readonly realm: Realm
  readonly from: PocAddress
  /** Name of the sending device. */
  readonly by: string
  readonly to: readonly PocAddress[]
  readonly type: MessageType
  readonly leaves: readonly Leaf[]
  readonly contentKey: Uint8Array
  readonly created: number
  readonly note: Uint8Array
  readonly sealed: Sealed
  readonly devices: readonly {
    readonly poc: PocAddress
    readonly name: string
    readonly kem: KemKey
    readonly accepted: ReturnType<typeof accept>
  }[]
}

let messages = 0

export interface SendOptions {
  readonly type?: MessageType
  readonly created?: number
  readonly body?: string
  /** Leaves beside those that every message has. */
  readonly more?: readonly Leaf[]
  readonly note?: Uint8Array
  /** Name of the sending device. */
  readonly by?: string
}

/** Sealed for real, and accepted by the relay half a minute later. */
export function send(
  directory: TestDirectory,
  from: PocAddress,
  targets: readonly Target[],
  options: SendOptions = {},
): SentMessage {
  const {
    type = "notification",
    created = start + 3600,
    body = "Beacons from your network.",
    more = [],
    by = "first",
  } = options
  const { note = noteOf(directory, created - 60) } = options
  const random = randomOf(`message ${messages++}`)
  const to = [...new Set(targets.map(({ poc }) => poc))].filter((poc) => poc !== from)
  const contentKey = random(32)
  const leaves = [
    textLeaf("type", type),
    textLeaf("case", hex(caseId)),
    textLeaf("to", JSON.stringify(to)),
    { name: "involved", value: encodeInvolved([from, ...to]) },
    textLeaf("body", JSON.stringify({ text: body })),
    ...more,
  ]
  const devices = targets.map(({ poc, name = "first" }) => ({ poc, name, kem: new KemKey(random(32)) }))
  const sealed = seal({
    realm: directory.authorities.realm,
    sender: { poc: from, device: deviceOf(from, by), key: deviceKeyOf(from, by) },
    officer: { id: officerOf(from), key: officerKeyOf(from) },
    messageId: random(16) as MessageId,
    created,
    expires: created + 14 * 86_400,
    checkpoint: note,
    contentKey,
    leaves,
    recipients: devices.map(({ poc, name, kem }, n) => {
      const device = deviceOf(poc, name)
      const incarnation = random(16) as Incarnation
      const id = prekeyIdOf(kem.publicKey)
      const times = { nbf: created - 60, exp: created + 60 }
      const prekey = {
        v: 1,
        device,
        incarnation,
        n,
        kind: "one-time",
        id,
        suite: 1,
        ...times,
        pk: kem.publicKey,
      } as const
      return { poc, device, mailbox: mailboxOf(device, relayHost), prekey, pairSequence: { incarnation, n: 1 } }
    }),
    random,
    deflate: nodeDeflate,
  })
  const withReceipts = devices.map((device, i) => ({
    ...device,
    accepted: accept(directory, sealed.envelopes[i]!, random(32), created + 30),
  }))
  return {
    realm: directory.authorities.realm,
    from,
    by,
    to,
    type,
    leaves,
    contentKey,
    created,
    note,
    sealed,
    devices: withReceipts,
  }
}

/** In a batch with somebody else's. */
export function accept(
  { authorities: { realm } }: TestDirectory,
  { digest, mailbox }: { readonly digest: Uint8Array; readonly mailbox: Uint8Array },
  blind: Uint8Array,
  at: number,
  key = relayKey,
) {
  const minute = Math.floor(at / 60)
  const item = { blind, digest, mailbox, minute } as AcceptedItem
  const other = {
    blind: blind.toReversed(),
    digest: shake256(32, blind),
    mailbox: mailbox.toReversed(),
    minute,
  } as AcceptedItem
  return { blind, receipt: signBatch(key, realm, relayHost, [other, item]).receipt(1) }
}

export function deviceReceipt(
  { authorities: { realm } }: TestDirectory,
  { sealed, created }: SentMessage,
  { poc, name = "first" }: Target,
  change: object = {},
  key = deviceKeyOf(poc, name),
): ReceiptRecord {
  const device = deviceOf(poc, name)
  const envelope = sealed.envelopes.find((one) => hex(one.device) === hex(device))!
  const { id: messageId } = idsOf(sealed)
  const about = { messageId, header: sealed.headerHash, content: sealed.contentHash, digest: envelope.digest }
  const said = { v: 1, poc, device, ...about, time: created + 90, kind: "one-time", ...change } as const
  const signed = signDeviceReceipt(key, realm, said)
  return { message: messageId, kind: "device-receipt", poc, signer: device, signed, at: created + 90, own: false }
}

export function officerReceipt(
  { authorities: { realm } }: TestDirectory,
  { sealed, created }: SentMessage,
  poc: PocAddress,
  change: object = {},
  name = "first",
): ReceiptRecord {
  const officer = officerOf(poc, name)
  const { id: messageId } = idsOf(sealed)
  const about = { messageId, header: sealed.headerHash, content: sealed.contentHash }
  const said = { v: 1, poc, officer, ...about, time: created + 300, clause, ...change } as const
  const signed = signOfficerReceipt(officerKeyOf(poc, name), realm, said)
  return { message: messageId, kind: "officer-receipt", poc, signer: officer, signed, at: created + 300, own: false }
}

/** As the sender's vault keeps it, with these of the relay's receipts. */
export function outRecord(sent: SentMessage, accepted: readonly Target[] = sent.devices): OwnRecord {
  const has = (poc: PocAddress, name: string) =>
    accepted.some((one) => one.poc === poc && (one.name ?? "first") === name)
  const { id } = idsOf(sent.sealed)
  return {
    ...common(sent, id),
    direction: "out",
    sealed: {
      header: sent.sealed.header,
      release: sent.sealed.release!.signature,
      headerHash: sent.sealed.headerHash,
      contentHash: sent.sealed.contentHash,
      checkpoint: sent.note,
    },
    devices: sent.devices.map(({ poc }, i) => {
      const { device, digest, kind, mailbox } = sent.sealed.envelopes[i]!
      return { poc, device, mailbox, n: 1, kind, digest }
    }),
    accepted: sent.devices.flatMap(({ poc, name, accepted }, i) =>
      has(poc, name) ? [{ device: sent.sealed.envelopes[i]!.device, accepted }] : [],
    ),
  }
}

/** A record, and what lies beside it in the vault. */
type OwnRecord = MessageRecord & {
  readonly accepted?: readonly { readonly device: DeviceId; readonly accepted: AcceptedRecord }[]
}

/** As a recipient's vault keeps it: opened for real. */
export function inRecord(sent: SentMessage, { poc, name = "first" }: Target): MessageRecord {
  const place = sent.devices.findIndex((one) => one.poc === poc && one.name === name)
  const { kem } = sent.devices[place]!
  const device = { poc, key: deviceKeyOf(poc, name), id: deviceOf(poc, name) }
  const prekey = { id: prekeyIdOf(kem.publicKey), kind: "one-time", key: kem } as const
  const keys = { deviceKey: deviceKeyOf(sent.from, sent.by).publicKey, officerKey: officerKeyOf(sent.from).publicKey }
  const message = opened(
    open({
      ...openerOf(device, sent.sealed.envelopes[place]!.bytes),
      realm: sent.realm,
      prekey,
      judgeSender: () => ({ ok: true, ...keys, banners: [] }),
      nowSeconds: sent.created + 60,
    }),
  )
  const {
    headerSigned: header,
    release,
    headerHash,
    contentHash,
    checkpoint,
    entry,
    index,
    path,
    digest,
    kind,
  } = message
  return {
    ...common(sent, message.header.messageId),
    direction: "in",
    contentKey: message.contentKey,
    leaves: [...message.leaves],
    sealed: {
      header,
      release: release!.signature,
      headerHash,
      contentHash,
      checkpoint,
      entry,
      index,
      path: [...path],
      digest,
      kind,
    },
  }
}

/** A PoC's vault with these records and the whole log. */
export async function homeOf(
  directory: TestDirectory,
  poc: PocAddress,
  messages: readonly OwnRecord[],
  receipts: readonly ReceiptRecord[] = [],
  at = now,
): Promise<Home> {
  const random = randomOf(`vault of ${poc}`)
  const clock = { now: () => at * 1000, monotonic: () => 0, after: () => () => {} }
  const machine = { clock, random: { bytes: random }, deflate: nodeDeflate }
  const secret = { kind: "key-file", key: random(32) } as const
  const about = { poc, realm: directory.authorities.realm }
  const vault = await Vault.create(new MemoryVaultStorage(), secret, machine, homeSchema, about)
  const device = deviceOf(poc)
  vault.transaction((tx) => {
    tx.put("identity", "self", {
      poc,
      device,
      deviceSeed: shake256(32, utf8(`signing key: first device of ${poc}`)),
      relay: relayHost,
      mailbox: mailboxOf(device, relayHost),
      trust: writeTrustFile(directory.anchor),
    })
    for (const [i, bytes] of directory.leaves.entries()) tx.put("log", String(i).padStart(10, "0"), { bytes })
    tx.put("checkpoint", "newest", { note: noteOf(directory, at - 30), size: directory.state.size })
    for (const { accepted = [], ...message } of messages) {
      tx.put("messages", hex(message.id), message)
      for (const row of accepted) tx.put("accepted", perDevice(hex(message.id), row.device), row.accepted)
    }
    for (const receipt of receipts)
      tx.put("receipts", `${hex(receipt.message)}:${receipt.kind}:${receipt.poc}:${hex(receipt.signer)}`, receipt)
  })
  return new Home(vault, machine)
}

export const exported = (home: Home): Uint8Array => home.vault.read((tx) => bundleOf(tx, home, hex(caseId)))

/** What KE can show: its notification to SG and BR with every receipt but BR's second device's, and SG's answer. */
export async function kenyasCase(directory?: TestDirectory) {
  directory ??= await network()
  const notification = send(directory, ke, [{ poc: sg }, { poc: br }, { poc: br, name: "second" }])
  const answered = { message: hex(idsOf(notification.sealed).id), content: hex(notification.sealed.contentHash) }
  const response = send(directory, sg, [{ poc: ke }, { poc: br }], {
    type: "response",
    created: start + 4000,
    body: "Acting.",
    more: [textLeaf("inReplyTo", JSON.stringify(answered))],
  })
  const receipts = [
    deviceReceipt(directory, notification, { poc: sg }),
    deviceReceipt(directory, notification, { poc: br }),
    officerReceipt(directory, notification, sg),
  ]
  const records = [outRecord(notification), inRecord(response, { poc: ke })]
  const home = await homeOf(directory, ke, records, receipts)
  return { directory, notification, response, receipts, home, bytes: exported(home) }
}

/** The same file by somebody who changed it and computed every hash of its own anew. */
export const rewritten = (bytes: Uint8Array, change: (bundle: Bundle) => object): Uint8Array =>
  encodeBundle({ ...decodeBundle(bytes), ...change(decodeBundle(bytes)) })

export const replaced = <T>(all: readonly T[], index: number, change: (item: T) => object): T[] =>
  all.map((item, i) => (i === index ? { ...item, ...change(item) } : item))

export const verified = (directory: TestDirectory, bytes: Uint8Array, at = now) =>
  verifyEvidence(bytes, directory.anchor, { nowSeconds: at })

/** Why it is refused: sections with their reasons; "verified" if it is not. */
export function verdictOf(directory: TestDirectory, bytes: Uint8Array, at = now): string {
  return outcome(() => verified(directory, bytes, at))
}

export function outcome(call: () => unknown): string {
  try {
    call()
    return "verified"
  } catch (error) {
    if (!(error instanceof EvidenceError)) throw error
    return error.failures.map(({ section, reason }) => `${section}: ${reason satisfies EvidenceReason}`).join("; ")
  }
}

const common = ({ from, by, to, type, created, contentKey, leaves }: SentMessage, id: MessageId) => ({
  id,
  case: caseId,
  type,
  from,
  device: deviceOf(from, by),
  to: [...to],
  created,
  expires: created + 14 * 86_400,
  contentKey,
  leaves: [...leaves],
  banners: [],
  order: 1,
})

const idsOf = ({ header }: Sealed) => ({ id: decodeHeader(header.bytes).messageId })
