/** TLS as it is between machines: self-signed certificates, and a real proxy that ends TLS and passes the bytes on. */
import "reflect-metadata"
import { randomUUID, webcrypto, X509Certificate } from "node:crypto"
import { once } from "node:events"
import { connect, type AddressInfo, type Socket } from "node:net"
import { createServer, getCACertificates, setDefaultCACertificates } from "node:tls"
import { cryptoProvider, SubjectAlternativeNameExtension, X509CertificateGenerator } from "@peculiar/x509"
import type { Hash } from "../../protocol/address.ts"
import { sha3 } from "../../protocol/primitives.ts"

export interface TlsIdentity {
  /** PEM. */
  readonly cert: string
  readonly key: string
  /** Of the certificate, as a relay tells it. */
  readonly hash: Hash
}

/** For these names, a day long; nobody trusts it yet. */
export async function selfSigned(...names: string[]): Promise<TlsIdentity> {
  cryptoProvider.set(webcrypto as never)
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"])
  const now = Date.now()
  const made = await X509CertificateGenerator.createSelfSigned({
    // An issuer is looked up by its name: two with one name would be taken for each other.
    name: `CN=${names[0]} ${randomUUID()}`,
    notBefore: new Date(now - 60_000),
    notAfter: new Date(now + 86_400_000),
    signingAlgorithm: algorithm,
    keys: keys as never,
    extensions: [
      new SubjectAlternativeNameExtension(
        names.map((value) => ({ type: /^[\d.]+$/.test(value) ? ("ip" as const) : ("dns" as const), value })),
      ),
    ],
  })
  const cert = `${made.toString("pem").trim()}\n`
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64")
  const key = `-----BEGIN PRIVATE KEY-----\n${pkcs8.replaceAll(/.{1,64}/g, "$&\n")}-----END PRIVATE KEY-----\n`
  return { cert, key, hash: sha3(new Uint8Array(new X509Certificate(cert).raw)) as Hash }
}

/** From now on this process believes these. */
export function believe(...identities: readonly TlsIdentity[]): void {
  setDefaultCACertificates([...getCACertificates("default"), ...identities.map(({ cert }) => cert)])
}

export interface TlsProxy {
  readonly port: number
  close(): Promise<void>
}

/** Ends TLS with this identity; what comes out goes to `target()`, a port of this machine. */
export async function tlsProxy({ cert, key }: TlsIdentity, target: () => number): Promise<TlsProxy> {
  const sockets = new Set<Socket>()
  const server = createServer({ cert, key, minVersion: "TLSv1.3" }, (near) => {
    const far = connect(target(), "127.0.0.1")
    for (const [socket, other] of [[near, far] as const, [far, near] as const]) {
      sockets.add(socket)
      socket.on("error", () => other.destroy())
      socket.on("close", () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    near.pipe(far).pipe(near)
  })
  server.on("tlsClientError", () => undefined)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, "close")
    },
  }
}
