/** `valise directory serve`: the directory's service until it is told to end. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { serviceLog } from "../directory/log.ts"
import { serveDirectory } from "../directory/server.ts"
import { ValiseError } from "../protocol/errors.ts"
import { deskSocket, openService } from "./desk.ts"
import { logDestination, readTls, type TlsFiles } from "./serving.ts"

export interface ServeDirectoryOptions extends TlsFiles {
  readonly folder: string
  readonly host: string
  readonly port: number
  readonly proxies: readonly string[]
  /** Where JSON lines go; stderr without it. */
  readonly log?: string
  readonly stop: AbortSignal
}

/** @param told when it listens */
export async function runDirectory(
  options: ServeDirectoryOptions,
  told: (listening: { readonly url: string; readonly rootIsHere: boolean }) => void,
): Promise<void> {
  const { folder, host, port, proxies, stop } = options
  const tls = readTls(options)
  const log = serviceLog(logDestination(options.log))
  const opened = await openService(folder, log)
  try {
    const parts = { service: opened.service, host, port, proxies, deskSocket: deskSocket(folder), log }
    const server = await serveDirectory({ ...parts, ...(tls && { tls }) })
    told({ url: server.url, rootIsHere: existsSync(join(folder, "root")) })
    await ended(stop)
    await server.close()
  } finally {
    await opened.close()
  }
}

/** Resolves when the signal aborts. */
export function ended(stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stop.aborted) resolve()
    else stop.addEventListener("abort", () => resolve(), { once: true })
  })
}

/** Throws `ERR_USAGE` for the sandbox's folder, which is also the default. */
export function folderGiven({ data }: { readonly data: string }, what: string): string {
  if (data !== sandboxFolder) return data
  throw new ValiseError("ERR_USAGE", `which folder holds the ${what}?`, { hint: "give --data DIR" })
}

const sandboxFolder = ".valise"
