/**
 * A dishonest client of Singapore, built from the protocol alone: it has the device's key and the message, and forwards
 * the indicators to France without anybody's consent. The SDK has no switch for this.
 */
import { join } from "node:path"
import { homeSchema } from "../../client-sdk/collections.ts"
import { bytesLeaf, frameLeaves } from "../../client-sdk/content.ts"
import { Home } from "../../client-sdk/home.ts"
import type { Channel } from "../../client-sdk/transport.ts"
import { wsTransport } from "../../client-sdk/transport-ws.ts"
import { readKeyFile } from "../../client-sdk/vault/key-file.ts"
import { openVaultFile } from "../../client-sdk/vault/storage-sqlite.ts"
import { Vault } from "../../client-sdk/vault/vault.ts"
import type { HomePlace } from "../homes.ts"
import type { Incarnation, MessageId } from "../../protocol/address.ts"
import { hex } from "../../protocol/bytes.ts"
import { ClientConnection } from "../../protocol/connection.ts"
import { encodeForward, type RequestId } from "../../protocol/consent.ts"
import { ValiseError } from "../../protocol/errors.ts"
import type { ClientFrame, Received, RelayFrame } from "../../protocol/frames.ts"
import { saltOf } from "../../protocol/leaves.ts"
import { checkPrekey } from "../../protocol/prekey.ts"
import { seal } from "../../protocol/seal.ts"
import { nodeMachine } from "../../system/node.ts"

/** Resolves to the id of the message that France gets. Singapore's honest client must not hold the line meanwhile. */
export async function forwardWithoutConsent(own: HomePlace, other: HomePlace, message: string): Promise<string> {
  const vault = await Vault.open(
    openVaultFile(join(own.folder, own.file.vault)),
    readKeyFile(join(own.folder, own.file.keyFile!)),
    nodeMachine,
    homeSchema,
  )
  const home = new Home(vault, nodeMachine)
  await home.unlockOfficer(readKeyFile(join(own.folder, own.file.officerKeyFile!)))
  const wire = await Wire.dial(home, own.file.relay!)
  try {
    const { identity, mirror, now, realm } = home
    const stolen = vault.read((tx) => tx.get("messages", message))!
    const to = mirror.state.resolve(other.file.poc).address
    const target = mirror.state.usableDevices(to, now)[0]!
    const served = await wire.ask({ type: "fetch-prekeys", device: target.device }, "prekeys")
    const prekey = checkPrekey(realm, { id: target.device, signingKey: target.key }, served.prekey!, now)
    const random = (length: number): Uint8Array => nodeMachine.random.bytes(length)
    const leaves = stolen.leaves
      .filter(({ name }) => name === "indicators" || name === "involved")
      .map(({ name, value }) => ({ name, salt: saltOf(stolen.contentKey, name), value }))
    const statement = encodeForward({ v: 1, requestId: random(16) as RequestId, leaves })
    const messageId = random(16) as MessageId
    const officer = home.officerWith("release")
    const sealed = seal({
      realm,
      sender: { poc: identity.poc, device: identity.device, key: home.deviceKey },
      officer: { id: officer.id, key: officer.key },
      messageId,
      created: now,
      expires: now + 86_400,
      checkpoint: mirror.freshCheckpoint(),
      contentKey: random(32),
      leaves: [...frameLeaves({ type: "forward", case: random(16), to: [to] }), bytesLeaf("statement", statement)],
      recipients: [{ ...target, prekey, pairSequence: { incarnation: random(16) as Incarnation, n: 1 } }],
      random,
      deflate: nodeMachine.deflate,
    })
    const { bytes, mailbox } = sealed.envelopes[0]!
    await wire.ask({ type: "submit", mailbox, blind: random(32), envelope: bytes }, "accepted")
    return hex(messageId)
  } finally {
    wire.close()
    home.close()
    await vault.close()
  }
}

/** The barest client: one question at a time. */
class Wire {
  readonly #connection: ClientConnection
  #channel: Channel | undefined
  #answer: ((frame: Received<RelayFrame> | undefined) => void) | undefined

  static async dial(home: Home, url: string): Promise<Wire> {
    const wire = new Wire(home)
    const welcome = wire.#next()
    const events = { message: (bytes: Uint8Array) => wire.#receive(bytes), end: () => wire.#answer?.(undefined) }
    wire.#channel = await wsTransport.connect(url, events, new AbortController().signal)
    wire.#channel.send(wire.#connection.hello())
    await welcome
    return wire
  }

  private constructor(home: Home) {
    const { identity, mirror, realm, deviceKey } = home
    this.#connection = new ClientConnection({
      realm,
      device: identity.device,
      key: deviceKey,
      host: identity.relay,
      judgeRelay: () => mirror.state.relay(identity.relay)?.key,
      random: (length) => nodeMachine.random.bytes(length),
    })
  }

  async ask<N extends RelayFrame["type"]>(frame: ClientFrame, expected: N): Promise<Extract<RelayFrame, { type: N }>> {
    this.#channel!.send(this.#connection.send(frame).bytes)
    for (;;) {
      const answer = await this.#next()
      if (!answer || answer.type === "error") throw new ValiseError("ERR_OFFLINE", "the dishonest client got no answer")
      if (answer.type === expected) return answer as Extract<RelayFrame, { type: N }>
    }
  }

  close(): void {
    this.#channel?.close()
  }

  #next(): Promise<Received<RelayFrame> | undefined> {
    return new Promise((resolve) => (this.#answer = resolve))
  }

  #receive(bytes: Uint8Array): void {
    const event = this.#connection.receive(bytes)
    if (event.type === "proof") this.#channel!.send(event.bytes)
    if (event.type === "frame") this.#answer?.(event.frame)
  }
}
