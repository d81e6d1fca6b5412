/** `valise directory serve`: the directory's service until it is told to end. */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { serviceLog } from "../directory/log.ts"
import { serveDirectory } from "../directory/server.ts"
import { deskSocket, openService } from "./desk.ts"
import { ended, logDestination, readTls, type TlsFiles } from "./serving.ts"

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
