/** The wire under the connection: whole binary messages, in order, or the end. Implementations: `transport-ws.ts` (Node), `testing/`. */

export interface Channel {
  /** Never throws; what is sent after the end is dropped. */
  send(bytes: Uint8Array): void
  close(): void
  /** The certificate (DER) that the other end of TLS has shown; `undefined` without TLS. */
  readonly tlsCertificate: Uint8Array | undefined
}

/** Neither is called from within `connect` or `close`. */
export interface ChannelEvents {
  readonly message: (bytes: Uint8Array) => void
  /** Once, whoever ended it. `code` is the WebSocket close code, 1006 if there was none. */
  readonly end: (code: number) => void
}

export interface Transport {
  /** Resolves when messages can flow. Rejects with `ERR_OFFLINE`. */
  connect(url: string, events: ChannelEvents, signal: AbortSignal): Promise<Channel>
}
