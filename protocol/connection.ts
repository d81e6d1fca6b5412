/**
 * The connection without its socket: bytes in, frames and bytes out (SPEC, "Connection"). Login, keys, counters and MACs are in
 * here, the law of what may follow what in `connection-table.ts`; sockets, time and storage are neither.
 */
import type { DeviceId, Realm } from "./address.ts"
import { clientTable, Course, relayTable, type ConnectionState } from "./connection-table.ts"
import { ValiseError } from "./errors.ts"
import {
  decodeFrame,
  decodeLoginFrame,
  encodeFrame,
  encodeLoginFrame,
  type ClientFrame,
  type EnvelopeHash,
  type LoginFrame,
  type Received,
  type RelayFrame,
} from "./frames.ts"
import { frameKeys, signLogin, transcriptBytes, verifyLogin } from "./login.ts"
import { x25519Bytes, x25519PublicKey, type SigningKey } from "./primitives.ts"

/** A frame's bytes to be sent, and the counter by which answers will name it. */
export interface Outgoing {
  readonly bytes: Uint8Array
  readonly counter: number
}

export interface ClientIdentity {
  readonly realm: Realm
  readonly device: DeviceId
  readonly key: SigningKey
  /** The host as dialled; the relay must be certified for it. */
  readonly host: string
  /** The key of the relay that the directory lists under `host`, or `undefined`: then this is not that relay. */
  readonly judgeRelay: (certificate: Uint8Array) => Uint8Array | undefined
  readonly random: (length: number) => Uint8Array
  /** For who knows some digests already. */
  readonly hashOf?: EnvelopeHash
}

/** What the client's end has read: the login's next step to send, a frame to act on, or a type from the future. */
export type ClientEvent =
  | { readonly type: "proof"; readonly bytes: Uint8Array }
  | { readonly type: "frame"; readonly frame: Received<RelayFrame> }
  | { readonly type: "unknown" }

/**
 * The client's end. `receive` throws for whatever the relay may not do: `ERR_PROTOCOL`, `ERR_UNTRUSTED` (not the
 * relay that was dialled), `ERR_LOGIN`, `ERR_FRAME_AUTHENTICATION`; the connection is then closed for good.
 */
export class ClientConnection {
  readonly #identity: ClientIdentity
  readonly #course = new Course(clientTable, "client")
  readonly #nonce: Uint8Array
  readonly #ephemeralSecret: Uint8Array
  #channel: Channel | undefined

  constructor(identity: ClientIdentity) {
    this.#identity = identity
    this.#nonce = identity.random(32)
    this.#ephemeralSecret = identity.random(x25519Bytes)
  }

  get state(): ConnectionState {
    return this.#course.state
  }

  /** The first bytes to send. */
  hello(): Uint8Array {
    const frame: LoginFrame = {
      type: "hello",
      kind: "device",
      nonce: this.#nonce,
      ephemeral: x25519PublicKey(this.#ephemeralSecret),
      host: this.#identity.host,
    }
    this.#course.send(frame)
    return encodeLoginFrame(frame)
  }

  receive(bytes: Uint8Array): ClientEvent {
    return this.#course.guard(() => {
      if (this.#channel) {
        const frame = this.#channel.open(bytes)
        if (!frame) return { type: "unknown" }
        this.#course.receive(frame)
        return { type: "frame", frame: frame as Received<RelayFrame> }
      }
      const frame = decodeLoginFrame(bytes)
      if (!frame) return { type: "unknown" }
      this.#course.receive(frame)
      return { type: "proof", bytes: this.#prove(frame as Extract<LoginFrame, { type: "challenge" }>) }
    })
  }

  /** Whether this frame may be sent now. */
  may(name: ClientFrame["type"]): boolean {
    return this.#course.may(name)
  }

  /** Throws `ERR_USAGE` if the frame may not be sent now. */
  send(frame: ClientFrame): Outgoing {
    this.#course.send(frame)
    return this.#channel!.seal(frame)
  }

  close(): void {
    this.#course.close()
  }

  #prove(challenge: Extract<LoginFrame, { type: "challenge" }>): Uint8Array {
    const { realm, device, key, host, judgeRelay } = this.#identity
    const relayKey = judgeRelay(challenge.certificate)
    if (!relayKey) throw new ValiseError("ERR_UNTRUSTED", "the directory does not list this relay under this host")
    const transcript = transcriptBytes({
      host,
      relayKey,
      nonceClient: this.#nonce,
      nonceRelay: challenge.nonce,
      ephemeralClient: x25519PublicKey(this.#ephemeralSecret),
      ephemeralRelay: challenge.ephemeral,
    })
    const isGenuine = verifyLogin(relayKey, realm, "login-relay", transcript, challenge.signature)
    if (!isGenuine) throw new ValiseError("ERR_UNTRUSTED", "the relay did not prove who it is") // defence: 29 relay-signature
    const keys = frameKeys(this.#ephemeralSecret, challenge.ephemeral, transcript, device)
    this.#channel = new Channel(keys.up, keys.down, this.#identity.hashOf)
    const proof: LoginFrame = {
      type: "proof",
      device,
      signature: signLogin(key, realm, "login-device", transcript),
    }
    this.#course.send(proof)
    return encodeLoginFrame(proof)
  }
}

export interface RelayIdentity {
  readonly realm: Realm
  readonly key: SigningKey
  /** DER, as the directory issued it. */
  readonly certificate: Uint8Array
  /** The hosts under which the directory lists this relay. */
  readonly hosts: readonly string[]
  /** The signing key of a device that may log in here. */
  readonly deviceKey: (device: DeviceId) => Uint8Array | undefined
  readonly random: (length: number) => Uint8Array
  /** For who knows some digests already. */
  readonly hashOf?: EnvelopeHash
}

/** What the relay's end has read: a hello (now `challenge` or close), a proven device (now `welcome`), a frame. */
export type RelayEvent =
  | { readonly type: "hello" }
  | { readonly type: "proved"; readonly device: DeviceId }
  | { readonly type: "frame"; readonly counter: number; readonly frame: Received<ClientFrame> }
  | { readonly type: "unknown" }

/** The relay's end. `receive` throws `ERR_PROTOCOL`, `ERR_VERSION`, `ERR_LOGIN` or `ERR_FRAME_AUTHENTICATION`. */
export class RelayConnection {
  readonly #identity: RelayIdentity
  readonly #course = new Course(relayTable, "relay")
  #hello: Extract<LoginFrame, { type: "hello" }> | undefined
  #login: { readonly transcript: Uint8Array; readonly ephemeralSecret: Uint8Array } | undefined
  #channel: Channel | undefined

  constructor(identity: RelayIdentity) {
    this.#identity = identity
  }

  get state(): ConnectionState {
    return this.#course.state
  }

  receive(bytes: Uint8Array): RelayEvent {
    return this.#course.guard(() => {
      if (this.#channel) {
        const frame = this.#channel.open(bytes)
        if (!frame) return { type: "unknown" }
        this.#course.receive(frame)
        return { type: "frame", counter: this.#channel.received, frame: frame as Received<ClientFrame> }
      }
      const frame = decodeLoginFrame(bytes)
      if (!frame) return { type: "unknown" }
      this.#course.receive(frame)
      return frame.type === "hello" ? this.#greet(frame) : this.#verify(frame as Extract<LoginFrame, { type: "proof" }>)
    })
  }

  /** The answer to a hello: the one signature and key generation that a stranger can cause. */
  challenge(): Uint8Array {
    const { realm, key, certificate, random } = this.#identity
    const hello = this.#hello!
    const ephemeralSecret = random(x25519Bytes)
    const nonce = random(32)
    const ephemeral = x25519PublicKey(ephemeralSecret)
    const transcript = transcriptBytes({
      host: hello.host,
      relayKey: key.publicKey,
      nonceClient: hello.nonce,
      nonceRelay: nonce,
      ephemeralClient: hello.ephemeral,
      ephemeralRelay: ephemeral,
    })
    const signature = signLogin(key, realm, "login-relay", transcript)
    const frame: LoginFrame = { type: "challenge", nonce, ephemeral, signature, certificate }
    this.#course.send(frame)
    this.#login = { transcript, ephemeralSecret }
    return encodeLoginFrame(frame)
  }

  /** Whether this frame may be sent now. */
  may(name: RelayFrame["type"]): boolean {
    return this.#course.may(name)
  }

  /** Throws `ERR_USAGE` if the frame may not be sent now. */
  send(frame: RelayFrame): Outgoing {
    this.#course.send(frame)
    return this.#channel!.seal(frame)
  }

  close(): void {
    this.#course.close()
  }

  #greet(hello: Extract<LoginFrame, { type: "hello" }>): RelayEvent {
    const isOurs = this.#identity.hosts.includes(hello.host)
    if (!isOurs) throw new ValiseError("ERR_LOGIN", "another host was dialled") // defence: 29 own-host
    this.#hello = hello
    return { type: "hello" }
  }

  #verify(proof: Extract<LoginFrame, { type: "proof" }>): RelayEvent {
    const { transcript, ephemeralSecret } = this.#login!
    const { device, signature } = proof
    const key = this.#identity.deviceKey(device)
    const isGenuine = key !== undefined && verifyLogin(key, this.#identity.realm, "login-device", transcript, signature)
    if (!isGenuine) throw new ValiseError("ERR_LOGIN", "the device did not prove itself") // defence: 29 device-signature
    const keys = frameKeys(ephemeralSecret, this.#hello!.ephemeral, transcript, device)
    this.#channel = new Channel(keys.down, keys.up, this.#identity.hashOf)
    return { type: "proved", device }
  }
}

/** Two keys and two counters: what makes TLS free to end at a proxy. */
class Channel {
  sent = 0
  received = 0
  readonly #sendKey: Uint8Array
  readonly #receiveKey: Uint8Array
  readonly #hashOf: EnvelopeHash | undefined

  constructor(sendKey: Uint8Array, receiveKey: Uint8Array, hashOf: EnvelopeHash | undefined) {
    this.#sendKey = sendKey
    this.#receiveKey = receiveKey
    this.#hashOf = hashOf
  }

  seal(frame: ClientFrame | RelayFrame): Outgoing {
    this.sent += 1
    return { bytes: encodeFrame(this.#sendKey, this.sent, frame, this.#hashOf), counter: this.sent }
  }

  open(bytes: Uint8Array): Received<ClientFrame | RelayFrame> | undefined {
    this.received += 1
    return decodeFrame(this.#receiveKey, this.received, bytes, this.#hashOf)
  }
}
