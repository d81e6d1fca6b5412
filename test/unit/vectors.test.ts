/** The project's own vectors (`protocol/vectors`): recomputed, then broken at every byte, cut and extended. */
import { readFileSync } from "node:fs"
import { describe, expect, test } from "vitest"
import {
  deviceIdOf,
  mailboxOf,
  officerIdOf,
  prekeyIdOf,
  type DeviceId,
  type Hash,
  type Incarnation,
  type MessageId,
  type PocAddress,
  type PrekeyId,
  type Realm,
} from "../../protocol/address.ts"
import { concat, fromHex, hex } from "../../protocol/bytes.ts"
import { commitmentOf, infoOf, wireSizes } from "../../protocol/envelope.ts"
import { merkleRootOf, merkleTree, taggedHash, type HashLabel } from "../../protocol/hash.ts"
import { decodeEntry, decodeHeader, encodeEntry, encodeHeader } from "../../protocol/header.ts"
import { setupRecipient, setupSender } from "../../protocol/hpke.ts"
import { contentHash, leafHash, saltOf } from "../../protocol/leaves.ts"
import { open, type OpenInput } from "../../protocol/open.ts"
import { pad, paddedLength, paddedLengths, unpad } from "../../protocol/padding.ts"
import { decodePayload, encodePayload } from "../../protocol/payload.ts"
import { checkPrekey, signPrekey, type PrekeyKind, type PrekeyStatement } from "../../protocol/prekey.ts"
import { encapsulate, KemKey, sha3, SigningKey } from "../../protocol/primitives.ts"
import { seal } from "../../protocol/seal.ts"
import { signedBytes } from "../../protocol/statement.ts"
import { nodeDeflate } from "../../system/node.ts"
import { codeOf } from "../support/errors.ts"
import { opened } from "../support/sealing.ts"

test("tagged hashes", () => {
  const { cases } = read<{ cases: { label: HashLabel; parts: string[]; hash: string }[] }>("tagged-hash")
  for (const { label, parts, hash } of cases) expect(hex(taggedHash(label, ...parts.map(fromHex)))).toBe(hash)
})

test("padding", () => {
  const vector = read<PaddingVector>("padding")
  for (const { length, padded } of vector.lengths) expect(paddedLength(length) ?? null).toBe(padded)
  expect(paddedLengths).toEqual(vector.paddedLengths)
  expect(wireSizes).toEqual(vector.wireSizes)
  expect(hex(pad(fromHex(vector.body))!)).toBe(vector.padded)
  const padded = fromHex(vector.padded)
  for (const [i, byte] of padded.entries()) {
    const altered = Uint8Array.from(padded)
    altered[i] = byte ^ 1
    expect(unpad(altered) === undefined || i < 4 + vector.body.length / 2).toBe(true)
    expect(unpad(padded.subarray(0, i))).toBeUndefined()
  }
  expect(unpad(concat(padded, Uint8Array.of(0)))).toBeUndefined()
})

test("leaves", () => {
  const vector = read<LeavesVector>("leaves")
  const hashes = vector.leaves.map(({ name, value, salt, hash }) => {
    expect(hex(saltOf(fromHex(vector.contentKey), name))).toBe(salt)
    expect(hex(leafHash(fromHex(salt), name, fromHex(value)))).toBe(hash)
    return fromHex(hash) as Hash
  })
  expect(hex(contentHash(fromHex(vector.headerHash) as Hash, hashes))).toBe(vector.contentHash)
  expect(hex(contentHash(fromHex(vector.headerHash) as Hash, hashes.toReversed()))).not.toBe(vector.contentHash)
})

test("entries and their trees", () => {
  const vector = read<EntriesVector>("entries")
  const entries = vector.entries.map(fromHex)
  for (const entry of entries) {
    expect(encodeEntry(decodeEntry(entry))).toEqual(entry)
    everyWayBroken(entry, (broken) => {
      if (codeOf(() => decodeEntry(broken)) === "none") expect(encodeEntry(decodeEntry(broken))).toEqual(broken)
    })
  }
  for (const { count, root, paths } of vector.trees) {
    const tree = merkleTree(entries.slice(0, count))
    expect(hex(tree.root)).toBe(root)
    for (const [i, path] of paths.entries()) {
      expect(tree.path(i).map(hex)).toEqual(path)
      expect(hex(merkleRootOf(entries[i]!, i, count, path.map(fromHex))!)).toBe(root)
    }
  }
})

test("prekeys", () => {
  const { realm, device, prekeys } = read<PrekeysVector>("prekey")
  const key = new SigningKey(fromHex(device.seed))
  const holder = { id: deviceIdOf(device.poc, key.publicKey), signingKey: fromHex(device.signingKey) }
  expect(hex(holder.id)).toBe(device.device)
  for (const prekey of prekeys) {
    const statement = statementOf(prekey, holder.id)
    const signed = signPrekey(key, realm, statement)
    expect(hex(signed.bytes)).toBe(prekey.bytes)
    expect(hex(signedBytes(realm, "prekey", signed.bytes))).toBe(prekey.signedBytes)
    expect(hex(signed.signature)).toBe(prekey.signature)
    expect(checkPrekey(realm, holder, signed, prekey.nbf)).toEqual(statement)
    const refusal = (broken: Partial<typeof signed>) =>
      codeOf(() => checkPrekey(realm, holder, { ...signed, ...broken }, prekey.nbf))
    everyWayBroken(signed.bytes, (bytes) => expect(refusal({ bytes })).toBe("ERR_UNTRUSTED"), 19)
    everyWayBroken(signed.signature, (signature) => expect(refusal({ signature })).toBe("ERR_UNTRUSTED"))
  }
})

test("HPKE and the commitment", () => {
  const vector = read<HpkeVector>("hpke")
  const key = new KemKey(fromHex(vector.kemSeed))
  expect(hex(key.publicKey)).toBe(vector.publicKey)
  expect(hex(prekeyIdOf(key.publicKey))).toBe(vector.prekeyId)
  const ids = [fromHex(vector.device) as DeviceId, fromHex(vector.prekeyId) as PrekeyId, vector.kind] as const
  const info = infoOf(vector.realm, ...ids)
  expect(hex(info)).toBe(vector.info)
  const { encapsulation, context } = setupSender(key.publicKey, info, fromHex(vector.coins))!
  expect(hex(encapsulation)).toBe(vector.encapsulation)
  expect(hex(key.decapsulate(encapsulation)!)).toBe(vector.sharedSecret)
  expect(hex(commitmentOf(context))).toBe(vector.commitment)
  expect(hex(context.seal(fromHex(vector.aad), fromHex(vector.plaintext)))).toBe(vector.ciphertext)
  const recipient = setupRecipient(key, encapsulation, info)!
  expect(hex(commitmentOf(recipient))).toBe(vector.commitment)
  const ciphertext = fromHex(vector.ciphertext)
  expect(hex(recipient.open(fromHex(vector.aad), ciphertext)!)).toBe(vector.plaintext)
  everyWayBroken(ciphertext, (broken) => expect(recipient.open(fromHex(vector.aad), broken)).toBeUndefined())
})

describe("whole envelopes", () => {
  const vector = read<EnvelopeVector>("envelope")

  test("are sealed byte by byte from the given randomness", () => {
    const draws = [...vector.recipients.map((to) => to.coins), ...vector.recipients.map((to) => to.lot)]
    const sealed = seal({
      realm: vector.realm,
      sender: {
        poc: vector.sender.poc,
        device: fromHex(vector.sender.device) as DeviceId,
        key: new SigningKey(fromHex(vector.sender.seed)),
      },
      officer: {
        id: officerIdOf(vector.sender.poc, fromHex(vector.officer.publicKey)),
        key: new SigningKey(fromHex(vector.officer.seed)),
      },
      messageId: fromHex(vector.messageId) as MessageId,
      created: vector.created,
      expires: vector.expires,
      checkpoint: fromHex(vector.checkpoint),
      contentKey: fromHex(vector.contentKey),
      leaves: vector.leaves.map(({ name, value }) => ({ name, value: fromHex(value) })),
      recipients: vector.recipients.map((to) => {
        const device = deviceIdOf(to.poc, fromHex(to.signingKey))
        return {
          poc: to.poc,
          device,
          mailbox: mailboxOf(device, to.relay),
          prekey: statementOf(to, device),
          pairSequence: { ...to.pairSequence, incarnation: fromHex(to.pairSequence.incarnation) as Incarnation },
        }
      }),
      random: (length) => {
        const draw = fromHex(draws.shift()!)
        expect(draw.length).toBe(length)
        return draw
      },
      deflate: { deflate: (bytes) => bytes, inflate: () => undefined },
    })
    expect(draws).toEqual([])
    expect(hex(sealed.header.bytes)).toBe(vector.header)
    expect(hex(signedBytes(vector.realm, "header", sealed.header.bytes))).toBe(vector.signedBytes)
    expect(hex(sealed.header.signature)).toBe(vector.signature)
    expect(hex(sealed.release!.signature)).toBe(vector.release)
    expect(sealed.leafHashes.map(hex)).toEqual(vector.leaves.map((leaf) => leaf.hash))
    expect(hex(sealed.contentHash)).toBe(vector.contentHash)
    for (const [i, to] of vector.recipients.entries()) {
      const { bytes, digest, entry, index, path } = sealed.envelopes[i]!
      expect({ bytes: hex(bytes), digest: hex(digest), entry: hex(entry), index, path: path.map(hex) }).toEqual({
        bytes: to.envelope,
        digest: to.digest,
        entry: to.entry,
        index: to.index,
        path: to.path,
      })
    }
  })

  test("hold the intermediate values that they name", () => {
    const header = decodeHeader(fromHex(vector.header))
    expect(hex(encodeHeader(header))).toBe(vector.header)
    expect(hex(header.recipientsRoot)).toBe(vector.recipientsRoot)
    expect(hex(header.checkpoint)).toBe(vector.checkpointHash)
    for (const to of vector.recipients) {
      const key = new KemKey(fromHex(to.kemSeed))
      const made = encapsulate(key.publicKey, fromHex(to.coins))!
      expect(hex(made.ciphertext)).toBe(to.encapsulation)
      expect(hex(made.sharedSecret)).toBe(to.sharedSecret)
      const info = infoOf(vector.realm, fromHex(to.device) as DeviceId, fromHex(to.prekeyId) as PrekeyId, to.kind)
      expect(hex(info)).toBe(to.info)
      const context = setupRecipient(key, made.ciphertext, info)!
      expect(hex(commitmentOf(context))).toBe(to.commitment)
      const envelope = fromHex(to.envelope)
      expect(hex(unpad(context.open(envelope.subarray(0, 1186), envelope.subarray(1186))!)!)).toBe(to.payload)
      expect(hex(encodePayload(decodePayload(fromHex(to.payload))))).toBe(to.payload)
      expect(hex(sha3(envelope))).toBe(to.digest)
    }
  })

  test("open, stored and deflated alike", () => {
    for (const file of [vector, read<EnvelopeVector>("envelope-deflated")])
      for (const to of file.recipients) {
        const message = opened(open(openInput(file, to, fromHex(to.envelope))))
        expect(message.leaves.map(({ name, value }) => ({ name, value: hex(value) }))).toEqual(
          file.leaves.map(({ name, value }) => ({ name, value })),
        )
        expect(hex(message.contentHash)).toBe(file.contentHash)
        expect(hex(message.headerHash)).toBe(file.headerHash)
      }
    const [to] = read<EnvelopeVector>("envelope-deflated").recipients
    expect(decodePayload(fromHex(to!.payload)).leaves.some((leaf) => leaf.deflated)).toBe(true)
  })

  // Every seventh byte: `open-garbage.test.ts` changes all of them.
  test("do not open with a byte changed, cut, or with a byte more", () => {
    const [to] = vector.recipients
    const check = (broken: Uint8Array): void => {
      if (open(openInput(vector, to!, broken)).ok) expect.fail("a broken envelope opened")
    }
    everyWayBroken(fromHex(to!.envelope), check, 7)
  })

  test("do not open for one another's recipients", () => {
    const [first, second] = vector.recipients
    expect(open(openInput(vector, first!, fromHex(second!.envelope))).ok).toBe(false)
    expect(open(openInput(vector, second!, fromHex(first!.envelope))).ok).toBe(false)
  })
})

/** Every byte changed by one bit, every cut, one byte more; `step` thins out what is long. */
function everyWayBroken(bytes: Uint8Array, check: (broken: Uint8Array) => void, step = 1): void {
  for (let i = 0; i < bytes.length; i += step) {
    const altered = Uint8Array.from(bytes)
    altered[i]! ^= 1 << (i % 8)
    check(altered)
    check(bytes.subarray(0, i))
  }
  check(concat(bytes, Uint8Array.of(0)))
}

function openInput(vector: EnvelopeVector, to: RecipientVector, bytes: Uint8Array): OpenInput {
  return {
    bytes,
    realm: vector.realm,
    me: { poc: to.poc, device: fromHex(to.device) as DeviceId },
    prekey: { id: fromHex(to.prekeyId) as PrekeyId, kind: to.kind, key: new KemKey(fromHex(to.kemSeed)) },
    judgeSender: () => ({
      ok: true,
      deviceKey: fromHex(vector.sender.signingKey),
      officerKey: fromHex(vector.officer.publicKey),
      banners: [],
    }),
    nowSeconds: vector.created,
    deflate: nodeDeflate,
  }
}

function statementOf(vector: PrekeyVector, device: DeviceId): PrekeyStatement {
  const { n, kind, nbf, exp } = vector
  const pk = new KemKey(fromHex(vector.kemSeed)).publicKey
  expect(hex(pk)).toBe(vector.publicKey)
  expect(hex(prekeyIdOf(pk))).toBe(vector.prekeyId)
  const incarnation = fromHex(vector.incarnation) as Incarnation
  return { v: 1, device, incarnation, n, kind, id: prekeyIdOf(pk), suite: 1, nbf, exp, pk }
}

// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the file's shape
function read<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../protocol/vectors/${name}.json`, import.meta.url), "utf8")) as T
}

interface PaddingVector {
  lengths: { length: number; padded: number | null }[]
  paddedLengths: number[]
  wireSizes: number[]
  body: string
  padded: string
}

interface LeafVector {
  name: string
  value: string
  salt: string
  hash: string
}

interface LeavesVector {
  contentKey: string
  headerHash: string
  leaves: LeafVector[]
  contentHash: string
}

interface EntriesVector {
  entries: string[]
  trees: { count: number; root: string; paths: string[][] }[]
}

interface DeviceVector {
  poc: PocAddress
  seed: string
  signingKey: string
  device: string
  relay: string
}

interface PrekeyVector {
  kemSeed: string
  kind: PrekeyKind
  prekeyId: string
  incarnation: string
  n: number
  nbf: number
  exp: number
  publicKey: string
}

interface PrekeysVector {
  realm: Realm
  device: DeviceVector
  prekeys: (PrekeyVector & { bytes: string; signedBytes: string; signature: string })[]
}

interface HpkeVector {
  realm: Realm
  device: string
  prekeyId: string
  kind: PrekeyKind
  kemSeed: string
  publicKey: string
  info: string
  coins: string
  encapsulation: string
  sharedSecret: string
  commitment: string
  aad: string
  plaintext: string
  ciphertext: string
}

interface RecipientVector extends DeviceVector, PrekeyVector {
  mailbox: string
  pairSequence: { incarnation: string; n: number }
  coins: string
  lot: string
  info: string
  encapsulation: string
  sharedSecret: string
  commitment: string
  entry: string
  index: number
  path: string[]
  payload: string
  envelope: string
  digest: string
}

interface EnvelopeVector {
  realm: Realm
  sender: DeviceVector
  officer: { seed: string; publicKey: string; officer: string }
  messageId: string
  created: number
  expires: number
  checkpoint: string
  checkpointHash: string
  contentKey: string
  leaves: LeafVector[]
  recipientsRoot: string
  header: string
  headerHash: string
  signedBytes: string
  signature: string
  release: string
  contentHash: string
  recipients: RecipientVector[]
}
