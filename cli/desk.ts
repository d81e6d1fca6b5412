/** The directory's desk: whoever may read and write its folder. While the service runs, through its socket; otherwise the folder itself. */
import { existsSync } from "node:fs"
import { join, relative } from "node:path"
import { Directory } from "../directory/directory.ts"
import { durableFiles } from "../directory/files.ts"
import type { ServiceLog } from "../directory/log.ts"
import { Nominations } from "../directory/nominations.ts"
import { Service } from "../directory/service.ts"
import { ValiseError } from "../protocol/errors.ts"
import { DeskClient, DirectoryClient } from "../pki/directory-client.ts"
import type { Http } from "../system/machine.ts"
import { nodeSocketHttp } from "../system/node-http.ts"
import { nodeMachine } from "../system/node.ts"

export interface Desk {
  readonly desk: DeskClient
  /** The questions that everybody may ask. */
  readonly directory: DirectoryClient
}

/** Names of sockets are short, some 100 characters: the way from here may be shorter than that from the root. */
export function deskSocket(folder: string): string {
  const path = join(folder, "desk")
  const fromHere = relative(process.cwd(), path)
  return fromHere.length < path.length ? fromHere : path
}

/** Throws `ERR_NOT_FOUND` if there is no directory in the folder. */
export async function withDesk<T>(folder: string, use: (desk: Desk) => Promise<T>): Promise<T> {
  let opened: OpenedService
  try {
    opened = await openService(folder, silent)
  } catch (error) {
    const isServed = error instanceof ValiseError && error.code === "ERR_USAGE" && existsSync(deskSocket(folder))
    if (!isServed) throw error
    return await use(clientsOf(nodeSocketHttp(deskSocket(folder))))
  }
  try {
    return await use(clientsOf(opened.service.http("desk")))
  } finally {
    await opened.close()
  }
}

export interface OpenedService {
  readonly directory: Directory
  readonly service: Service
  readonly close: () => Promise<void>
}

/** Throws as `Directory.open` does. */
export async function openService(folder: string, log: ServiceLog): Promise<OpenedService> {
  const directory = await Directory.open(folder, nodeMachine)
  try {
    const service = await serviceOn(folder, directory, log)
    return {
      directory,
      service,
      close: async () => {
        await service.close()
        await directory.close()
      },
    }
  } catch (error) {
    await directory.close()
    throw error
  }
}

/** The service of a directory that is open already. */
export async function serviceOn(folder: string, directory: Directory, log: ServiceLog): Promise<Service> {
  const nominations = await Nominations.open(durableFiles(join(folder, "nominations")))
  return new Service({ directory, nominations, machine: nodeMachine, log })
}

const clientsOf = (http: Http): Desk => ({
  desk: new DeskClient(http),
  directory: new DirectoryClient("http://localhost/", http),
})

const silent: ServiceLog = { info: () => {}, refused: () => {}, fault: () => {} }
