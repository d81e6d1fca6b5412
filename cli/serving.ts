/** What the programs that serve have in common: TLS files, and where their log goes. */
import { X509Certificate } from "node:crypto"
import { appendFileSync, readFileSync } from "node:fs"
import { createSecureContext } from "node:tls"
import { ValiseError } from "../protocol/errors.ts"
import { sha3 } from "../protocol/primitives.ts"
import type { Hash } from "../protocol/address.ts"

export interface TlsFiles {
  /** PEM files; both or neither. */
  readonly tlsCert?: string
  readonly tlsKey?: string
}

/** Throws `ERR_USAGE` if only one is given, one cannot be read, or they are not a certificate and its key. */
export function readTls({ tlsCert, tlsKey }: TlsFiles): { readonly cert: string; readonly key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined
  if (tlsCert === undefined || tlsKey === undefined)
    throw new ValiseError("ERR_USAGE", "TLS needs a certificate and its key", { hint: "give --tls-cert and --tls-key" })
  const files = { cert: pem(tlsCert), key: pem(tlsKey) }
  try {
    createSecureContext(files)
  } catch (cause) {
    throw new ValiseError("ERR_USAGE", `${tlsCert} and ${tlsKey} are not a certificate and its key`, {
      cause,
      hint: "both are PEM files; the key has no passphrase",
    })
  }
  return files
}

/** The SHA3-256 of the first certificate (DER) in a PEM file, which is the one that a TLS server shows. */
export function tlsCertificateHash(path: string): Hash {
  try {
    return sha3(new Uint8Array(new X509Certificate(pem(path)).raw)) as Hash
  } catch (cause) {
    if (cause instanceof ValiseError) throw cause
    throw new ValiseError("ERR_USAGE", `there is no certificate in ${path}`, { cause, hint: "it is a PEM file" })
  }
}

/** Lines for `pino`: a file, or stderr. Throws `ERR_USAGE` if the file cannot be written to. */
export function logDestination(path: string | undefined): { write(line: string): void } {
  if (path === undefined) return process.stderr
  const write = (line: string): void => appendFileSync(path, line, { mode: 0o600 })
  try {
    write("")
  } catch (cause) {
    throw new ValiseError("ERR_USAGE", `the log ${path} cannot be written to`, { cause })
  }
  return {
    write: (line) => {
      try {
        write(line)
      } catch {
        // A full disk must not end what can still be served.
        process.stderr.write(line)
      }
    },
  }
}

/** Resolves when the signal aborts. */
export function ended(stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stop.aborted) resolve()
    else stop.addEventListener("abort", () => resolve(), { once: true })
  })
}

function pem(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch (cause) {
    throw new ValiseError("ERR_USAGE", `${path} cannot be read`, { cause })
  }
}
