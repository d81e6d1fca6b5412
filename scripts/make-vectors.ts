/**
 * Writes `protocol/vectors/*.json`: node scripts/make-vectors.ts
 *
 * All randomness is given, every intermediate value is in hexadecimal, so that a second implementation can compare
 * step by step. What a deflater writes differs between versions of zlib: `envelope-deflated.json` is only to be opened,
 * and may come out differently on another runtime. All other files come out the same everywhere.
 */
import { mkdirSync, writeFileSync } from "node:fs"
import {
  deviceIdOf,
  mailboxOf,
  officerIdOf,
  prekeyIdOf,
  type DeviceId,
  type Hash,
  type Incarnation,
  type MailboxId,
  type MessageId,
  type PocAddress,
  type Realm,
} from "../protocol/address.ts"
import { hex, utf8 } from "../protocol/bytes.ts"
import { commitmentOf, infoOf, parseEnvelope, wireSizes } from "../protocol/envelope.ts"
import { merkleTree, taggedHash, type HashLabel } from "../protocol/hash.ts"
import { checkpointHash, decodeHeader, encapsulationHash, encodeEntry, headerHash } from "../protocol/header.ts"
import { setupRecipient, setupSender } from "../protocol/hpke.ts"
import { contentHash, leafHash, saltOf, type Deflate, type Leaf } from "../protocol/leaves.ts"
import { pad, paddedLength, paddedLengths, unpad } from "../protocol/padding.ts"
import { signPrekey, type PrekeyKind, type PrekeyStatement } from "../protocol/prekey.ts"
import { encapsulate, KemKey, shake256, SigningKey } from "../protocol/primitives.ts"
import { seal, type Recipient, type SealInput } from "../protocol/seal.ts"
import { signedBytes } from "../protocol/statement.ts"
import { nodeDeflate } from "../system/node.ts"

const folder = new URL("../protocol/vectors/", import.meta.url)
const realm: Realm = { origin: "directory.example", mode: "exercise" }
const relay = "relay.example"
const created = 1_800_000_000
const checkpoint = utf8(
  "directory.example\n12\nYW4gaW52ZW50ZWQgcm9vdCBvZiAzMiBieXRlcy4uLi4=\n\n— directory.example invented\n",
)

/** Never shorter, so every leaf is stored as it is. */
const stored: Deflate = { deflate: (x) => x, inflate: () => undefined }

/** Any bytes: SHAKE256 of their name. */
const bytes = (length: number, name: string): Uint8Array => shake256(length, utf8(`valise vectors: ${name}`))

const kenya = "ke/technical/baobab" as PocAddress
const singapore = "sg/technical/merlion" as PocAddress
const brazil = "br/technical/jacaranda" as PocAddress

mkdirSync(folder, { recursive: true })
write("tagged-hash", taggedHashes())
write("padding", paddings())
write("leaves", leaves())
write("entries", entries())
write("prekey", prekeys())
write("hpke", hpke())
write("envelope", envelope(stored))
write("envelope-deflated", envelope(nodeDeflate))

function taggedHashes(): object {
  const cases: [HashLabel, ...Uint8Array[]][] = [
    ["leaf"],
    ["leaf", utf8("")],
    ["leaf", utf8("ab"), utf8("c")],
    ["leaf", utf8("a"), utf8("bc")],
    ["header", bytes(300, "long")],
    ["device", utf8(kenya), bytes(32, "signing key")],
  ]
  return {
    description: "TH(label, parts...) = SHA3-256(LP('valise/v1') LP(label) LP(part)...)",
    cases: cases.map(([label, ...parts]) => ({ label, parts: parts.map(hex), hash: hex(taggedHash(label, ...parts)) })),
  }
}

function paddings(): object {
  const around = [0, 1, 4096, 4097, 4352, 4353, 8192, 8193, 12_345, 32_769, 63_488, 63_489, 65_536, 65_537, 1_000_000]
  return {
    description: "length and payload in bytes; null: too large. body and padded show the whole form",
    lengths: around.map((length) => ({ length, padded: paddedLength(length) ?? null })),
    paddedLengths,
    wireSizes,
    body: hex(utf8("body")),
    padded: hex(pad(utf8("body"))!),
  }
}

function leaves(): object {
  const contentKey = bytes(32, "content key")
  const header = bytes(32, "header hash") as Hash
  const list = content().map(({ name, value }) => {
    const salt = saltOf(contentKey, name)
    return { name, value: hex(value), salt: hex(salt), hash: hex(leafHash(salt, name, value)) }
  })
  const hashes = content().map(({ name, value }) => leafHash(saltOf(contentKey, name), name, value))
  return {
    description: "salts and hashes of leaves, and C over them under a header's hash",
    contentKey: hex(contentKey),
    headerHash: hex(header),
    leaves: list,
    contentHash: hex(contentHash(header, hashes)),
  }
}

function entries(): object {
  const all = Array.from({ length: 7 }, (_, i) =>
    encodeEntry({
      poc: [singapore, brazil][i % 2]!,
      device: bytes(32, `device ${i}`) as DeviceId,
      prekeyId: prekeyIdOf(bytes(1216, `prekey ${i}`)),
      kind: i % 3 === 0 ? "rotating" : "one-time",
      pairSequence: { incarnation: bytes(16, "incarnation") as Incarnation, n: 10 ** i },
      enc: encapsulationHash(bytes(1120, `encapsulation ${i}`)),
    }),
  )
  const tree = (count: number): object => {
    const { root, path } = merkleTree(all.slice(0, count))
    return { count, root: hex(root), paths: Array.from({ length: count }, (_, i) => path(i).map(hex)) }
  }
  return {
    description: "entries in deterministic CBOR, and the trees of the first 1 to 7 of them",
    entries: all.map(hex),
    trees: all.map((_, i) => tree(i + 1)),
  }
}

function prekeys(): object {
  return {
    description: "prekey statements of one device: bytes signed under label 'prekey'",
    realm,
    device: deviceJson(singapore),
    prekeys: (["one-time", "rotating"] as const).map((kind, n) => {
      const { statement, seed } = prekeyOf(singapore, kind, n)
      const signed = signPrekey(signingKeyOf(singapore), realm, statement)
      return {
        kemSeed: hex(seed),
        ...statementJson(statement),
        bytes: hex(signed.bytes),
        signedBytes: hex(signedBytes(realm, "prekey", signed.bytes)),
        signature: hex(signed.signature),
      }
    }),
  }
}

function hpke(): object {
  const { statement, seed } = prekeyOf(singapore, "one-time", 0)
  const info = infoOf(realm, statement.device, statement.id, statement.kind)
  const coins = bytes(64, "coins")
  const { encapsulation, context } = setupSender(statement.pk, info, coins)!
  const [aad, plaintext] = [utf8("additional data"), utf8("plaintext")]
  return {
    description: "HPKE base mode, 0x647a 0x0011 0x0003: one seal, and the commitment as exported under 'commit'",
    realm,
    device: hex(statement.device),
    prekeyId: hex(statement.id),
    kind: statement.kind,
    kemSeed: hex(seed),
    publicKey: hex(statement.pk),
    info: hex(info),
    coins: hex(coins),
    encapsulation: hex(encapsulation),
    sharedSecret: hex(encapsulate(statement.pk, coins)!.sharedSecret),
    commitment: hex(commitmentOf(context)),
    aad: hex(aad),
    plaintext: hex(plaintext),
    ciphertext: hex(context.seal(aad, plaintext)),
  }
}

function envelope(deflate: Deflate): object {
  const draws: Uint8Array[] = []
  const random = (length: number): Uint8Array => {
    draws.push(bytes(length, `draw ${draws.length}`))
    return draws.at(-1)!
  }
  const targets = [
    { poc: singapore, kind: "one-time" },
    { poc: brazil, kind: "rotating" },
  ] as const
  const recipients = targets.map(({ poc, kind }, n) => recipientOf(poc, kind, n))
  const [key, officerKey] = [signingKeyOf(kenya), new SigningKey(bytes(32, "officer"))]
  const officer = { id: officerIdOf(kenya, officerKey.publicKey), key: officerKey }
  const input: SealInput = {
    realm,
    sender: { poc: kenya, device: deviceIdOf(kenya, key.publicKey), key },
    officer,
    messageId: bytes(16, "message id") as MessageId,
    created,
    expires: created + 14 * 86_400,
    checkpoint,
    contentKey: bytes(32, "content key"),
    leaves: content(),
    recipients,
    random,
    deflate,
  }
  const sealed = seal(input)
  return {
    description: `one message to two devices; ${deflate === stored ? "every leaf stored as it is" : "leaves deflated where that is shorter: open it only"}`,
    realm,
    sender: deviceJson(kenya),
    officer: { seed: hex(bytes(32, "officer")), publicKey: hex(officerKey.publicKey), officer: hex(officer.id) },
    messageId: hex(input.messageId),
    created,
    expires: input.expires,
    checkpoint: hex(checkpoint),
    checkpointHash: hex(checkpointHash(checkpoint)),
    contentKey: hex(input.contentKey),
    leaves: input.leaves.map(({ name, value }, i) => ({
      name,
      value: hex(value),
      salt: hex(saltOf(input.contentKey, name)),
      hash: hex(sealed.leafHashes[i]!),
    })),
    recipientsRoot: hex(decodeHeader(sealed.header.bytes).recipientsRoot),
    header: hex(sealed.header.bytes),
    headerHash: hex(headerHash(sealed.header.bytes)),
    signedBytes: hex(signedBytes(realm, "header", sealed.header.bytes)),
    signature: hex(sealed.header.signature),
    release: hex(sealed.release!.signature),
    contentHash: hex(sealed.contentHash),
    recipients: sealed.envelopes.map((made, i) => {
      const recipient = recipients[i]!
      const { id, kind, pk } = recipient.prekey
      const info = infoOf(realm, made.device, id, kind)
      const { aad, encapsulation, commitment, ciphertext } = parseEnvelope(made.bytes)!
      const { seed } = prekeyOf(recipient.poc, kind, i)
      const padded = setupRecipient(new KemKey(seed), encapsulation, info)!.open(aad, ciphertext)!
      return {
        ...deviceJson(recipient.poc),
        mailbox: hex(made.mailbox),
        kemSeed: hex(seed),
        ...statementJson(recipient.prekey),
        pairSequence: { incarnation: hex(recipient.pairSequence.incarnation), n: recipient.pairSequence.n },
        coins: hex(draws[i]!),
        lot: hex(draws[recipients.length + i]!),
        info: hex(info),
        encapsulation: hex(encapsulation),
        sharedSecret: hex(encapsulate(pk, draws[i]!)!.sharedSecret),
        commitment: hex(commitment),
        entry: hex(made.entry),
        index: made.index,
        path: made.path.map(hex),
        payload: hex(unpad(padded)!),
        envelope: hex(made.bytes),
        digest: hex(made.digest),
      }
    }),
  }
}

function content(): Leaf[] {
  const indicators = JSON.stringify({ type: "ipv4-addr", value: "192.0.2.7", note: "seen ".repeat(20).trim() })
  return [
    { name: "type", value: utf8("notification") },
    { name: "subject", value: utf8("Beacons towards 198.51.100.0/24 — please check") },
    { name: "indicators", value: utf8(indicators) },
    { name: "attachments", value: new Uint8Array(0) },
  ]
}

function recipientOf(poc: PocAddress, kind: PrekeyKind, n: number): Recipient {
  const { statement: prekey } = prekeyOf(poc, kind, n)
  const incarnation = bytes(16, `incarnation of ${kenya}`) as Incarnation
  return { poc, device: prekey.device, mailbox: mailboxOfPoc(poc), prekey, pairSequence: { incarnation, n: 40 + n } }
}

function prekeyOf(poc: PocAddress, kind: PrekeyKind, n: number): { seed: Uint8Array; statement: PrekeyStatement } {
  const seed = bytes(32, `prekey ${n} of ${poc}`)
  const pk = new KemKey(seed).publicKey
  const device = deviceIdOf(poc, signingKeyOf(poc).publicKey)
  const incarnation = bytes(16, `incarnation of ${poc}`) as Incarnation
  const [nbf, exp] = [created - 86_400, created + 14 * 86_400]
  return { seed, statement: { v: 1, device, incarnation, n, kind, id: prekeyIdOf(pk), suite: 1, nbf, exp, pk } }
}

function statementJson({ incarnation, n, kind, id, nbf, exp, pk }: PrekeyStatement): object {
  return { kind, prekeyId: hex(id), incarnation: hex(incarnation), n, nbf, exp, publicKey: hex(pk) }
}

function deviceJson(poc: PocAddress): object {
  const { publicKey } = signingKeyOf(poc)
  return {
    poc,
    seed: hex(bytes(32, `signing key of ${poc}`)),
    signingKey: hex(publicKey),
    device: hex(deviceIdOf(poc, publicKey)),
    relay,
  }
}

function signingKeyOf(poc: PocAddress): SigningKey {
  return new SigningKey(bytes(32, `signing key of ${poc}`))
}

function mailboxOfPoc(poc: PocAddress): MailboxId {
  return mailboxOf(deviceIdOf(poc, signingKeyOf(poc).publicKey), relay)
}

function write(name: string, value: object): void {
  writeFileSync(new URL(`${name}.json`, folder), `${JSON.stringify(value, undefined, 1)}\n`)
}
