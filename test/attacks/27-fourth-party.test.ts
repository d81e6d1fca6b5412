/**
 * What T and R hold of a consented forwarding is shown to a fourth party, with all their keys. It proves nothing, because
 * they can make every byte of it for any other content: constructively, with real envelopes.
 */
import { expect, test } from "vitest"
import type { MessageId, PocAddress } from "../../protocol/address.ts"
import { concat, equal, utf8 } from "../../protocol/bytes.ts"
import { encodeCbor } from "../../protocol/cbor.ts"
import {
  attestationOf,
  consentDigest,
  consentFor,
  consentTo,
  encodeAttestation,
  encodeConsent,
  encodeForward,
  encodeInvolved,
  type ConsentScope,
  type ForwardedLeaf,
} from "../../protocol/consent.ts"
import { infoOf, parseEnvelope, writeEnvelope } from "../../protocol/envelope.ts"
import { headerHash } from "../../protocol/header.ts"
import { setupRecipient, type HpkeContext } from "../../protocol/hpke.ts"
import {
  contentHash,
  leafHash,
  leafHashesOf,
  packLeaves,
  saltOf,
  type Leaf,
  type PackedLeaf,
} from "../../protocol/leaves.ts"
import { open } from "../../protocol/open.ts"
import { pad, unpad } from "../../protocol/padding.ts"
import { decodePayload, encodePayload, type Payload } from "../../protocol/payload.ts"
import { seal, type SealInput } from "../../protocol/seal.ts"
import { signedBytes, statementLabels, type StatementLabel } from "../../protocol/statement.ts"
import { nodeDeflate } from "../../system/node.ts"
import { bytesOf, held, officerOf, P, R, request, S, T } from "../support/papers.ts"
import { deviceOf, live, messageOf, nowSeconds, openerOf, prekeyOf, randomOf, recipientOf } from "../support/sealing.ts"

const reader = { [R]: deviceOf(R), [T]: deviceOf(T) }
/** The only secrets that a forgery needs. */
const secret = { [R]: prekeyOf(reader[R]!), [T]: prekeyOf(reader[T]!) }

const involved: Leaf = { name: "involved", value: encodeInvolved([S, R, P]) }
const indicators = (text: string): Leaf => ({ name: "indicators", value: utf8(text) })

interface Story {
  /** What S wrote (or is said to have written). */
  readonly text: string
  readonly contentKey: Uint8Array
}

function scopeFor({ text, contentKey }: Story): ConsentScope {
  const leaves = [indicators(text), involved].map(({ name, value }) => ({
    name,
    hash: leafHash(saltOf(contentKey, name), name, value),
  }))
  const { v, requestId, purpose, tlp } = request
  const { messageId, headerHash: header } = held
  return { v, requestId, messageId, header, leaves, sender: S, forwarder: R, thirdParty: T, purpose, tlp }
}

/** What each sealed message says, without any key: so R and T can write it as well as S and P. */
function contentsOf(story: Story) {
  const scope = scopeFor(story)
  const consent = encodeConsent(consentTo(scope, nowSeconds))
  const attestation = attestationOf(scope, [{ poc: P, digest: consentDigest(consent) }], nowSeconds, nowSeconds + 9)
  const leaves = [indicators(story.text), involved].map((leaf): ForwardedLeaf => ({
    ...leaf,
    salt: saltOf(story.contentKey, leaf.name),
  }))
  return {
    message: [involved, indicators(story.text)],
    consent: [{ name: "consent", value: encodeCbor({ bytes: consent }) }],
    attestation: [{ name: "attestation", value: encodeAttestation(attestation) }],
    forward: [{ name: "forward", value: encodeForward({ v: 1, requestId: scope.requestId, leaves }) }],
  }
}

/** P's consent as P itself makes it for T, with its officer's key at hand. */
function consentOfP(story: Story): Leaf {
  const copy = consentFor(T, consentTo(scopeFor(story), nowSeconds), live, officerOf(P).key)
  return { name: "consent", value: encodeCbor(copy) }
}

/** The envelopes as their true senders seal them: S to R, P to T, S to T, R to T. */
function honestEnvelopes(story: Story) {
  const contents = contentsOf(story)
  const sealed = (from: PocAddress, to: PocAddress, name: string, leaves: readonly Leaf[]): Uint8Array => {
    const sender = deviceOf(from)
    const input: SealInput = messageOf({
      sender: { poc: from, device: sender.id, key: sender.key },
      officer: officerOf(from),
      messageId: bytesOf(16, name) as MessageId,
      contentKey: story.contentKey,
      leaves,
      recipients: [recipientOf(reader[to]!, secret[to])],
      random: randomOf(`coins of ${name}`),
    })
    return seal(input).envelopes[0]!.bytes
  }
  return {
    message: sealed(S, R, "message", contents.message),
    consent: sealed(P, T, "consent", [consentOfP(story)]),
    attestation: sealed(S, T, "attestation", contents.attestation),
    forward: sealed(R, T, "forward", contents.forward),
  }
}

/** R's and T's forgery: the envelope that they received, with other leaves. No key but the recipient's own goes in. */
function forge(envelope: Uint8Array, me: PocAddress, contentKey: Uint8Array, leaves: readonly Leaf[]): Uint8Array {
  const { encapsulation, mailbox, prekeyId } = parseEnvelope(envelope)!
  const payload = { ...payloadOf(envelope, me), contentKey, leaves: packLeaves(leaves, nodeDeflate) }
  return writeEnvelope({ mailbox, prekeyId }, encapsulation, contextOf(envelope, me), pad(encodePayload(payload))!)
}

function payloadOf(envelope: Uint8Array, me: PocAddress): Payload {
  const { aad, ciphertext } = parseEnvelope(envelope)!
  return decodePayload(unpad(contextOf(envelope, me).open(aad, ciphertext)!)!)
}

/** A KEM's ciphertext opens again and again: the recipient can seal as well as the sender could. */
function contextOf(envelope: Uint8Array, me: PocAddress): HpkeContext {
  const { key, statement } = secret[me]!
  const info = infoOf(live, reader[me]!.id, statement.id, statement.kind)
  return setupRecipient(key, parseEnvelope(envelope)!.encapsulation, info)!
}

const truth: Story = { text: '{"objects":["198.51.100.7"]}', contentKey: bytesOf(32, "true key") }
const claim: Story = { text: '{"objects":["203.0.113.99"]}', contentKey: bytesOf(32, "false key") }
const recipientOfPaper = { message: R, consent: T, attestation: T, forward: T } as const
const papers = Object.keys(recipientOfPaper) as (keyof typeof recipientOfPaper)[]

test.each(papers)("27 a fourth party: the %s can be forged byte for byte by the one who received it", (paper) => {
  const me = recipientOfPaper[paper]
  const received = honestEnvelopes(truth)[paper]
  const forged = forge(received, me, claim.contentKey, contentsOf(claim)[paper])
  expect(equal(forged, received)).toBe(false)
  expect(forged).toEqual(honestEnvelopes(claim)[paper])
})

test.each(papers)("27 a fourth party: the forged %s opens as the true one does", (paper) => {
  const me = recipientOfPaper[paper]
  const forged = forge(honestEnvelopes(truth)[paper], me, claim.contentKey, contentsOf(claim)[paper])
  const sender = deviceOf({ message: S, consent: P, attestation: S, forward: R }[paper])
  const officer = officerOf(sender.poc)
  const opened = open({
    ...openerOf(reader[me]!, forged, secret[me]),
    judgeSender: () => ({ ok: true, deviceKey: sender.key.publicKey, officerKey: officer.key.publicKey, banners: [] }),
  })
  expect(opened).toMatchObject({ ok: true, header: { sender: { poc: sender.poc } } })
  expect(opened.ok && opened.leaves).toEqual(contentsOf(claim)[paper])
})

test("27 a fourth party: of S's and P's signatures R and T hold those over headers, and none over content", () => {
  const envelopes = honestEnvelopes(truth)
  const opened = papers.map((paper) => payloadOf(envelopes[paper], recipientOfPaper[paper]))
  const plaintext = concat(...opened.map(encodePayload), ...opened.flatMap(({ leaves }) => leaves.map(valueOf)))
  const signed = (label: StatementLabel, bytes: Uint8Array) =>
    [S, P]
      .flatMap((poc) => [deviceOf(poc).key, officerOf(poc).key])
      .some((key) => Buffer.from(plaintext).includes(Buffer.from(key.sign(signedBytes(live, label, bytes)))))
  expect(signed("header", opened[0]!.header.bytes)).toBe(true)
  expect(signed("release", opened[0]!.header.bytes)).toBe(true)

  const scope = scopeFor(truth)
  const content = [
    ...opened.flatMap(({ leaves }) => leaves.map(valueOf)),
    ...scope.leaves.map(({ hash }) => hash),
    encodeConsent(consentTo(scope, nowSeconds)),
    contentHash(headerHash(opened[0]!.header.bytes), leafHashesOf(truth.contentKey, contentsOf(truth).message)),
  ]
  for (const label of statementLabels) for (const bytes of content) expect(signed(label, bytes)).toBe(false)
})

const valueOf = ({ deflated, value }: PackedLeaf): Uint8Array =>
  deflated ? nodeDeflate.inflate(value, 2 ** 20)! : value
